//! Large sums may be computed by machines that nobody trusts: whatever they answer, or fail to, the sum is that of the
//! registered bodies.

use async_trait::async_trait;
use locus_commitment::DatasetBodyDigest;
use locus_engine::{BodySummer, BodySummerError, Engine, RowTags, SumJob, TagKey};
use locus_genomics::PanelDigest;
use locus_store::{
    BodyBytes, BodySum, Column, Origin, PanelShape, PanelStore, SlotSet, Store, conformance::SyntheticBatch,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

const BATCH: SyntheticBatch = SyntheticBatch { seed: 5, rows: 90 };
/// The batch lies in shards 0 and 1, and only shard 0 is compacted.
const FIRST_SLOT: u32 = 1000;

struct World {
    panel: PanelStore,
    registered: BTreeMap<u32, DatasetBodyDigest>,
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

impl World {
    async fn new() -> Self {
        let panel = Store::memory().panel(PanelDigest([7; 32]), shape());
        BATCH.enrol(&panel, FIRST_SLOT).await.expect("memory works");
        panel.compact(&BTreeSet::from([0])).await.expect("memory works");
        let registered = (FIRST_SLOT..).zip(BATCH.datasets(shape())).collect();
        Self { panel, registered }
    }

    async fn sum(&self, engine: &Engine, selection: &SlotSet) -> Vec<Vec<u64>> {
        let manifest = self.panel.latest().await.expect("memory works");
        let summed = engine.sum_many(&self.panel, &manifest, &columns(), selection, &self.registered).await;
        summed.expect("the store is sound")
    }
}

fn body(column: Column, row: u32) -> Box<BodyBytes> {
    BATCH.body(column, row).into_boxed_slice().try_into().expect("one body")
}

fn expected(selection: &SlotSet) -> Vec<Vec<u64>> {
    let of_column = |column| {
        let mut sum = BodySum::zero();
        selection.iter().for_each(|slot| sum.add_body(&body(column, slot - FIRST_SLOT)));
        sum.words.to_vec()
    };
    columns().into_iter().map(of_column).collect()
}

/// How the others behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Right,
    /// One counter of one column is one too large.
    Wrong,
    /// One column is missing.
    Short,
    Down,
}

/// Sums by the job alone, from bodies that it makes itself.
#[derive(Debug)]
struct Others {
    manner: Manner,
    asked: Mutex<Vec<SumJob>>,
}

#[async_trait]
impl BodySummer for Others {
    async fn sum(&self, job: &SumJob) -> Result<Vec<Box<BodySum>>, BodySummerError> {
        self.asked.lock().expect("no panic").push(job.clone());
        let mut sums = Vec::new();
        for &column in &job.columns {
            let mut sum = BodySum::zero();
            for part in &job.parts {
                for row in 0..BATCH.rows {
                    let number = match part.name.origin {
                        Origin::Batch(_) => row,
                        Origin::Shard { .. } => FIRST_SLOT + row,
                    };
                    let is_in_part = matches!(part.name.origin, Origin::Batch(_)) || number < 1024;
                    if !is_in_part || !part.rows.contains(number) {
                        continue;
                    }
                    let mut one = BodySum::zero();
                    one.add_body(&body(column, row));
                    if part.subtracted { sum.subtract(&one) } else { sum.add(&one) }
                }
            }
            sums.push(sum);
        }
        match self.manner {
            Manner::Right => {}
            Manner::Wrong => sums[1].words[77] = sums[1].words[77].wrapping_add(1),
            Manner::Short => drop(sums.pop()),
            Manner::Down => return Err(BodySummerError("nobody is there".to_owned())),
        }
        Ok(sums)
    }
}

fn engine_with(manner: Manner, bodies_min: u64) -> (Engine, Arc<Others>) {
    let others = Arc::new(Others { manner, asked: Mutex::default() });
    let engine = Engine::new(RowTags::in_memory(TagKey::expand(&[9; 32])));
    (engine.with_summer(others.clone(), bodies_min), others)
}

/// Few rows of both parts (added), most of both (taken from the stored sums), all.
fn selections() -> [SlotSet; 3] {
    let all = FIRST_SLOT..FIRST_SLOT + BATCH.rows;
    [slots([1001, 1003, 1023, 1024, 1080]), slots(all.clone().filter(|slot| slot % 7 != 2)), slots(all)]
}

#[tokio::test]
async fn sums_are_right_whatever_the_others_do() {
    let world = World::new().await;
    for manner in [Manner::Right, Manner::Wrong, Manner::Short, Manner::Down] {
        let (engine, others) = engine_with(manner, 1);
        // Bodies that were never read are hashed here: nobody else is asked.
        let all = selections()[2].clone();
        assert_eq!(world.sum(&engine, &all).await, expected(&all));
        assert_eq!(others.asked.lock().expect("no panic").len(), 0);
        for selection in selections() {
            assert_eq!(world.sum(&engine, &selection).await, expected(&selection), "{manner:?}");
        }
        // All rows together are the stored sums, for which nothing is read.
        let asked = others.asked.lock().expect("no panic");
        assert_eq!(asked.len(), 2);
        assert!(asked[0].parts.iter().all(|part| !part.subtracted), "few rows are added");
        assert!(asked[1].parts.iter().all(|part| part.subtracted), "the others of most rows are taken away");
        assert_eq!(asked[0].parts.len(), 2);
        assert!(asked.iter().flat_map(|job| &job.parts).all(|part| part.object_bytes > 0));
    }
}

#[tokio::test]
async fn small_sums_and_unread_bodies_stay_here() {
    let world = World::new().await;
    let few = &selections()[0];
    let bodies = few.iter().count() as u64 * columns().len() as u64;
    for (bodies_min, questions) in [(bodies, 1), (bodies + 1, 0)] {
        let (engine, others) = engine_with(Manner::Right, bodies_min);
        // The first time bodies are read, they are hashed here.
        world.sum(&engine, few).await;
        assert_eq!(others.asked.lock().expect("no panic").iter().filter(|job| !job.parts.is_empty()).count(), 0);
        assert_eq!(world.sum(&engine, few).await, expected(few));
        assert_eq!(others.asked.lock().expect("no panic").len(), questions);
    }
}
