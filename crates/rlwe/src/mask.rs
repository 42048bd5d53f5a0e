//! The public polynomial that all ciphertexts share.

use crate::{
    constants::{CHECK_SLOT_COUNT, RING_DIMENSION},
    domain::MASK_SEED,
    ring::{FixedFactor, Polynomial},
    secret::SecretBits,
    share_sum::ShareSum,
};
use shake::{ExtendableOutput, Shake256, Update, XofReader};
use std::sync::OnceLock;

/// The mask a: one uniform polynomial, the same for every ciphertext, which is why only bodies are
/// stored. Sharing it is safe because every body has its own secret key.
///
/// Assumes: ring learning with errors with one mask and many secrets is as hard as with one secret,
/// up to a factor of the number of secrets.
pub struct Mask {
    coefficients: Box<Polynomial>,
    /// -a_0 .. -a_4095, a_0 .. a_15: the window that slides over the secret for the check slots.
    window: Vec<u64>,
    factor: FixedFactor,
    /// The product with the polynomial whose coefficients are all 1.
    ones: Box<Polynomial>,
}

impl Mask {
    /// The mask of protocol version 1 with its transforms; computed on first use.
    pub fn v1() -> &'static Self {
        static MASK: OnceLock<Mask> = OnceLock::new();
        MASK.get_or_init(|| Self::expand(MASK_SEED.as_bytes()))
    }

    fn expand(seed: &[u8]) -> Self {
        let mut reader = Shake256::default().chain(seed).finalize_xof();
        let mut coefficients = Box::new([0; RING_DIMENSION]);
        for coefficient in coefficients.iter_mut() {
            let mut bytes = [0; 8];
            reader.read(&mut bytes);
            *coefficient = u64::from_le_bytes(bytes);
        }
        let negated = coefficients.iter().map(|coefficient| coefficient.wrapping_neg());
        let window = negated.chain(coefficients[..CHECK_SLOT_COUNT].iter().copied()).collect();
        let factor = FixedFactor::new(&coefficients);
        let ones = factor.multiply(&[1; RING_DIMENSION], 1);
        Self { coefficients, window, factor, ones }
    }

    /// The coefficients, from the constant term.
    pub fn coefficients(&self) -> &[u64; RING_DIMENSION] {
        &self.coefficients
    }

    /// The product a * S_A with the summed secrets of one share. Without noise this reveals the
    /// sum: it must not leave a keyholder.
    pub fn multiply(&self, share_sum: &ShareSum) -> Box<[u64; RING_DIMENSION]> {
        self.factor.multiply(share_sum.coefficients(), share_sum.count())
    }

    /// The product with a secret key, whose coefficients are at most the number of shares.
    pub(crate) fn multiply_key(&self, key: &Polynomial) -> Box<Polynomial> {
        self.factor.multiply(key, 3)
    }

    /// The product with the polynomial whose coefficients are all 1.
    pub(crate) fn times_ones(&self) -> &Polynomial {
        &self.ones
    }

    /// The product with any polynomial: coefficients of 64 bits.
    pub(crate) fn multiply_full(&self, multiplier: &Polynomial) -> Box<Polynomial> {
        self.factor.multiply_full(multiplier)
    }

    /// The product with the secret bits of one share, at the check slots only:
    /// slot i is the sum over j of s_j * window\[N + i - j\].
    pub(crate) fn multiply_at_check_slots(&self, bits: &SecretBits) -> [u64; CHECK_SLOT_COUNT] {
        let mut sums = [0u64; CHECK_SLOT_COUNT];
        for (word_index, word) in bits.words().iter().enumerate() {
            for bit in 0..64 {
                let selected = ((word >> bit) & 1).wrapping_neg();
                let start = RING_DIMENSION - (64 * word_index + bit);
                let terms = &self.window[start..start + CHECK_SLOT_COUNT];
                for (sum, term) in sums.iter_mut().zip(terms) {
                    *sum = sum.wrapping_add(term & selected);
                }
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use locus_commitment::sha3_256;

    #[test]
    fn the_mask_matches_its_golden_digest() {
        let bytes: Vec<u8> =
            Mask::v1().coefficients().iter().flat_map(|coefficient| coefficient.to_le_bytes()).collect();
        let digest = sha3_256("mask", &[&bytes]);
        assert_eq!(digest.to_string(), "8239de0aebdb1f0e9a38b19b7fdc37302dfa8d5f29119c193c45b30602b631a3");
    }
}
