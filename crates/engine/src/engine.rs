//! Summing the selected bodies of columns over all parts of a manifest.

use crate::{
    cohort_sums::{Base, CohortSumStorage, CohortSums, cohort_digest},
    error::EngineError,
    kernel::Kernel,
    object::{Checking, ObjectSum, SelectedPart, sum_object},
    registered::RegisteredBodies,
    summer::{BodySummer, Collecting, Elsewhere},
    tag::Tag,
    tags::{FreshTag, RowTags},
};
use futures::{StreamExt as _, stream::FuturesOrdered};
use locus_commitment::DatasetBodyDigest;
use locus_store::{BodySum, Column, Manifest, PanelStore, Part, SlotSet};
use std::{num::NonZeroUsize, sync::Arc};
use tokio::task::{JoinError, JoinSet};

/// Objects summed at the same time by default for every processor: more than one, so that while one is
/// being opened others are summed.
const TASKS_PER_PROCESSOR: NonZeroUsize = NonZeroUsize::new(4).unwrap();
/// Most objects that are summed at the same time by default; each needs 1 to 5 MiB.
const TASKS_MAX: NonZeroUsize = NonZeroUsize::new(16).unwrap();
/// Parts that are opened at the same time; an index is less than 1 MiB.
const PARTS_OPENING: usize = 4;
/// Objects whose tags wait to be kept together: 64 blocks of tags are 3 MiB.
const UNKEPT_OBJECTS_MAX: usize = 64;

/// Sums ciphertext bodies. Cheap to clone; clones share their tags.
#[derive(Debug, Clone)]
pub struct Engine {
    kernel: Kernel,
    tasks_max: NonZeroUsize,
    tags: Arc<RowTags>,
    elsewhere: Option<Elsewhere>,
    cohort_sums: Option<Arc<CohortSums>>,
}

/// What is summed.
#[derive(Clone, Copy)]
pub(crate) struct Query<'a> {
    pub(crate) panel: &'a PanelStore,
    pub(crate) manifest: &'a Manifest,
    pub(crate) selection: &'a SlotSet,
    pub(crate) registered: &'a dyn RegisteredBodies,
}

impl Engine {
    /// An engine that keeps tags in `tags`, with the fastest kernel and four tasks for every
    /// processor, at most 16.
    pub fn new(tags: RowTags) -> Self {
        let processors = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self {
            kernel: Kernel::detect(),
            tasks_max: processors.saturating_mul(TASKS_PER_PROCESSOR).min(TASKS_MAX),
            tags: Arc::new(tags),
            elsewhere: None,
            cohort_sums: None,
        }
    }

    /// This engine, keeping the sums of cohorts of which at least `parts_min` parts are touched: asked again they cost
    /// a stored sum for each column, and cohorts that have grown only their new rows besides.
    #[must_use]
    pub fn with_cohort_sums(self, storage: Box<dyn CohortSumStorage>, parts_min: usize) -> Self {
        Self { cohort_sums: Some(Arc::new(CohortSums::new(storage, parts_min))), ..self }
    }

    /// This engine with `summer` to add bodies up when at least `bodies_min` must be read. What cannot be done there,
    /// or comes back wrong, is done here.
    #[must_use]
    pub fn with_summer(self, summer: Arc<dyn BodySummer>, bodies_min: u64) -> Self {
        Self { elsewhere: Some(Elsewhere { summer, bodies_min }), ..self }
    }

    /// This engine with another bound on the objects it sums at the same time.
    #[must_use]
    pub fn with_tasks(self, tasks_max: NonZeroUsize) -> Self {
        Self { tasks_max, ..self }
    }

    /// This engine with another kernel.
    #[must_use]
    pub fn with_kernel(self, kernel: Kernel) -> Self {
        Self { kernel, ..self }
    }

    /// The sum over the selected slots of one column: 4096 counters, modulo 2^64. See
    /// [`sum_many`](Self::sum_many).
    ///
    /// # Errors
    /// Those of [`sum_many`](Self::sum_many).
    pub async fn sum(
        &self,
        panel: &PanelStore,
        manifest: &Manifest,
        column: Column,
        selection: &SlotSet,
        registered: &dyn RegisteredBodies,
    ) -> Result<Vec<u64>, EngineError> {
        let mut sums = self.sum_many(panel, manifest, &[column], selection, registered).await?;
        sums.pop().ok_or(EngineError::Interrupted)
    }

    /// The sums over the selected slots of several columns, in their order. The sum over no slots
    /// is zero.
    ///
    /// Every sum is that of bodies with the registered digests: bodies that are read for the first
    /// time are hashed and tagged, and every sum is held against the tags of its rows, whatever
    /// stored sums and bodies it was made from (SPEC clauses 1 and 4).
    ///
    /// # Errors
    /// [`EngineError::Withdrawn`], [`EngineError::NotStored`], [`EngineError::NotRegistered`] for
    /// the first such slot; [`EngineError::Store`] when stored data are missing, damaged or not
    /// those registered.
    pub async fn sum_many(
        &self,
        panel: &PanelStore,
        manifest: &Manifest,
        columns: &[Column],
        selection: &SlotSet,
        registered: &dyn RegisteredBodies,
    ) -> Result<Vec<Vec<u64>>, EngineError> {
        let sums = self.exact_sums(panel, manifest, columns, selection, registered).await?;
        Ok(sums.into_iter().map(|sum| sum.words.to_vec()).collect())
    }

    /// As [`sum_many`](Self::sum_many), over the integers.
    ///
    /// # Errors
    /// Those of [`sum_many`](Self::sum_many).
    pub async fn exact_sums(
        &self,
        panel: &PanelStore,
        manifest: &Manifest,
        columns: &[Column],
        selection: &SlotSet,
        registered: &dyn RegisteredBodies,
    ) -> Result<Vec<Box<BodySum>>, EngineError> {
        for &column in columns {
            panel.shape().position(column).map_err(|_| EngineError::UnknownColumn(column))?;
        }
        check_selection(manifest, selection)?;
        let query = Query { panel, manifest, selection, registered };
        match &self.cohort_sums {
            Some(kept) if kept.is_worth(parts_touched(query)) => self.sum_from_kept(kept, query, columns).await,
            _ => self.checked_sums(query, columns).await,
        }
    }

    /// Sums from those that are kept, and keeps them.
    async fn sum_from_kept(
        &self,
        kept: &CohortSums,
        query: Query<'_>,
        columns: &[Column],
    ) -> Result<Vec<Box<BodySum>>, EngineError> {
        let (panel, key) = (query.panel.panel(), &self.tags.key);
        let (mut sums, rest, begun_from) = match kept.base(key, panel, columns, query.selection, query.registered)? {
            Some(base) if base.rest.is_empty() => return Ok(base.sums),
            Some(Base { digest, sums, rest }) => (sums, rest, Some(digest)),
            None => (columns.iter().map(|_| BodySum::zero()).collect(), query.selection.clone(), None),
        };
        let found = self.checked_sums(Query { selection: &rest, ..query }, columns).await?;
        sums.iter_mut().zip(&found).for_each(|(sum, found)| sum.add(found));
        let digest = cohort_digest(panel, query.selection, query.registered)?;
        let named: Vec<(Column, Box<BodySum>)> = columns.iter().copied().zip(sums.iter().cloned()).collect();
        kept.keep(key, panel, (digest, query.selection), begun_from, &named)?;
        Ok(sums)
    }

    /// Sums that agree with the tags of their rows.
    async fn checked_sums(&self, query: Query<'_>, columns: &[Column]) -> Result<Vec<Box<BodySum>>, EngineError> {
        let elsewhere = self.elsewhere.as_ref().filter(|elsewhere| elsewhere.is_worth(query, columns));
        let (mut sums, wrong) = match self.sum_columns(query, columns, Checking::Unknown, elsewhere).await {
            Err(EngineError::Elsewhere(error)) => {
                tracing::warn!(%error, "nothing was summed elsewhere: summing here");
                self.sum_columns(query, columns, Checking::Unknown, None).await?
            }
            summed => summed?,
        };
        if wrong.is_empty() {
            return Ok(sums);
        }
        tracing::warn!(columns = wrong.len(), "sums do not agree with their rows: every row is hashed again");
        let again: Vec<Column> = wrong.iter().map(|&index| columns[index]).collect();
        let (right, still_wrong) = self.sum_columns(query, &again, Checking::All, None).await?;
        if let Some(&index) = still_wrong.first() {
            return Err(EngineError::Unverified(again[index]));
        }
        for (index, sum) in wrong.into_iter().zip(right) {
            sums[index] = sum;
        }
        Ok(sums)
    }

    /// Sums `columns`, and says which sums (by index) do not have the tag they must have.
    async fn sum_columns(
        &self,
        query: Query<'_>,
        columns: &[Column],
        checking: Checking,
        elsewhere: Option<&Elsewhere>,
    ) -> Result<(Vec<Box<BodySum>>, Vec<usize>), EngineError> {
        let mut sums = Sums::new(self.tags.clone(), query.panel, columns);
        let mut collecting =
            elsewhere.map(|elsewhere| Collecting::new(elsewhere, self.tags.clone(), query.panel.panel(), columns));
        let mut running = JoinSet::new();
        let mut parts = query.manifest.parts().iter();
        let mut opening = FuturesOrdered::new();
        loop {
            opening.extend(
                parts.by_ref().take(PARTS_OPENING - opening.len()).map(|part| select_part(query, part, columns)),
            );
            let Some(selected) = opening.next().await else { break };
            let Some(selected) = selected?.map(Arc::new) else { continue };
            if let Some(collecting) = &mut collecting
                && let Some(begun) = collecting.take(&selected).await?
            {
                begun.into_iter().enumerate().for_each(|(index, object)| sums.add_object(index, object));
                continue;
            }
            for (index, &column) in columns.iter().enumerate() {
                if running.len() >= self.tasks_max.get() {
                    sums.add(running.join_next().await).await?;
                }
                let (kernel, tags, selected) = (self.kernel, self.tags.clone(), selected.clone());
                running
                    .spawn(async move { Ok((index, sum_object(kernel, &tags, &selected, column, checking).await?)) });
            }
        }
        while !running.is_empty() {
            sums.add(running.join_next().await).await?;
        }
        if let Some(collecting) = collecting {
            for ((sum, _), found) in sums.sums.iter_mut().zip(collecting.finish().await?) {
                sum.add(&found);
            }
        }
        sums.finish().await
    }
}

/// What a task ends with: the index of a column, and the sum over one of its objects.
type Ended = Result<(usize, ObjectSum), EngineError>;

/// The sums so far, and what their tags must be.
struct Sums {
    tags: Arc<RowTags>,
    panel: PanelStore,
    columns: Vec<Column>,
    sums: Vec<(Box<BodySum>, Tag)>,
    unkept: Vec<(Column, Vec<FreshTag>)>,
}

impl Sums {
    fn new(tags: Arc<RowTags>, panel: &PanelStore, columns: &[Column]) -> Self {
        let sums = columns.iter().map(|_| (BodySum::zero(), Tag::ZERO)).collect();
        Self { tags, panel: panel.clone(), columns: columns.to_vec(), sums, unkept: Vec::new() }
    }

    /// Adds what a task has summed.
    async fn add(&mut self, ended: Option<Result<Ended, JoinError>>) -> Result<(), EngineError> {
        let (index, object) = match ended {
            Some(ended) => ended.map_err(|_| EngineError::Interrupted)??,
            None => return Ok(()),
        };
        self.add_object(index, object);
        if self.unkept.len() >= UNKEPT_OBJECTS_MAX { self.keep().await } else { Ok(()) }
    }

    fn add_object(&mut self, index: usize, object: ObjectSum) {
        let (sum, tag) = &mut self.sums[index];
        sum.add(&object.sum);
        *tag = tag.plus(object.tag);
        if !object.fresh.is_empty() {
            self.unkept.push((self.columns[index], object.fresh));
        }
    }

    async fn keep(&mut self) -> Result<(), EngineError> {
        let (tags, panel, unkept) = (self.tags.clone(), self.panel.panel(), std::mem::take(&mut self.unkept));
        blocking(move || tags.keep(panel, &unkept)).await?
    }

    /// The sums, and the indexes of those that are wrong.
    async fn finish(mut self) -> Result<(Vec<Box<BodySum>>, Vec<usize>), EngineError> {
        if !self.unkept.is_empty() {
            self.keep().await?;
        }
        let (tags, sums) = (self.tags, self.sums);
        blocking(move || {
            let is_wrong = |(sum, tag): &(Box<BodySum>, Tag)| tags.key.tag_of_sum(sum) != Some(*tag);
            let wrong = sums.iter().enumerate().filter(|(_, sum)| is_wrong(sum)).map(|(index, _)| index).collect();
            (sums.into_iter().map(|(sum, _)| sum).collect(), wrong)
        })
        .await
    }
}

/// Runs `work`, which takes more than about 500 microseconds, off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, EngineError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| EngineError::Interrupted)
}

/// Refuses slots that the manifest does not have or that must not be used.
pub(crate) fn check_selection(manifest: &Manifest, selection: &SlotSet) -> Result<(), EngineError> {
    if let Some(slot) = selection.intersection(manifest.tombstones()).first() {
        return Err(EngineError::Withdrawn { slot });
    }
    match selection.difference(manifest.held()).first() {
        Some(slot) => Err(EngineError::NotStored { slot, version: manifest.version() }),
        None => Ok(()),
    }
}

/// Parts of which slots are selected.
fn parts_touched(query: Query<'_>) -> usize {
    let is_touched =
        |part: &&Part| part.slots().iter().any(|range| range.iter().any(|slot| query.selection.contains(slot)));
    query.manifest.parts().iter().filter(is_touched).count()
}

/// Opens a part of which slots are selected; `None` when none is.
pub(crate) async fn select_part(
    query: Query<'_>,
    part: &Part,
    columns: &[Column],
) -> Result<Option<SelectedPart>, EngineError> {
    let slots = part.slots().iter().flat_map(|range| range.iter()).filter(|&slot| query.selection.contains(slot));
    let datasets: Vec<(u32, DatasetBodyDigest)> = slots
        .map(|slot| {
            let digest = query.registered.body_digest(slot);
            digest.map(|digest| (slot, digest)).ok_or(EngineError::NotRegistered { slot })
        })
        .collect::<Result<_, _>>()?;
    if datasets.is_empty() {
        return Ok(None);
    }
    let reader = query.panel.open(part).await?;
    SelectedPart::new(query.panel.panel(), reader, columns, datasets).map(Some)
}
