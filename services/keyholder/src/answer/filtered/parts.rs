//! One pass over the stored ciphertexts, weighted with shares of who is counted.

use crate::{
    answer::{key_of, question::Asked},
    error::KeyholderError,
    keyholder::Keyholder,
    store::{DatasetKey, seeds_of_secret},
};
use locus_cohort::{AnswerPlan, BlockPlan, Cohort, Member};
use locus_commitment::DatasetBodyDigest;
use locus_engine::{RowVisitor, visit_rows};
use locus_genomics::{PanelBlockIndex, Plane};
use locus_rlwe::{BlockKeys, Body, FilteredPart, FilteredSum, Mask, NoiseInput, WeightShares};
use locus_service::blocking;
use locus_sharing::{KeyholderIndex, NoiseKey, Prss, SharedVector};
use locus_store::{BodyBytes, Column, PanelShape, SlotSet, StoreError as ObjectError};
use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::task::JoinSet;

/// Gates of the answer's masks, above those of the matched numbers.
pub(super) const ANSWER_GATE: u32 = 1 << 21;
/// Members whose seeds are read at a time.
const MEMBERS_PER_CHUNK: usize = 1024;

/// What a pass over a column needs of the cohort.
struct People {
    keyholder: KeyholderIndex,
    /// Registry slots, ascending.
    slots: Vec<u32>,
    /// For each member what its secrets of the released and of the other share expand from.
    keys: Vec<[BlockKeys; 2]>,
    /// For each selection every member's weight.
    weights: Vec<SharedVector<u64>>,
}

impl Keyholder {
    /// This keyholder's part of the counts: for every selection and block of the plan, plane by plane.
    pub(super) async fn filtered_parts(
        &self,
        asked: &Asked,
        cohort: &Cohort,
        plan: &AnswerPlan,
        weights: Vec<SharedVector<u64>>,
        prss: Prss,
    ) -> Result<Vec<Vec<FilteredPart>>, KeyholderError> {
        let selections = weights.len();
        let people = Arc::new(self.people(asked, cohort, weights)?);
        let shape = PanelShape::try_new(asked.block_count, asked.panel.complete_calls).map_err(engine_error)?;
        let panel = self.objects()?.panel(asked.panel.digest, shape);
        let manifest = Arc::new(panel.latest().await.map_err(engine_error)?);
        let selection = Arc::new(SlotSet::try_from_iter(people.slots.iter().copied()).map_err(engine_error)?);
        let bodies = cohort.members().iter().map(|member| member.bodies);
        let registered: Arc<BTreeMap<u32, DatasetBodyDigest>> =
            Arc::new(people.slots.iter().copied().zip(bodies).collect());
        let finishing =
            Arc::new(Finishing { plan: plan.clone(), noise_key: self.own_noise_key()?, prss: Mutex::new(prss) });
        let per_selection = plan.blocks().len() / selections.max(1);
        let planes = plan.planes();

        let mut columns = Vec::with_capacity(per_selection * planes.len());
        for (place, block) in plan.blocks().iter().take(per_selection).enumerate() {
            columns.extend(planes.iter().map(|plane| (place, block.block, *plane)));
        }
        let mut columns = columns.into_iter();
        let tasks_max = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN).get();
        let mut running = JoinSet::new();
        let mut parts: BTreeMap<(usize, u8), FilteredPart> = BTreeMap::new();
        loop {
            while running.len() < tasks_max
                && let Some((place, block, plane)) = columns.next()
            {
                let (panel, manifest, selection, registered) =
                    (panel.clone(), manifest.clone(), selection.clone(), registered.clone());
                let (people, finishing) = (people.clone(), finishing.clone());
                let counts = |number: &usize| {
                    plan.blocks().get(number * per_selection + place).is_some_and(|block| block.planes.contains(&plane))
                };
                let counted = (0..selections).filter(counts).collect();
                running.spawn(async move {
                    let column = Column { block, plane };
                    let pass = Pass::new(people, block, plane, counted);
                    let pass = visit_rows(&panel, &manifest, column, &selection, &*registered, pass).await?;
                    blocking(move || finishing.parts(pass, place, per_selection)).await
                });
            }
            let Some(ended) = running.join_next().await else { break };
            let ended = ended.map_err(|_| KeyholderError::Engine(locus_engine::EngineError::Interrupted))??;
            parts.extend(ended);
        }
        let of_block = |(place, block): (usize, &BlockPlan)| {
            block.planes.iter().map(|plane| parts.remove(&(place, plane.code()))).collect()
        };
        let all: Option<Vec<Vec<FilteredPart>>> = plan.blocks().iter().enumerate().map(of_block).collect();
        all.ok_or(KeyholderError::StepMissing("a column"))
    }

    fn people(
        &self,
        asked: &Asked,
        cohort: &Cohort,
        weights: Vec<SharedVector<u64>>,
    ) -> Result<People, KeyholderError> {
        let members = cohort.members();
        let slot = |member: &Member| u32::try_from(member.slot);
        let slots = members.iter().map(slot).collect::<Result<Vec<u32>, _>>();
        let mut keys = Vec::with_capacity(members.len());
        for chunk in members.chunks(MEMBERS_PER_CHUNK) {
            let names: Vec<DatasetKey> = chunk.iter().map(key_of).collect();
            for (member, secret) in chunk.iter().zip(self.store().seeds(&names)?) {
                let context = self.context_of(asked.panel.digest, member);
                let [lower, higher] = seeds_of_secret(self.index(), &secret)?
                    .map(|(share, seed)| (share, BlockKeys::new(&context, share, &seed)));
                let is_ascending = lower.0 == self.index().released_share();
                keys.push(if is_ascending { [lower.1, higher.1] } else { [higher.1, lower.1] });
            }
        }
        let slots = slots.map_err(|_| KeyholderError::Malformed("a registry slot above 2^32".into()))?;
        Ok(People { keyholder: self.index(), slots, keys, weights })
    }
}

fn engine_error(error: ObjectError) -> KeyholderError {
    KeyholderError::Engine(error.into())
}

/// The sums over one column of every selection that counts it.
struct Pass {
    people: Arc<People>,
    block: PanelBlockIndex,
    plane: Plane,
    /// By the selection's number.
    sums: Vec<(usize, FilteredSum)>,
}

impl Pass {
    fn new(people: Arc<People>, block: PanelBlockIndex, plane: Plane, counted: Vec<usize>) -> Self {
        let sums = counted.into_iter().map(|number| (number, FilteredSum::new(people.keyholder))).collect();
        Self { people, block, plane, sums }
    }
}

impl RowVisitor for Pass {
    fn visit(&mut self, slot: u32, body: &BodyBytes) -> Result<(), ObjectError> {
        let place = self.people.slots.binary_search(&slot).map_err(|_| ObjectError::Interrupted)?;
        let body = Body::parse(body).map_err(|_| ObjectError::Interrupted)?;
        let [released, other] = self.people.keys[place].each_ref().map(|keys| keys.expand(self.block, self.plane));
        for (number, sum) in &mut self.sums {
            let weights = &self.people.weights[*number];
            let weight = WeightShares { released: weights.released()[place], other: weights.other()[place] };
            // Cohorts have a size that was checked before.
            sum.add(weight, &body, &released, &other).map_err(|_| ObjectError::Interrupted)?;
        }
        Ok(())
    }
}

/// What turns sums into parts.
struct Finishing {
    plan: AnswerPlan,
    noise_key: NoiseKey,
    prss: Mutex<Prss>,
}

impl Finishing {
    /// The parts of every selection in the column at `place` of each selection's blocks, by place in the plan
    /// and plane.
    fn parts(
        &self,
        pass: Pass,
        place: usize,
        per_selection: usize,
    ) -> Result<Vec<((usize, u8), FilteredPart)>, KeyholderError> {
        let Pass { plane, sums, .. } = pass;
        let mut parts = Vec::with_capacity(sums.len());
        for (number, sum) in sums {
            let place = number * per_selection + place;
            let block = self.plan.blocks().get(place).ok_or(KeyholderError::StepMissing("a block"))?;
            let noise = NoiseInput { noise_key: &self.noise_key, tau: &block.tau, dp_share: self.plan.dp_share() };
            // Every (block of the plan, plane) has a gate of its own.
            let gate = u32::try_from(2 * place).map_or(u32::MAX, |gate| ANSWER_GATE + gate + u32::from(plane.code()));
            let mut prss = self.prss.lock().unwrap_or_else(PoisonError::into_inner);
            let part = sum.finish(Mask::v1(), plane, &block.slots, noise, &mut prss, gate)?;
            parts.push(((place, plane.code()), part));
        }
        Ok(parts)
    }
}
