//! The key from which the two holders of a share derive the same noise.

use crate::{
    domain::{DST_NOISE_KEY, DST_NOISE_KEY_CONFIRMATION},
    error::SharingError,
    index::{KeyholderIndex, ShareIndex, holders_of},
    seal::{SealBinding, SealedBox, SealingPrivateKey, SealingPublicKey, open, seal},
    secret::secret_32,
};
use locus_commitment::{Digest32, NetworkId, sha3_256};
use rand_core::CryptoRng;

secret_32! {
    /// Noise key `k_A` of one share, known to its two holders and nobody else. A researcher who
    /// conspires with one keyholder therefore knows the noise of two shares and not of the third.
    NoiseKey
}

/// One agreement on a noise key: the first holder of the share generates it and seals it to the
/// second; both then compare [`confirmation`](Self::confirmation).
///
/// The messages carry no signature of their own; keyholders sign what they relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoiseKeyAgreement {
    /// The market.
    pub network: NetworkId,
    /// The share whose noise the key makes.
    pub share: ShareIndex,
    /// The noise epoch, from 1; a new epoch means new keys and new noise.
    pub epoch: u32,
}

impl NoiseKeyAgreement {
    /// Length of [`to_bytes`](Self::to_bytes).
    pub const BYTES: usize = 8 + 20 + 1 + 4;

    /// The holder that generates and seals the key.
    pub fn generator(&self) -> KeyholderIndex {
        holders_of(self.share)[0]
    }

    /// The holder that opens it.
    pub fn recipient(&self) -> KeyholderIndex {
        holders_of(self.share)[1]
    }

    /// The associated data: chain id (`u64` little endian), registry, share, epoch (`u32` little
    /// endian).
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.network.chain_id.to_le_bytes());
        bytes[8..28].copy_from_slice(&self.network.registry.0);
        bytes[28] = self.share.get();
        bytes[29..].copy_from_slice(&self.epoch.to_le_bytes());
        bytes
    }

    /// Seals `key` to the [`recipient`](Self::recipient)'s public key.
    pub fn seal(
        &self,
        key: &NoiseKey,
        recipient: &SealingPublicKey,
        rng: &mut impl CryptoRng,
    ) -> Result<SealedBox, SharingError> {
        let associated_data = self.to_bytes();
        seal(recipient, binding(&associated_data), key.as_bytes(), rng)
    }

    /// Opens a noise key sealed for this agreement.
    pub fn open(&self, private_key: &SealingPrivateKey, sealed: &SealedBox) -> Result<NoiseKey, SharingError> {
        let associated_data = self.to_bytes();
        let payload = open(private_key, binding(&associated_data), sealed)?;
        let mut key = NoiseKey::from_bytes([0; 32]);
        key.copy_from(&payload)?;
        Ok(key)
    }

    /// A digest that both holders compare to know that they have the same key; it reveals nothing
    /// about a uniform key.
    pub fn confirmation(&self, key: &NoiseKey) -> Digest32 {
        sha3_256(DST_NOISE_KEY_CONFIRMATION, &[key.as_bytes(), &self.to_bytes()])
    }
}

impl NoiseKey {
    fn copy_from(&mut self, payload: &[u8]) -> Result<(), SharingError> {
        if payload.len() != self.0.len() {
            return Err(SharingError::PayloadLength { expected: self.0.len(), got: payload.len() });
        }
        self.0.copy_from_slice(payload);
        Ok(())
    }
}

fn binding(associated_data: &[u8]) -> SealBinding<'_> {
    SealBinding { info: DST_NOISE_KEY.as_bytes(), associated_data }
}
