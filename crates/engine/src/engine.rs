//! Summing the selected bodies of columns over all parts of a manifest.

use crate::{
    error::EngineError,
    kernel::{BodySum, Kernel, zero_sum},
    plan::PartPlan,
    registered::RegisteredBodies,
};
use locus_commitment::DatasetBodyDigest;
use locus_store::{BodyRun, Column, Manifest, PanelStore, Part, PartDigests, PartReader, SlotSet, StoreError};
use std::{num::NonZeroUsize, sync::Arc};
use tokio::task::{JoinError, JoinSet};

/// Most objects that are summed at the same time by default; each needs about 4 MiB.
const TASKS_MAX: usize = 8;
/// Bodies that are hashed and then summed while they are in the processor's cache.
const BODIES_IN_CACHE: usize = 4;

/// Sums ciphertext bodies. Holds no data; cheap to clone.
#[derive(Debug, Clone, Copy)]
pub struct Engine {
    kernel: Kernel,
    tasks_max: NonZeroUsize,
}

impl Default for Engine {
    /// An engine with the fastest kernel and as many tasks as there are processors, at most 8.
    fn default() -> Self {
        let processors = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self { kernel: Kernel::detect(), tasks_max: processors.min(NonZeroUsize::MIN.saturating_add(TASKS_MAX - 1)) }
    }
}

/// A part of which some rows are selected, with digests that agree with the chain.
struct SelectedPart {
    reader: PartReader,
    digests: PartDigests,
    plan: PartPlan,
}

/// Index of a column in the query, and the sum over the selected rows of one of its objects.
type ObjectSum = Result<(usize, Box<BodySum>), EngineError>;

impl Engine {
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
    /// Every selected dataset is held against its registered digest, every body that is read
    /// against its own digest, every stored sum against the manifest, which binds it to the digests
    /// of the bodies it was computed from. At most half of an object's bodies are read.
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
        for &column in columns {
            panel.shape().position(column).map_err(|_| EngineError::UnknownColumn(column))?;
        }
        check_selection(manifest, selection)?;
        let mut sums = Sums { kernel: self.kernel, sums: columns.iter().map(|_| zero_sum()).collect() };
        let mut running = JoinSet::new();
        for part in manifest.parts() {
            let Some(selected) = select_part(panel, part, columns, selection, registered).await? else { continue };
            let selected = Arc::new(selected);
            for (index, &column) in columns.iter().enumerate() {
                if running.len() >= self.tasks_max.get() {
                    sums.add(running.join_next().await)?;
                }
                let (kernel, selected) = (self.kernel, selected.clone());
                running.spawn(async move { Ok((index, sum_object(kernel, &selected, column).await?)) });
            }
        }
        while !running.is_empty() {
            sums.add(running.join_next().await)?;
        }
        Ok(sums.sums.into_iter().map(|sum| sum.to_vec()).collect())
    }
}

/// The sums so far.
struct Sums {
    kernel: Kernel,
    sums: Vec<Box<BodySum>>,
}

impl Sums {
    /// Adds what a task has summed: the index of its column, and the sum over one object.
    fn add(&mut self, ended: Option<Result<ObjectSum, JoinError>>) -> Result<(), EngineError> {
        let (index, sum) = match ended {
            Some(ended) => ended.map_err(|_| EngineError::Interrupted)??,
            None => return Ok(()),
        };
        self.kernel.add_sum(&mut self.sums[index], &sum);
        Ok(())
    }
}

/// Refuses slots that the manifest does not have or that must not be used.
fn check_selection(manifest: &Manifest, selection: &SlotSet) -> Result<(), EngineError> {
    if let Some(slot) = selection.intersection(manifest.tombstones()).first() {
        return Err(EngineError::Withdrawn { slot });
    }
    match selection.difference(manifest.held()).first() {
        Some(slot) => Err(EngineError::NotStored { slot, version: manifest.version() }),
        None => Ok(()),
    }
}

/// Opens a part and checks the selected datasets against the chain; `None` when none is selected.
async fn select_part(
    panel: &PanelStore,
    part: &Part,
    columns: &[Column],
    selection: &SlotSet,
    registered: &dyn RegisteredBodies,
) -> Result<Option<SelectedPart>, EngineError> {
    let slots = part.slots().iter().flat_map(|range| range.iter()).filter(|&slot| selection.contains(slot));
    let expected: Vec<(u32, DatasetBodyDigest)> = slots
        .map(|slot| {
            registered.body_digest(slot).map(|digest| (slot, digest)).ok_or(EngineError::NotRegistered { slot })
        })
        .collect::<Result<_, _>>()?;
    if expected.is_empty() {
        return Ok(None);
    }
    let reader = panel.open(part).await?;
    let mut registered_rows = Vec::with_capacity(expected.len());
    for (slot, digest) in expected {
        // An opened part has all slots that the manifest says it has.
        let position = reader.position(slot).ok_or(EngineError::Interrupted)?;
        registered_rows.push((position, digest));
    }
    let digests = reader.digests(columns, &registered_rows).await?;
    let selected: Vec<u32> = registered_rows.iter().map(|(position, _)| *position).collect();
    let plan = PartPlan::new(&selected, reader.row_count());
    Ok(Some(SelectedPart { reader, digests, plan }))
}

/// The sum over the selected rows of one object.
async fn sum_object(kernel: Kernel, part: &Arc<SelectedPart>, column: Column) -> Result<Box<BodySum>, EngineError> {
    let windows = &part.plan.windows;
    let mut read_sum = zero_sum();
    let mut ahead = match windows.first() {
        Some(first) => part.reader.read(column, first).await?,
        None => Vec::new(),
    };
    // While one window is hashed and summed, the next one is read.
    for next in 1..=windows.len() {
        let runs = std::mem::take(&mut ahead);
        let adding = add_checked(kernel, part.clone(), column, read_sum, runs);
        read_sum = match windows.get(next) {
            Some(window) => {
                let (sum, read) = futures::join!(adding, part.reader.read(column, window));
                ahead = read?;
                sum?
            }
            None => adding.await?,
        };
    }
    if !part.plan.from_total {
        return Ok(read_sum);
    }
    let mut total = part.reader.total(column).await?;
    kernel.subtract_sum(&mut total, &read_sum);
    Ok(total)
}

/// Adds bodies to `sum` after checking each.
async fn add_checked(
    kernel: Kernel,
    part: Arc<SelectedPart>,
    column: Column,
    mut sum: Box<BodySum>,
    runs: Vec<BodyRun>,
) -> Result<Box<BodySum>, EngineError> {
    let work = move || -> Result<Box<BodySum>, StoreError> {
        let digests = part.digests.column(column).unwrap_or_default();
        for run in runs {
            run.visit_checked(digests, BODIES_IN_CACHE, |bodies| kernel.add(&mut sum, bodies))?;
        }
        Ok(sum)
    };
    let sum = tokio::task::spawn_blocking(work).await.map_err(|_| EngineError::Interrupted)??;
    Ok(sum)
}
