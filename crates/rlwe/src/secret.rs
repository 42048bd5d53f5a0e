//! Secret keys: their bits, expanded from root seeds.

use crate::{
    bits::spread,
    constants::{RING_DIMENSION, SECRET_BYTES, SECRET_WORDS},
    domain::DST_BLOCK_KEY,
    ring::Polynomial,
};
use aes::Aes256Enc;
use ctr::{
    Ctr128BE,
    cipher::{KeyIvInit, StreamCipher},
};
use locus_commitment::{DatasetContext, Sha3Writer};
use locus_genomics::{PanelBlockIndex, Plane};
use locus_sharing::{KeySeed, ShareIndex};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// AES-256 in counter mode with a 128-bit big-endian counter.
pub(crate) type Keystream = Ctr128BE<Aes256Enc>;

/// The keystream of `key` from counter zero. Every key is used for one keystream.
pub(crate) fn keystream(key: &[u8; 32]) -> Keystream {
    Keystream::new(key.into(), &[0; 16].into())
}

/// Derives the block keys of one share of one dataset.
///
/// Block key = SHA3-256(domain, dataset context, share, root seed, block, plane); everything but
/// the last two parts is absorbed once.
pub struct BlockKeys {
    prefix: Sha3Writer,
}

impl BlockKeys {
    /// The keys that `root_seed`, the root seed of `share`, gives in `context`.
    pub fn new(context: &DatasetContext, share: ShareIndex, root_seed: &KeySeed) -> Self {
        let mut prefix = Sha3Writer::new(DST_BLOCK_KEY);
        prefix.part(&context.to_bytes()).part(&[share.get()]).part(root_seed.as_bytes());
        Self { prefix }
    }

    /// The secret bits of one body.
    pub fn expand(&self, block: PanelBlockIndex, plane: Plane) -> SecretBits {
        let mut writer = self.prefix.clone();
        writer.part(&block.0.to_le_bytes()).part(&[plane.code()]);
        let key = Zeroizing::new(writer.finish().0);
        let mut bytes = [0; SECRET_BYTES];
        keystream(&key).apply_keystream(&mut bytes);
        let mut bits = SecretBits([0; SECRET_WORDS]);
        for (word, chunk) in bits.0.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*chunk);
        }
        bytes.zeroize();
        bits
    }
}

/// The secret s_A of one share of one body: 4096 bits, bit i of the ring element in bit i mod 64 of
/// word i / 64.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SecretBits([u64; SECRET_WORDS]);

impl SecretBits {
    pub(crate) fn words(&self) -> &[u64; SECRET_WORDS] {
        &self.0
    }

    /// No bit set.
    #[cfg(test)]
    pub(crate) fn zeros() -> Self {
        Self([0; SECRET_WORDS])
    }

    /// The bits, 0 or 1, by coefficient.
    pub(crate) fn bits(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().flat_map(|word| word.to_le_bytes()).flat_map(|byte| spread(byte).to_le_bytes()).map(u64::from)
    }

    /// The bits as bytes of 0 or 1, by coefficient: a witness of encryption proofs. The caller erases
    /// it.
    pub fn to_bytes_of_bits(&self) -> Vec<u8> {
        let bytes = self.0.iter().flat_map(|word| word.to_le_bytes());
        bytes.flat_map(|byte| spread(byte).to_le_bytes()).collect()
    }
}

/// The secret key s = s_1 + s_2 + s_3 of one body, coefficients 0 to 3; erased on drop.
pub(crate) struct SecretKey(Box<Polynomial>);

impl SecretKey {
    /// The sum of the three shares.
    pub(crate) fn new(shares: [&SecretBits; 3]) -> Self {
        let mut key = Self(Box::new([0; RING_DIMENSION]));
        for (word, coefficients) in key.0.as_chunks_mut::<64>().0.iter_mut().enumerate() {
            let [first, second, third] = shares.map(|share| share.0[word].to_le_bytes());
            for (byte, chunk) in coefficients.as_chunks_mut::<8>().0.iter_mut().enumerate() {
                // Bytes of 0 or 1: their sum carries nothing into the next byte.
                let sum = spread(first[byte]).wrapping_add(spread(second[byte])).wrapping_add(spread(third[byte]));
                *chunk = sum.to_le_bytes().map(u64::from);
            }
        }
        key
    }

    pub(crate) fn coefficients(&self) -> &Polynomial {
        &self.0
    }
}

impl Drop for SecretKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}
