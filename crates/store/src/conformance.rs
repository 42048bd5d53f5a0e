//! What this crate needs from a storage back end, as a function that runs on any of them.

use crate::{
    BODY_BYTES, BatchId, BodyBytes, BodySum, Column, FILLER_BODY, GarbagePolicy, Manifest, PanelShape, PanelStore,
    RegistrationCommit, SCAN_NEEDLE_BYTES, SlotRange, SlotSet, Store, StoreError, read_windows,
};
use bytes::Bytes;
use locus_commitment::{BodyDigest, DatasetBodyDigest};
use locus_genomics::PanelDigest;
use std::{collections::BTreeSet, time::SystemTime};
use thiserror::Error;

/// A property that a back end does not have.
#[derive(Debug, Error)]
pub enum ConformanceFailure {
    /// An operation failed that must succeed.
    #[error("an operation failed that must succeed")]
    Store(#[from] StoreError),
    /// A property does not hold.
    #[error("the store does not have this property: {0}")]
    Property(&'static str),
}

fn require(holds: bool, property: &'static str) -> Result<(), ConformanceFailure> {
    if holds { Ok(()) } else { Err(ConformanceFailure::Property(property)) }
}

/// Datasets whose bodies follow from numbers, so that every body is different and can be computed
/// again.
#[derive(Debug, Clone, Copy)]
pub struct SyntheticBatch {
    /// Name and seed of the batch.
    pub seed: u8,
    /// Datasets in it.
    pub rows: u32,
}

impl SyntheticBatch {
    /// The batch's id.
    pub fn id(self) -> BatchId {
        BatchId([self.seed; 32])
    }

    /// The body of one dataset in one column.
    pub fn body(self, column: Column, row: u32) -> Vec<u8> {
        let place = u64::from(column.block.0) << 40 | u64::from(column.plane.code()) << 36 | u64::from(row);
        let mut state = place ^ u64::from(self.seed) << 56;
        (0..BODY_BYTES / 8).flat_map(|_| splitmix(&mut state).to_le_bytes()).collect()
    }

    /// Bodies of rows `first..first + count` in one column.
    pub fn bodies(self, column: Column, first: u32, count: u32) -> Bytes {
        (first..first + count).flat_map(|row| self.body(column, row)).collect::<Vec<u8>>().into()
    }

    /// H(b) of all datasets.
    pub fn datasets(self, shape: PanelShape) -> Vec<DatasetBodyDigest> {
        let digest = |column, row| {
            let body = self.body(column, row);
            let body: &BodyBytes = &body.as_chunks().0[0];
            BodyDigest::of_body(body)
        };
        let dataset = |row| shape.columns().map(|column| digest(column, row)).collect::<Vec<_>>();
        (0..self.rows).map(|row| DatasetBodyDigest::of_bodies(&dataset(row))).collect()
    }

    /// Uploads the batch in pieces of `rows_at_once` and finishes it.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn upload(self, panel: &PanelStore, rows_at_once: u32) -> Result<Vec<DatasetBodyDigest>, StoreError> {
        let mut writer = panel.create_batch(self.id(), self.rows).await?;
        while let Some((column, first)) = writer.expects() {
            let count = rows_at_once.min(self.rows - first);
            writer.append(column, first, self.bodies(column, first, count)).await?;
        }
        let datasets = self.datasets(panel.shape());
        writer.finish(&datasets).await?;
        Ok(datasets)
    }

    /// Uploads the batch and registers it at `first_slot`.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn enrol(self, panel: &PanelStore, first_slot: u32) -> Result<Manifest, StoreError> {
        let datasets = self.upload(panel, 64).await?;
        self.register(panel, first_slot, &datasets).await
    }

    /// Registers the uploaded batch at `first_slot`.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn register(
        self,
        panel: &PanelStore,
        first_slot: u32,
        datasets: &[DatasetBodyDigest],
    ) -> Result<Manifest, StoreError> {
        let commit = RegistrationCommit { batch: self.id(), registration: u64::from(self.seed), first_slot };
        panel.commit_registration(commit, datasets).await
    }

    /// Uploads the batch with fillers in the rows of `gone`, and returns what the others are registered with.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn upload_without(
        self,
        panel: &PanelStore,
        gone: &[u32],
    ) -> Result<Vec<Option<DatasetBodyDigest>>, StoreError> {
        let mut writer = panel.create_batch(self.id(), self.rows).await?;
        while let Some((column, row)) = writer.expects() {
            let body = if gone.contains(&row) { Bytes::from_static(&FILLER_BODY) } else { self.bodies(column, row, 1) };
            writer.append(column, row, body).await?;
        }
        let datasets = (0..).zip(self.datasets(panel.shape()));
        let datasets: Vec<_> = datasets.map(|(row, dataset)| (!gone.contains(&row)).then_some(dataset)).collect();
        let filler = panel.shape().filler_digest();
        let declared: Vec<_> = datasets.iter().map(|dataset| dataset.unwrap_or(filler)).collect();
        writer.finish(&declared).await?;
        Ok(datasets)
    }

    /// Puts the uploaded batch in the place of the bodies of `replaced`, which was registered at `first_slot`.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn replace(
        self,
        panel: &PanelStore,
        replaced: Self,
        first_slot: u32,
        datasets: &[Option<DatasetBodyDigest>],
    ) -> Result<Manifest, StoreError> {
        let commit = RegistrationCommit { batch: self.id(), registration: u64::from(replaced.seed), first_slot };
        panel.replace_registration(commit, datasets).await
    }

    /// Bytes of the body of `row` that occur nowhere else, to search for.
    pub fn needle(self, column: Column, row: u32) -> [u8; SCAN_NEEDLE_BYTES] {
        let mut needle = [0; SCAN_NEEDLE_BYTES];
        needle.copy_from_slice(&self.body(column, row)[1000..1000 + SCAN_NEEDLE_BYTES]);
        needle
    }
}

/// The next value of the splitmix64 sequence.
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}

/// Runs every operation of this crate on `store` and checks what it promises. Uses panels whose
/// digests begin with `cf` hexadecimal; the store may hold other panels.
///
/// # Errors
/// The first property that does not hold.
pub async fn store_conformance(store: &Store) -> Result<(), ConformanceFailure> {
    let shape = PanelShape::try_new(2, false)?;
    uploads_are_invisible_until_registered(&panel(store, 1, shape)).await?;
    stored_data_reads_back(&panel(store, 2, shape)).await?;
    conflicting_registrations_are_refused(&panel(store, 3, shape)).await?;
    concurrent_registrations_all_survive(&panel(store, 4, PanelShape::try_new(1, true)?)).await?;
    compaction_keeps_content_and_erasure_removes_it(store, &panel(store, 5, shape)).await?;
    replacement_serves_new_bodies_and_removes_the_old(store, &panel(store, 6, shape)).await
}

fn panel(store: &Store, number: u8, shape: PanelShape) -> PanelStore {
    let mut digest = [0xcf; 32];
    digest[31] = number;
    store.panel(PanelDigest(digest), shape)
}

async fn uploads_are_invisible_until_registered(panel: &PanelStore) -> Result<(), ConformanceFailure> {
    let batch = SyntheticBatch { seed: 1, rows: 3 };
    require(panel.latest().await?.version() == 0, "a new panel has no manifest")?;
    let unfinished = panel.sealed_batch(batch.id()).await;
    require(matches!(unfinished, Err(StoreError::BatchNotSealed(_))), "an unknown batch is not sealed")?;
    let datasets = batch.upload(panel, 2).await?;
    require(panel.latest().await?.version() == 0, "a finished upload changes no manifest")?;
    let again = panel.create_batch(batch.id(), 3).await;
    require(matches!(again, Err(StoreError::BatchExists(_))), "a batch id is used once")?;
    let manifest = batch.register(panel, 10, &datasets).await?;
    require(manifest.version() == 1 && manifest.live().len() == 3, "a registered batch is in the manifest")?;
    let repeated = batch.register(panel, 10, &datasets).await?;
    require(repeated == manifest, "registering the same again changes nothing")?;
    require(panel.pinned(manifest.pin()).await? == manifest, "a version can be loaded again")
}

async fn stored_data_reads_back(panel: &PanelStore) -> Result<(), ConformanceFailure> {
    let batch = SyntheticBatch { seed: 2, rows: 70 };
    let datasets = batch.upload(panel, 17).await?;
    let manifest = batch.register(panel, 1000, &datasets).await?;
    for part in manifest.parts() {
        let reader = panel.open(part).await?;
        let columns: Vec<Column> = panel.shape().columns().collect();
        let registered: Vec<(u32, DatasetBodyDigest)> = (0..).zip(datasets.iter().copied()).collect();
        let digests = reader.digests(&columns, &registered).await?;
        let positions: Vec<u32> = (0..reader.row_count()).collect();
        for column in columns {
            let mut sum = BodySum::zero();
            let mut rows = 0;
            for window in read_windows(&positions) {
                for run in reader.read(column, &window).await? {
                    run.visit_checked(digests.column(column).unwrap_or_default(), 4, |bodies| {
                        rows += bodies.len();
                        bodies.iter().for_each(|body| sum.add_body(body));
                    })?;
                }
            }
            require(rows == 70, "every body is read once")?;
            let total = reader.total(column).await?;
            require(total == sum, "the stored sum is the sum of the bodies")?;
        }
    }
    require(panel.audit(&manifest).await?.faults.is_empty(), "an audit of sound data finds nothing")
}

async fn conflicting_registrations_are_refused(panel: &PanelStore) -> Result<(), ConformanceFailure> {
    let first = SyntheticBatch { seed: 3, rows: 4 };
    let second = SyntheticBatch { seed: 4, rows: 4 };
    first.enrol(panel, 100).await?;
    let datasets = second.upload(panel, 4).await?;
    let overlapping = second.register(panel, 103, &datasets).await;
    require(matches!(overlapping, Err(StoreError::SlotsTaken { .. })), "a slot is registered once")?;
    let wrong = second.register(panel, 104, &first.datasets(panel.shape())).await;
    require(matches!(wrong, Err(StoreError::DatasetMismatch { row: 0 })), "a batch has its registered digests")?;
    let elsewhere = first.register(panel, 200, &first.datasets(panel.shape())).await;
    require(matches!(elsewhere, Err(StoreError::BatchInUse(_))), "a batch is registered once")?;
    let in_use = panel.discard_batch(first.id()).await;
    require(matches!(in_use, Err(StoreError::BatchInUse(_))), "a registered batch cannot be discarded")?;
    panel.discard_batch(second.id()).await?;
    let discarded = second.register(panel, 104, &datasets).await;
    require(matches!(discarded, Err(StoreError::BatchNotSealed(_))), "a discarded batch is gone")?;
    require(panel.latest().await?.live().len() == 4, "refused registrations change nothing")
}

async fn concurrent_registrations_all_survive(panel: &PanelStore) -> Result<(), ConformanceFailure> {
    const WRITERS: u8 = 6;
    let batches = (0..WRITERS).map(|writer| SyntheticBatch { seed: 10 + writer, rows: 2 });
    let enrolled = batches.map(|batch| async move {
        // Every writer has its own view of the panel, as separate processes have.
        let panel = panel.store.panel(panel.panel(), panel.shape());
        batch.enrol(&panel, u32::from(batch.seed) * 2).await
    });
    for manifest in futures::future::join_all(enrolled).await {
        manifest?;
    }
    let manifest = panel.latest().await?;
    require(manifest.version() == u64::from(WRITERS), "every registration has its own version")?;
    require(manifest.live().len() == u64::from(WRITERS) * 2, "no registration is lost")
}

async fn compaction_keeps_content_and_erasure_removes_it(
    store: &Store,
    panel: &PanelStore,
) -> Result<(), ConformanceFailure> {
    let left = SyntheticBatch { seed: 30, rows: 5 };
    let right = SyntheticBatch { seed: 31, rows: 40 };
    left.enrol(panel, 0).await?;
    // Slots 1010..1050 lie in shards 0 and 1.
    let before = right.enrol(panel, 1010).await?;
    require(before.fragmented_shards() == BTreeSet::from([0, 1]), "uploaded batches are fragments")?;
    let compacted = panel.compact(&before.fragmented_shards()).await?;
    require(compacted.fragmented_shards().is_empty(), "compaction leaves no fragments")?;
    require(compacted.live() == before.live(), "compaction keeps every slot")?;
    require(panel.audit(&compacted).await?.faults.is_empty(), "compaction writes sound data")?;
    require(panel.audit(&before).await?.faults.is_empty(), "an older manifest stays readable")?;

    let columns: Vec<Column> = panel.shape().columns().collect();
    let erased: Vec<_> = columns.iter().map(|&column| right.needle(column, 20)).collect();
    let kept: Vec<_> = columns.iter().map(|&column| right.needle(column, 21)).collect();
    require(!store.scan(&erased).await?.is_empty(), "a scan finds what is stored")?;
    let policy = GarbagePolicy { superseded_before: None, abandoned_before: SystemTime::UNIX_EPOCH };
    let slots = SlotSet::from_range(SlotRange { first: 1030, count: 1 })?;
    let report = panel.erase(&slots, policy).await?;
    require(report.manifest.pending_erasure().is_empty(), "nothing is left to erase")?;
    require(store.scan(&erased).await?.is_empty(), "erased bodies are in no object")?;
    require(store.scan(&kept).await?.len() == kept.len(), "other bodies are in one object each")?;
    let live = report.manifest.live();
    require(live.len() == 44 && !live.contains(1030), "erasure takes the erased slots alone")?;
    require(panel.audit(&report.manifest).await?.faults.is_empty(), "erasure leaves sound data")?;
    let old = panel.version(before.version()).await;
    require(matches!(old, Err(StoreError::UnknownVersion(_))), "superseded manifests are deleted")
}

async fn replacement_serves_new_bodies_and_removes_the_old(
    store: &Store,
    panel: &PanelStore,
) -> Result<(), ConformanceFailure> {
    let (old, new) = (SyntheticBatch { seed: 40, rows: 6 }, SyntheticBatch { seed: 41, rows: 6 });
    old.enrol(panel, 1020).await?;
    panel.compact(&BTreeSet::from([1])).await?;
    panel.tombstone(&SlotSet::from_range(SlotRange { first: 1022, count: 1 })?).await?;
    let datasets = new.upload_without(panel, &[2]).await?;
    require(!panel.holds(&panel.latest().await?, 1020, &datasets).await?, "new bodies are not served before")?;
    let replaced = new.replace(panel, old, 1020, &datasets).await?;
    require(panel.holds(&replaced, 1020, &datasets).await?, "new bodies are served afterwards")?;
    require(replaced.live().len() == 5 && replaced.held().len() == 6, "a replacement keeps every slot")?;
    let repeated = new.replace(panel, old, 1020, &datasets).await?;
    require(repeated == replaced, "replacing by the same again changes nothing")?;
    require(panel.audit(&replaced).await?.faults.is_empty(), "replaced data are sound")?;

    let compacted = panel.compact(&replaced.fragmented_shards()).await?;
    panel.collect_garbage(GarbagePolicy { superseded_before: None, abandoned_before: SystemTime::UNIX_EPOCH }).await?;
    require(compacted.erased().iter().eq([1022]), "compaction erases what was tombstoned")?;
    require(panel.holds(&compacted, 1020, &datasets).await?, "compaction keeps new bodies")?;
    let gone: Vec<_> =
        panel.shape().columns().flat_map(|column| (0..6).map(move |row| old.needle(column, row))).collect();
    require(store.scan(&gone).await?.is_empty(), "replaced bodies are in no object")
}
