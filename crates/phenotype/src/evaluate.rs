//! A keyholder's steps of evaluating a plan on shared attribute bits, for a whole cohort at once.

use crate::predicate::{EvaluationPlan, Gate};
use locus_sharing::{KeyholderIndex, ProductPart, Prss, SharedVector, SharingError};

/// The shared attribute bits of a cohort: one row a person, one column a bit of the schema.
#[derive(Clone, Copy)]
pub struct AttributeTable<'a> {
    keyholder: KeyholderIndex,
    rows: &'a [&'a SharedVector<u64>],
}

impl<'a> AttributeTable<'a> {
    /// The table of `keyholder` with these rows, in the cohort's order.
    pub fn new(keyholder: KeyholderIndex, rows: &'a [&'a SharedVector<u64>]) -> Self {
        Self { keyholder, rows }
    }

    /// People in the table.
    pub fn people(&self) -> usize {
        self.rows.len()
    }

    /// The sum of some columns, one value a person.
    ///
    /// # Errors
    /// [`SharingError::VectorLength`] when a row lacks a bit, [`SharingError::KeyholderMismatch`].
    pub fn sum(&self, bits: &[usize]) -> Result<SharedVector<u64>, SharingError> {
        let mut sum = SharedVector::zeros(self.keyholder, self.rows.len());
        for bit in bits {
            sum.add(&SharedVector::column(self.keyholder, self.rows.iter().copied(), *bit)?)?;
        }
        Ok(sum)
    }
}

/// One keyholder's evaluation of one plan. Call [`send`](Self::send) and
/// [`receive`](Self::receive) in turns until [`selection`](Self::selection) is there.
pub struct Evaluation<'a> {
    plan: &'a EvaluationPlan,
    table: AttributeTable<'a>,
    first_gate: u32,
    values: Vec<Option<SharedVector<u64>>>,
    level: u32,
    /// Own parts of the gates that wait for the others' parts.
    sent: Vec<(usize, Vec<u64>)>,
}

impl<'a> Evaluation<'a> {
    /// Starts the evaluation of `plan`. Its gates take the numbers from `first_gate` on: plans
    /// evaluated in one attempt need numbers apart.
    ///
    /// # Errors
    /// As for [`AttributeTable::sum`].
    pub fn new(plan: &'a EvaluationPlan, table: AttributeTable<'a>, first_gate: u32) -> Result<Self, SharingError> {
        let mut values: Vec<Option<SharedVector<u64>>> = plan.gates().iter().map(|_| None).collect();
        for number in plan.level(0) {
            values[number] = Some(table.sum(&plan.gates()[number].bits)?);
        }
        Ok(Self { plan, table, first_gate, values, level: 0, sent: Vec::new() })
    }

    /// Whether another round is needed.
    pub fn is_done(&self) -> bool {
        self.level >= self.plan.cost().rounds
    }

    /// The next round's message to [`KeyholderIndex::sends_to`]: one value a person for each gate of
    /// the round. Empty when no round is left.
    ///
    /// # Errors
    /// [`SharingError::GateReused`] and as for [`AttributeTable::sum`].
    pub fn send(&mut self, prss: &mut Prss) -> Result<Vec<u64>, SharingError> {
        if self.is_done() || !self.sent.is_empty() {
            return Ok(Vec::new());
        }
        self.level += 1;
        let mut message = Vec::new();
        for number in self.plan.level(self.level) {
            let gate_number = u32::try_from(number).unwrap_or(u32::MAX).saturating_add(self.first_gate);
            let part = self.product_part(&self.plan.gates()[number])?.mask(prss, gate_number)?;
            message.extend(&part);
            self.sent.push((number, part));
        }
        Ok(message)
    }

    /// Takes the message of the same round from [`KeyholderIndex::receives_from`].
    ///
    /// # Errors
    /// [`SharingError::VectorLength`] when it has another length than the one sent.
    pub fn receive(&mut self, message: &[u64]) -> Result<(), SharingError> {
        let people = self.table.people();
        let expected = self.sent.len() * people;
        if message.len() != expected {
            return Err(SharingError::VectorLength { expected, got: message.len() });
        }
        let mut rest = message;
        for (number, own) in std::mem::take(&mut self.sent) {
            let (received, later) = rest.split_at(people);
            self.values[number] = Some(SharedVector::of_parts(self.table.keyholder, own, received.to_vec())?);
            rest = later;
        }
        Ok(())
    }

    /// Who is selected, as shares of 0 or 1 a person; `None` before the last round.
    pub fn selection(&self) -> Option<&SharedVector<u64>> {
        self.values.last()?.as_ref()
    }

    fn product_part(&self, gate: &Gate) -> Result<ProductPart<u64>, SharingError> {
        let mut part = ProductPart::new(self.table.keyholder, self.table.people());
        part.add(&self.table.sum(&gate.bits)?)?;
        for input in &gate.products {
            if let Some(Some(value)) = self.values.get(input.gate) {
                part.add_product(&self.table.sum(&input.bits)?, value)?;
            }
        }
        Ok(part)
    }
}
