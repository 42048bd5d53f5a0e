//! Live attributes as a filter reads them: shares of each person's bits.

use crate::{
    error::KeyholderError,
    keyholder::Keyholder,
    store::{DatasetKey, seeds_of_secret},
};
use locus_cohort::Member;
use locus_commitment::DatasetContext;
use locus_genomics::PanelDigest;
use locus_phenotype::AttributeSchema;
use locus_sharing::{AttributeCommitment, AttributeEntry, SharedVector};

/// Members whose seeds are in memory at a time.
const MEMBERS_PER_PAGE: usize = 1024;

/// Attributes of some members, in order.
pub(crate) struct AttributeRows {
    /// This keyholder's shares of each member's bits.
    pub(crate) shares: Vec<SharedVector<u64>>,
    /// Which attributes they are: read together with the shares, because an enrolment may end meanwhile.
    pub(crate) commitments: Vec<AttributeCommitment>,
}

impl Keyholder {
    /// The attributes of each member, in order.
    ///
    /// # Errors
    /// [`KeyholderError::NoAttributes`] for a member without live attributes of this schema, and
    /// [`StoreError::SeedsMissing`](crate::store::StoreError::SeedsMissing).
    pub(crate) fn attribute_rows(
        &self,
        panel: PanelDigest,
        members: &[Member],
        schema: &AttributeSchema,
    ) -> Result<AttributeRows, KeyholderError> {
        let (mut shares, mut commitments) = (Vec::with_capacity(members.len()), Vec::with_capacity(members.len()));
        for page in members.chunks(MEMBERS_PER_PAGE) {
            let contexts: Vec<DatasetContext> = page.iter().map(|member| self.context_of(panel, member)).collect();
            let keys: Vec<DatasetKey> = contexts.iter().map(DatasetKey::of).collect();
            let entries = self.store().attributes(&keys, &schema.digest())?;
            if let Some((member, _)) = page.iter().zip(&entries).find(|(_, entry)| entry.is_none()) {
                return Err(KeyholderError::NoAttributes(member.dataset));
            }
            let seeds = self.store().seeds(&keys)?;
            for ((context, entry), secret) in contexts.iter().zip(entries.iter().flatten()).zip(seeds) {
                shares.push(self.shares_of_entry(entry, context, &secret, schema.bit_count())?);
                commitments.push(entry.commitment());
            }
        }
        Ok(AttributeRows { shares, commitments })
    }

    /// The shares of one dataset's bits, from what was sent and from the stored secret.
    pub(super) fn shares_of_entry(
        &self,
        entry: &AttributeEntry,
        context: &DatasetContext,
        secret: &[u8],
        bit_count: usize,
    ) -> Result<SharedVector<u64>, KeyholderError> {
        let [(first, lower), (second, higher)] = seeds_of_secret(self.index(), secret)?;
        Ok(entry.shares(self.index(), context, [(first, &lower), (second, &higher)], bit_count)?)
    }
}
