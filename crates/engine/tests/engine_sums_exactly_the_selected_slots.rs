//! Sums are those of exactly the selected datasets, or there is an error: whatever the storage
//! holds (T18: other cohort, stale manifest, withdrawn member, swapped, flipped or missing rows).

use futures::TryStreamExt;
use locus_commitment::DatasetBodyDigest;
use locus_engine::{Engine, EngineError, Kernel};
use locus_genomics::{PanelBlockIndex, PanelDigest, Plane};
use locus_store::{
    Column, GarbagePolicy, Manifest, PanelShape, PanelStore, SlotRange, SlotSet, Store, StoreError,
    conformance::SyntheticBatch,
};
use object_store::{GetOptions, ObjectStore, ObjectStoreExt, PutOptions, memory::InMemory, path::Path};
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
    sync::Arc,
    time::SystemTime,
};

type Registered = BTreeMap<u32, DatasetBodyDigest>;

/// A panel with batches in shards 0 to 2, some compacted, some not, one part trimmed, and one slot
/// withdrawn and erased.
struct World {
    store: Arc<dyn ObjectStore>,
    panel: PanelStore,
    manifest: Manifest,
    registered: Registered,
    slots: BTreeMap<u32, (SyntheticBatch, u32)>,
}

const ERASED: u32 = 40;
const WITHDRAWN: u32 = 1015;

fn shape() -> PanelShape {
    PanelShape::try_new(2, false).expect("two blocks are allowed")
}

fn columns() -> Vec<Column> {
    shape().columns().collect()
}

fn slots(slots: impl IntoIterator<Item = u32>) -> SlotSet {
    SlotSet::try_from_iter(slots).expect("small slots")
}

fn open(store: &Arc<dyn ObjectStore>) -> PanelStore {
    Store::from_object_store(store.clone()).panel(PanelDigest([7; 32]), shape())
}

impl World {
    async fn new() -> Self {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let panel = open(&store);
        let mut registered = Registered::new();
        let mut slots_of = BTreeMap::new();
        for (seed, rows, first_slot) in [(1, 70, 0), (2, 40, 1000), (3, 9, 1100), (4, 5, 2050)] {
            let batch = SyntheticBatch { seed, rows };
            batch.enrol(&panel, first_slot).await.expect("memory works");
            registered.extend((first_slot..).zip(batch.datasets(shape())));
            slots_of.extend((0..rows).map(|row| (first_slot + row, (batch, row))));
        }
        // Batch 2 lies in shards 0 and 1; only shard 0 is compacted, so its part is trimmed.
        panel.tombstone(&slots([ERASED])).await.expect("memory works");
        panel.compact(&BTreeSet::from([0])).await.expect("memory works");
        let manifest = panel.tombstone(&slots([WITHDRAWN])).await.expect("memory works");
        Self { store, panel, manifest, registered, slots: slots_of }
    }

    fn live(&self) -> Vec<u32> {
        self.manifest.live().iter().collect()
    }

    fn expected(&self, column: Column, selection: &SlotSet) -> Vec<u64> {
        let mut sum = vec![0u64; 4096];
        for slot in selection.iter() {
            let (batch, row) = self.slots[&slot];
            for (word, bytes) in sum.iter_mut().zip(batch.body(column, row).as_chunks::<8>().0) {
                *word = word.wrapping_add(u64::from_le_bytes(*bytes));
            }
        }
        sum
    }

    async fn sum(&self, selection: &SlotSet) -> Result<Vec<Vec<u64>>, EngineError> {
        // A fresh view, as after a restart.
        let panel = open(&self.store);
        Engine::default().sum_many(&panel, &self.manifest, &columns(), selection, &self.registered).await
    }

    async fn object(&self, within: &str, suffix: &str) -> Path {
        let metas: Vec<_> = self.store.list(None).try_collect().await.expect("memory lists");
        let mut names = metas.into_iter().map(|meta| meta.location);
        let found = names.find(|name| name.as_ref().contains(within) && name.as_ref().ends_with(suffix));
        found.expect("there is such an object")
    }

    async fn bytes(&self, name: &Path) -> Vec<u8> {
        let found = self.store.get_opts(name, GetOptions::default()).await.expect("object exists");
        found.bytes().await.expect("object reads").to_vec()
    }

    async fn put(&self, name: &Path, bytes: Vec<u8>) {
        self.store.put_opts(name, bytes.into(), PutOptions::default()).await.expect("memory stores");
    }
}

/// Few slots of shard 0 (its bodies are added up) and most (its other bodies are subtracted).
fn few_and_most(world: &World) -> [SlotSet; 2] {
    let shard: Vec<u32> = world.live().into_iter().filter(|slot| *slot < 1024).collect();
    let most = shard.iter().copied().filter(|slot| slot % 9 != 3);
    [slots([1, 2, 3, 30, 69]), slots(most)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_selection_of_live_slots_is_summed_exactly(chosen in prop::collection::vec(any::<bool>(), 122), tasks in 1usize..5) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("runtime");
        runtime.block_on(async {
            let world = World::new().await;
            let live = world.live();
            assert_eq!(live.len(), 122);
            let selection = slots(live.into_iter().zip(chosen).filter(|(_, chosen)| *chosen).map(|(slot, _)| slot));
            for kernel in Kernel::available() {
                let tasks = NonZeroUsize::new(tasks).expect("at least one");
                let engine = Engine::default().with_tasks(tasks).with_kernel(kernel);
                let sums = engine
                    .sum_many(&world.panel, &world.manifest, &columns(), &selection, &world.registered)
                    .await
                    .expect("live slots can be summed");
                for (column, sum) in columns().into_iter().zip(sums) {
                    assert_eq!(sum, world.expected(column, &selection), "{column:?} {}", kernel.name());
                }
            }
        });
    }
}

#[tokio::test]
async fn all_slots_of_sound_parts_are_summed_from_stored_sums_alone() {
    let world = World::new().await;
    // Batch 3 is one part, all of it selected: its bodies can be gone.
    let selection = slots(1100..1109);
    for column in columns() {
        let within = format!("batch={}/block=000{}/plane={}", "03".repeat(32), column.block.0, column.plane.code());
        let name = world.object(&within, ".parquet").await;
        world.store.delete(&name).await.expect("memory deletes");
    }
    let sums = world.sum(&selection).await.expect("no body is needed");
    assert_eq!(sums[0], world.expected(columns()[0], &selection));
    let partly = world.sum(&slots(1100..1108)).await.expect_err("the positive control: one body is needed");
    assert!(matches!(partly, EngineError::Store(StoreError::MissingObject { .. })), "{partly:?}");
}

#[tokio::test]
async fn the_sum_over_no_slots_is_zero_and_reads_nothing() {
    let world = World::new().await;
    let empty = open(&(Arc::new(InMemory::new()) as Arc<dyn ObjectStore>));
    let manifest = empty.latest().await.expect("an empty panel has a manifest");
    let sum = Engine::default().sum(&empty, &manifest, columns()[0], &SlotSet::new(), &world.registered).await;
    assert_eq!(sum.expect("nothing to sum"), vec![0; 4096]);
    assert_eq!(world.sum(&SlotSet::new()).await.expect("nothing to sum"), vec![vec![0; 4096]; 4]);
}

#[tokio::test]
async fn a_query_can_be_run_on_any_thread() {
    let world = World::new().await;
    let selection = slots([1]);
    let expected = world.expected(columns()[1], &selection);
    let query = async move {
        Engine::default().sum(&world.panel, &world.manifest, columns()[1], &selection, &world.registered).await
    };
    assert_eq!(tokio::spawn(query).await.expect("task ends").expect("summed"), expected);
}

#[tokio::test]
async fn slots_that_must_not_be_summed_are_named() {
    let world = World::new().await;
    let cases = [
        (WITHDRAWN, "withdrawn"),
        (ERASED, "erased"),
        (500, "never stored"),
        (locus_store::SLOT_LIMIT - 1, "never registered"),
    ];
    assert!(world.sum(&slots([0, 1014])).await.is_ok(), "the positive control");
    for (slot, what) in cases {
        let error = world.sum(&slots([0, 1014, slot])).await.expect_err(what);
        let named = match error {
            EngineError::Withdrawn { slot: named } => named == slot && (what == "withdrawn" || what == "erased"),
            EngineError::NotStored { slot: named, .. } => named == slot && what.starts_with("never"),
            _ => false,
        };
        assert!(named, "{what}: {error:?}");
    }
    let mut world = world;
    world.registered.remove(&1014);
    let error = world.sum(&slots([0, 1014])).await.expect_err("the chain does not know the slot");
    assert!(matches!(error, EngineError::NotRegistered { slot: 1014 }), "{error:?}");
    let column = Column { block: PanelBlockIndex(2), plane: Plane::Calls };
    let error = Engine::default().sum(&world.panel, &world.manifest, column, &slots([0]), &world.registered).await;
    assert!(matches!(error, Err(EngineError::UnknownColumn(_))), "{error:?}");
}

#[tokio::test]
async fn a_dataset_other_than_the_registered_one_is_refused() {
    let mut world = World::new().await;
    for selection in few_and_most(&world) {
        assert!(world.sum(&selection).await.is_ok(), "the positive control");
        let honest = world.registered.clone();
        let other = honest[&2050];
        world.registered.insert(3, other);
        let selection_with = {
            let mut with = selection.clone();
            with.insert(4).expect("small");
            with.insert(3).expect("small");
            with
        };
        let error = world.sum(&selection_with).await.expect_err("slot 3 holds another dataset");
        assert!(matches!(error, EngineError::Store(StoreError::DatasetMismatch { row: 3 })), "{error:?}");
        world.registered = honest;
    }
}

/// Damages the objects of shard 0 in the first column in every way, and sums few and most slots.
#[tokio::test]
async fn flipped_swapped_and_missing_rows_never_give_a_sum() {
    const FLIPPED: u32 = 3;
    for which in [0, 1] {
        let world = World::new().await;
        let selection = few_and_most(&world)[which].clone();
        let right = world.sum(&selection).await.expect("the positive control");
        let name = world.object("block=0000/plane=0/shard=00000", ".parquet").await;
        let sound = world.bytes(&name).await;
        // A row that is read: a selected one, or an unselected one.
        let place = |slot: u32| {
            let (batch, row) = world.slots[&slot];
            let body = batch.body(columns()[0], row);
            sound.windows(64).position(|window| window == &body[..64]).expect("the body is in its object")
        };
        // Slots 3 and 30 are read in both cases: 30 = 9 * 3 + 3.
        let (left, other) = (place(FLIPPED), place(30));

        let mut flipped = sound.clone();
        flipped[left + 12_345] ^= 0x80;
        world.put(&name, flipped).await;
        let error = world.sum(&selection).await.expect_err("a bit is flipped");
        assert!(matches!(error, EngineError::Store(StoreError::BodyMismatch { row: FLIPPED, .. })), "{error:?}");

        let mut swapped = sound.clone();
        for offset in 0..locus_store::BODY_BYTES {
            swapped.swap(left + offset, other + offset);
        }
        world.put(&name, swapped).await;
        let error = world.sum(&selection).await.expect_err("rows are swapped");
        assert!(matches!(error, EngineError::Store(StoreError::BodyMismatch { row: FLIPPED, .. })), "{error:?}");

        world.put(&name, sound[..left].to_vec()).await;
        assert!(matches!(world.sum(&selection).await, Err(EngineError::Store(_))), "rows are missing");

        world.store.delete(&name).await.expect("memory deletes");
        let error = world.sum(&selection).await.expect_err("the object is missing");
        assert!(matches!(&error, EngineError::Store(StoreError::MissingObject { .. })), "{error:?}");
        assert!(error.is_stale());

        world.put(&name, sound.clone()).await;
        assert_eq!(world.sum(&selection).await.expect("sound again"), right);
    }
}

#[tokio::test]
async fn a_forged_stored_sum_never_gives_a_sum() {
    let world = World::new().await;
    let [_, most] = few_and_most(&world);
    let name = world.object("block=0000/plane=0/shard=00000", ".total").await;
    let sound = world.bytes(&name).await;
    let other = world.bytes(&world.object("block=0001/plane=0/shard=00000", ".total").await).await;
    let mut flipped = sound.clone();
    flipped[777] ^= 1;
    for (forged, what) in [(flipped, "flipped"), (other, "of another block"), (sound[1..].to_vec(), "cut")] {
        world.put(&name, forged).await;
        let error = world.sum(&most).await.expect_err(what);
        let typed =
            matches!(error, EngineError::Store(StoreError::DigestMismatch { .. } | StoreError::Malformed { .. }));
        assert!(typed, "{what}: {error:?}");
    }
    // A forger who also fixes the index is caught by the digest of the index in the manifest.
    let index = world.object("shard=00000/gen=1", ".index.json").await;
    let text = String::from_utf8(world.bytes(&index).await).expect("JSON");
    let at = text.find("total_digest\":\"").expect("index has sums") + 15;
    let forged = format!("{}{}{}", &text[..at], "0".repeat(64), &text[at + 64..]);
    world.put(&name, sound).await;
    world.put(&index, forged.into_bytes()).await;
    let error = world.sum(&most).await.expect_err("the index is forged");
    assert!(matches!(error, EngineError::Store(StoreError::DigestMismatch { .. })), "{error:?}");
}

#[tokio::test]
async fn an_old_manifest_gives_its_own_sum_or_an_error() {
    let world = World::new().await;
    let later = SyntheticBatch { seed: 9, rows: 3 };
    let newest = later.enrol(&world.panel, 3000).await.expect("registered");
    let mut registered = world.registered.clone();
    registered.extend((3000..).zip(later.datasets(shape())));
    let selection = slots([0, 3001]);
    let engine = Engine::default();
    let column = columns()[0];
    let error = engine.sum(&world.panel, &world.manifest, column, &selection, &registered).await;
    let error = error.expect_err("slot 3001 is newer than the manifest");
    assert!(matches!(error, EngineError::NotStored { slot: 3001, .. }) && error.is_stale(), "{error:?}");
    assert!(engine.sum(&world.panel, &newest, column, &selection, &registered).await.is_ok());

    // Compaction alone leaves an older manifest usable; collecting what it names does not.
    let few = slots([0, 1, 1030, 2051]);
    let before = engine.sum(&world.panel, &newest, column, &few, &registered).await.expect("summed");
    let compacted = world.panel.compact(&newest.fragmented_shards()).await.expect("compacted");
    for manifest in [&newest, &compacted] {
        let sum = engine.sum(&world.panel, manifest, column, &few, &registered).await.expect("summed");
        assert_eq!(sum, before);
    }
    let policy = GarbagePolicy { superseded_before: None, abandoned_before: SystemTime::UNIX_EPOCH };
    world.panel.collect_garbage(policy).await.expect("collected");
    let error = engine.sum(&world.panel, &newest, column, &few, &registered).await.expect_err("objects are gone");
    assert!(error.is_stale(), "{error:?}");
    let sum = engine.sum(&world.panel, &compacted, column, &few, &registered).await.expect("summed");
    assert_eq!(sum, before);
}

#[tokio::test]
async fn withdrawing_and_erasing_a_member_takes_exactly_this_member_out() {
    let world = World::new().await;
    let before = slots(world.live());
    let all = world.sum(&before).await.expect("summed");
    let policy = GarbagePolicy { superseded_before: None, abandoned_before: SystemTime::UNIX_EPOCH };
    let erased = world.panel.erase(&slots([30]), policy).await.expect("erased").manifest;
    let engine = Engine::default();
    let error = engine.sum(&world.panel, &erased, columns()[0], &before, &world.registered).await;
    assert!(matches!(error, Err(EngineError::Withdrawn { slot: 30 })), "{error:?}");
    let rest = before.difference(&slots([30]));
    let sums = engine.sum_many(&world.panel, &erased, &columns(), &rest, &world.registered).await.expect("summed");
    for ((column, sum), all) in columns().into_iter().zip(sums).zip(all) {
        let member = world.expected(column, &slots([30]));
        let difference: Vec<u64> = all.iter().zip(&sum).map(|(all, rest)| all.wrapping_sub(*rest)).collect();
        assert_eq!(difference, member);
    }
    assert!(erased.covers(SlotRange { first: 0, count: 70 }));
}
