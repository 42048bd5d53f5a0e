//! Summing somewhere else: stored bodies that other machines add up. They are not trusted, because their sums are held
//! against the tags of the rows as all others are.

use crate::{
    engine::Query,
    error::EngineError,
    object::{ObjectSum, SelectedPart},
    tag::Tag,
    tags::RowTags,
};
use async_trait::async_trait;
use futures::future::try_join_all;
use locus_genomics::PanelDigest;
use locus_store::{BodySum, Column, PartName, SHARD_SLOTS};
use std::{fmt, sync::Arc};
use thiserror::Error;

/// Bytes of [`RowBits`].
pub const ROW_BITS_BYTES: usize = SHARD_SLOTS as usize / 8;

/// Some rows of a part, by the number that its objects have for them: the numbers of a part's rows differ modulo 1,024.
#[derive(Clone, PartialEq, Eq)]
pub struct RowBits(pub [u8; ROW_BITS_BYTES]);

impl RowBits {
    /// No rows.
    pub const NONE: Self = Self([0; ROW_BITS_BYTES]);

    /// Adds a row.
    pub fn insert(&mut self, row: u32) {
        let (byte, bit) = place(row);
        self.0[byte] |= bit;
    }

    /// Whether a row is among them.
    pub fn contains(&self, row: u32) -> bool {
        let (byte, bit) = place(row);
        self.0[byte] & bit != 0
    }
}

fn place(row: u32) -> (usize, u8) {
    let row = row % SHARD_SLOTS;
    (row as usize / 8, 1 << (row % 8))
}

impl fmt::Debug for RowBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RowBits({} rows)", self.0.iter().map(|byte| byte.count_ones()).sum::<u32>())
    }
}

/// Rows of one part that are to be summed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartRows {
    /// The part.
    pub name: PartName,
    /// Size of each of its objects.
    pub object_bytes: u64,
    /// Which rows.
    pub rows: RowBits,
    /// Whether they are taken away from the sum instead of added.
    pub subtracted: bool,
}

/// What is summed elsewhere: for each column, the rows that are added less the rows that are subtracted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SumJob {
    /// The panel.
    pub panel: PanelDigest,
    /// The columns, none twice.
    pub columns: Vec<Column>,
    /// The rows, none twice.
    pub parts: Vec<PartRows>,
}

/// Why something was not summed elsewhere.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct BodySummerError(pub String);

/// Adds up stored bodies on other machines.
#[async_trait]
pub trait BodySummer: fmt::Debug + Send + Sync {
    /// The sums of the job's columns, in their order.
    ///
    /// # Errors
    /// When it cannot be done there; the engine then does it itself.
    async fn sum(&self, job: &SumJob) -> Result<Vec<Box<BodySum>>, BodySummerError>;
}

/// Where large sums are computed.
#[derive(Debug, Clone)]
pub(crate) struct Elsewhere {
    pub(crate) summer: Arc<dyn BodySummer>,
    /// Bodies that must be read for it to be worth it.
    pub(crate) bodies_min: u64,
}

impl Elsewhere {
    /// Whether enough bodies must be read for `columns`: of every part the selected rows or the others, whichever are
    /// fewer.
    pub(crate) fn is_worth(&self, query: Query<'_>, columns: &[Column]) -> bool {
        let read = |part: &locus_store::Part| {
            let slots = || part.slots().iter().flat_map(|range| range.iter());
            let selected = slots().filter(|&slot| query.selection.contains(slot)).count() as u64;
            selected.min(slots().count() as u64 - selected)
        };
        let rows: u64 = query.manifest.parts().iter().map(read).sum();
        rows > 0 && rows.saturating_mul(columns.len() as u64) >= self.bodies_min
    }
}

/// A job that is being put together, part by part.
pub(crate) struct Collecting<'a> {
    elsewhere: &'a Elsewhere,
    tags: Arc<RowTags>,
    job: SumJob,
}

impl<'a> Collecting<'a> {
    pub(crate) fn new(elsewhere: &'a Elsewhere, tags: Arc<RowTags>, panel: PanelDigest, columns: &[Column]) -> Self {
        Self { elsewhere, tags, job: SumJob { panel, columns: columns.to_vec(), parts: Vec::new() } }
    }

    /// Takes a part on, if every selected row has its tags, and returns for each column what the rows of the job are
    /// added to, with the tag of the selected rows. Rows without tags must be hashed, here.
    pub(crate) async fn take(&mut self, part: &SelectedPart) -> Result<Option<Vec<ObjectSum>>, EngineError> {
        let mut tags = Vec::with_capacity(self.job.columns.len());
        for &column in &self.job.columns {
            let known: Option<Vec<Tag>> =
                self.tags.find(self.job.panel, column, part.datasets())?.into_iter().collect();
            match known {
                Some(known) => tags.push(known.into_iter().fold(Tag::ZERO, Tag::plus)),
                None => return Ok(None),
            }
        }
        let plan = part.plan();
        let mut rows = RowBits::NONE;
        let positions = plan.windows.iter().flat_map(|window| window.runs().iter().cloned().flatten());
        positions.filter_map(|position| part.reader().row_number(position)).for_each(|row| rows.insert(row));
        if rows != RowBits::NONE {
            self.job.parts.push(PartRows {
                name: part.reader().part().name(),
                object_bytes: part.reader().object_bytes(),
                rows,
                subtracted: plan.from_total,
            });
        }
        let sums = match plan.from_total {
            true => try_join_all(self.job.columns.iter().map(|&column| part.reader().total(column))).await?,
            false => tags.iter().map(|_| BodySum::zero()).collect(),
        };
        let begun = sums.into_iter().zip(tags).map(|(sum, tag)| ObjectSum { sum, tag, fresh: Vec::new() });
        Ok(Some(begun.collect()))
    }

    /// The sums of all parts that were taken on.
    pub(crate) async fn finish(self) -> Result<Vec<Box<BodySum>>, EngineError> {
        if self.job.parts.is_empty() {
            return Ok(self.job.columns.iter().map(|_| BodySum::zero()).collect());
        }
        let sums = self.elsewhere.summer.sum(&self.job).await.map_err(EngineError::Elsewhere)?;
        if sums.len() == self.job.columns.len() {
            return Ok(sums);
        }
        let other = format!("{} sums came for {} columns", sums.len(), self.job.columns.len());
        Err(EngineError::Elsewhere(BodySummerError(other)))
    }
}
