//! A registration as the chain has made it: its datasets, keys and offers.

use crate::types::{DatasetKeys, DatasetLeaf, Offer, RegistrationId};
use locus_commitment::{Address, DatasetCommitments};
use locus_genomics::PanelDigest;
use std::sync::Arc;

/// A registered batch with its offers and revocations.
#[derive(Debug, Clone)]
pub struct RegistrationRecord {
    /// Its number.
    pub id: RegistrationId,
    /// Who owns it and is paid.
    pub registrant: Address,
    /// Its panel.
    pub panel: PanelDigest,
    /// Version of its datasets, as registered.
    pub version: u32,
    /// Registry slot of its first dataset.
    pub first_slot: u64,
    /// Who vouches for it.
    pub accreditor: Option<Address>,
    /// Block that registered it.
    pub block: u64,
    /// Its datasets by ordinal, with the newest final keys.
    pub leaves: Arc<[DatasetLeaf]>,
    /// Blocks of the re-keyings in order, and the leaves that each replaced.
    pub(super) replaced: Vec<(u64, Arc<[DatasetLeaf]>)>,
    /// Offers and withdrawals in order. The nonce of each is its place, from 1.
    pub(super) offers: Vec<(u64, Option<Offer>)>,
}

impl RegistrationRecord {
    /// Number of final re-keyings up to the end of `block`.
    fn rekeyings_as_of(&self, block: u64) -> usize {
        self.replaced.partition_point(|(rekeyed_in, _)| *rekeyed_in <= block)
    }

    /// Its datasets by ordinal, with the keys in force at the end of `block`.
    pub fn leaves_as_of(&self, block: u64) -> &Arc<[DatasetLeaf]> {
        self.replaced.get(self.rekeyings_as_of(block)).map_or(&self.leaves, |(_, leaves)| leaves)
    }

    /// Its datasets by ordinal, as first registered.
    pub fn registered_leaves(&self) -> &Arc<[DatasetLeaf]> {
        self.replaced.first().map_or(&self.leaves, |(_, leaves)| leaves)
    }

    /// Number of its re-keyings, as far as the chain is final.
    pub fn generation(&self) -> u8 {
        self.generation_as_of(u64::MAX)
    }

    /// Number of its re-keyings at the end of `block`.
    pub fn generation_as_of(&self, block: u64) -> u8 {
        // The fold has counted them in this type.
        u8::try_from(self.rekeyings_as_of(block)).unwrap_or(u8::MAX)
    }

    /// The version that the secrets of its newest final keys are bound to: that of its datasets plus its generation.
    /// A revoked dataset that a re-keying left as it is has keys of an older one.
    pub fn key_version(&self) -> u32 {
        self.key_version_as_of(u64::MAX)
    }

    /// The version that the secrets of the keys in force at the end of `block` are bound to.
    pub fn key_version_as_of(&self, block: u64) -> u32 {
        // The registry takes no version that leaves no room for every generation.
        self.version.saturating_add(self.generation_as_of(block).into())
    }

    /// Block of the last re-keying, if there was one.
    pub fn rekeyed_in(&self) -> Option<u64> {
        self.replaced.last().map(|(block, _)| *block)
    }

    /// Takes new keys, by ordinal; datasets without stay as they are.
    pub(super) fn rekey(&mut self, block: u64, keys: &[Option<DatasetKeys>]) {
        let leaves = self.leaves.iter().zip(keys).map(|(leaf, keys)| match *keys {
            None => *leaf,
            Some(DatasetKeys { bodies, shares }) => {
                DatasetLeaf { commitments: DatasetCommitments { bodies, shares, ..leaf.commitments }, ..*leaf }
            }
        });
        let leaves = leaves.collect();
        self.replaced.push((block, std::mem::replace(&mut self.leaves, leaves)));
    }

    /// The offer in force at the end of `block`.
    pub fn offer_as_of(&self, block: u64) -> Option<&Offer> {
        let end = self.offers.partition_point(|(posted, _)| *posted <= block);
        self.offers.get(end.checked_sub(1)?)?.1.as_ref()
    }

    /// Whether something was put on offer or withdrawn after `block`.
    pub fn is_offer_changed_since(&self, block: u64) -> bool {
        self.offers.last().is_some_and(|(posted, _)| *posted > block)
    }

    /// Whether its datasets are registered with proofs, not on somebody's word alone.
    pub fn is_proven(&self) -> bool {
        self.leaves.iter().all(|leaf| leaf.commitments.genotypes.is_proven())
    }

    /// Nonce that the registrant's next offer must have, as far as the chain is final.
    pub fn next_offer_nonce(&self) -> u64 {
        self.offers.len() as u64 + 1
    }
}
