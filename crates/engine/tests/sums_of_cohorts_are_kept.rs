//! A question asked again reads kept sums, a cohort that has grown reads its new rows besides, and nothing that is kept can
//! make a sum wrong.

use futures::TryStreamExt as _;
use locus_commitment::{DatasetBodyDigest, Digest32};
use locus_engine::{
    COHORTS_KEPT_MAX, CohortSumChange, CohortSumName, CohortSumStorage, Engine, EngineError, RowTags, TagKey,
    TagStorageError,
};
use locus_genomics::PanelDigest;
use locus_store::{
    BodyBytes, BodySum, Column, PanelShape, PanelStore, SlotSet, Store, StoreError, conformance::SyntheticBatch,
};
use object_store::{ObjectStore, ObjectStoreExt as _, memory::InMemory, path::Path};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

const BATCH: SyntheticBatch = SyntheticBatch { seed: 8, rows: 60 };

#[derive(Default)]
struct Kept {
    cohorts: BTreeMap<PanelDigest, Vec<u8>>,
    sums: BTreeMap<CohortSumName, Vec<u8>>,
}

#[derive(Default, Clone)]
struct Memory(Arc<Mutex<Kept>>);

impl CohortSumStorage for Memory {
    fn cohorts(&self, panel: PanelDigest) -> Result<Option<Vec<u8>>, TagStorageError> {
        Ok(self.0.lock().expect("no panic").cohorts.get(&panel).cloned())
    }

    fn sum(&self, name: &CohortSumName) -> Result<Option<Vec<u8>>, TagStorageError> {
        Ok(self.0.lock().expect("no panic").sums.get(name).cloned())
    }

    fn change(&self, change: &CohortSumChange) -> Result<(), TagStorageError> {
        let mut kept = self.0.lock().expect("no panic");
        kept.cohorts.insert(change.panel, change.cohorts.clone());
        kept.sums.retain(|name, _| !change.forgotten.contains(&name.cohort));
        kept.sums.extend(change.sums.iter().cloned());
        Ok(())
    }
}

struct World {
    objects: Arc<InMemory>,
    panel: PanelStore,
    registered: BTreeMap<u32, DatasetBodyDigest>,
    kept: Memory,
    engine: Engine,
}

fn shape() -> PanelShape {
    PanelShape::try_new(2, false).expect("two blocks are allowed")
}

fn columns() -> Vec<Column> {
    shape().columns().collect()
}

fn slots(slots: impl IntoIterator<Item = u32>) -> SlotSet {
    SlotSet::try_from_iter(slots).expect("small slots")
}

fn expected(selection: &SlotSet) -> Vec<Vec<u64>> {
    let of_column = |column| {
        let mut sum = BodySum::zero();
        let body =
            |slot| -> Box<BodyBytes> { BATCH.body(column, slot).into_boxed_slice().try_into().expect("one body") };
        selection.iter().for_each(|slot| sum.add_body(&body(slot)));
        sum.words.to_vec()
    };
    columns().into_iter().map(of_column).collect()
}

impl World {
    async fn new() -> Self {
        let objects = Arc::new(InMemory::new());
        let panel = Store::from_object_store(objects.clone()).panel(PanelDigest([7; 32]), shape());
        BATCH.enrol(&panel, 0).await.expect("memory works");
        let registered = (0..).zip(BATCH.datasets(shape())).collect();
        let kept = Memory::default();
        let engine = Engine::new(RowTags::in_memory(TagKey::expand(&[9; 32])));
        Self { objects, panel, registered, engine: engine.with_cohort_sums(Box::new(kept.clone()), 1), kept }
    }

    async fn sum(&self, selection: &SlotSet) -> Result<Vec<Vec<u64>>, EngineError> {
        self.sum_of(&columns(), selection).await
    }

    async fn sum_of(&self, columns: &[Column], selection: &SlotSet) -> Result<Vec<Vec<u64>>, EngineError> {
        let manifest = self.panel.latest().await?;
        self.engine.sum_many(&self.panel, &manifest, columns, selection, &self.registered).await
    }

    /// Asks for every column by itself, like a question in several pieces.
    async fn sum_in_pieces(&self, selection: &SlotSet) -> Result<Vec<Vec<u64>>, EngineError> {
        let mut sums = Vec::new();
        for column in columns() {
            sums.extend(self.sum_of(&[column], selection).await?);
        }
        Ok(sums)
    }

    /// Flips a bit of the stored bodies of a row, in every column.
    async fn damage_row(&self, row: u32) {
        let all: Vec<_> = self.objects.list(None).try_collect().await.expect("memory lists");
        for object in all.into_iter().filter(|object| object.location.as_ref().ends_with(".parquet")) {
            let stored =
                self.objects.get(&object.location).await.expect("is there").bytes().await.expect("memory reads");
            let place = |column: Column| {
                let body = BATCH.body(column, row);
                stored.windows(body.len()).position(|window| window == body)
            };
            let place = columns().into_iter().find_map(place).expect("a body of the row");
            let mut damaged = stored.to_vec();
            damaged[place] ^= 1;
            self.objects.put(&object.location, damaged.into()).await.expect("memory writes");
        }
    }

    /// Takes everything that sums could be computed from out of storage.
    async fn lose_bodies(&self) {
        let all: Vec<_> = self.objects.list(None).try_collect().await.expect("memory lists");
        for object in all.into_iter().filter(|object| !object.location.as_ref().contains("/manifest/")) {
            let name: Path = object.location;
            self.objects.delete(&name).await.expect("memory deletes");
        }
    }

    fn kept_sums(&self) -> usize {
        self.kept.0.lock().expect("no panic").sums.len()
    }
}

#[tokio::test]
async fn a_question_asked_again_reads_kept_sums_only() {
    let world = World::new().await;
    let cohort = slots((0..60).filter(|slot| slot % 3 != 0));
    assert_eq!(world.sum(&cohort).await.expect("sound"), expected(&cohort));
    world.lose_bodies().await;
    assert_eq!(world.sum(&cohort).await.expect("kept"), expected(&cohort));
    // Control: another cohort needs what is gone.
    let other = slots(0..20);
    assert!(matches!(world.sum(&other).await, Err(EngineError::Store(StoreError::MissingObject { .. }))));
}

#[tokio::test]
async fn cohorts_that_grow_or_shrink_are_summed_exactly() {
    let world = World::new().await;
    let cohorts =
        [slots(0..30), slots(0..45), slots((0..45).chain([50, 59])), slots((0..45).filter(|slot| slot % 5 > 0))];
    for cohort in &cohorts {
        assert_eq!(world.sum(cohort).await.expect("sound"), expected(cohort));
    }
    assert_eq!(world.kept_sums(), 4 * columns().len());
    // The oldest makes room.
    let last = slots(10..12);
    assert_eq!(world.sum(&last).await.expect("sound"), expected(&last));
    assert_eq!(world.kept_sums(), COHORTS_KEPT_MAX * columns().len());
    assert_eq!(world.sum(&cohorts[0]).await.expect("sound"), expected(&cohorts[0]));
}

#[tokio::test]
async fn every_piece_of_a_question_begins_from_the_cohort_that_has_its_sums() {
    let world = World::new().await;
    let before = slots(0..30);
    assert_eq!(world.sum_in_pieces(&before).await.expect("sound"), expected(&before));
    // As many others as are kept besides, so that the one to begin from was asked for longest ago.
    for other in 40..40 + u32::try_from(COHORTS_KEPT_MAX - 1).expect("few") {
        let other = slots([other]);
        assert_eq!(world.sum_in_pieces(&other).await.expect("sound"), expected(&other));
    }
    world.damage_row(5).await;
    let grown = slots((0..30).chain(50..60));
    assert_eq!(world.sum_in_pieces(&grown).await.expect("the damaged row is not read"), expected(&grown));
    // Control: whatever does not begin from them reads it.
    assert!(world.sum_in_pieces(&slots(3..8)).await.is_err());
}

#[tokio::test]
async fn kept_sums_of_other_registrations_or_with_damage_are_not_used() {
    let mut world = World::new().await;
    let cohort = slots(0..40);
    world.sum(&cohort).await.expect("sound");
    for bytes in world.kept.0.lock().expect("no panic").sums.values_mut() {
        bytes[20] ^= 1;
    }
    assert_eq!(world.sum(&cohort).await.expect("computed again"), expected(&cohort));
    for list in world.kept.0.lock().expect("no panic").cohorts.values_mut() {
        list.pop();
    }
    assert_eq!(world.sum(&cohort).await.expect("computed again"), expected(&cohort));
    // A slot that is registered with other bodies now: what was summed then is not what is asked for.
    world.registered.insert(7, DatasetBodyDigest(Digest32([1; 32])));
    assert!(matches!(world.sum(&cohort).await, Err(EngineError::Store(StoreError::DatasetMismatch { row: 7 }))));
}
