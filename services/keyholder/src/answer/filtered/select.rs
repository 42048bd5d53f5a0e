//! Evaluating a filter on shares, in rounds with the other keyholders.

use crate::{
    answer::{question::AskedFilter, rounds::Rounds},
    error::KeyholderError,
};
use locus_commitment::{Digest32, sha3_256};
use locus_phenotype::{AttributeTable, Evaluation, EvaluationPlan, Selection};
use locus_privacy::{MatchFloor, SigmaSquared, Tau};
use locus_rlwe::{NoiseInput, derive_matched_noise};
use locus_sharing::{KeyholderIndex, NoiseKey, ProductPart, Prss, SharedVector, SumPart, open_sum};

const DST_MATCHED: &str = "locus/keyholder/matched-part/v1";
/// Gates of the matched numbers, above those of any plan: 32 predicates of 512 gates, and 32 planes.
const MATCHED_GATE: u32 = 1 << 20;

/// A keyholder's shares of who is counted, and how many that is.
pub(super) struct Selected {
    /// Shares of the weight of every member, for every selection.
    pub(super) weights: Vec<SharedVector<u64>>,
    /// Sum of the weights of every selection, with noise.
    pub(super) matched: Vec<i64>,
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

impl Selecting {
    /// Evaluates the filter; hands back the source of common randomness for the answer's masks.
    pub(super) fn run(mut self) -> Result<(Selected, Prss), KeyholderError> {
        let rows = std::mem::take(&mut self.rows);
        let rows: Vec<&SharedVector<u64>> = rows.iter().collect();
        let table = AttributeTable::new(self.keyholder, &rows);
        let people = self.evaluate_predicates(table)?;
        let weights = self.multiply_planes(table, &people)?;
        let matched = self.count(&weights)?;
        self.check_floor(&matched)?;
        Ok((Selected { weights, matched }, self.prss))
    }

    /// Who each predicate selects; all predicates take their rounds in step.
    fn evaluate_predicates(&mut self, table: AttributeTable<'_>) -> Result<Vec<SharedVector<u64>>, KeyholderError> {
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
        let selections = runs.iter().map(|run| run.selection().cloned());
        selections.collect::<Option<Vec<_>>>().ok_or(KeyholderError::StepMissing("a round"))
    }

    /// The weights of every selection: its people, or for a bit of a quantity people times bit, all in one round.
    fn multiply_planes(
        &mut self,
        table: AttributeTable<'_>,
        people: &[SharedVector<u64>],
    ) -> Result<Vec<SharedVector<u64>>, KeyholderError> {
        let AskedFilter { filter, schema } = &self.filter;
        let first_gate = filter.plans(schema).iter().map(gate_count).sum::<u32>();
        let mut own = Vec::new();
        for (gate, (selection, predicate)) in (first_gate..).zip(filter.selections().iter().zip(filter.predicate_of()))
        {
            let Some(bit) = selection.plane_bit(schema) else { continue };
            let mut part = ProductPart::new(self.keyholder, table.people());
            part.add_product(&people[*predicate], &table.sum(&[bit])?)?;
            own.push(part.mask(&mut self.prss, gate)?);
        }
        let received = if own.is_empty() { Vec::new() } else { self.rounds.pass_on(&own.concat())? };
        let mut products = own.into_iter().zip(received.chunks(table.people().max(1)).map(<[u64]>::to_vec));
        let mut weights = Vec::with_capacity(filter.selections().len());
        for (selection, predicate) in filter.selections().iter().zip(filter.predicate_of()) {
            weights.push(match selection.plane_bit(schema) {
                None => people[*predicate].clone(),
                Some(_) => {
                    let (own, received) = products.next().ok_or(KeyholderError::StepMissing("a round"))?;
                    SharedVector::of_parts(self.keyholder, own, received)?
                }
            });
        }
        Ok(weights)
    }

    /// The noisy sum of every selection's weights: commit to the parts first, then open, so that nobody can
    /// choose its part after seeing the others'.
    fn count(&mut self, weights: &[SharedVector<u64>]) -> Result<Vec<i64>, KeyholderError> {
        let mut parts = Vec::with_capacity(weights.len());
        for ((gate, weights), tau) in (MATCHED_GATE..).zip(weights).zip(&self.taus) {
            let input = NoiseInput { noise_key: &self.noise_key, tau, dp_share: self.dp_share };
            let noise = derive_matched_noise(input, self.keyholder.released_share())?;
            parts.push(SumPart::new(weights, noise, &mut self.prss, gate)?);
        }
        let own: Vec<u8> = parts.iter().flat_map(|part| part.0.to_le_bytes()).collect();
        let session = self.prss.session();
        let commitment = |keyholder: KeyholderIndex, parts: &[u8]| -> Digest32 {
            sha3_256(DST_MATCHED, &[&session.tau.0, &session.attempt.to_le_bytes(), &[keyholder.get()], parts])
        };
        let committed = self.rounds.tell_all(&commitment(self.keyholder, &own).0)?;
        let opened = self.rounds.tell_all(&own)?;
        for ((keyholder, committed), (_, opened)) in committed.iter().zip(&opened) {
            if committed.as_slice() != commitment(*keyholder, opened).0 {
                return Err(KeyholderError::Disagreement(format!(
                    "keyholder {keyholder} opened another matched number"
                )));
            }
        }
        let part = |bytes: &[u8], place: usize| {
            SumPart(bytes.as_chunks::<8>().0.get(place).map_or(0, |word| u64::from_le_bytes(*word)))
        };
        let [(_, second), (_, third)] = &opened;
        Ok((0..parts.len()).map(|place| open_sum([parts[place], part(second, place), part(third, place)])).collect())
    }

    /// Refuses when a selection of people matches too few of them. The bits of a quantity have people who are
    /// counted themselves.
    fn check_floor(&self, matched: &[i64]) -> Result<(), KeyholderError> {
        for (place, (selection, matched)) in self.filter.filter.selections().iter().zip(matched).enumerate() {
            if matches!(selection, Selection::People(_)) && !self.floor.is_reached(*matched, self.dp_total) {
                return Err(KeyholderError::TooFewMatch(place));
            }
        }
        Ok(())
    }
}

fn gate_count(plan: &EvaluationPlan) -> u32 {
    u32::try_from(plan.gates().len()).unwrap_or(u32::MAX)
}
