//! How a re-keying that is under way is kept.

use super::super::StoreError;
use locus_commitment::{DatasetBodyDigest, Digest32, ShareSetCommitment};
use locus_ledger::{DatasetKeys, RegistrationId};
use prost::Message as _;
use std::collections::BTreeSet;

/// Bytes of one dataset in a result.
const MADE_BYTES: usize = 4 + 4 * 32;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct State {
    #[prost(uint32, tag = "1")]
    pub(super) generation: u32,
    #[prost(uint64, tag = "2")]
    pub(super) committee_epoch: u64,
    /// Wrapped.
    #[prost(bytes = "vec", tag = "3")]
    pub(super) draws: Vec<u8>,
    #[prost(message, optional, tag = "4")]
    pub(super) result: Option<KeptResult>,
    #[prost(bool, tag = "5")]
    pub(super) is_attested: bool,
    /// Until when the chain takes what this keyholder stated or signed.
    #[prost(uint64, tag = "6")]
    pub(super) deadline_unix_s: u64,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct KeptResult {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) session: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    keys_hash: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    attributes_digest: Vec<u8>,
    /// Every dataset that gets new keys: ordinal (4), body digest, share commitment, digest of its attributes' changes, digest of its
    /// seeds.
    #[prost(bytes = "vec", tag = "4")]
    datasets: Vec<u8>,
}

/// What a keyholder computed in a re-keying.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RekeyingResult {
    /// The datasets that get new keys, ascending.
    pub(crate) datasets: Vec<MadeDataset>,
    pub(crate) keys_hash: Digest32,
    pub(crate) attributes_digest: Digest32,
}

/// What a keyholder computed for one dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MadeDataset {
    pub(crate) ordinal: u32,
    pub(crate) keys: DatasetKeys,
    /// Of the changes of its attribute shares.
    pub(crate) attributes_digest: Digest32,
    /// [`RekeyedDataset::seeds_digest`] of what its bodies were made with.
    pub(crate) seeds_digest: Digest32,
}

/// A re-keying whose result this keyholder has stated, so that others may have signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stated {
    pub(crate) generation: u32,
    pub(crate) committee_epoch: u64,
    pub(crate) deadline_unix_s: u64,
}

impl State {
    pub(super) fn stated(&self) -> Option<Stated> {
        let Self { generation, committee_epoch, deadline_unix_s, .. } = *self;
        self.result.as_ref().map(|_| Stated { generation, committee_epoch, deadline_unix_s })
    }
}

impl KeptResult {
    pub(super) fn of(session: &Digest32, result: &RekeyingResult) -> Self {
        Self {
            session: session.0.to_vec(),
            keys_hash: result.keys_hash.0.to_vec(),
            attributes_digest: result.attributes_digest.0.to_vec(),
            datasets: result.datasets.iter().flat_map(|dataset| dataset.to_bytes()).collect(),
        }
    }

    /// Whether the datasets here are among those of `signed`, with the same keys, seeds and attributes.
    pub(super) fn is_part_of(&self, signed: &Self) -> bool {
        let signed_datasets: BTreeSet<_> = signed.datasets.as_chunks::<MADE_BYTES>().0.iter().collect();
        let mut datasets = self.datasets.as_chunks::<MADE_BYTES>().0.iter();
        self.session == signed.session && datasets.all(|dataset| signed_datasets.contains(dataset))
    }

    pub(super) fn parse(&self) -> Option<RekeyingResult> {
        let (datasets, rest) = self.datasets.as_chunks::<MADE_BYTES>();
        rest.is_empty().then_some(())?;
        Some(RekeyingResult {
            datasets: datasets.iter().map(MadeDataset::parse).collect::<Option<_>>()?,
            keys_hash: Digest32(self.keys_hash.as_slice().try_into().ok()?),
            attributes_digest: Digest32(self.attributes_digest.as_slice().try_into().ok()?),
        })
    }
}

impl MadeDataset {
    fn to_bytes(self) -> [u8; MADE_BYTES] {
        let mut bytes = [0; MADE_BYTES];
        bytes[..4].copy_from_slice(&self.ordinal.to_le_bytes());
        let digests = [self.keys.bodies.0, self.keys.shares.0, self.attributes_digest, self.seeds_digest];
        for (place, digest) in bytes[4..].as_chunks_mut::<32>().0.iter_mut().zip(digests) {
            *place = digest.0;
        }
        bytes
    }

    fn parse(bytes: &[u8; MADE_BYTES]) -> Option<Self> {
        let (ordinal, digests) = bytes.split_first_chunk::<4>()?;
        let ([bodies, shares, attributes, seeds], []) = digests.as_chunks::<32>() else { return None };
        Some(Self {
            ordinal: u32::from_le_bytes(*ordinal),
            keys: DatasetKeys {
                bodies: DatasetBodyDigest(Digest32(*bodies)),
                shares: ShareSetCommitment(Digest32(*shares)),
            },
            attributes_digest: Digest32(*attributes),
            seeds_digest: Digest32(*seeds),
        })
    }
}

pub(super) fn decode(bytes: &[u8]) -> Result<State, StoreError> {
    State::decode(bytes).map_err(|_| StoreError::Damaged("re-keying"))
}

pub(super) fn read_state(
    states: &impl redb::ReadableTable<u64, &'static [u8]>,
    registration: RegistrationId,
) -> Result<Option<State>, StoreError> {
    states.get(registration.0)?.map(|bytes| decode(bytes.value())).transpose()
}
