//! New bodies in the slots of a registration: what is served, what is refused, and what is left of the old ones.

mod common;

use common::{Backend, content, on_every_backend, panel, shape};
use locus_commitment::{BodyDigest, DatasetBodyDigest};
use locus_store::{
    BatchId, BodySum, FILLER_BODY, GarbagePolicy, Manifest, PanelStore, RegistrationCommit, SlotRange, SlotSet, Store,
    StoreError, conformance::SyntheticBatch, read_windows,
};
use object_store::ObjectStore;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

on_every_backend!(
    bodies_of_a_batch_are_replaced_before_it_is_compacted,
    bodies_in_a_shard_are_replaced_and_those_of_neighbours_stay,
    tombstoned_slots_never_come_back,
    erasing_after_a_replacement_finds_bodies_that_no_slot_names_any_more,
    bodies_that_came_after_all_for_an_erased_slot_are_reported_and_removed,
    replacing_again_changes_nothing_even_when_compacted_and_collected,
    a_registration_is_replaced_as_often_as_asked,
    a_registration_without_a_slot_in_use_is_left_alone,
    what_does_not_fit_is_refused_and_changes_nothing,
    fillers_never_count_in_sums,
);

const OLD: SyntheticBatch = SyntheticBatch { seed: 1, rows: 6 };
const NEW: SyntheticBatch = SyntheticBatch { seed: 2, rows: 6 };
const NEWER: SyntheticBatch = SyntheticBatch { seed: 3, rows: 6 };
const LEFT: SyntheticBatch = SyntheticBatch { seed: 4, rows: 3 };
const RIGHT: SyntheticBatch = SyntheticBatch { seed: 5, rows: 4 };
/// Slots 1020..1026, in shards 0 and 1.
const FIRST: u32 = 1020;

fn slots(slots: impl IntoIterator<Item = u32>) -> SlotSet {
    SlotSet::try_from_iter(slots).expect("small slots")
}

/// All that is superseded, but no uploads.
fn superseded() -> GarbagePolicy {
    GarbagePolicy { superseded_before: None, abandoned_before: SystemTime::UNIX_EPOCH }
}

fn expected(of: impl IntoIterator<Item = (u32, SyntheticBatch, u32)>) -> BTreeMap<u32, Vec<BodyDigest>> {
    let digests = |batch: SyntheticBatch, row| {
        let digest = |column| BodyDigest::of_body(&batch.body(column, row).try_into().expect("one body"));
        shape().columns().map(digest).collect()
    };
    of.into_iter().map(|(slot, batch, row)| (slot, digests(batch, row))).collect()
}

/// The registration with neighbours on both sides.
async fn neighbours(store: &Arc<dyn ObjectStore>) -> PanelStore {
    let panel = panel(store.clone());
    LEFT.enrol(&panel, FIRST - LEFT.rows).await.expect("registered");
    OLD.enrol(&panel, FIRST).await.expect("registered");
    RIGHT.enrol(&panel, FIRST + OLD.rows).await.expect("registered");
    panel
}

/// What the neighbours and the rows of `batch` but `gone` must read as.
fn expected_with(batch: SyntheticBatch, gone: &[u32]) -> BTreeMap<u32, Vec<BodyDigest>> {
    let rows = |batch: SyntheticBatch, first: u32| (0..batch.rows).map(move |row| (first + row, batch, row));
    let of_batch = rows(batch, FIRST).filter(|(_, _, row)| !gone.contains(row));
    expected(rows(LEFT, FIRST - LEFT.rows).chain(of_batch).chain(rows(RIGHT, FIRST + OLD.rows)))
}

async fn found(store: &Arc<dyn ObjectStore>, batch: SyntheticBatch, rows: impl IntoIterator<Item = u32>) -> usize {
    let rows: Vec<u32> = rows.into_iter().collect();
    let needles: Vec<_> =
        shape().columns().flat_map(|column| rows.iter().map(move |&row| batch.needle(column, row))).collect();
    Store::from_object_store(store.clone()).scan(&needles).await.expect("it scans").len()
}

/// Compacts all that is fragmented, which it returns, and collects what is superseded.
async fn tidied(panel: &PanelStore) -> Manifest {
    let shards = panel.latest().await.expect("readable").fragmented_shards();
    panel.compact(&shards).await.expect("compacted");
    panel.collect_garbage(superseded()).await.expect("collected");
    panel.latest().await.expect("readable")
}

async fn bodies_of_a_batch_are_replaced_before_it_is_compacted(backend: Backend) {
    let store = backend.empty();
    let panel = neighbours(&store).await;
    let datasets = NEW.upload_without(&panel, &[]).await.expect("uploaded");
    let before = panel.latest().await.expect("readable");
    assert_eq!(content(&panel, &before).await, expected_with(OLD, &[]), "an upload changes nothing");
    assert!(!panel.holds(&before, FIRST, &datasets).await.expect("reads"));
    let after = NEW.replace(&panel, OLD, FIRST, &datasets).await.expect("replaced");
    assert!(panel.holds(&after, FIRST, &datasets).await.expect("reads"));
    assert_eq!(content(&panel, &after).await, expected_with(NEW, &[]));
    assert_eq!(content(&panel, &before).await, expected_with(OLD, &[]), "a pinned version reads as before");
    assert_eq!(after.held(), before.held());
    // Nothing names the old batch, so collecting garbage is enough.
    assert!(found(&store, OLD, 0..6).await > 0, "the positive control");
    panel.collect_garbage(superseded()).await.expect("collected");
    assert_eq!(found(&store, OLD, 0..6).await, 0);
    assert_eq!(content(&panel, &after).await, expected_with(NEW, &[]));
}

async fn bodies_in_a_shard_are_replaced_and_those_of_neighbours_stay(backend: Backend) {
    for shards in [vec![0], vec![1], vec![0, 1]] {
        let store = backend.empty();
        let panel = neighbours(&store).await;
        panel.compact(&shards.iter().copied().collect()).await.expect("compacted");
        let datasets = NEW.upload_without(&panel, &[]).await.expect("uploaded");
        let after = NEW.replace(&panel, OLD, FIRST, &datasets).await.expect("replaced");
        assert_eq!(content(&panel, &after).await, expected_with(NEW, &[]), "{shards:?}");
        assert_eq!(after.fragmented_shards(), BTreeSet::from([0, 1]), "old bodies are still to be removed");
        panel.collect_garbage(superseded()).await.expect("collected");
        assert!(found(&store, OLD, 0..6).await > 0, "the shard's objects have them");
        let tidied = tidied(&panel).await;
        assert_eq!(found(&store, OLD, 0..6).await, 0);
        assert_eq!(content(&panel, &tidied).await, expected_with(NEW, &[]), "{shards:?}");
        assert!(panel.holds(&tidied, FIRST, &datasets).await.expect("reads"));
    }
}

async fn tombstoned_slots_never_come_back(backend: Backend) {
    let store = backend.empty();
    let panel = neighbours(&store).await;
    panel.compact(&BTreeSet::from([0])).await.expect("compacted");
    // One erased, one tombstoned in a shard, one tombstoned in the batch.
    panel.erase(&slots([FIRST]), superseded()).await.expect("erased");
    panel.tombstone(&slots([FIRST + 1, FIRST + 4])).await.expect("tombstoned");
    let gone = [0, 1, 4];
    let datasets = NEW.upload_without(&panel, &gone).await.expect("uploaded");
    let after = NEW.replace(&panel, OLD, FIRST, &datasets).await.expect("replaced");
    assert_eq!(content(&panel, &after).await, expected_with(NEW, &gone));
    assert!(after.erased().iter().eq([FIRST]));
    assert!(!after.held().contains(FIRST), "an erased slot is never filled again");
    assert!(after.covers(SlotRange { first: FIRST, count: 6 }));
    let pending: Vec<u32> = after.pending_erasure().iter().collect();
    assert!([FIRST + 1, FIRST + 4].iter().all(|slot| pending.contains(slot)), "{pending:?}");
    let erased = panel.erase(&slots([FIRST + 1, FIRST + 4]), superseded()).await.expect("erased").manifest;
    assert!(erased.erased().iter().eq([FIRST, FIRST + 1, FIRST + 4]));
    assert!(erased.pending_erasure().is_empty());
    assert_eq!(found(&store, OLD, 0..6).await, 0);
    assert_eq!(content(&panel, &erased).await, expected_with(NEW, &gone));
}

async fn erasing_after_a_replacement_finds_bodies_that_no_slot_names_any_more(backend: Backend) {
    let store = backend.empty();
    let panel = neighbours(&store).await;
    panel.compact(&BTreeSet::from([0])).await.expect("compacted");
    let datasets = NEW.upload_without(&panel, &[]).await.expect("uploaded");
    NEW.replace(&panel, OLD, FIRST, &datasets).await.expect("replaced");
    // All of the registration in shard 0 is revoked, and what is left replaced once more: the shard's first generation
    // still has the oldest bodies.
    panel.tombstone(&slots(FIRST..FIRST + 4)).await.expect("tombstoned");
    let gone = [0, 1, 2, 3];
    let datasets = NEWER.upload_without(&panel, &gone).await.expect("uploaded");
    let replaced = NEWER.replace(&panel, OLD, FIRST, &datasets).await.expect("replaced");
    assert!(replaced.fragmented_shards().contains(&0));
    assert!(found(&store, OLD, gone).await > 0, "the positive control");
    let erased = panel.erase(&slots(FIRST..FIRST + 4), superseded()).await.expect("erased").manifest;
    assert_eq!(found(&store, OLD, gone).await + found(&store, NEW, gone).await, 0);
    assert_eq!(content(&panel, &erased).await, expected_with(NEWER, &gone));
}

async fn bodies_that_came_after_all_for_an_erased_slot_are_reported_and_removed(backend: Backend) {
    let store = backend.empty();
    let panel = neighbours(&store).await;
    let datasets = NEW.upload_without(&panel, &[]).await.expect("uploaded");
    // Revoked and erased while the upload waits.
    panel.erase(&slots([FIRST + 2]), superseded()).await.expect("erased");
    let after = NEW.replace(&panel, OLD, FIRST, &datasets).await.expect("replaced");
    assert_eq!(content(&panel, &after).await, expected_with(NEW, &[2]));
    assert!(after.pending_erasure().iter().eq([FIRST + 2]));
    let erased = panel.erase(&after.pending_erasure(), superseded()).await.expect("erased").manifest;
    assert!(erased.pending_erasure().is_empty());
    assert_eq!(found(&store, NEW, [2]).await, 0);
    assert_eq!(content(&panel, &erased).await, expected_with(NEW, &[2]));
}

async fn replacing_again_changes_nothing_even_when_compacted_and_collected(backend: Backend) {
    let store = backend.empty();
    let panel = neighbours(&store).await;
    panel.tombstone(&slots([FIRST + 5])).await.expect("tombstoned");
    let datasets = NEW.upload_without(&panel, &[5]).await.expect("uploaded");
    let after = NEW.replace(&panel, OLD, FIRST, &datasets).await.expect("replaced");
    assert_eq!(NEW.replace(&panel, OLD, FIRST, &datasets).await.expect("nothing to do"), after);
    let compacted = panel.compact(&after.fragmented_shards()).await.expect("compacted");
    assert_eq!(NEW.replace(&panel, OLD, FIRST, &datasets).await.expect("nothing to do"), compacted);
    let tidied = tidied(&panel).await;
    let sealed = panel.sealed_batch(NEW.id()).await;
    assert!(matches!(sealed, Err(StoreError::BatchNotSealed(_))), "the batch is collected: {sealed:?}");
    assert_eq!(NEW.replace(&panel, OLD, FIRST, &datasets).await.expect("nothing to do"), tidied);
    // The old digests are not what is served.
    let old: Vec<_> = OLD.datasets(shape()).into_iter().map(Some).collect();
    assert!(!panel.holds(&tidied, FIRST, &old).await.expect("reads"));
}

async fn a_registration_is_replaced_as_often_as_asked(backend: Backend) {
    let store = backend.empty();
    let panel = neighbours(&store).await;
    let mut generation_seed = 10;
    for compacted in [vec![], vec![0], vec![], vec![1], vec![0, 1], vec![]] {
        panel.compact(&compacted.into_iter().collect()).await.expect("compacted");
        let next = SyntheticBatch { seed: generation_seed, rows: 6 };
        let datasets = next.upload_without(&panel, &[]).await.expect("uploaded");
        let after = next.replace(&panel, OLD, FIRST, &datasets).await.expect("replaced");
        assert_eq!(content(&panel, &after).await, expected_with(next, &[]));
        generation_seed += 1;
    }
    let tidied = tidied(&panel).await;
    let last = SyntheticBatch { seed: generation_seed - 1, rows: 6 };
    assert_eq!(content(&panel, &tidied).await, expected_with(last, &[]));
    for seed in [OLD.seed].into_iter().chain(10..generation_seed - 1) {
        assert_eq!(found(&store, SyntheticBatch { seed, rows: 6 }, 0..6).await, 0, "bodies of batch {seed}");
    }
}

async fn a_registration_without_a_slot_in_use_is_left_alone(backend: Backend) {
    let store = backend.empty();
    let panel = neighbours(&store).await;
    let datasets = NEW.upload_without(&panel, &[]).await.expect("uploaded");
    let tombstoned = panel.tombstone(&slots(FIRST..FIRST + 6)).await.expect("tombstoned");
    assert_eq!(NEW.replace(&panel, OLD, FIRST, &datasets).await.expect("nothing to do"), tombstoned);
}

async fn what_does_not_fit_is_refused_and_changes_nothing(backend: Backend) {
    let store = backend.empty();
    let panel = neighbours(&store).await;
    let before = panel.compact(&BTreeSet::from([0])).await.expect("compacted");
    let datasets = NEW.upload_without(&panel, &[3]).await.expect("uploaded");
    let replace = async |registration: u64, first_slot, datasets: &[Option<DatasetBodyDigest>]| {
        let commit = RegistrationCommit { batch: NEW.id(), registration, first_slot };
        panel.replace_registration(commit, datasets).await
    };
    let of_registration = u64::from(OLD.seed);
    // A filler for a slot in use.
    let refused = replace(of_registration, FIRST, &datasets).await;
    assert!(matches!(refused, Err(StoreError::DatasetMissing { row: 3 })), "{refused:?}");
    let declared: Vec<_> = NEW.datasets(shape()).into_iter().map(Some).collect();
    let refused = replace(of_registration, FIRST, &declared).await;
    assert!(matches!(refused, Err(StoreError::DatasetMismatch { row: 3 })), "{refused:?}");
    let refused = replace(of_registration, FIRST, &datasets[1..]).await;
    assert!(matches!(refused, Err(StoreError::DigestCount { expected: 6, found: 5 })), "{refused:?}");
    // Slots of others, partly of others, and of nobody.
    for (registration, first_slot) in
        [(of_registration, FIRST + 1), (of_registration + 70, FIRST), (of_registration, 0), (of_registration, u32::MAX)]
    {
        let refused = replace(registration, first_slot, &datasets).await;
        assert!(matches!(refused, Err(StoreError::SlotsNotRegistered { count: 6, .. })), "{first_slot}: {refused:?}");
    }
    let commit = RegistrationCommit { batch: BatchId([99; 32]), registration: of_registration, first_slot: FIRST };
    let refused = panel.replace_registration(commit, &datasets).await;
    assert!(matches!(refused, Err(StoreError::BatchNotSealed(_))), "{refused:?}");
    assert_eq!(panel.latest().await.expect("readable"), before);

    // With the slot tombstoned it fits; a registered batch serves one registration.
    panel.tombstone(&slots([FIRST + 3])).await.expect("tombstoned");
    replace(of_registration, FIRST, &datasets).await.expect("replaced");
    SyntheticBatch { seed: 9, rows: 6 }.enrol(&panel, 3000).await.expect("registered");
    let refused = replace(9, 3000, &datasets).await;
    assert!(matches!(refused, Err(StoreError::DatasetMissing { row: 3 })), "{refused:?}");
    panel.tombstone(&slots([3003])).await.expect("tombstoned");
    let refused = replace(9, 3000, &datasets).await;
    assert!(matches!(refused, Err(StoreError::BatchInUse(_))), "{refused:?}");
    // A batch that was collected while it waited.
    NEWER.upload_without(&panel, &[]).await.expect("uploaded");
    let future = SystemTime::now() + Duration::from_secs(3600);
    panel
        .collect_garbage(GarbagePolicy { superseded_before: None, abandoned_before: future })
        .await
        .expect("collected");
    let late: Vec<_> = NEWER.datasets(shape()).into_iter().map(Some).collect();
    let refused = NEWER.replace(&panel, OLD, FIRST, &late).await;
    assert!(matches!(refused, Err(StoreError::BatchNotSealed(_))), "{refused:?}");
}

/// Sums the live slots as a reader of sums does: of every part the stored sum less the other rows, or the rows.
async fn sums(panel: &PanelStore, manifest: &Manifest) -> [Vec<Box<BodySum>>; 2] {
    let mut by_rows = Vec::new();
    let mut by_totals = Vec::new();
    for column in shape().columns() {
        let (mut rows, mut totals) = (BodySum::zero(), BodySum::zero());
        for part in manifest.parts() {
            let reader = panel.open(part).await.expect("opens");
            let digests = reader.digests(&[column], &[]).await.expect("reads");
            let live = manifest.live();
            let in_part = |slot: &u32| part.slots().iter().any(|range| range.contains(*slot)) && live.contains(*slot);
            let (used, others): (Vec<u32>, Vec<u32>) =
                (0..reader.row_count()).partition(|&position| in_part(&reader.slots()[position as usize]));
            let sum_of = async |positions: &[u32]| {
                let mut sum = BodySum::zero();
                for window in read_windows(positions) {
                    for run in reader.read(column, &window).await.expect("reads") {
                        let digests = digests.column(column).expect("asked for");
                        run.visit_checked(digests, 8, |bodies| bodies.iter().for_each(|body| sum.add_body(body)))
                            .expect("sound");
                    }
                }
                sum
            };
            rows.add(&*sum_of(&used).await);
            totals.add(&reader.total(column).await.expect("reads"));
            totals.subtract(&*sum_of(&others).await);
        }
        by_rows.push(rows);
        by_totals.push(totals);
    }
    [by_rows, by_totals]
}

async fn fillers_never_count_in_sums(backend: Backend) {
    let store = backend.empty();
    let panel = neighbours(&store).await;
    panel.compact(&BTreeSet::from([0, 1])).await.expect("compacted");
    panel.erase(&slots([FIRST]), superseded()).await.expect("erased");
    panel.tombstone(&slots([FIRST + 5])).await.expect("tombstoned");
    let gone = [0, 5];
    let datasets = NEW.upload_without(&panel, &gone).await.expect("uploaded");
    let replaced = NEW.replace(&panel, OLD, FIRST, &datasets).await.expect("replaced");
    let expected: Vec<Box<BodySum>> = shape()
        .columns()
        .map(|column| {
            let mut sum = BodySum::zero();
            let rows = (0..NEW.rows).filter(|row| !gone.contains(row)).map(|row| (NEW, row));
            let others = [LEFT, RIGHT].into_iter().flat_map(|batch| (0..batch.rows).map(move |row| (batch, row)));
            rows.chain(others).for_each(|(batch, row)| {
                sum.add_body(batch.body(column, row).as_slice().try_into().expect("one body"));
            });
            sum
        })
        .collect();
    assert_eq!(sums(&panel, &replaced).await, [expected.clone(), expected.clone()]);
    let filler = BodyDigest::of_body(&FILLER_BODY);
    let served = content(&panel, &replaced).await;
    assert!(served.values().flatten().all(|digest| *digest != filler), "no slot in use has a filler");
    let compacted = tidied(&panel).await;
    assert_eq!(sums(&panel, &compacted).await, [expected.clone(), expected]);
    let filler = [[0; 32]];
    let with_zeros = Store::from_object_store(store.clone()).scan(&filler).await.expect("it scans");
    assert_eq!(with_zeros, Vec::<String>::new(), "compaction keeps no filler");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_which_everything_is_erased_is_left_out() {
    let store = Backend::Memory.empty();
    let panel = panel(store.clone());
    let (old, new) = (SyntheticBatch { seed: 1, rows: 1100 }, SyntheticBatch { seed: 2, rows: 1100 });
    old.enrol(&panel, 700).await.expect("registered");
    panel.compact(&BTreeSet::from([0])).await.expect("compacted");
    panel.erase(&slots(1724..1800), superseded()).await.expect("erased");
    let gone: Vec<u32> = (1024..1100).collect();
    let datasets = new.upload_without(&panel, &gone).await.expect("uploaded");
    let replaced = new.replace(&panel, old, 700, &datasets).await.expect("replaced");
    assert_eq!(replaced.parts().len(), 1, "the second part holds nothing, the generations neither");
    let rows = |batch: SyntheticBatch| expected((0..1024).map(move |row| (700 + row, batch, row)));
    assert_eq!(content(&panel, &replaced).await, rows(new));
    panel.collect_garbage(superseded()).await.expect("collected");
    assert_eq!(found(&store, old, [0, 500, 1099]).await, 0, "nothing names the old bodies");
    // The objects of the part that holds nothing are gone, and yet the same can be asked for again.
    assert_eq!(new.replace(&panel, old, 700, &datasets).await.expect("nothing to do").parts().len(), 1);
    assert_eq!(content(&panel, &tidied(&panel).await).await, rows(new));
}
