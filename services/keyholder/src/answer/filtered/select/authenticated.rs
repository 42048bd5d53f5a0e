//! The same evaluation on shares with tags, and the check that must pass before anything is opened.

use super::{Computed, Selecting};
use crate::error::KeyholderError;
use locus_phenotype::AttributeTable;
use locus_sharing::{AuthenticatedVector, MacCheck, MacKey, Opening, SharedVector, SharingError};

/// Gate of the key and of the tags of the inputs.
pub(super) const KEY_GATE: u32 = super::SQUARES_GATE + (1 << 10);
/// Gate of the weights of the check, and of its combinations.
const CHECK_GATE: u32 = KEY_GATE + 1;

impl Selecting {
    /// All products, by values and tags that were found to belong together; without the tags.
    pub(super) fn compute_authenticated(
        &mut self,
        table: &AttributeTable<SharedVector<u64>>,
    ) -> Result<Computed<SharedVector<u64>>, KeyholderError> {
        let (key, inputs, own) = self.begin_tags(table)?;
        let table = self.end_tags(table, inputs, &own)?;
        let computed = self.compute(&table)?;
        self.checked(&key, &table, &computed)
    }

    /// The key, the inputs modulo 2^128, and the message from which their tags come.
    pub(super) fn begin_tags(
        &mut self,
        table: &AttributeTable<SharedVector<u64>>,
    ) -> Result<(MacKey, Vec<SharedVector<u128>>, Vec<u128>), KeyholderError> {
        let key = MacKey::new(&mut self.prss, KEY_GATE)?;
        let inputs: Vec<SharedVector<u128>> = table.sums().map(SharedVector::widened).collect();
        let own = key.tag(&inputs, &mut self.prss, KEY_GATE)?;
        Ok((key, inputs, own))
    }

    /// The inputs with their tags: one round.
    pub(super) fn end_tags(
        &mut self,
        table: &AttributeTable<SharedVector<u64>>,
        inputs: Vec<SharedVector<u128>>,
        own: &[u128],
    ) -> Result<AttributeTable<AuthenticatedVector>, KeyholderError> {
        let received = self.rounds.pass_on(own)?;
        Ok(table.with_sums(AuthenticatedVector::of_tags(inputs, own, &received)?))
    }

    /// The words of all values, once everything that was multiplied has passed the check.
    pub(super) fn checked(
        &mut self,
        key: &MacKey,
        table: &AttributeTable<AuthenticatedVector>,
        computed: &Computed<AuthenticatedVector>,
    ) -> Result<Computed<SharedVector<u64>>, KeyholderError> {
        let Computed { gates, weights, squares } = computed;
        let all = table.sums().chain(gates).chain(weights).chain(squares.iter().flatten());
        self.check(key, &all.collect::<Vec<_>>()).map_err(|error| match error {
            KeyholderError::Sharing(SharingError::MacMismatch) => KeyholderError::Falsified,
            other => other,
        })?;
        let words = |values: &[AuthenticatedVector]| values.iter().map(AuthenticatedVector::to_words).collect();
        let of_square = |square: &Option<AuthenticatedVector>| square.as_ref().map(AuthenticatedVector::to_words);
        Ok(Computed { gates: words(gates), weights: words(weights), squares: squares.iter().map(of_square).collect() })
    }

    /// Three rounds: the combinations, the key, the difference.
    fn check(&mut self, key: &MacKey, all: &[&AuthenticatedVector]) -> Result<(), KeyholderError> {
        let (check, own) = MacCheck::begin(key, all, &mut self.prss, CHECK_GATE)?;
        let received = self.rounds.pass_on(&own)?;
        let (combinations, key_shares) = check.combined(received)?;
        let [first, second] = self.rounds.show(&key_shares)?;
        let difference = check.difference(&combinations, [&first, &second])?;
        let [first, second] = self.rounds.show(&Opening::of(&difference))?;
        Ok(MacCheck::verify(&difference, [&first, &second])?)
    }
}
