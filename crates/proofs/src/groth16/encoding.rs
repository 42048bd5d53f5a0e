//! Bytes of points and proofs, in the order of the EVM's precompiles (EIP-196, EIP-197).

use super::{Proof, VerifyingKey, is_sound_g1, is_sound_g2};
use crate::error::ProofsError;
use ark_bn254::{Fq, Fq2, G1Affine, G2Affine};
use ark_ec::AffineRepr;
use ark_ff::{AdditiveGroup, BigInteger, PrimeField};

/// Bytes of a proof: a (64), b (128), c (64).
pub const PROOF_BYTES: usize = 256;
const WORD: usize = 32;

fn write_word(out: &mut Vec<u8>, coordinate: &Fq) {
    out.extend_from_slice(&coordinate.into_bigint().to_bytes_be());
}

/// x, y, 32 bytes each, big endian; the neutral element is zero.
pub(super) fn write_g1(out: &mut Vec<u8>, point: &G1Affine) {
    let (x, y) = point.xy().unwrap_or((Fq::ZERO, Fq::ZERO));
    write_word(out, &x);
    write_word(out, &y);
}

/// The imaginary part before the real part, x before y.
pub(super) fn write_g2(out: &mut Vec<u8>, point: &G2Affine) {
    let zero = Fq2::new(Fq::ZERO, Fq::ZERO);
    let (x, y) = point.xy().unwrap_or((zero, zero));
    for coordinate in [x.c1, x.c0, y.c1, y.c0] {
        write_word(out, &coordinate);
    }
}

fn read_word(bytes: &[u8]) -> Result<Fq, ProofsError> {
    let coordinate = Fq::from_be_bytes_mod_order(bytes);
    if bytes.len() == WORD && coordinate.into_bigint().to_bytes_be() == bytes {
        Ok(coordinate)
    } else {
        Err(ProofsError::NotCanonical)
    }
}

/// Parses 64 bytes as a point of the first group that is not neutral.
pub(super) fn read_g1(bytes: &[u8]) -> Result<G1Affine, ProofsError> {
    let (x, y) = bytes.split_at_checked(WORD).ok_or(ProofsError::Truncated)?;
    let point = G1Affine::new_unchecked(read_word(x)?, read_word(y)?);
    if is_sound_g1(&point) { Ok(point) } else { Err(ProofsError::BadPoint) }
}

/// Parses 128 bytes as a point of prime order of the second group that is not neutral.
pub(super) fn read_g2(bytes: &[u8]) -> Result<G2Affine, ProofsError> {
    if bytes.len() != 4 * WORD {
        return Err(ProofsError::Truncated);
    }
    let word = |place: usize| read_word(&bytes[WORD * place..WORD * (place + 1)]);
    let point = G2Affine::new_unchecked(Fq2::new(word(1)?, word(0)?), Fq2::new(word(3)?, word(2)?));
    if is_sound_g2(&point) { Ok(point) } else { Err(ProofsError::BadPoint) }
}

impl Proof {
    /// The 256 bytes that [`parse`](Self::parse) and the verifying contract read.
    pub fn to_bytes(&self) -> [u8; PROOF_BYTES] {
        let mut out = Vec::with_capacity(PROOF_BYTES);
        write_g1(&mut out, &self.a);
        write_g2(&mut out, &self.b);
        write_g1(&mut out, &self.c);
        let mut bytes = [0; PROOF_BYTES];
        bytes.copy_from_slice(&out);
        bytes
    }

    /// Parses a proof with all checks: length, canonical coordinates, on the curve, prime order.
    ///
    /// # Errors
    /// [`ProofsError::Truncated`], [`ProofsError::NotCanonical`] or [`ProofsError::BadPoint`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofsError> {
        if bytes.len() != PROOF_BYTES {
            return Err(ProofsError::Truncated);
        }
        Ok(Self { a: read_g1(&bytes[..64])?, b: read_g2(&bytes[64..192])?, c: read_g1(&bytes[192..])? })
    }
}

/// A proof as the eight words of a contract call.
pub fn proof_words(proof: &Proof) -> [[u8; 32]; 8] {
    let bytes = proof.to_bytes();
    let mut words = [[0; 32]; 8];
    for (word, chunk) in words.iter_mut().zip(bytes.as_chunks::<32>().0) {
        *word = *chunk;
    }
    words
}

impl VerifyingKey {
    /// The key as a verifying contract keeps it: -alpha, beta, -gamma, -delta, then one point for the
    /// constant and each public input. With these signs the contract negates nothing, and the
    /// precompiles refuse whatever is not canonical.
    pub fn to_contract_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write_g1(&mut out, &-self.alpha_g1);
        write_g2(&mut out, &self.beta_g2);
        write_g2(&mut out, &-self.gamma_g2);
        write_g2(&mut out, &-self.delta_g2);
        self.inputs_g1.iter().for_each(|point| write_g1(&mut out, point));
        out
    }

    /// The canonical bytes: alpha, beta, gamma, delta, the points of the inputs.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write_g1(&mut out, &self.alpha_g1);
        [self.beta_g2, self.gamma_g2, self.delta_g2].iter().for_each(|point| write_g2(&mut out, point));
        self.inputs_g1.iter().for_each(|point| write_g1(&mut out, point));
        out
    }

    /// Parses [`to_bytes`](Self::to_bytes) of a key for `public_inputs` inputs, with all checks.
    ///
    /// # Errors
    /// As [`Proof::parse`].
    pub fn parse(bytes: &[u8], public_inputs: usize) -> Result<Self, ProofsError> {
        let fixed = 64 + 3 * 128;
        if bytes.len() != fixed + 64 * (public_inputs + 1) {
            return Err(ProofsError::Truncated);
        }
        Ok(Self {
            alpha_g1: read_g1(&bytes[..64])?,
            beta_g2: read_g2(&bytes[64..192])?,
            gamma_g2: read_g2(&bytes[192..320])?,
            delta_g2: read_g2(&bytes[320..448])?,
            inputs_g1: bytes[fixed..].chunks(64).map(read_g1).collect::<Result<_, _>>()?,
        })
    }
}
