//! Live attributes as a filter reads them: shares of each person's bits.

use crate::{
    error::KeyholderError,
    keyholder::Keyholder,
    store::{DatasetKey, StoreError},
};
use locus_cohort::Member;
use locus_commitment::DatasetContext;
use locus_genomics::PanelDigest;
use locus_phenotype::AttributeSchema;
use locus_sharing::{AttributeEntry, KeySeed, SharedVector, shares_of};

/// Members whose seeds are in memory at a time.
const MEMBERS_PER_PAGE: usize = 1024;
/// Bytes of a seed, and of the blinding that follows it.
const SEED_BYTES: usize = 32;

impl Keyholder {
    /// This keyholder's shares of the attribute bits of each member, in order.
    ///
    /// # Errors
    /// [`KeyholderError::NoAttributes`] for a member without live attributes of this schema, and
    /// [`StoreError::SeedsMissing`].
    pub(crate) fn attribute_rows(
        &self,
        panel: PanelDigest,
        members: &[Member],
        schema: &AttributeSchema,
    ) -> Result<Vec<SharedVector<u64>>, KeyholderError> {
        let mut rows = Vec::with_capacity(members.len());
        for page in members.chunks(MEMBERS_PER_PAGE) {
            let keys: Vec<DatasetKey> =
                page.iter().map(|member| DatasetKey { dataset: member.dataset, version: member.version }).collect();
            let entries = self.store().attributes(&keys, &schema.digest())?;
            if let Some((member, _)) = page.iter().zip(&entries).find(|(_, entry)| entry.is_none()) {
                return Err(KeyholderError::NoAttributes(member.dataset));
            }
            let seeds = self.store().seeds(&keys)?;
            for ((member, entry), secret) in page.iter().zip(entries.iter().flatten()).zip(seeds) {
                let context = DatasetContext {
                    network: self.network(),
                    registrant: member.registrant,
                    dataset: member.dataset,
                    panel,
                    version: member.version,
                };
                rows.push(self.shares_of_entry(entry, &context, &secret, schema.bit_count())?);
            }
        }
        Ok(rows)
    }

    /// The shares of one dataset's bits, from what was sent and from the stored secret: (seed,
    /// blinding) of both shares held, ascending.
    pub(super) fn shares_of_entry(
        &self,
        entry: &AttributeEntry,
        context: &DatasetContext,
        secret: &[u8],
        bit_count: usize,
    ) -> Result<SharedVector<u64>, KeyholderError> {
        let (pairs, rest) = secret.as_chunks::<{ 2 * SEED_BYTES }>();
        let ([lower, higher], []) = (pairs, rest) else { return Err(StoreError::Damaged("seed").into()) };
        let seed = |pair: &[u8; 2 * SEED_BYTES]| {
            let seed = pair.first_chunk::<SEED_BYTES>().ok_or(StoreError::Damaged("seed"))?;
            Ok::<_, StoreError>(KeySeed::from_bytes(*seed))
        };
        let (lower, higher) = (seed(lower)?, seed(higher)?);
        let [first, second] = shares_of(self.index());
        Ok(entry.shares(self.index(), context, [(first, &lower), (second, &higher)], bit_count)?)
    }
}
