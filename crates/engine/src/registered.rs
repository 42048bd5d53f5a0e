//! What the chain says about registry slots.

use locus_commitment::DatasetBodyDigest;
use std::collections::BTreeMap;

/// The digests with which datasets are registered, by registry slot of one panel. Take it from the
/// chain, not from whoever stores the ciphertexts: it is what the stored bytes are held against.
pub trait RegisteredBodies: Sync {
    /// H(b) of the dataset at `slot`.
    fn body_digest(&self, slot: u32) -> Option<DatasetBodyDigest>;
}

impl RegisteredBodies for BTreeMap<u32, DatasetBodyDigest> {
    fn body_digest(&self, slot: u32) -> Option<DatasetBodyDigest> {
        self.get(&slot).copied()
    }
}

/// Datasets of consecutive slots: the first slot, and the digests from there on.
impl RegisteredBodies for (u32, &[DatasetBodyDigest]) {
    fn body_digest(&self, slot: u32) -> Option<DatasetBodyDigest> {
        let (first, digests) = self;
        digests.get(slot.checked_sub(*first)? as usize).copied()
    }
}
