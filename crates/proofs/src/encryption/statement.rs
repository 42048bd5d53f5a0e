//! Statement E in plain Rust.

use crate::{
    domain::{
        DST_BLOCK_BLINDING, DST_BLOCK_GENOTYPES, DST_CHALLENGE, DST_ENCRYPTION_BINDING, DST_MASK,
        DST_NOISE_AND_CARRIES, DST_SHARES,
    },
    error::ProofsError,
};
use ark_bn254::Fr;
use ark_ff::AdditiveGroup;
use locus_commitment::{
    Blinding, BodyDigest, DatasetContext,
    field::{domain_tag, field_of_digest},
    poseidon::{hash_list, pack},
    sha3_256,
};
use locus_genomics::{CHECK_SLOTS, PanelBlockIndex, Plane};
use locus_rlwe::{
    ENCRYPTION_NOISE_MAX, ENCRYPTION_NOISE_MIN, HET_SHIFT, HOM_ALT_SHIFT, MISSING_SHIFT, Mask, RING_DIMENSION,
};
use std::sync::OnceLock;
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bits of a noise value in the circuit.
pub(crate) const NOISE_BITS: usize = 4;
/// Bits of a carry in the circuit.
///
/// A carry is the sum of 4096 products of a uniform 64-bit and a three-valued number, over 2^64: its
/// standard deviation is 18.5, so 7 deviations fit and a block overflows with probability 2^-25.
pub(crate) const CARRY_BITS: usize = 8;
/// Slots without genotypes.
pub(crate) const CHECKS: usize = CHECK_SLOTS as usize;

const _: () = assert!(ENCRYPTION_NOISE_MIN == -(1 << (NOISE_BITS - 1)));
const _: () = assert!(ENCRYPTION_NOISE_MAX == (1 << (NOISE_BITS - 1)) - 1);
const _: () = assert!(MISSING_SHIFT == HET_SHIFT);

/// Size of the circuit: the ring dimension, a power of two. Only the full size is secure; small ones
/// are for tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncryptionShape {
    ring_dimension: usize,
}

impl EncryptionShape {
    /// The size in use: 4096.
    pub const FULL: Self = Self { ring_dimension: RING_DIMENSION };

    /// A size for tests: a power of two from 32 to 4096.
    ///
    /// # Errors
    /// [`ProofsError::WrongSize`].
    pub fn try_new(ring_dimension: usize) -> Result<Self, ProofsError> {
        let fits = ring_dimension.is_power_of_two() && (32..=RING_DIMENSION).contains(&ring_dimension);
        if fits { Ok(Self { ring_dimension }) } else { Err(ProofsError::WrongSize("the ring dimension")) }
    }

    /// Coefficients of a polynomial.
    pub fn ring_dimension(self) -> usize {
        self.ring_dimension
    }

    /// Slots with genotypes.
    pub fn variants(self) -> usize {
        self.ring_dimension - CHECKS
    }

    /// The mask's coefficients, as signed numbers: the first ones of the network's mask.
    pub(crate) fn mask(self) -> Vec<i64> {
        Mask::v1().coefficients()[..self.ring_dimension].iter().map(|value| value.cast_signed()).collect()
    }

    /// u = a * (1, ..., 1) modulo 2^64: what centring the secret adds to a body.
    pub(crate) fn centre(self) -> Vec<u64> {
        let mask = &Mask::v1().coefficients()[..self.ring_dimension];
        let total = mask.iter().fold(0u64, |sum, value| sum.wrapping_add(*value));
        let prefix = mask.iter().scan(0u64, |sum, value| {
            *sum = sum.wrapping_add(*value);
            Some(*sum)
        });
        // Coefficient i: those up to i, less those after i, which wrap with a minus sign.
        prefix.map(|sum| sum.wrapping_sub(total.wrapping_sub(sum))).collect()
    }
}

/// The public part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncryptionPublic {
    /// Hash of everything the body belongs to: [`binding`].
    pub binding: Fr,
    /// The plane.
    pub plane: Plane,
    /// Commitments to shares 1, 2, 3.
    pub share_commitments: [Fr; 3],
    /// Commitment to the block's genotypes, the same on both planes.
    pub genotype_commitment: Fr,
    /// The challenge g, from the prover; it commits to noise and carries.
    pub challenge: Fr,
    /// The body's coefficients.
    pub body: Vec<u64>,
}

/// The genotypes of one panel block with the blinding of their commitment.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct BlockGenotypes {
    /// Two-bit codes in slot order; as many as the shape has variants.
    pub codes: Vec<u8>,
    /// Blinding.
    pub blinding: Fr,
}

/// The private part.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct EncryptionWitness {
    /// Coefficients of shares 1, 2, 3, each 0 or 1.
    pub shares: [Vec<u8>; 3],
    /// Encryption noise.
    pub noise: Vec<i64>,
    /// Genotypes.
    pub genotypes: BlockGenotypes,
    /// Carries k.
    pub carries: Vec<i64>,
}

/// The clause a statement violates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EncryptionViolation {
    /// E1.
    #[error("E1: a key share is not binary")]
    Shares,
    /// E2.
    #[error("E2: encryption noise is out of range")]
    Noise,
    /// E3.
    #[error("E3: a genotype is no two-bit code")]
    Genotypes,
    /// E4.
    #[error("E4: a carry is out of range")]
    Carries,
    /// E5.
    #[error("E5: a share commitment does not open")]
    ShareCommitment,
    /// E6.
    #[error("E6: the genotype commitment does not open")]
    GenotypeCommitment,
    /// E7.
    #[error("E7: the challenge is not the hash of statement and witness")]
    Challenge,
    /// E8.
    #[error("E8: the body is not the encryption of the witness")]
    Body,
}

/// Domain tags, computed once.
pub(crate) struct Tags {
    pub(crate) shares: [Fr; 3],
    pub(crate) genotypes: Fr,
    pub(crate) noise_and_carries: Fr,
    pub(crate) challenge: Fr,
}

pub(crate) fn tags() -> &'static Tags {
    static TAGS: OnceLock<Tags> = OnceLock::new();
    TAGS.get_or_init(|| Tags {
        shares: DST_SHARES.map(domain_tag),
        genotypes: domain_tag(DST_BLOCK_GENOTYPES),
        noise_and_carries: domain_tag(DST_NOISE_AND_CARRIES),
        challenge: domain_tag(DST_CHALLENGE),
    })
}

/// The domain of block commitments.
pub(crate) fn genotype_tag() -> Fr {
    tags().genotypes
}

/// The field element that stands for what a body belongs to: SHA3-256 over dataset context, panel
/// block, plane, digest of the mask and body digest, cut to 248 bits.
pub fn binding(context: &DatasetContext, block: PanelBlockIndex, plane: Plane, body: &BodyDigest) -> Fr {
    static MASK_DIGEST: OnceLock<[u8; 32]> = OnceLock::new();
    let mask_digest = MASK_DIGEST.get_or_init(|| {
        let bytes: Vec<u8> = Mask::v1().coefficients().iter().flat_map(|value| value.to_le_bytes()).collect();
        sha3_256(DST_MASK, &[&bytes]).0
    });
    let parts: [&[u8]; 5] = [&context.to_bytes(), &block.0.to_le_bytes(), &[plane.code()], mask_digest, &body.0.0];
    field_of_digest(&sha3_256(DST_ENCRYPTION_BINDING, &parts))
}

/// The commitment to the bits of share `position` (0 to 2) of one body. It needs no blinding: the
/// bits come from a seed of 256 bits that is used once.
pub fn share_commitment(position: usize, bits: &[u8]) -> Fr {
    let bits: Vec<u64> = bits.iter().map(|bit| u64::from(*bit)).collect();
    hash_list(tags().shares[position], &pack(&bits, 1))
}

/// The blinding of one panel block's genotypes, from the dataset's genotype blinding.
pub fn block_blinding(dataset: &Blinding, block: PanelBlockIndex) -> Fr {
    field_of_digest(&sha3_256(DST_BLOCK_BLINDING, &[&dataset.0, &block.0.to_le_bytes()]))
}

/// The commitment to one panel block's genotypes.
pub fn genotype_commitment(genotypes: &BlockGenotypes) -> Fr {
    let codes: Vec<u64> = genotypes.codes.iter().map(|code| u64::from(*code)).collect();
    let mut elements = vec![genotypes.blinding];
    elements.extend(pack(&codes, 2));
    hash_list(tags().genotypes, &elements)
}

/// What a genotype adds to its slot.
pub(crate) fn flags(plane: Plane, code: u8) -> u64 {
    match (plane, code) {
        (Plane::Calls, 1) => 1 << HET_SHIFT,
        (Plane::Calls, 2) => 1 << HOM_ALT_SHIFT,
        (Plane::Missing, 3) => 1 << MISSING_SHIFT,
        _ => 0,
    }
}

/// The product of two polynomials modulo X^N + 1 over the integers.
fn integer_product(mask: &[i64], secret: &[i64]) -> Vec<i128> {
    let length = mask.len();
    let mut product = vec![0i128; length];
    for (shift, coefficient) in secret.iter().enumerate() {
        let factor = i128::from(*coefficient);
        let (wrapped, straight) = product.split_at_mut(shift);
        for (sum, value) in straight.iter_mut().zip(mask) {
            *sum += factor * i128::from(*value);
        }
        for (sum, value) in wrapped.iter_mut().zip(&mask[length - shift..]) {
            *sum -= factor * i128::from(*value);
        }
    }
    product
}

impl EncryptionWitness {
    /// a * s' + e + m over the integers.
    pub(crate) fn integer_body(&self, shape: EncryptionShape, plane: Plane) -> Vec<i128> {
        let [first, second, third] = &self.shares;
        let centred: Vec<i64> = first
            .iter()
            .zip(second)
            .zip(third)
            .map(|((first, second), third)| i64::from(*first) + i64::from(*second) + i64::from(*third) - 1)
            .collect();
        let mut values = integer_product(&shape.mask(), &centred);
        for (value, noise) in values.iter_mut().zip(&self.noise) {
            *value += i128::from(*noise);
        }
        for (value, code) in values[CHECKS..].iter_mut().zip(&self.genotypes.codes) {
            *value += i128::from(flags(plane, *code));
        }
        values
    }

    /// A digest of noise and carries that binds them.
    pub(crate) fn noise_and_carries_digest(&self) -> Fr {
        let biased = |values: &[i64], bits: usize| -> Vec<u64> {
            values.iter().map(|value| (value + (1 << (bits - 1))).cast_unsigned()).collect()
        };
        let mut elements = pack(&biased(&self.noise, NOISE_BITS), NOISE_BITS);
        elements.extend(pack(&biased(&self.carries, CARRY_BITS), CARRY_BITS));
        hash_list(tags().noise_and_carries, &elements)
    }
}

impl EncryptionPublic {
    /// Completes a statement from what the prover knows: sets the carries of the witness, and
    /// computes commitments and challenge.
    ///
    /// # Errors
    /// [`ProofsError::CarryOutOfRange`], rarely; [`ProofsError::WrongSize`].
    pub fn complete(
        shape: EncryptionShape,
        binding: Fr,
        plane: Plane,
        block: PanelBlockIndex,
        body: Vec<u64>,
        witness: &mut EncryptionWitness,
    ) -> Result<Self, ProofsError> {
        let length = shape.ring_dimension();
        let sized = body.len() == length
            && witness.noise.len() == length
            && witness.shares.iter().all(|share| share.len() == length)
            && witness.genotypes.codes.len() == shape.variants();
        if !sized {
            return Err(ProofsError::WrongSize("the encryption"));
        }
        let values = witness.integer_body(shape, plane);
        witness.carries =
            carries(&values, &body, &shape.centre()).ok_or(ProofsError::CarryOutOfRange { block: block.0 })?;
        let mut public = Self {
            binding,
            plane,
            share_commitments: [0, 1, 2].map(|position| share_commitment(position, &witness.shares[position])),
            genotype_commitment: genotype_commitment(&witness.genotypes),
            challenge: Fr::ZERO,
            body,
        };
        public.challenge = public.challenge_for(witness.noise_and_carries_digest());
        Ok(public)
    }

    /// The challenge of this statement for a digest of noise and carries.
    pub(crate) fn challenge_for(&self, noise_and_carries: Fr) -> Fr {
        let [first, second, third] = self.share_commitments;
        let plane = Fr::from(self.plane.code());
        let elements = [self.binding, plane, first, second, third, self.genotype_commitment, noise_and_carries];
        hash_list(tags().challenge, &elements)
    }

    /// The sum of g^i (b_i - u_i): what the verifier computes from the stored body.
    pub(crate) fn evaluation(&self, shape: EncryptionShape) -> Fr {
        let terms = self.body.iter().zip(shape.centre()).rev();
        terms.fold(Fr::ZERO, |sum, (value, centre)| sum * self.challenge + Fr::from(*value) - Fr::from(centre))
    }

    /// The public inputs of the circuit.
    pub fn inputs(&self, shape: EncryptionShape) -> Vec<Fr> {
        let [first, second, third] = self.share_commitments;
        vec![
            self.binding,
            Fr::from(self.plane.code()),
            first,
            second,
            third,
            self.genotype_commitment,
            self.challenge,
            self.evaluation(shape),
        ]
    }

    /// Checks every clause in plain Rust.
    ///
    /// # Errors
    /// The first clause violated.
    pub fn check(&self, shape: EncryptionShape, witness: &EncryptionWitness) -> Result<(), EncryptionViolation> {
        use EncryptionViolation as V;
        let require = |holds: bool, violation: V| if holds { Ok(()) } else { Err(violation) };
        let length = shape.ring_dimension();
        let binary = |share: &Vec<u8>| share.len() == length && share.iter().all(|bit| *bit <= 1);
        require(witness.shares.iter().all(binary), V::Shares)?;
        let noise = ENCRYPTION_NOISE_MIN..=ENCRYPTION_NOISE_MAX;
        require(witness.noise.len() == length && witness.noise.iter().all(|value| noise.contains(value)), V::Noise)?;
        let codes = &witness.genotypes.codes;
        require(codes.len() == shape.variants() && codes.iter().all(|code| *code <= 3), V::Genotypes)?;
        let bound = 1i64 << (CARRY_BITS - 1);
        let carries = &witness.carries;
        require(carries.len() == length && carries.iter().all(|carry| (-bound..bound).contains(carry)), V::Carries)?;
        for (position, share) in witness.shares.iter().enumerate() {
            require(share_commitment(position, share) == self.share_commitments[position], V::ShareCommitment)?;
        }
        require(genotype_commitment(&witness.genotypes) == self.genotype_commitment, V::GenotypeCommitment)?;
        require(self.challenge_for(witness.noise_and_carries_digest()) == self.challenge, V::Challenge)?;
        let values = witness.integer_body(shape, self.plane);
        let sides = values.iter().zip(carries).zip(self.body.iter().zip(shape.centre()));
        let holds = |((value, carry), (body, centre)): ((&i128, &i64), (&u64, u64))| {
            *value - (i128::from(*carry) << 64) == i128::from(*body) - i128::from(centre)
        };
        require(self.body.len() == length && sides.into_iter().all(holds), V::Body)
    }
}

/// k with value = (body - centre) + 2^64 k, or `None` when a carry is out of range. A body that is no
/// encryption gives carries that do not satisfy E8.
fn carries(values: &[i128], body: &[u64], centre: &[u64]) -> Option<Vec<i64>> {
    let bound = 1i128 << (CARRY_BITS - 1);
    let carry = |((value, body), centre): ((&i128, &u64), &u64)| {
        let carry = (*value - (i128::from(*body) - i128::from(*centre))) >> 64;
        if (-bound..bound).contains(&carry) { i64::try_from(carry).ok() } else { None }
    };
    values.iter().zip(body).zip(centre).map(carry).collect()
}
