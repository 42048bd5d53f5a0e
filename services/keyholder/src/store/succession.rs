//! What a keyholder hands over to the successor of another, and what the successor takes (SPEC, clauses 29 and 31).

mod give;
mod merge;
mod take;

pub(crate) use merge::Merged;

use super::DatasetKey;
use locus_commitment::{DatasetCommitments, DatasetContext};
use locus_ledger::RegistrationId;
use locus_sharing::ShareIndex;

/// Bytes of a seed, and of the blinding and the commitment that follow it.
const PART_BYTES: usize = 32;
/// The share of attributes that is sent to its holders; the others expand from seeds (sharing, attributes).
const SENT_SHARE: ShareIndex = ShareIndex::ALL[2];
/// Name of the number of charges that were taken over, in the meta table.
pub(super) const TAKEN_SEQUENCE: &str = "taken_sequence";
/// Name of the mark, in the meta table, that two histories of exact answers did not agree.
const EXACT_DOUBTFUL: &str = "exact_doubtful";

/// A registered dataset as the chain has it.
#[derive(Clone, Copy)]
pub(crate) struct Listed {
    pub(crate) registration: RegistrationId,
    pub(crate) ordinal: u32,
    pub(crate) is_revoked: bool,
    pub(crate) commitments: DatasetCommitments,
    pub(crate) context: DatasetContext,
}

impl Listed {
    fn key(&self) -> DatasetKey {
        DatasetKey::of(&self.context)
    }

    /// Registration (8), ordinal (4), both big endian, so that records ascend as the chain lists them.
    fn place(&self) -> [u8; 12] {
        let mut place = [0; 12];
        place[..8].copy_from_slice(&self.registration.0.to_be_bytes());
        place[8..].copy_from_slice(&self.ordinal.to_be_bytes());
        place
    }
}

/// How much was handed over.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) datasets: u64,
    /// Datasets with attributes.
    pub(crate) attributes: u64,
    pub(crate) people: u64,
}

/// How much was taken over.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) datasets: u64,
    /// Datasets of which only one file has a seed.
    pub(crate) missing: u64,
    /// Datasets with attributes.
    pub(crate) attributes: u64,
    pub(crate) people: u64,
}

/// The uses of one charge, as a record has them.
#[derive(Clone, PartialEq, prost::Message)]
struct UseList {
    #[prost(message, repeated, tag = "1")]
    uses: Vec<super::UseRecord>,
}
