//! Evaluating a filter on shares, in rounds with the other keyholders.

mod authenticated;
#[cfg(test)]
mod tests;

use crate::{
    answer::{
        filtered::parts::ANSWER_GATE,
        question::AskedFilter,
        rounds::{ROUND_BYTES_MAX, Rounds},
    },
    error::KeyholderError,
};
use locus_commitment::{Digest32, sha3_256};
use locus_phenotype::{
    AttributeTable, Evaluation, EvaluationPlan, FILTER_SELECTIONS_MAX, PREDICATE_NODES_MAX, Selection,
};
use locus_privacy::{MatchFloor, SigmaSquared, Tau};
use locus_rlwe::{NoiseInput, derive_matched_noise, derive_squares_noise};
use locus_sharing::{
    KeyholderIndex, NoiseKey, Opening, Prss, SharedValues, SharedVector, SumPart, ValuesPart as _, open_sum,
};
use zeroize::Zeroizing;

const DST_MATCHED: &str = "locus/keyholder/matched-part/v1";
/// Gates of squares, above those of all predicates and planes.
const SQUARES_GATE: u32 = 1 << 19;
/// Gates of totals, two for each selection.
const MATCHED_GATE: u32 = 1 << 20;

// Gates of predicates and planes, of squares, and of totals, below those of the answer's masks.
const _: () = assert!(FILTER_SELECTIONS_MAX * (PREDICATE_NODES_MAX + 1) <= SQUARES_GATE as usize);
const _: () = assert!(SQUARES_GATE as usize + FILTER_SELECTIONS_MAX <= MATCHED_GATE as usize);
const _: () = assert!(MATCHED_GATE as usize + 2 * FILTER_SELECTIONS_MAX <= ANSWER_GATE as usize);

/// A keyholder's shares of who is counted, and how many that is.
pub(super) struct Selected {
    /// Shares of the weight of every member, for every selection.
    pub(super) weights: Vec<SharedVector<u64>>,
    /// Of every selection the matched number, and the sum of squares where there is one, with noise.
    pub(super) totals: Vec<Vec<i64>>,
}

/// What a keyholder needs for the rounds. Runs on a thread that may block.
pub(super) struct Selecting {
    pub(super) keyholder: KeyholderIndex,
    pub(super) filter: AskedFilter,
    /// Shares of each member's attribute bits, in the cohort's order.
    pub(super) rows: Vec<SharedVector<u64>>,
    pub(super) prss: Prss,
    pub(super) rounds: Rounds,
    /// What the noise of each selection's matched number is bound to.
    pub(super) taus: Vec<Tau>,
    pub(super) noise_key: NoiseKey,
    pub(super) dp_share: Option<SigmaSquared>,
    pub(super) dp_total: Option<SigmaSquared>,
    pub(super) floor: MatchFloor,
}

/// Everything that is multiplied in one evaluation.
struct Computed<V> {
    /// The gates of all predicates.
    gates: Vec<V>,
    /// The weight of every member, for every selection.
    weights: Vec<V>,
    /// The weighted squares, for the selections that have them.
    squares: Vec<Option<V>>,
}

impl Selecting {
    /// Evaluates the filter; hands back the source of common randomness for the answer's masks.
    pub(super) fn run(mut self) -> Result<(Selected, Prss), KeyholderError> {
        let rows = std::mem::take(&mut self.rows);
        let rows: Vec<&SharedVector<u64>> = rows.iter().collect();
        let AskedFilter { filter, schema } = &self.filter;
        let table = AttributeTable::of_rows(self.keyholder, &rows, filter.inputs(schema))?;
        let Computed { weights, squares, .. } =
            if filter.is_authenticated() { self.compute_authenticated(&table)? } else { self.compute(&table)? };
        let totals = self.count(&weights, &squares)?;
        self.check_floor(&totals)?;
        Ok((Selected { weights, totals }, self.prss))
    }

    /// All products. Nothing is opened.
    fn compute<V: SharedValues>(&mut self, table: &AttributeTable<V>) -> Result<Computed<V>, KeyholderError> {
        let (gates, people) = self.evaluate_predicates(table)?;
        let weights = self.multiply_planes(table, &people)?;
        let squares = self.square(table, &weights)?;
        Ok(Computed { gates, weights, squares })
    }

    /// The values of all gates, and of these whom each predicate selects; all predicates take their rounds in
    /// step.
    fn evaluate_predicates<V: SharedValues>(
        &mut self,
        table: &AttributeTable<V>,
    ) -> Result<(Vec<V>, Vec<V>), KeyholderError> {
        let plans = self.filter.filter.plans(&self.filter.schema);
        let mut runs = Vec::with_capacity(plans.len());
        let mut first_gate = 0;
        for plan in &plans {
            runs.push(Evaluation::new(plan, table, first_gate)?);
            first_gate += gate_count(plan);
        }
        while runs.iter().any(|run| !run.is_done()) {
            let mut messages = Vec::with_capacity(runs.len());
            for run in &mut runs {
                messages.push(run.send(&mut self.prss)?);
            }
            let received = self.rounds.pass_on(&messages.concat())?;
            let mut rest = received.as_slice();
            for (run, sent) in runs.iter_mut().zip(&messages) {
                let (own, later) = rest.split_at(sent.len());
                run.receive(own)?;
                rest = later;
            }
        }
        let people = runs.iter().map(|run| run.selection().cloned()).collect::<Option<Vec<_>>>();
        let gates = runs.into_iter().flat_map(Evaluation::into_values).collect();
        Ok((gates, people.ok_or(KeyholderError::StepMissing("a round"))?))
    }

    /// The weights of every selection: its people, or for a bit of a quantity people times bit, all in one round.
    fn multiply_planes<V: SharedValues>(
        &mut self,
        table: &AttributeTable<V>,
        people: &[V],
    ) -> Result<Vec<V>, KeyholderError> {
        let AskedFilter { filter, schema } = &self.filter;
        let first_gate = filter.plans(schema).iter().map(gate_count).sum::<u32>();
        let mut own = Vec::new();
        for (gate, (selection, predicate)) in (first_gate..).zip(filter.selections().iter().zip(filter.predicate_of()))
        {
            let Some(bit) = selection.plane_bit(schema) else { continue };
            let mut part = V::Part::new(self.keyholder, table.people());
            part.add_product(&people[*predicate], &table.sum(&[bit])?)?;
            own.push(part.mask(&mut self.prss, gate)?);
        }
        let mut products = self.share_again(own)?.into_iter();
        let AskedFilter { filter, schema } = &self.filter;
        let mut weights = Vec::with_capacity(filter.selections().len());
        for (selection, predicate) in filter.selections().iter().zip(filter.predicate_of()) {
            weights.push(match selection.plane_bit(schema) {
                None => people[*predicate].clone(),
                Some(_) => products.next().ok_or(KeyholderError::StepMissing("a round"))?,
            });
        }
        Ok(weights)
    }

    /// f u^2 of every member, for each selection that has it: (f u) u, all in one round. Gates are numbered by
    /// selection.
    fn square<V: SharedValues>(
        &mut self,
        table: &AttributeTable<V>,
        weights: &[V],
    ) -> Result<Vec<Option<V>>, KeyholderError> {
        let AskedFilter { filter, schema } = &self.filter;
        let (mut places, mut own) = (Vec::new(), Vec::new());
        for ((gate, place), selection) in (SQUARES_GATE..).zip(0..).zip(filter.selections()) {
            if selection.release().total_count == 1 {
                continue;
            }
            let mut weighted = V::zeros(self.keyholder, table.people());
            let mut plain = V::zeros(self.keyholder, table.people());
            for (bit, plane) in filter.planes_of(place, schema).into_iter().enumerate() {
                let column = filter.selections()[plane].plane_bit(schema).into_iter().collect::<Vec<_>>();
                for (sum, mut values) in [(&mut weighted, weights[plane].clone()), (&mut plain, table.sum(&column)?)] {
                    values.scale(1 << bit);
                    sum.add(&values)?;
                }
            }
            let mut part = V::Part::new(self.keyholder, table.people());
            part.add_product(&weighted, &plain)?;
            places.push(place);
            own.push(part.mask(&mut self.prss, gate)?);
        }
        let mut squares: Vec<Option<V>> = weights.iter().map(|_| None).collect();
        for (place, product) in places.into_iter().zip(self.share_again(own)?) {
            squares[place] = Some(product);
        }
        Ok(squares)
    }

    /// The shares of products whose masked parts are given: one round, or none without products.
    fn share_again<V: SharedValues>(&mut self, own: Vec<Vec<V::Word>>) -> Result<Vec<V>, KeyholderError> {
        if own.is_empty() {
            return Ok(Vec::new());
        }
        let received = self.rounds.pass_on(&own.concat())?;
        let mut rest = received.as_slice();
        let mut products = Vec::with_capacity(own.len());
        for part in own {
            let (received, later) = rest.split_at(part.len());
            products.push(V::of_parts(self.keyholder, part, received.to_vec())?);
            rest = later;
        }
        Ok(products)
    }

    /// The totals of every selection: the sum of its weights, and of its squares where it has them.
    fn count(
        &mut self,
        weights: &[SharedVector<u64>],
        squares: &[Option<SharedVector<u64>>],
    ) -> Result<Vec<Vec<i64>>, KeyholderError> {
        let opened = match self.dp_share {
            None => self.open_exactly(weights, squares)?,
            Some(_) => self.open_with_noise(weights, squares)?,
        };
        let mut opened = opened.into_iter();
        let of_selection = |squares: &Option<_>| opened.by_ref().take(1 + usize::from(squares.is_some())).collect();
        Ok(squares.iter().map(of_selection).collect())
    }

    /// Shown by both holders of every share, so that nobody can show another total: a selection below the floor
    /// could be lifted over it.
    fn open_exactly(
        &mut self,
        weights: &[SharedVector<u64>],
        squares: &[Option<SharedVector<u64>>],
    ) -> Result<Vec<i64>, KeyholderError> {
        let (mut released, mut other) = (Vec::new(), Vec::new());
        for (weights, squares) in weights.iter().zip(squares) {
            for total in [Some(weights), squares.as_ref()].into_iter().flatten().map(SharedVector::total) {
                released.extend_from_slice(total.released());
                other.extend_from_slice(total.other());
            }
        }
        let totals = SharedVector::new(self.keyholder, released, other)?;
        let [first, second] = self.rounds.show(&Opening::of(&totals))?;
        let opened = Opening::open(&totals, [&first, &second]).map_err(|_| KeyholderError::Falsified)?;
        Ok(opened.into_iter().map(u64::cast_signed).collect())
    }

    /// With noise of every keyholder's own: commit to the parts first, then open, so that nobody can choose its part
    /// after seeing the others'.
    fn open_with_noise(
        &mut self,
        weights: &[SharedVector<u64>],
        squares: &[Option<SharedVector<u64>>],
    ) -> Result<Vec<i64>, KeyholderError> {
        let share = self.keyholder.released_share();
        let mut parts = Vec::new();
        for (place, ((gate, weights), tau)) in (MATCHED_GATE..).step_by(2).zip(weights).zip(&self.taus).enumerate() {
            let input = NoiseInput { noise_key: &self.noise_key, tau, dp_share: self.dp_share };
            parts.push(SumPart::new(weights, derive_matched_noise(input, share)?, &mut self.prss, gate)?);
            if let Some(squares) = &squares[place] {
                let largest = self.filter.filter.largest_of(place, &self.filter.schema);
                let noise = derive_squares_noise(input, share, largest)?;
                parts.push(SumPart::new(squares, noise, &mut self.prss, gate + 1)?);
            }
        }
        let own: Vec<u8> = parts.iter().flat_map(|part| part.0.to_le_bytes()).collect();
        let [second, third] = self.open(&own)?;
        let part = |bytes: &[u8], place: usize| {
            SumPart(bytes.as_chunks::<8>().0.get(place).map_or(0, |word| u64::from_le_bytes(*word)))
        };
        let sum = |place: usize| open_sum([parts[place], part(&second, place), part(&third, place)]);
        Ok((0..parts.len()).map(sum).collect())
    }

    /// What the other keyholders have, once each has committed to it.
    fn open(&mut self, own: &[u8]) -> Result<[Zeroizing<Vec<u8>>; 2], KeyholderError> {
        let session = self.prss.session();
        let commitment = |keyholder: KeyholderIndex, parts: &[u8]| -> Digest32 {
            sha3_256(DST_MATCHED, &[&session.tau.0, &session.attempt.to_le_bytes(), &[keyholder.get()], parts])
        };
        let committed = self.rounds.tell_all(&commitment(self.keyholder, own).0)?;
        let opened = self.rounds.tell_all(own)?;
        for ((keyholder, committed), (_, opened)) in committed.iter().zip(&opened) {
            if committed.as_slice() != commitment(*keyholder, opened).0 {
                return Err(KeyholderError::Disagreement(format!(
                    "keyholder {keyholder} opened another matched number"
                )));
            }
        }
        Ok(opened.map(|(_, opened)| opened))
    }

    /// Refuses when a selection of people matches too few of them. The bits of a quantity have people who are
    /// counted themselves.
    fn check_floor(&self, totals: &[Vec<i64>]) -> Result<(), KeyholderError> {
        for (place, (selection, totals)) in self.filter.filter.selections().iter().zip(totals).enumerate() {
            let matched = totals.first().copied().unwrap_or(0);
            if matches!(selection, Selection::People(_)) && !self.floor.is_reached(matched, self.dp_total) {
                return Err(KeyholderError::TooFewMatch(place));
            }
        }
        Ok(())
    }

    /// Whether the messages of every round can be sent.
    pub(super) fn check_rounds(&self) -> Result<(), KeyholderError> {
        let bytes = round_bytes(&self.filter, self.rows.len());
        if bytes > ROUND_BYTES_MAX {
            return Err(KeyholderError::RoundTooLong { bytes, bytes_max: ROUND_BYTES_MAX });
        }
        Ok(())
    }

    /// Whether all noise can be drawn: what cannot be asked is refused before anybody is charged.
    pub(super) fn check_noise(&self) -> Result<(), KeyholderError> {
        let Some(tau) = self.taus.first() else { return Ok(()) };
        let input = NoiseInput { noise_key: &self.noise_key, tau, dp_share: self.dp_share };
        for largest in self.filter.filter.squared_quantities(&self.filter.schema) {
            derive_squares_noise(input, self.keyholder.released_share(), largest)
                .map_err(|_| KeyholderError::TraitTooNoisy)?;
        }
        Ok(())
    }
}

/// Bytes of the longest message of an evaluation.
fn round_bytes(AskedFilter { filter, schema }: &AskedFilter, people: usize) -> usize {
    let plans = filter.plans(schema);
    let rounds = plans.iter().map(|plan| plan.cost().rounds).max().unwrap_or(0);
    let gates = |round: u32| plans.iter().map(|plan| plan.level(round).count()).sum::<usize>();
    // The bits of quantities, and never more squares than these, have rounds of their own.
    let planes = filter.selections().iter().filter(|selection| selection.plane_bit(schema).is_some()).count();
    let most = (1..=rounds).map(gates).chain([planes]).max().unwrap_or(0);
    let person_bytes = most.saturating_mul(filter.product_bytes()).max(filter.tag_bytes(schema));
    person_bytes.saturating_mul(people)
}

fn gate_count(plan: &EvaluationPlan) -> u32 {
    u32::try_from(plan.gates().len()).unwrap_or(u32::MAX)
}
