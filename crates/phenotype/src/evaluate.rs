//! A keyholder's steps of evaluating a plan on shared attribute bits, for a whole cohort at once.

use crate::predicate::{EvaluationPlan, Gate};
use locus_sharing::{KeyholderIndex, Prss, RingWord, SharedValues, SharedVector, SharingError, ValuesPart};
use std::collections::{BTreeMap, BTreeSet};

/// What an evaluation needs of the shared attribute bits of a cohort: sums of bits, one value a person, by
/// the bits that are summed.
pub struct AttributeTable<V> {
    keyholder: KeyholderIndex,
    people: usize,
    sums: BTreeMap<Vec<usize>, V>,
}

impl<W: RingWord> AttributeTable<SharedVector<W>> {
    /// The sums of `inputs` for people with these bits, in the cohort's order.
    ///
    /// # Errors
    /// [`SharingError::VectorLength`] when a row lacks a bit, [`SharingError::KeyholderMismatch`].
    pub fn of_rows(
        keyholder: KeyholderIndex,
        rows: &[&SharedVector<W>],
        inputs: BTreeSet<Vec<usize>>,
    ) -> Result<Self, SharingError> {
        let mut sums = BTreeMap::new();
        for bits in inputs {
            let mut sum = SharedVector::zeros(keyholder, rows.len());
            for bit in &bits {
                sum.add(&SharedVector::column(keyholder, rows.iter().copied(), *bit)?)?;
            }
            sums.insert(bits, sum);
        }
        Ok(Self { keyholder, people: rows.len(), sums })
    }
}

impl<V: SharedValues> AttributeTable<V> {
    /// Whose shares these are.
    pub fn keyholder(&self) -> KeyholderIndex {
        self.keyholder
    }

    /// People in the table.
    pub fn people(&self) -> usize {
        self.people
    }

    /// All sums, ascending by their bits.
    pub fn sums(&self) -> impl Iterator<Item = &V> {
        self.sums.values()
    }

    /// The table with other shares of the same sums, in the order of [`sums`](Self::sums).
    pub fn with_sums<T: SharedValues>(&self, sums: Vec<T>) -> AttributeTable<T> {
        AttributeTable {
            keyholder: self.keyholder,
            people: self.people,
            sums: self.sums.keys().cloned().zip(sums).collect(),
        }
    }

    /// The sum of some bits, one value a person: one of the table's inputs, or of no bits.
    ///
    /// # Errors
    /// [`SharingError::MissingInput`].
    pub fn sum(&self, bits: &[usize]) -> Result<V, SharingError> {
        if bits.is_empty() {
            return Ok(V::zeros(self.keyholder, self.people));
        }
        self.sums.get(bits).cloned().ok_or(SharingError::MissingInput)
    }
}

/// One keyholder's evaluation of one plan. Call [`send`](Self::send) and
/// [`receive`](Self::receive) in turns until [`selection`](Self::selection) is there.
pub struct Evaluation<'a, V: SharedValues> {
    plan: &'a EvaluationPlan,
    table: &'a AttributeTable<V>,
    first_gate: u32,
    values: Vec<Option<V>>,
    level: u32,
    /// Own parts of the gates that wait for the others' parts.
    sent: Vec<(usize, Vec<V::Word>)>,
}

impl<'a, V: SharedValues> Evaluation<'a, V> {
    /// Starts the evaluation of `plan`. Its gates take the numbers from `first_gate` on: plans
    /// evaluated in one attempt need numbers apart.
    ///
    /// # Errors
    /// As for [`AttributeTable::sum`].
    pub fn new(plan: &'a EvaluationPlan, table: &'a AttributeTable<V>, first_gate: u32) -> Result<Self, SharingError> {
        let mut values: Vec<Option<V>> = plan.gates().iter().map(|_| None).collect();
        for number in plan.level(0) {
            values[number] = Some(table.sum(&plan.gates()[number].bits)?);
        }
        Ok(Self { plan, table, first_gate, values, level: 0, sent: Vec::new() })
    }

    /// Whether another round is needed.
    pub fn is_done(&self) -> bool {
        self.level >= self.plan.cost().rounds
    }

    /// The next round's message to [`KeyholderIndex::sends_to`]: one product a person for each gate of
    /// the round. Empty when no round is left.
    ///
    /// # Errors
    /// [`SharingError::GateReused`] and as for [`AttributeTable::sum`].
    pub fn send(&mut self, prss: &mut Prss) -> Result<Vec<V::Word>, SharingError> {
        if self.is_done() || !self.sent.is_empty() {
            return Ok(Vec::new());
        }
        self.level += 1;
        let mut message = Vec::new();
        for number in self.plan.level(self.level) {
            let gate_number = u32::try_from(number).unwrap_or(u32::MAX).saturating_add(self.first_gate);
            let part = self.product_part(&self.plan.gates()[number])?.mask(prss, gate_number)?;
            message.extend_from_slice(&part);
            self.sent.push((number, part));
        }
        Ok(message)
    }

    /// Takes the message of the same round from [`KeyholderIndex::receives_from`].
    ///
    /// # Errors
    /// [`SharingError::VectorLength`] when it has another length than the one sent.
    pub fn receive(&mut self, message: &[V::Word]) -> Result<(), SharingError> {
        let expected = self.sent.iter().map(|(_, own)| own.len()).sum();
        if message.len() != expected {
            return Err(SharingError::VectorLength { expected, got: message.len() });
        }
        let mut rest = message;
        for (number, own) in std::mem::take(&mut self.sent) {
            let (received, later) = rest.split_at(own.len());
            self.values[number] = Some(V::of_parts(self.table.keyholder, own, received.to_vec())?);
            rest = later;
        }
        Ok(())
    }

    /// The values of all gates so far, in order; the last one is the [`selection`](Self::selection).
    pub fn into_values(self) -> Vec<V> {
        self.values.into_iter().flatten().collect()
    }

    /// Who is selected, as shares of 0 or 1 a person; `None` before the last round.
    pub fn selection(&self) -> Option<&V> {
        self.values.last()?.as_ref()
    }

    fn product_part(&self, gate: &Gate) -> Result<V::Part, SharingError> {
        let mut part = V::Part::new(self.table.keyholder, self.table.people);
        part.add(&self.table.sum(&gate.bits)?)?;
        for input in &gate.products {
            if let Some(Some(value)) = self.values.get(input.gate) {
                part.add_product(&self.table.sum(&input.bits)?, value)?;
            }
        }
        Ok(part)
    }
}
