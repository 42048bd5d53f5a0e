//! What a ciphertext, a key seed and a commitment are bound to.

use crate::{
    digest::{Digest32, sha3_256},
    domain::{DST_DATASET_ID, DST_PERSON_TAG},
};
use locus_genomics::PanelDigest;
use std::fmt;

/// An account or contract on the chain (20 bytes, as the EVM has them).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub [u8; 20]);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// One market: a dataset registry contract on a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkId {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// The dataset registry contract.
    pub registry: Address,
}

/// Name of one individual's genotypes on one panel, chosen by the contributor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DatasetId(pub [u8; 32]);

impl DatasetId {
    /// The id of the `ordinal`-th dataset of a registrant's batch.
    pub fn derive(registrant: Address, batch_nonce: u64, ordinal: u32) -> Self {
        let parts: [&[u8]; 3] = [&registrant.0, &batch_nonce.to_le_bytes(), &ordinal.to_le_bytes()];
        Self(sha3_256(DST_DATASET_ID, &parts).0)
    }
}

/// Name of a person for the privacy budget; the same for all their datasets, versions and panels.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersonTag(pub [u8; 32]);

impl PersonTag {
    /// The tag of a person who enrols under their own account.
    pub fn of_registrant(registrant: Address) -> Self {
        Self(sha3_256(DST_PERSON_TAG, &[&registrant.0]).0)
    }

    /// The tag an accreditor gives to a person: a keyed hash of the accreditor's own identifier,
    /// so that the tag says nothing to anyone without `accreditor_key`.
    pub fn of_accredited(accreditor_key: &[u8; 32], person_identifier: &[u8]) -> Self {
        Self(sha3_256(DST_PERSON_TAG, &[accreditor_key, person_identifier]).0)
    }
}

macro_rules! hex_newtype {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", Digest32(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}
hex_newtype!(DatasetId);
hex_newtype!(PersonTag);

/// Everything that key seeds, secret keys and commitments of a dataset version are bound to, so
/// that none of them can be reused for another dataset, version, panel, registrant or network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DatasetContext {
    /// The market.
    pub network: NetworkId,
    /// Account that registers the dataset.
    pub registrant: Address,
    /// The dataset.
    pub dataset: DatasetId,
    /// The panel its genotypes are aligned to.
    pub panel: PanelDigest,
    /// Version of the dataset, from 1.
    pub version: u32,
}

impl DatasetContext {
    /// Length of [`to_bytes`](Self::to_bytes).
    pub const BYTES: usize = 8 + 20 + 20 + 32 + 32 + 4;

    /// The canonical encoding: chain id (`u64` little endian), registry, registrant, dataset,
    /// panel digest, version (`u32` little endian).
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let chain_id = self.network.chain_id.to_le_bytes();
        let version = self.version.to_le_bytes();
        let parts: [&[u8]; 6] =
            [&chain_id, &self.network.registry.0, &self.registrant.0, &self.dataset.0, &self.panel.0, &version];
        let mut rest = &mut bytes[..];
        for part in parts {
            let (head, tail) = rest.split_at_mut(part.len());
            head.copy_from_slice(part);
            rest = tail;
        }
        bytes
    }
}
