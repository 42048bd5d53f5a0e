//! Sums are those of exactly the selected datasets, or there is an error: whatever the storage
//! holds (T18: other cohort, stale manifest, withdrawn member, swapped, flipped or missing rows).

use futures::TryStreamExt;
use locus_commitment::{DatasetBodyDigest, sha3_256};
use locus_engine::{Engine, EngineError, Kernel, RowTags, TagBlockName, TagKey, TagStorage, TagStorageError};
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
    sync::{Arc, Mutex},
    time::SystemTime,
};

type Registered = BTreeMap<u32, DatasetBodyDigest>;

/// An engine that has seen no body yet.
fn engine() -> Engine {
    Engine::new(RowTags::in_memory(TagKey::expand(&[9; 32])))
}

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
        self.sum_by(&engine(), selection).await
    }

    async fn sum_by(&self, engine: &Engine, selection: &SlotSet) -> Result<Vec<Vec<u64>>, EngineError> {
        // A fresh view, as after a restart.
        let panel = open(&self.store);
        engine.sum_many(&panel, &self.manifest, &columns(), selection, &self.registered).await
    }

    /// An engine that has read and tagged all live bodies once.
    async fn experienced(&self) -> Engine {
        let engine = engine();
        self.sum_by(&engine, &self.manifest.live()).await.expect("the store is sound");
        engine
    }

    /// Where the first column's body of `slot` is in `object`.
    fn place(&self, object: &[u8], slot: u32) -> usize {
        let (batch, row) = self.slots[&slot];
        let body = batch.body(columns()[0], row);
        object.windows(64).position(|window| window == &body[..64]).expect("the body is in its object")
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
                let engine = engine().with_tasks(tasks).with_kernel(kernel);
                // First from hashed rows, then from tagged rows and stored sums.
                for _ in 0..2 {
                    let sums = world.sum_by(&engine, &selection).await.expect("live slots can be summed");
                    for (column, sum) in columns().into_iter().zip(sums) {
                        assert_eq!(sum, world.expected(column, &selection), "{column:?} {}", kernel.name());
                    }
                }
            }
        });
    }
}

#[tokio::test]
async fn all_slots_of_tagged_parts_are_summed_from_stored_sums_alone() {
    let world = World::new().await;
    let engine = world.experienced().await;
    // Batch 3 is one part, all of it selected: its bodies can be gone.
    let selection = slots(1100..1109);
    for column in columns() {
        let within = format!("batch={}/block=000{}/plane={}", "03".repeat(32), column.block.0, column.plane.code());
        let name = world.object(&within, ".parquet").await;
        world.store.delete(&name).await.expect("memory deletes");
    }
    let sums = world.sum_by(&engine, &selection).await.expect("no body is needed");
    assert_eq!(sums[0], world.expected(columns()[0], &selection));
    assert!(world.sum(&selection).await.is_err(), "an engine that never saw the bodies needs them");
    let partly = world.sum_by(&engine, &slots(1100..1108)).await;
    let partly = partly.expect_err("the positive control: one body is needed");
    assert!(matches!(partly, EngineError::Store(StoreError::MissingObject { .. })), "{partly:?}");
}

#[tokio::test]
async fn the_sum_over_no_slots_is_zero_and_reads_nothing() {
    let world = World::new().await;
    let empty = open(&(Arc::new(InMemory::new()) as Arc<dyn ObjectStore>));
    let manifest = empty.latest().await.expect("an empty panel has a manifest");
    let sum = engine().sum(&empty, &manifest, columns()[0], &SlotSet::new(), &world.registered).await;
    assert_eq!(sum.expect("nothing to sum"), vec![0; 4096]);
    assert_eq!(world.sum(&SlotSet::new()).await.expect("nothing to sum"), vec![vec![0; 4096]; 4]);
}

#[tokio::test]
async fn a_query_can_be_run_on_any_thread() {
    let world = World::new().await;
    let selection = slots([1]);
    let expected = world.expected(columns()[1], &selection);
    let query =
        async move { engine().sum(&world.panel, &world.manifest, columns()[1], &selection, &world.registered).await };
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
    let error = engine().sum(&world.panel, &world.manifest, column, &slots([0]), &world.registered).await;
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

/// Damages the objects of shard 0 in the first column in every way, and sums few and most slots,
/// with an engine that reads the bodies for the first time and with one that has tags of all.
#[tokio::test]
async fn flipped_swapped_and_missing_rows_never_give_a_sum() {
    for (which, tagged) in [(0, false), (1, false), (0, true), (1, true)] {
        let world = World::new().await;
        let engine = if tagged { world.experienced().await } else { engine() };
        let sum = |selection| {
            // Without tags of all, every sum is by an engine that knows no body.
            let engine = if tagged { engine.clone() } else { self::engine() };
            let world = &world;
            async move { world.sum_by(&engine, &selection).await }
        };
        let selection = few_and_most(&world)[which].clone();
        let right = sum(selection.clone()).await.expect("the positive control");
        let name = world.object("block=0000/plane=0/shard=00000", ".parquet").await;
        let sound = world.bytes(&name).await;
        // A selected row, and one that is not; engines with tags read only one kind.
        let (inside, outside) = if which == 0 { (3, 5) } else { (4, 3) };
        let (left, other) = (world.place(&sound, inside), world.place(&sound, outside));

        // Rows that are not read may be anything: most slots are the stored sum minus the others.
        let reads_selected = !(tagged && which == 1);
        for (place, is_selected) in [(left, true), (other, false)] {
            let mut flipped = sound.clone();
            flipped[place + 12_345] ^= 0x80;
            world.put(&name, flipped).await;
            match sum(selection.clone()).await {
                Err(EngineError::Store(StoreError::BodyMismatch { row, .. })) => {
                    assert!(is_selected && reads_selected && row == inside);
                }
                Ok(sums) => assert!(sums == right && !(is_selected && reads_selected)),
                Err(error) => panic!("{error:?}"),
            }
        }

        let mut swapped = sound.clone();
        for offset in 0..locus_store::BODY_BYTES {
            swapped.swap(left + offset, other + offset);
        }
        world.put(&name, swapped).await;
        match sum(selection.clone()).await {
            Err(EngineError::Store(StoreError::BodyMismatch { row, .. })) => assert_eq!(row, inside),
            other => panic!("rows are swapped: {other:?}"),
        }

        world.put(&name, sound[..left.min(other)].to_vec()).await;
        assert!(matches!(sum(selection.clone()).await, Err(EngineError::Store(_))), "rows are missing");

        world.store.delete(&name).await.expect("memory deletes");
        let error = sum(selection.clone()).await.expect_err("the object is missing");
        assert!(matches!(&error, EngineError::Store(StoreError::MissingObject { .. })), "{error:?}");
        assert!(error.is_stale());

        world.put(&name, sound.clone()).await;
        assert_eq!(sum(selection).await.expect("sound again"), right);
    }
}

#[tokio::test]
async fn a_forged_stored_sum_never_gives_a_sum() {
    let world = World::new().await;
    let engine = world.experienced().await;
    let [_, most] = few_and_most(&world);
    let name = world.object("block=0000/plane=0/shard=00000", ".total").await;
    let sound = world.bytes(&name).await;
    let other = world.bytes(&world.object("block=0001/plane=0/shard=00000", ".total").await).await;
    let mut flipped = sound.clone();
    flipped[777] ^= 1;
    for (forged, what) in [(flipped, "flipped"), (other, "of another block"), (sound[1..].to_vec(), "cut")] {
        world.put(&name, forged).await;
        assert!(world.sum(&most).await.is_ok(), "hashed rows need no stored sum");
        let error = world.sum_by(&engine, &most).await.expect_err(what);
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
    let error = world.sum_by(&engine, &most).await.expect_err("the index is forged");
    assert!(matches!(error, EngineError::Store(StoreError::DigestMismatch { .. })), "{error:?}");
}

/// Changes that leave the sum as it is are not seen by an engine that has tags, and do no harm: the
/// answer is the one of the registered bodies. Whoever reads for the first time sees them.
#[tokio::test]
async fn changes_that_cancel_out_leave_the_right_sum() {
    let world = World::new().await;
    let engine = world.experienced().await;
    let selection = slots([1, 2, 3, 30, 69]);
    let right = world.sum_by(&engine, &selection).await.expect("the positive control");
    let name = world.object("block=0000/plane=0/shard=00000", ".parquet").await;
    let sound = world.bytes(&name).await;
    let add = |object: &mut Vec<u8>, slot: u32, amount: u64| {
        let at = world.place(&sound, slot) + 800;
        let word: &mut [u8; 8] = (&mut object[at..at + 8]).try_into().expect("eight bytes");
        *word = u64::from_le_bytes(*word).wrapping_add(amount).to_le_bytes();
    };
    let mut cancelling = sound.clone();
    // Without a carry the integers cancel, too.
    let word = |slot: u32| u64::from_le_bytes(sound[world.place(&sound, slot) + 800..][..8].try_into().expect("eight"));
    let (up, down) = if word(2) < 1 << 63 { (2, 30) } else { (30, 2) };
    let amount = word(down).min(u64::MAX - word(up)) / 2 + 1;
    add(&mut cancelling, up, amount);
    add(&mut cancelling, down, amount.wrapping_neg());
    world.put(&name, cancelling.clone()).await;
    assert_eq!(world.sum_by(&engine, &selection).await.expect("the sum is right"), right);
    let error = world.sum(&selection).await.expect_err("read for the first time");
    assert!(matches!(error, EngineError::Store(StoreError::BodyMismatch { row: 2, .. })), "{error:?}");
    // One more in one place, and it does not cancel.
    add(&mut cancelling, 30, 1);
    world.put(&name, cancelling).await;
    let error = world.sum_by(&engine, &selection).await.expect_err("the sum is wrong by one");
    assert!(matches!(error, EngineError::Store(StoreError::BodyMismatch { row: 2, .. })), "{error:?}");
}

#[tokio::test]
async fn objects_put_in_the_place_of_others_never_give_a_sum() {
    let world = World::new().await;
    let engine = world.experienced().await;
    let name = world.object("block=0000/plane=0/shard=00000", ".parquet").await;
    let sound = world.bytes(&name).await;
    // The object of another column, and what an older backup of the same rows could hold.
    let other = world.bytes(&world.object("block=0001/plane=1/shard=00000", ".parquet").await).await;
    let mut older = sound.clone();
    let body = world.place(&sound, 30);
    older[body..body + locus_store::BODY_BYTES]
        .copy_from_slice(&SyntheticBatch { seed: 77, rows: 1 }.body(columns()[0], 0));
    for replaced in [other, older] {
        world.put(&name, replaced).await;
        for engine in [engine.clone(), self::engine()] {
            let error = world.sum_by(&engine, &slots([3, 30])).await.expect_err("another object");
            assert!(matches!(error, EngineError::Store(StoreError::BodyMismatch { .. })), "{error:?}");
        }
    }
}

/// The writer of the manifest decides which digest a stored sum must have; the tags of the rows it
/// is made of decide whether it is right.
#[tokio::test]
async fn a_stored_sum_forged_up_to_the_manifest_changes_no_answer() {
    let world = World::new().await;
    let engine = world.experienced().await;
    let [_, most] = few_and_most(&world);
    let right = world.sum_by(&engine, &most).await.expect("the positive control");
    let total = world.object("block=0000/plane=0/shard=00000", ".total").await;
    let mut forged = world.bytes(&total).await;
    forged[777] ^= 1;
    let index_name = world.object("shard=00000/gen=1", ".index.json").await;
    let index = String::from_utf8(world.bytes(&index_name).await).expect("JSON");
    let field = |name: &str| {
        let at = index.find(&format!("{name}\":\"")).expect("index has sums") + name.len() + 3;
        index[at..at + 64].to_owned()
    };
    let rows_digest: Vec<u8> = (0..32)
        .map(|byte| u8::from_str_radix(&field("rows_digest")[2 * byte..2 * byte + 2], 16).expect("hex"))
        .collect();
    let digest = |bytes: &[u8]| sha3_256("locus/store/part-index/v1", &[bytes]).to_string();
    let total_digest = sha3_256("locus/store/column-total/v1", &[&rows_digest, &forged]).to_string();
    let forged_index = index.replacen(&field("total_digest"), &total_digest, 1);
    let manifest_name = world.object("/manifest/", &format!("{}.json", world.manifest.version())).await;
    let manifest = String::from_utf8(world.bytes(&manifest_name).await).expect("JSON");
    let forged_manifest = manifest.replace(&digest(index.as_bytes()), &digest(forged_index.as_bytes()));
    let (content, _) = forged_manifest.split_once(",\"digest\"").expect("a manifest ends with its digest");
    let own_digest = sha3_256("locus/store/manifest-content/v2", &[content.as_bytes()]);
    let forged_manifest = format!("{content},\"digest\":\"{own_digest}\"}}");
    assert_ne!(forged_manifest, manifest);
    world.put(&total, forged).await;
    world.put(&index_name, forged_index.into_bytes()).await;
    world.put(&manifest_name, forged_manifest.into_bytes()).await;
    let panel = open(&world.store);
    let manifest = panel.latest().await.expect("the forged manifest is consistent");
    let summed = engine.sum_many(&panel, &manifest, &columns(), &most, &world.registered).await;
    assert_eq!(summed.expect("summed from its rows"), right);
    // Without the right tags the forgery would have been believed.
    let part = manifest.parts().iter().find(|part| part.slots()[0].first == 0).expect("shard 0");
    let stored = panel.open(part).await.expect("consistent").total(columns()[0]).await.expect("consistent");
    let rest = slots(part.slots().iter().flat_map(|range| range.iter())).difference(&most);
    let believed: Vec<u64> = stored
        .words
        .iter()
        .zip(world.expected(columns()[0], &rest))
        .map(|(all, rest)| all.wrapping_sub(rest))
        .collect();
    assert_ne!(believed, right[0]);
}

/// Tags that are lost or damaged cost time, never the answer.
#[tokio::test]
async fn damaged_tags_change_no_answer() {
    #[derive(Clone, Default)]
    struct Damaged(Arc<Mutex<BTreeMap<TagBlockName, Vec<u8>>>>);
    impl TagStorage for Damaged {
        fn load(&self, name: &TagBlockName) -> Result<Option<Vec<u8>>, TagStorageError> {
            Ok(self.0.lock().expect("one thread").get(name).cloned())
        }
        fn store(&self, blocks: &[(TagBlockName, Vec<u8>)]) -> Result<(), TagStorageError> {
            self.0.lock().expect("one thread").extend(blocks.iter().cloned());
            Ok(())
        }
    }
    let world = World::new().await;
    let kept = Damaged::default();
    let engine = Engine::new(RowTags::new(TagKey::expand(&[9; 32]), Box::new(kept.clone())));
    let all = world.manifest.live();
    let right = world.sum_by(&engine, &all).await.expect("sound");
    let changes: [fn(&mut Vec<u8>); 3] = [|block| block[3 * 48 + 32] ^= 1, |block| block[3 * 48] ^= 1, Vec::clear];
    for change in changes {
        kept.0.lock().expect("one thread").values_mut().for_each(change);
        assert_eq!(world.sum_by(&engine, &all).await.expect("from its rows"), right);
        let repaired = world.sum_by(&engine, &all).await.expect("from stored sums");
        assert_eq!(repaired, right);
    }
    // A tag belongs to one registered dataset: the slot's next owner does not inherit it.
    let mut reused = world.registered.clone();
    let other = reused[&2050];
    reused.insert(3, other);
    let error = engine.sum_many(&world.panel, &world.manifest, &columns(), &all, &reused).await;
    assert!(matches!(error, Err(EngineError::Store(StoreError::DatasetMismatch { row: 3 }))), "{error:?}");
}

#[tokio::test]
async fn an_old_manifest_gives_its_own_sum_or_an_error() {
    let world = World::new().await;
    let later = SyntheticBatch { seed: 9, rows: 3 };
    let newest = later.enrol(&world.panel, 3000).await.expect("registered");
    let mut registered = world.registered.clone();
    registered.extend((3000..).zip(later.datasets(shape())));
    let selection = slots([0, 3001]);
    let engine = engine();
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
    let engine = engine();
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
