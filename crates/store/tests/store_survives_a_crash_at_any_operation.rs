//! The process stops at every storage operation of every change in turn, once before the operation
//! has taken effect and once after. What is stored must then be what it was before the change or
//! what it is after it, and trying the change again must complete it.

mod common;

use common::{Backend, FaultyStore, Stop, content, copy_of, on_every_backend, panel};
use locus_commitment::{BodyDigest, DatasetBodyDigest};
use locus_store::{BatchId, GarbagePolicy, Manifest, PanelStore, SlotSet, StoreError, conformance::SyntheticBatch};
use object_store::ObjectStore;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

on_every_backend!(
    upload_and_registration_are_all_or_nothing,
    an_upload_in_several_pieces_is_all_or_nothing,
    a_tombstone_is_all_or_nothing,
    compaction_changes_nothing_that_can_be_seen_wherever_it_stops,
    garbage_collection_takes_nothing_that_is_in_use_wherever_it_stops,
    erasure_completes_however_often_it_is_stopped,
    erasure_removes_what_a_compaction_left_wherever_it_was_stopped,
    an_interrupted_change_leaves_no_object_for_ever,
    a_replacement_is_all_or_nothing,
    replaced_bodies_disappear_however_often_their_removal_is_stopped,
);

const FIRST: SyntheticBatch = SyntheticBatch { seed: 1, rows: 6 };
const SECOND: SyntheticBatch = SyntheticBatch { seed: 2, rows: 5 };
const ADDED: SyntheticBatch = SyntheticBatch { seed: 3, rows: 4 };
/// Takes the place of `FIRST`.
const REPLACING: SyntheticBatch = SyntheticBatch { seed: 5, rows: 6 };
const ABANDONED: SyntheticBatch = SyntheticBatch { seed: 4, rows: 2 };

/// What a user of the store can see.
#[derive(Debug, PartialEq)]
struct View {
    live: BTreeMap<u32, Vec<BodyDigest>>,
    tombstones: Vec<u32>,
}

async fn view(panel: &PanelStore) -> View {
    let manifest = panel.latest().await.expect("the store is readable");
    View { live: content(panel, &manifest).await, tombstones: manifest.tombstones().iter().collect() }
}

/// Slots 1020.. lie in shards 0 and 1; slots 1100.. in shard 1.
async fn two_batches(backend: Backend) -> Arc<dyn ObjectStore> {
    let store = backend.empty();
    FIRST.enrol(&panel(store.clone()), 1020).await.expect("it works");
    SECOND.enrol(&panel(store.clone()), 1100).await.expect("it works");
    store
}

/// Runs `change` on copies of `start`, stopping at every operation, and checks what is left.
async fn stops_anywhere<F, Fut>(backend: Backend, start: Arc<dyn ObjectStore>, change: F) -> u64
where
    F: Fn(PanelStore) -> Fut,
    Fut: Future<Output = Result<(), StoreError>>,
{
    let before = view(&panel(start.clone())).await;
    let reference = copy_of(&start, backend).await;
    let counter = FaultyStore::counting(reference.clone());
    change(panel(counter.clone())).await.expect("the change works when nothing stops");
    let after = view(&panel(reference)).await;
    let operations = counter.operations();
    for stop in [Stop::Before, Stop::After] {
        for stop_at in 0..operations {
            let store = copy_of(&start, backend).await;
            let stopped = change(panel(FaultyStore::new(store.clone(), stop_at, stop))).await;
            assert!(stopped.is_err(), "operation {stop_at} of {operations} was not needed");
            let found = view(&panel(store.clone())).await;
            assert!(found == before || found == after, "stop {stop:?} operation {stop_at}: a mix is visible");
            change(panel(store.clone())).await.expect("the change can be tried again");
            assert_eq!(view(&panel(store)).await, after, "stop {stop:?} operation {stop_at}");
        }
    }
    operations
}

fn everything_is_old() -> GarbagePolicy {
    let future = SystemTime::now() + Duration::from_secs(3600);
    GarbagePolicy { superseded_before: Some(future), abandoned_before: future }
}

async fn upload_and_registration_are_all_or_nothing(backend: Backend) {
    let operations = stops_anywhere(backend, two_batches(backend).await, |panel| async move {
        // An upload that was interrupted starts over under the same name once it is discarded and
        // collected; if it was registered already, nothing is left to do.
        if panel.latest().await?.held().contains(5) {
            return Ok(());
        }
        match panel.sealed_batch(ADDED.id()).await {
            Err(StoreError::BatchNotSealed(_)) => {
                panel.discard_batch(ADDED.id()).await?;
                panel.collect_garbage(everything_is_old()).await?;
                ADDED.upload(&panel, 3).await?;
            }
            sealed => drop(sealed?),
        }
        ADDED.register(&panel, 5, &ADDED.datasets(panel.shape())).await.map(drop)
    })
    .await;
    assert!(operations > 20, "{operations} operations do not exercise the upload");
}

async fn an_upload_in_several_pieces_is_all_or_nothing(backend: Backend) {
    // 170 bodies are 5.3 MiB, more than one piece of an upload.
    const LARGE: SyntheticBatch = SyntheticBatch { seed: 9, rows: 170 };
    let bodies: Vec<_> = common::shape().columns().map(|column| LARGE.bodies(column, 0, LARGE.rows)).collect();
    let datasets = LARGE.datasets(common::shape());
    let upload = |panel: PanelStore, id: BatchId| {
        let (bodies, datasets) = (&bodies, &datasets);
        async move {
            let mut writer = panel.create_batch(id, LARGE.rows).await?;
            while let Some((column, first)) = writer.expects() {
                let of_column = &bodies[column.block.0 as usize];
                writer.append(column, first, of_column.slice(..)).await?;
            }
            writer.finish(datasets).await
        }
    };
    let counter = FaultyStore::counting(backend.empty());
    upload(panel(counter.clone()), LARGE.id()).await.expect("it works");
    for stop in [Stop::Before, Stop::After] {
        for stop_at in 0..counter.operations() {
            let store = backend.empty();
            let stopped = upload(panel(FaultyStore::new(store.clone(), stop_at, stop)), LARGE.id()).await;
            assert!(stopped.is_err(), "operation {stop_at} was not needed");
            let reopened = panel(store);
            assert_eq!(reopened.latest().await.expect("readable").version(), 0);
            if let Ok(sealed) = reopened.sealed_batch(LARGE.id()).await {
                assert_eq!(sealed.rows(), LARGE.rows, "a batch that is sealed is whole");
                LARGE.register(&reopened, 0, &datasets).await.expect("a sealed batch can be registered");
            }
            upload(reopened.clone(), BatchId([99; 32])).await.expect("another upload works");
        }
    }
}

async fn a_tombstone_is_all_or_nothing(backend: Backend) {
    stops_anywhere(backend, two_batches(backend).await, |panel| async move {
        panel.tombstone(&SlotSet::try_from_iter([1021, 1022, 1103])?).await.map(drop)
    })
    .await;
}

async fn compaction_changes_nothing_that_can_be_seen_wherever_it_stops(backend: Backend) {
    let start = two_batches(backend).await;
    panel(start.clone()).tombstone(&SlotSet::try_from_iter([1024]).expect("small")).await.expect("it works");
    let operations = stops_anywhere(backend, start, |panel| async move {
        let shards = panel.latest().await?.fragmented_shards();
        panel.compact(&shards).await.map(drop)
    })
    .await;
    assert!(operations > 40, "{operations} operations do not exercise compaction");
}

async fn garbage_collection_takes_nothing_that_is_in_use_wherever_it_stops(backend: Backend) {
    let start = two_batches(backend).await;
    let prepared = panel(start.clone());
    ABANDONED.upload(&prepared, 2).await.expect("it works");
    prepared.compact(&BTreeSet::from([0, 1])).await.expect("it works");
    stops_anywhere(backend, start, |panel| async move { panel.collect_garbage(everything_is_old()).await.map(drop) })
        .await;
}

async fn erasure_completes_however_often_it_is_stopped(backend: Backend) {
    let start = two_batches(backend).await;
    let slots = SlotSet::try_from_iter([1023, 1101]).expect("small slots");
    let needles: Vec<_> =
        common::shape().columns().flat_map(|column| [FIRST.needle(column, 3), SECOND.needle(column, 1)]).collect();
    let found = locus_store::Store::from_object_store(start.clone()).scan(&needles).await.expect("it works");
    assert_eq!(found.len(), 4, "the positive control: the bodies are in storage before");
    let erase = |panel: PanelStore| {
        let slots = slots.clone();
        async move { panel.erase(&slots, REPLACED_AT_ONCE).await.map(drop) }
    };
    let operations = stops_anywhere(backend, start.clone(), erase).await;
    for stop_at in 0..operations {
        let store = copy_of(&start, backend).await;
        let _ = erase(panel(FaultyStore::new(store.clone(), stop_at, Stop::After))).await;
        erase(panel(store.clone())).await.expect("erasure can be tried again");
        let found = locus_store::Store::from_object_store(store).scan(&needles).await.expect("it works");
        assert!(found.is_empty(), "stopped at {stop_at}: {found:?}");
    }
}

/// The bodies of somebody who leaves are also in what a compaction of before left that was cut off.
async fn erasure_removes_what_a_compaction_left_wherever_it_was_stopped(backend: Backend) {
    let start = two_batches(backend).await;
    let slots = SlotSet::try_from_iter([1023, 1101]).expect("small slots");
    let needles: Vec<_> =
        common::shape().columns().flat_map(|column| [FIRST.needle(column, 3), SECOND.needle(column, 1)]).collect();
    let compact = |panel: PanelStore| async move { panel.compact(&BTreeSet::from([0, 1])).await.map(drop) };
    let counter = FaultyStore::counting(copy_of(&start, backend).await);
    compact(panel(counter.clone())).await.expect("it works");
    for stop_at in 0..counter.operations() {
        let store = copy_of(&start, backend).await;
        let _ = compact(panel(FaultyStore::new(store.clone(), stop_at, Stop::After))).await;
        panel(store.clone()).erase(&slots, REPLACED_AT_ONCE).await.expect("erasure works");
        let found = locus_store::Store::from_object_store(store).scan(&needles).await.expect("it works");
        assert!(found.is_empty(), "stopped at {stop_at}: {found:?}");
    }
}

async fn an_interrupted_change_leaves_no_object_for_ever(backend: Backend) {
    let start = two_batches(backend).await;
    let compact = |panel: PanelStore| async move { panel.compact(&BTreeSet::from([0, 1])).await.map(drop) };
    let counter = FaultyStore::counting(copy_of(&start, backend).await);
    compact(panel(counter.clone())).await.expect("it works");
    for stop_at in 0..counter.operations() {
        let store = copy_of(&start, backend).await;
        let _ = compact(panel(FaultyStore::new(store.clone(), stop_at, Stop::Before))).await;
        let reopened = panel(store.clone());
        let shards = reopened.latest().await.expect("readable").fragmented_shards();
        reopened.compact(&shards).await.expect("compaction can be tried again");
        reopened.collect_garbage(everything_is_old()).await.expect("collection works");
        reopened.collect_garbage(everything_is_old()).await.expect("collection works");
        let manifest: Manifest = reopened.latest().await.expect("readable");
        // Two shards of two columns: bodies and total of each, digests, index, claim; one manifest.
        assert_eq!(object_count(&store).await, 2 * (2 * 2 + 3) + 1, "stopped at {stop_at}, {manifest:?}");
    }
}

/// What an archive erases with: replaced objects go at once, and no upload is too old.
const REPLACED_AT_ONCE: GarbagePolicy =
    GarbagePolicy { superseded_before: None, abandoned_before: SystemTime::UNIX_EPOCH };

/// Two batches, of which the first lies in a shard and a batch and waits to be replaced, all but slot 1021.
async fn with_a_replacement(backend: Backend) -> (Arc<dyn ObjectStore>, Vec<Option<DatasetBodyDigest>>) {
    let start = two_batches(backend).await;
    let prepared = panel(start.clone());
    prepared.compact(&BTreeSet::from([0])).await.expect("it works");
    prepared.tombstone(&SlotSet::try_from_iter([1021]).expect("small")).await.expect("it works");
    let datasets = REPLACING.upload_without(&prepared, &[1]).await.expect("it works");
    (start, datasets)
}

async fn a_replacement_is_all_or_nothing(backend: Backend) {
    let (start, datasets) = with_a_replacement(backend).await;
    let before = view(&panel(start.clone())).await;
    let operations = stops_anywhere(backend, start.clone(), |panel| {
        let datasets = &datasets;
        async move { REPLACING.replace(&panel, FIRST, 1020, datasets).await.map(drop) }
    })
    .await;
    assert!(operations > 10, "{operations} operations do not exercise a replacement");
    let opened = panel(start);
    let manifest = REPLACING.replace(&opened, FIRST, 1020, &datasets).await.expect("it works");
    assert!(opened.holds(&manifest, 1020, &datasets).await.expect("it works"));
    let after = view(&opened).await;
    assert!(before.live.keys().eq(after.live.keys()));
    let changed = before.live.iter().filter(|(slot, digests)| after.live[slot] != **digests);
    assert!(changed.map(|(slot, _)| *slot).eq([1020, 1022, 1023, 1024, 1025]));
}

async fn replaced_bodies_disappear_however_often_their_removal_is_stopped(backend: Backend) {
    let (start, datasets) = with_a_replacement(backend).await;
    let needles: Vec<_> =
        common::shape().columns().flat_map(|column| (0..6).map(move |row| FIRST.needle(column, row))).collect();
    let replace = |panel: PanelStore| {
        let datasets = &datasets;
        async move {
            let manifest = REPLACING.replace(&panel, FIRST, 1020, datasets).await?;
            panel.compact(&manifest.fragmented_shards()).await?;
            panel.collect_garbage(everything_is_old()).await.map(drop)
        }
    };
    let operations = stops_anywhere(backend, start.clone(), replace).await;
    for stop_at in 0..operations {
        let store = copy_of(&start, backend).await;
        let _ = replace(panel(FaultyStore::new(store.clone(), stop_at, Stop::After))).await;
        replace(panel(store.clone())).await.expect("it can be tried again");
        let found = locus_store::Store::from_object_store(store.clone()).scan(&needles).await.expect("it works");
        assert!(found.is_empty(), "stopped at {stop_at}: {found:?}");
        // As above, but for what an interrupted collection leaves to the next.
        panel(store.clone()).collect_garbage(everything_is_old()).await.expect("collection works");
        assert_eq!(object_count(&store).await, 2 * (2 * 2 + 3) + 1, "stopped at {stop_at}");
    }
}

async fn object_count(store: &Arc<dyn ObjectStore>) -> usize {
    use futures::TryStreamExt;
    store.list(None).try_collect::<Vec<_>>().await.expect("it lists").len()
}
