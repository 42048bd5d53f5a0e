//! Many changes, in any order and at the same time, against a plain model of what must be stored.

mod common;

use common::{Backend, content, first_column, on_every_backend, panel, shape};
use locus_genomics::PanelDigest;
use locus_store::{
    BatchId, GarbagePolicy, PanelStore, SlotRange, SlotSet, Store, StoreError, conformance::SyntheticBatch, open_store,
};
use object_store::ObjectStore;
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

on_every_backend!(
    bodies_out_of_order_or_of_the_wrong_length_leave_the_batch_as_it_was,
    a_batch_is_sealed_only_when_whole_and_as_declared,
    a_slot_revoked_before_its_registration_is_stored_but_never_live,
    garbage_collection_spares_uploads_that_are_still_going_on,
);

fn policy(everything: bool) -> GarbagePolicy {
    let now = SystemTime::now();
    let before = if everything { now + Duration::from_secs(3600) } else { SystemTime::UNIX_EPOCH };
    GarbagePolicy { superseded_before: Some(before), abandoned_before: before }
}

/// One change of a simulated history.
#[derive(Debug, Clone)]
enum Op {
    /// Register a batch of this many datasets, after a gap of free slots.
    Enrol {
        rows: u32,
        gap: u32,
    },
    /// Replace the bodies of one of the registrations.
    Replace {
        which: prop::sample::Index,
    },
    /// Upload a batch and forget it.
    Abandon,
    Tombstone {
        slots: Vec<u32>,
    },
    Compact {
        shards: BTreeSet<u32>,
    },
    CompactAll,
    Erase {
        slots: Vec<u32>,
    },
    CollectGarbage {
        everything: bool,
    },
    /// Start over with what is in storage.
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let slots = prop::collection::vec(0u32..2300, 1..8);
    prop_oneof![
        5 => (1u32..9, prop_oneof![Just(0u32), 1u32..5, 500u32..700]).prop_map(|(rows, gap)| Op::Enrol { rows, gap }),
        3 => any::<prop::sample::Index>().prop_map(|which| Op::Replace { which }),
        1 => Just(Op::Abandon),
        2 => slots.clone().prop_map(|slots| Op::Tombstone { slots }),
        2 => prop::collection::btree_set(0u32..3, 1..3).prop_map(|shards| Op::Compact { shards }),
        1 => Just(Op::CompactAll),
        2 => slots.prop_map(|slots| Op::Erase { slots }),
        2 => any::<bool>().prop_map(|everything| Op::CollectGarbage { everything }),
        1 => Just(Op::Reopen),
    ]
}

/// What must be stored: of every registered slot, which datasets of which batches it has had, the newest last.
#[derive(Default)]
struct Model {
    next_slot: u32,
    next_seed: u8,
    /// First batch and first slot of every registration.
    registrations: Vec<(SyntheticBatch, u32)>,
    slots: BTreeMap<u32, Vec<(SyntheticBatch, u32)>>,
    tombstones: BTreeSet<u32>,
    erased: BTreeSet<u32>,
}

impl Model {
    fn live(&self) -> BTreeSet<u32> {
        self.slots.keys().filter(|slot| !self.tombstones.contains(slot)).copied().collect()
    }

    fn batch(&mut self, rows: u32) -> SyntheticBatch {
        self.next_seed += 1;
        SyntheticBatch { seed: self.next_seed, rows }
    }

    async fn apply(&mut self, panel: &PanelStore, op: &Op) -> Result<(), StoreError> {
        match op {
            Op::Enrol { rows, gap } => {
                let batch = self.batch(*rows);
                let first = self.next_slot + gap;
                batch.enrol(panel, first).await?;
                self.registrations.push((batch, first));
                self.slots.extend((0..*rows).map(|row| (first + row, vec![(batch, row)])));
                self.next_slot = first + rows;
            }
            Op::Replace { which } if !self.registrations.is_empty() => {
                let (replaced, first) = *which.get(&self.registrations);
                let batch = self.batch(replaced.rows);
                let is_gone = |row: &u32| self.tombstones.contains(&(first + row));
                let (gone, kept): (Vec<u32>, Vec<u32>) = (0..batch.rows).partition(is_gone);
                let datasets = batch.upload_without(panel, &gone).await?;
                let manifest = batch.replace(panel, replaced, first, &datasets).await?;
                assert!(panel.holds(&manifest, first, &datasets).await?);
                for row in kept {
                    self.slots.entry(first + row).or_default().push((batch, row));
                }
            }
            Op::Abandon => drop(self.batch(2).upload(panel, 2).await?),
            Op::Tombstone { slots } => {
                panel.tombstone(&SlotSet::try_from_iter(slots.iter().copied())?).await?;
                self.tombstones.extend(slots);
            }
            Op::Compact { shards } => drop(panel.compact(shards).await?),
            Op::CompactAll => {
                let shards = panel.latest().await?.fragmented_shards();
                let manifest = panel.compact(&shards).await?;
                assert!(manifest.fragmented_shards().is_empty());
            }
            Op::Erase { slots } => {
                let set = SlotSet::try_from_iter(slots.iter().copied())?;
                let now = GarbagePolicy { superseded_before: None, ..policy(false) };
                let report = panel.erase(&set, now).await?;
                self.tombstones.extend(slots);
                self.erased.extend(slots.iter().filter(|slot| self.slots.contains_key(slot)));
                assert!(report.manifest.pending_erasure().intersection(&set).is_empty());
            }
            Op::CollectGarbage { everything } => drop(panel.collect_garbage(policy(*everything)).await?),
            Op::Replace { .. } | Op::Reopen => {}
        }
        Ok(())
    }
}

async fn check(store: &Arc<dyn ObjectStore>, panel: &PanelStore, model: &Model) {
    let manifest = panel.latest().await.expect("readable");
    let found = content(panel, &manifest).await;
    assert_eq!(found.keys().copied().collect::<BTreeSet<_>>(), model.live());
    for (slot, digests) in &found {
        let (batch, row) = model.slots[slot].last().expect("registered");
        for (column, digest) in shape().columns().zip(digests) {
            let body = batch.body(column, *row);
            let body = body.as_slice().try_into().expect("one body");
            assert_eq!(*digest, locus_commitment::BodyDigest::of_body(body), "slot {slot}");
        }
    }
    let needles: Vec<_> = model
        .erased
        .iter()
        .flat_map(|slot| &model.slots[slot])
        .map(|(batch, row)| batch.needle(first_column(), *row))
        .collect();
    let holding = Store::from_object_store(store.clone()).scan(&needles).await.expect("it works");
    assert!(holding.is_empty(), "erased bodies are in {holding:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_of_changes_stores_what_it_says(
        ops in prop::collection::vec(op(), 1..14), backend in prop::sample::select(&Backend::ALL[..]),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
        runtime.block_on(async {
            let store = backend.empty();
            let mut opened = panel(store.clone());
            let mut model = Model::default();
            for op in &ops {
                model.apply(&opened, op).await.expect("it works");
                if matches!(op, Op::Reopen) {
                    opened = panel(store.clone());
                }
                check(&store, &opened, &model).await;
            }
        });
    }
}

/// Separate threads with their own runtimes and views, like separate processes on one directory.
#[test]
fn writers_on_separate_threads_lose_nothing() {
    const WRITERS: u8 = 4;
    const BATCHES: u8 = 5;
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().display().to_string();
    let open = || open_store(&path, BTreeMap::new()).expect("directory opens").panel(PanelDigest([7; 32]), shape());
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            scope.spawn(move || {
                let panel = open();
                runtime().block_on(async {
                    for batch in 0..BATCHES {
                        let batch = SyntheticBatch { seed: 1 + writer * BATCHES + batch, rows: 3 };
                        let first = u32::from(batch.seed) * 3;
                        batch.enrol(&panel, first).await.expect("every registration succeeds");
                        panel.tombstone(&SlotSet::try_from_iter([first]).expect("small")).await.expect("tombstoned");
                    }
                });
            });
        }
        scope.spawn(move || {
            let panel = open();
            runtime().block_on(async {
                while panel.latest().await.expect("readable").live().len() < u64::from(WRITERS * BATCHES) * 2 {
                    panel.compact(&BTreeSet::from([0])).await.expect("compaction beside writers");
                }
            });
        });
    });
    let panel = open();
    runtime().block_on(async {
        let manifest = panel.latest().await.expect("readable");
        let live = content(&panel, &manifest).await;
        assert_eq!(live.len(), usize::from(WRITERS * BATCHES) * 2);
        assert_eq!(manifest.tombstones().len(), u64::from(WRITERS * BATCHES));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_several_parts_reads_back_from_a_directory() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let store = open_store(&directory.path().display().to_string(), BTreeMap::new()).expect("directory opens");
    let panel = store.panel(PanelDigest([7; 32]), shape());
    let batch = SyntheticBatch { seed: 1, rows: 1100 };
    let datasets = batch.upload(&panel, 200).await.expect("uploaded");
    let manifest = batch.register(&panel, 700, &datasets).await.expect("registered");
    assert_eq!(manifest.parts().len(), 2);
    let before = content(&panel, &manifest).await;
    assert_eq!(before.keys().copied().collect::<Vec<_>>(), (700..1800).collect::<Vec<_>>());
    // The parts straddle shards 0 and 1: compacting one shard leaves the other's slots readable.
    let half = panel.compact(&BTreeSet::from([1])).await.expect("compacted");
    assert_eq!(half.fragmented_shards(), BTreeSet::from([0]));
    assert_eq!(content(&panel, &half).await, before);
    // A copy of slot 1500 is still in the batch's object, which shard 0 needs; erasing finds it.
    let slots = SlotSet::try_from_iter([1500]).expect("small");
    let needle = batch.needle(first_column(), 800);
    assert!(!store.scan(&[needle]).await.expect("scanned").is_empty());
    let erased = panel.erase(&slots, GarbagePolicy { superseded_before: None, ..policy(false) }).await;
    let manifest = erased.expect("erased").manifest;
    assert_eq!(store.scan(&[needle]).await.expect("scanned"), Vec::<String>::new());
    assert_eq!(content(&panel, &manifest).await.len(), 1099);
}

async fn bodies_out_of_order_or_of_the_wrong_length_leave_the_batch_as_it_was(backend: Backend) {
    let panel = panel(backend.empty());
    let batch = SyntheticBatch { seed: 1, rows: 3 };
    let mut writer = panel.create_batch(batch.id(), 3).await.expect("new batch");
    let columns: Vec<_> = shape().columns().collect();
    let bodies = |first, count| batch.bodies(columns[0], first, count);
    let skipped = writer.append(columns[0], 1, bodies(1, 1)).await;
    assert!(matches!(skipped, Err(StoreError::OutOfOrder { row: 1, expected_row: 0, .. })), "{skipped:?}");
    let other_column = writer.append(columns[1], 0, bodies(0, 1)).await;
    assert!(matches!(other_column, Err(StoreError::OutOfOrder { .. })), "{other_column:?}");
    for wrong in [bodies(0, 1).slice(1..), bodies(0, 0), batch.bodies(columns[0], 0, 4)] {
        let refused = writer.append(columns[0], 0, wrong).await;
        assert!(matches!(refused, Err(StoreError::AppendLength { rows_max: 3, .. })), "{refused:?}");
    }
    for &column in &columns {
        let openings = writer.append(column, 0, batch.bodies(column, 0, 3)).await.expect("right order");
        let body = batch.body(column, 2);
        assert_eq!(openings[2].check_slots, body[..128]);
        assert_eq!(
            openings[2].digest(),
            locus_commitment::BodyDigest::of_body(body.as_slice().try_into().expect("body"))
        );
    }
    let beyond = writer.append(columns[0], 0, bodies(0, 1)).await;
    assert!(matches!(beyond, Err(StoreError::AppendLength { rows_max: 0, .. })), "{beyond:?}");
    writer.finish(&batch.datasets(shape())).await.expect("the batch is whole");
}

async fn a_batch_is_sealed_only_when_whole_and_as_declared(backend: Backend) {
    let store: Arc<dyn ObjectStore> = backend.empty();
    let panel = panel(store.clone());
    let batch = SyntheticBatch { seed: 1, rows: 2 };
    let writer = panel.create_batch(batch.id(), 2).await.expect("new batch");
    let early = writer.finish(&batch.datasets(shape())).await;
    assert!(matches!(early, Err(StoreError::Incomplete { row: 0, .. })), "{early:?}");

    let other = SyntheticBatch { seed: 2, rows: 2 };
    let mut writer = panel.create_batch(other.id(), 2).await.expect("new batch");
    for column in shape().columns() {
        writer.append(column, 0, other.bodies(column, 0, 2)).await.expect("right order");
    }
    let mut declared = other.datasets(shape());
    declared[1] = batch.datasets(shape())[0];
    let differs = writer.finish(&declared).await;
    assert!(matches!(differs, Err(StoreError::DatasetMismatch { row: 1 })), "{differs:?}");
    for id in [batch.id(), other.id()] {
        let sealed = panel.sealed_batch(id).await;
        assert!(matches!(sealed, Err(StoreError::BatchNotSealed(_))), "{sealed:?}");
    }
    panel.collect_garbage(policy(true)).await.expect("collected");
    let left: Vec<_> = futures::TryStreamExt::try_collect(store.list(None)).await.expect("memory lists");
    assert!(left.iter().all(|meta: &object_store::ObjectMeta| meta.location.as_ref().contains("/manifest/")));
    for rows in [0, 4097] {
        let refused = panel.create_batch(BatchId([9; 32]), rows).await;
        assert!(matches!(refused, Err(StoreError::BatchLimit { .. })), "{refused:?}");
    }
}

async fn a_slot_revoked_before_its_registration_is_stored_but_never_live(backend: Backend) {
    let panel = panel(backend.empty());
    panel.tombstone(&SlotSet::try_from_iter([11]).expect("small")).await.expect("tombstoned");
    let manifest = SyntheticBatch { seed: 1, rows: 3 }.enrol(&panel, 10).await.expect("registered");
    assert_eq!(manifest.live().iter().collect::<Vec<_>>(), [10, 12]);
    assert_eq!(manifest.pending_erasure().iter().collect::<Vec<_>>(), [11]);
    assert!(manifest.covers(SlotRange { first: 10, count: 3 }));
    let policy = GarbagePolicy { superseded_before: None, ..policy(false) };
    let erased = panel.erase(&manifest.pending_erasure(), policy).await.expect("erased").manifest;
    assert!(erased.covers(SlotRange { first: 10, count: 3 }), "erased slots count as registered");
    assert!(!erased.held().contains(11));
}

async fn garbage_collection_spares_uploads_that_are_still_going_on(backend: Backend) {
    let panel = panel(backend.empty());
    let batch = SyntheticBatch { seed: 1, rows: 2 };
    let datasets = batch.upload(&panel, 1).await.expect("uploaded");
    SyntheticBatch { seed: 2, rows: 2 }.enrol(&panel, 50).await.expect("registered");
    let superseded = GarbagePolicy { superseded_before: None, ..policy(false) };
    panel.collect_garbage(superseded).await.expect("collected");
    batch.register(&panel, 0, &datasets).await.expect("the upload is whole");
    let second = SyntheticBatch { seed: 3, rows: 2 };
    let datasets = second.upload(&panel, 1).await.expect("uploaded");
    panel.collect_garbage(policy(true)).await.expect("collected");
    let late = second.register(&panel, 20, &datasets).await;
    assert!(matches!(late, Err(StoreError::BatchNotSealed(_))), "the positive control: {late:?}");
}

#[tokio::test]
async fn files_that_an_interrupted_write_left_are_deleted() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let store = open_store(&directory.path().display().to_string(), BTreeMap::new()).expect("directory opens");
    let panel = store.panel(PanelDigest([7; 32]), shape());
    let batch = SyntheticBatch { seed: 1, rows: 2 };
    batch.enrol(&panel, 0).await.expect("registered");
    let folder = directory.path().join(format!("panel={}", PanelDigest([7; 32])));
    let leftover = folder.join("some.parquet#1");
    std::fs::write(&leftover, batch.body(first_column(), 0)).expect("written");
    let needle = batch.needle(first_column(), 0);
    assert_eq!(store.scan(&[needle]).await.expect("scanned").len(), 2, "the scan sees what listings hide");
    let report = panel.collect_garbage(policy(false)).await.expect("collected");
    assert_eq!(report.leftovers, 0, "a write that may still be going on is spared");
    let report = panel.collect_garbage(policy(true)).await.expect("collected");
    assert_eq!(report.leftovers, 1);
    assert!(!leftover.exists());
    assert_eq!(content(&panel, &panel.latest().await.expect("readable")).await.len(), 2);
}

#[tokio::test]
async fn erasure_deletes_what_an_interrupted_write_of_its_shard_left_at_any_age() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let store = open_store(&directory.path().display().to_string(), BTreeMap::new()).expect("directory opens");
    let panel = store.panel(PanelDigest([7; 32]), shape());
    let batch = SyntheticBatch { seed: 1, rows: 2 };
    batch.enrol(&panel, 0).await.expect("registered");
    let folder = directory.path().join(format!("panel={}", PanelDigest([7; 32]))).join("block=0000/plane=0");
    let leftover = |shard: &str| {
        let folder = folder.join(shard);
        std::fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join("gen=1.parquet#3");
        std::fs::write(&file, batch.body(first_column(), 0)).expect("written");
        file
    };
    let (of_shard, of_another) = (leftover("shard=00000"), leftover("shard=00001"));
    let slots = SlotSet::try_from_iter([0]).expect("small");
    let policy = GarbagePolicy { superseded_before: None, ..policy(false) };
    assert_eq!(panel.erase(&slots, policy).await.expect("erased").garbage.leftovers, 1);
    assert!(!of_shard.exists());
    assert!(of_another.exists(), "the control: a write of another shard may still be going on");
}
