//! Summing the selected rows of one object.

use crate::{
    error::EngineError,
    kernel::Kernel,
    plan::PartPlan,
    tag::Tag,
    tags::{FreshTag, RowTags},
};
use locus_commitment::{BodyDigest, DatasetBodyDigest};
use locus_genomics::PanelDigest;
use locus_store::{
    BodyBytes, BodySum, BodyVisitor, Column, OpenColumn, PartDigests, PartReader, StoreError, read_windows,
};
use std::sync::Arc;
use tokio::sync::OnceCell;

/// Which bodies are hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checking {
    /// Those without a tag; stored sums may be used.
    Unknown,
    /// All; stored sums and tags are not used.
    All,
}

/// A part of which some rows are selected.
#[derive(Debug)]
pub(crate) struct SelectedPart {
    panel: PanelDigest,
    reader: PartReader,
    columns: Vec<Column>,
    /// Slot and registered digest of every selected row, ascending.
    datasets: Vec<(u32, DatasetBodyDigest)>,
    /// Positions of these rows.
    positions: Vec<u32>,
    plan: PartPlan,
    digests: OnceCell<PartDigests>,
}

/// The sum over the selected rows of an object.
pub(crate) struct ObjectSum {
    pub(crate) sum: Box<BodySum>,
    /// What its tag must be.
    pub(crate) tag: Tag,
    /// Tags that were computed for it.
    pub(crate) fresh: Vec<FreshTag>,
}

impl SelectedPart {
    /// The rows of `datasets` (slot, registered digest; ascending), which the part must have.
    pub(crate) fn new(
        panel: PanelDigest,
        reader: PartReader,
        columns: &[Column],
        datasets: Vec<(u32, DatasetBodyDigest)>,
    ) -> Result<Self, EngineError> {
        // An opened part has all slots that the manifest says it has.
        let position = |&(slot, _): &(u32, _)| reader.position(slot).ok_or(EngineError::Interrupted);
        let positions = datasets.iter().map(position).collect::<Result<Vec<u32>, _>>()?;
        let plan = PartPlan::new(&positions, reader.row_count());
        let columns = columns.to_vec();
        Ok(Self { panel, reader, columns, datasets, positions, plan, digests: OnceCell::new() })
    }

    pub(crate) fn plan(&self) -> &PartPlan {
        &self.plan
    }

    pub(crate) fn reader(&self) -> &PartReader {
        &self.reader
    }

    /// Slot and registered digest of every selected row, ascending.
    pub(crate) fn datasets(&self) -> &[(u32, DatasetBodyDigest)] {
        &self.datasets
    }

    /// Positions of these rows.
    pub(crate) fn positions(&self) -> &[u32] {
        &self.positions
    }

    /// The body digests of all columns, which hash to the registered digests of the selected rows.
    pub(crate) async fn digests(&self) -> Result<&PartDigests, StoreError> {
        let registered = || {
            let digests = self.datasets.iter().map(|(_, digest)| *digest);
            self.positions.iter().copied().zip(digests).collect::<Vec<_>>()
        };
        self.digests.get_or_try_init(|| async { self.reader.digests(&self.columns, &registered()).await }).await
    }
}

/// The sum over the selected rows of one object: from stored sum and few rows when every selected
/// row has its tag, else from the rows themselves, of which those without tag are hashed.
pub(crate) async fn sum_object(
    kernel: Kernel,
    tags: &Arc<RowTags>,
    part: &SelectedPart,
    column: Column,
    checking: Checking,
) -> Result<ObjectSum, EngineError> {
    let known = match checking {
        Checking::Unknown => tags.find(part.panel, column, &part.datasets)?,
        Checking::All => vec![None; part.datasets.len()],
    };
    match known.iter().copied().collect::<Option<Vec<Tag>>>() {
        Some(known) => {
            let tag = known.into_iter().fold(Tag::ZERO, Tag::plus);
            Ok(ObjectSum { sum: sum_by_plan(kernel, part, column).await?, tag, fresh: Vec::new() })
        }
        None => sum_rows(kernel, tags, part, column, &known).await,
    }
}

async fn sum_by_plan(kernel: Kernel, part: &SelectedPart, column: Column) -> Result<Box<BodySum>, EngineError> {
    let PartPlan { from_total, windows } = &part.plan;
    let mut adding = Adding { kernel, sum: BodySum::zero() };
    if !windows.is_empty() {
        let opened = part.reader.column(column)?;
        adding = opened.visit(windows.clone(), adding).await?;
    }
    if !from_total {
        return Ok(adding.sum);
    }
    let mut total = part.reader.total(column).await?;
    total.subtract(&adding.sum);
    Ok(total)
}

async fn sum_rows(
    kernel: Kernel,
    tags: &Arc<RowTags>,
    part: &SelectedPart,
    column: Column,
    known: &[Option<Tag>],
) -> Result<ObjectSum, EngineError> {
    let digests = part.digests().await?.column(column).unwrap_or_default().to_vec();
    let opened = part.reader.column(column)?;
    let rows = part.positions.iter().zip(&part.datasets).zip(known);
    let rows = rows.map(|((&position, &(slot, dataset)), &known)| Row { position, slot, dataset, known });
    let checking = CheckingRows {
        adding: Adding { kernel, sum: BodySum::zero() },
        column: opened.column().clone(),
        tags: tags.clone(),
        digests,
        rows: rows.collect::<Vec<_>>().into_iter(),
        tag: Tag::ZERO,
        fresh: Vec::new(),
    };
    let checked = opened.visit(read_windows(&part.positions), checking).await?;
    Ok(ObjectSum { sum: checked.adding.sum, tag: checked.tag, fresh: checked.fresh })
}

/// Adds bodies, whatever they are.
struct Adding {
    kernel: Kernel,
    sum: Box<BodySum>,
}

impl BodyVisitor for Adding {
    fn visit(&mut self, _: &[u32], bodies: &[BodyBytes]) -> Result<(), StoreError> {
        self.kernel.add(&mut self.sum, bodies);
        Ok(())
    }
}

struct Row {
    position: u32,
    slot: u32,
    dataset: DatasetBodyDigest,
    known: Option<Tag>,
}

/// Hashes and tags the bodies that have no tag, and adds all.
struct CheckingRows {
    adding: Adding,
    column: OpenColumn,
    tags: Arc<RowTags>,
    digests: Vec<BodyDigest>,
    /// What is read, in this order.
    rows: std::vec::IntoIter<Row>,
    tag: Tag,
    fresh: Vec<FreshTag>,
}

impl BodyVisitor for CheckingRows {
    fn visit(&mut self, positions: &[u32], bodies: &[BodyBytes]) -> Result<(), StoreError> {
        for (&position, body) in positions.iter().zip(bodies) {
            let row = self.rows.find(|row| row.position == position).ok_or(StoreError::Interrupted)?;
            let tag = match row.known {
                Some(tag) => tag,
                None => {
                    self.column.check(&self.digests, position, body)?;
                    let tag = self.tags.key.tag(body);
                    self.fresh.push(FreshTag { slot: row.slot, dataset: row.dataset, tag });
                    tag
                }
            };
            self.tag = self.tag.plus(tag);
        }
        self.adding.visit(positions, bodies)
    }
}
