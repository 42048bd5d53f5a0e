//! One step of the payout table.

use locus_commitment::{Address, Digest32};
use locus_ledger::{Amount, OrderId};
use std::collections::BTreeMap;

/// Names a version of the table as the chain does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct VersionKey {
    /// Settlements so far.
    pub(crate) sequence: u64,
    /// Root of the payout tree.
    pub(crate) root: Digest32,
}

impl VersionKey {
    /// Length of [`to_bytes`](Self::to_bytes).
    pub(crate) const BYTES: usize = 8 + 32;
    /// Before the first settlement.
    pub(crate) const EMPTY: Self = Self { sequence: 0, root: Digest32([0; 32]) };

    /// Sequence (big endian, so that keys sort by it), then root.
    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[8..].copy_from_slice(&self.root.0);
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let (mut sequence, mut root) = ([0; 8], [0; 32]);
        sequence.copy_from_slice(&bytes[..8]);
        root.copy_from_slice(&bytes[8..]);
        Self { sequence: u64::from_be_bytes(sequence), root: Digest32(root) }
    }
}

/// A version and how it differs from the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    /// Its name.
    pub(crate) key: VersionKey,
    /// Root of the version before, whose sequence is one less.
    pub(crate) parent_root: Digest32,
    /// The order whose settlement makes the step.
    pub(crate) order: OrderId,
    /// What each account earns by it.
    pub(crate) payees: BTreeMap<Address, Amount>,
}

const PAYEE_BYTES: usize = 20 + 16;

impl Version {
    /// The version before, or `None` when this is called the first.
    pub(crate) fn parent(&self) -> Option<VersionKey> {
        Some(VersionKey { sequence: self.key.sequence.checked_sub(1)?, root: self.parent_root })
    }

    /// Parent root, order, then account and amount (16 bytes, little endian) of every payee.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64 + PAYEE_BYTES * self.payees.len());
        bytes.extend_from_slice(&self.parent_root.0);
        bytes.extend_from_slice(&self.order.0.0);
        for (account, amount) in &self.payees {
            bytes.extend_from_slice(&account.0);
            bytes.extend_from_slice(&amount.0.to_le_bytes());
        }
        bytes
    }

    pub(crate) fn decode(key: VersionKey, bytes: &[u8]) -> Option<Self> {
        let (parent_root, rest) = bytes.split_first_chunk()?;
        let (order, rest) = rest.split_first_chunk()?;
        let (chunks, tail) = rest.as_chunks::<PAYEE_BYTES>();
        let payee = |chunk: &[u8; PAYEE_BYTES]| {
            let (account, amount) = chunk.split_first_chunk()?;
            Some((Address(*account), Amount(u128::from_le_bytes(amount.try_into().ok()?))))
        };
        let payees = chunks.iter().map(payee).collect::<Option<BTreeMap<_, _>>>()?;
        let parent_root = Digest32(*parent_root);
        let order = OrderId(Digest32(*order));
        tail.is_empty().then_some(Self { key, parent_root, order, payees })
    }
}
