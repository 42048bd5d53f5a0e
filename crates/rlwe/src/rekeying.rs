//! Giving a body another secret key without decrypting it.

use crate::{
    bits::spread,
    body::{BODY_BYTES, Body},
    constants::RING_DIMENSION,
    domain::DST_REKEYING_NOISE,
    mask::Mask,
    ring::Polynomial,
    secret::{SecretBits, keystream},
};
use ctr::cipher::StreamCipher;
use locus_commitment::sha3_256;
use locus_genomics::{PanelBlockIndex, Plane};
use locus_sharing::RekeyingNoiseSeed;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Bytes of nibbles, one nibble a slot, and of single bits, one bit a slot.
const NIBBLE_BYTES: usize = RING_DIMENSION / 2;
const BIT_BYTES: usize = RING_DIMENSION / 8;
/// What centres a nibble plus a bit.
const OFFSET: u64 = 8;

/// The noise e'_A of one share's part: TUniform(3), that is -8 and 8 with probability 1/32 and every integer between with 1/16.
/// Its mean is zero, so that the noise of many people does not add up in one direction.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct RekeyingNoise {
    nibbles: [u8; NIBBLE_BYTES],
    bits: [u8; BIT_BYTES],
}

impl RekeyingNoise {
    /// Expands the noise of one body from the seed that both holders of a share have for its dataset.
    pub fn expand(seed: &RekeyingNoiseSeed, block: PanelBlockIndex, plane: Plane) -> Self {
        let parts: [&[u8]; 3] = [seed.as_bytes(), &block.0.to_le_bytes(), &[plane.code()]];
        let key = Zeroizing::new(sha3_256(DST_REKEYING_NOISE, &parts).0);
        let mut noise = Self { nibbles: [0; NIBBLE_BYTES], bits: [0; BIT_BYTES] };
        let mut stream = keystream(&key);
        stream.apply_keystream(&mut noise.nibbles);
        stream.apply_keystream(&mut noise.bits);
        noise
    }

    /// The values in slot order.
    pub fn values(&self) -> impl Iterator<Item = i64> + '_ {
        let nibbles = self.nibbles.iter().flat_map(|byte| [byte & 15, byte >> 4]);
        let bits = self.bits.iter().flat_map(|byte| spread(*byte).to_le_bytes());
        nibbles.zip(bits).map(|(nibble, bit)| i64::from(nibble) + i64::from(bit) - OFFSET.cast_signed())
    }
}

/// One share's part of a re-keying of one body: a * (s'_A - s_A) + e'_A. To everybody who lacks the share it is a sample of
/// learning with errors. It must reach nobody but the keyholder that lacks the share: who has the new secret of the share,
/// and this, has a * s_A up to noise, and with the other two old shares the genotypes.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct RekeyingPart(Box<Polynomial>);

impl RekeyingPart {
    /// The part of the share whose secret was `old` and becomes `new`.
    pub fn new(mask: &Mask, old: &SecretBits, new: &SecretBits, noise: &RekeyingNoise) -> Self {
        let mut difference = Box::new([0u64; RING_DIMENSION]);
        for ((coefficient, new), old) in difference.iter_mut().zip(new.bits()).zip(old.bits()) {
            // 0, 1 or 2: the transforms take no negative numbers.
            *coefficient = 1 + new - old;
        }
        let mut part = Self(mask.multiply_key(&difference));
        difference.zeroize();
        for ((coefficient, ones), noise) in part.0.iter_mut().zip(mask.times_ones()).zip(noise.values()) {
            *coefficient = coefficient.wrapping_sub(*ones).wrapping_add(noise.cast_unsigned());
        }
        part
    }

    /// Parses 32,768 bytes; every such string is a part.
    ///
    /// # Errors
    /// [`RlweError::BodyLength`](crate::RlweError::BodyLength).
    pub fn parse(bytes: &[u8]) -> Result<Self, crate::RlweError> {
        Ok(Self(Box::new(*Body::parse(bytes)?.coefficients())))
    }

    /// The encoding that [`parse`](Self::parse) reads.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(BODY_BYTES));
        for coefficient in self.0.iter() {
            bytes.extend_from_slice(&coefficient.to_le_bytes());
        }
        bytes
    }
}

impl Body {
    /// The body of the same flags under the secret keys that the parts of shares 1, 2 and 3 lead to. Its noise is e + e'_1 + e'_2 +
    /// e'_3.
    #[must_use]
    pub fn rekeyed(&self, parts: [&RekeyingPart; 3]) -> Self {
        let mut coefficients = Box::new(*self.coefficients());
        for part in parts {
            for (coefficient, change) in coefficients.iter_mut().zip(part.0.iter()) {
                *coefficient = coefficient.wrapping_add(*change);
            }
        }
        Self::new(coefficients)
    }
}

#[cfg(test)]
mod tests;
