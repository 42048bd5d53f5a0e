//! Pedersen commitments to ciphertexts, on the twisted Edwards curve over the field of circuits.
//!
//! A dataset's commitment is the sum of b_i * G_i over all coefficients b_i of all its bodies. It is
//! not hiding and need not be: bodies are ciphertexts. Commitments add up like bodies do, over the
//! integers, so a sum of commitments opens to the integer sums of the bodies.
//!
//! Generators are hashed to the curve, one for each (panel block, plane, slot): nobody knows a
//! relation among them, so opening one commitment in two ways means computing discrete logarithms.

use crate::{
    domain::DST_GENERATOR,
    field::{Fr, NotCanonical, decode_field, encode_field},
};
use ark_ec::{AffineRepr, CurveGroup, VariableBaseMSM, twisted_edwards::TECurveConfig};
use ark_ed_on_bn254::{EdwardsAffine, EdwardsConfig, EdwardsProjective, Fr as Scalar};
use ark_ff::{PrimeField, Zero};

pub mod r1cs;

/// Slots of a panel block.
const SLOTS: u32 = 4096;
/// Coefficient d of the curve x^2 + y^2 = 1 + d x^2 y^2. It is no square and 1 is one, so the
/// addition law holds for all pairs of points.
pub(crate) const COEFFICIENT_D: Fr = EdwardsConfig::COEFF_D;

/// Why bytes are no commitment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PointError {
    /// A coordinate is not below the field's order.
    #[error("a coordinate is not canonical")]
    NotCanonical(#[from] NotCanonical),
    /// The coordinates satisfy no curve equation.
    #[error("the point is not on the curve")]
    OffCurve,
    /// The point has a part of small order.
    #[error("the point is outside the subgroup of prime order")]
    SmallOrder,
}

/// The generators of one (panel block, plane).
pub struct Generators(Vec<EdwardsAffine>);

impl Generators {
    /// Hashes the generators of a plane (by its code) of a panel block to the curve.
    pub fn expand(block: u32, plane: u8) -> Self {
        let points: Vec<EdwardsProjective> = (0..SLOTS).map(|slot| generator(block, plane, slot)).collect();
        Self(EdwardsProjective::normalize_batch(&points))
    }
}

/// Try and increment: y from 48 bytes of BLAKE3 over (domain, block, plane, slot, counter), which x
/// from one byte more; the first y on the curve, times the cofactor 8.
fn generator(block: u32, plane: u8, slot: u32) -> EdwardsProjective {
    let mut hasher = blake3::Hasher::new();
    hasher.update(DST_GENERATOR.as_bytes());
    hasher.update(&block.to_le_bytes()).update(&[plane]).update(&slot.to_le_bytes());
    let mut counter = 0u32;
    loop {
        let mut bytes = [0; 49];
        hasher.clone().update(&counter.to_le_bytes()).finalize_xof().fill(&mut bytes);
        let y = Fr::from_le_bytes_mod_order(&bytes[..48]);
        if let Some(point) = EdwardsAffine::get_point_from_y_unchecked(y, bytes[48] & 1 == 1) {
            let cleared = point.mul_by_cofactor_to_group();
            if !cleared.is_zero() {
                return cleared;
            }
        }
        counter += 1;
    }
}

/// A combination of bodies of one panel block and plane with weights that whoever made their commitments
/// could not foresee: the combination of the commitments opens to it, or some commitment is false. With
/// 128 random bits a weight, false commitments pass with probability 2^-128.
pub struct WeightedBodies(Vec<[u64; 4]>);

impl Default for WeightedBodies {
    fn default() -> Self {
        Self(vec![[0; 4]; SLOTS as usize])
    }
}

impl WeightedBodies {
    /// Adds `weight` times a body of 4,096 coefficients.
    pub fn add(&mut self, weight: u128, coefficients: &[u64]) {
        let weight = limbs(weight).map(u128::from);
        for (sum, coefficient) in self.0.iter_mut().zip(coefficients) {
            let coefficient = u128::from(*coefficient);
            let [first, carried] = limbs(coefficient * weight[0]);
            let [second, third] = limbs(coefficient * weight[1] + u128::from(carried));
            let mut carry = 0;
            for (limb, part) in sum.iter_mut().zip([first, second, third, 0]) {
                [*limb, carry] = limbs(u128::from(*limb) + u128::from(part) + u128::from(carry));
            }
        }
    }

    /// The commitment to the combination.
    pub fn commitment(&self, generators: &Generators) -> CiphertextCommitment {
        let scalars: Vec<<Scalar as PrimeField>::BigInt> =
            self.0.iter().map(|limbs| <Scalar as PrimeField>::BigInt::new(*limbs)).collect();
        CiphertextCommitment(EdwardsProjective::msm_bigint(&generators.0, &scalars))
    }
}

/// The low and the high half.
fn limbs(value: u128) -> [u64; 2] {
    let bytes = value.to_le_bytes();
    let (halves, _) = bytes.as_chunks::<8>();
    [u64::from_le_bytes(halves[0]), u64::from_le_bytes(halves[1])]
}

/// A commitment to ciphertext bodies, or the sum of such commitments.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CiphertextCommitment(EdwardsProjective);

impl CiphertextCommitment {
    /// Length of [`to_bytes`](Self::to_bytes).
    pub const BYTES: usize = 64;

    /// The commitment to nothing: the neutral element.
    pub fn empty() -> Self {
        Self(EdwardsProjective::zero())
    }

    /// The commitment to one body, given the generators of its panel block and plane.
    pub fn of_body(generators: &Generators, coefficients: &[u64]) -> Self {
        Self(EdwardsProjective::msm_u64(&generators.0[..coefficients.len()], coefficients))
    }

    /// The commitment to the integer sum of bodies, coefficients below 2^128.
    pub fn of_sum(generators: &Generators, coefficients: &[u128]) -> Self {
        let scalars: Vec<<Scalar as PrimeField>::BigInt> =
            coefficients.iter().map(|coefficient| Scalar::from(*coefficient).into_bigint()).collect();
        Self(EdwardsProjective::msm_bigint(&generators.0[..coefficients.len()], &scalars))
    }

    /// The same combination of commitments as [`WeightedBodies`] is of bodies.
    pub fn weighted_sum(commitments: &[Self], weights: &[u128]) -> Self {
        let points: Vec<EdwardsProjective> = commitments.iter().map(|commitment| commitment.0).collect();
        let scalars: Vec<<Scalar as PrimeField>::BigInt> =
            weights.iter().map(|weight| Scalar::from(*weight).into_bigint()).collect();
        Self(EdwardsProjective::msm_bigint(&EdwardsProjective::normalize_batch(&points), &scalars))
    }

    /// The commitment to both.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self(self.0 + other.0)
    }

    /// Whether both are equal up to a point of small order.
    ///
    /// Circuits do not check that the commitments they add have prime order. Times eight, a part of
    /// small order vanishes and nothing else does, so this comparison still binds the opening.
    pub fn opens_like(&self, other: &Self) -> bool {
        let difference = (self.0 - other.0).into_affine();
        difference.mul_by_cofactor_to_group().is_zero()
    }

    /// The affine coordinates.
    pub fn coordinates(&self) -> (Fr, Fr) {
        let affine = self.0.into_affine();
        (affine.x, affine.y)
    }

    /// The commitment at these coordinates.
    ///
    /// # Errors
    /// [`PointError::OffCurve`] for other points; points of small order are accepted, see
    /// [`opens_like`](Self::opens_like).
    pub fn from_coordinates(x: Fr, y: Fr) -> Result<Self, PointError> {
        let affine = EdwardsAffine::new_unchecked(x, y);
        if affine.is_on_curve() { Ok(Self(affine.into())) } else { Err(PointError::OffCurve) }
    }

    /// x, then y, 32 bytes each, big endian.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let (x, y) = self.coordinates();
        let mut bytes = [0; Self::BYTES];
        bytes[..32].copy_from_slice(&encode_field(&x));
        bytes[32..].copy_from_slice(&encode_field(&y));
        bytes
    }

    /// Parses the encoding of [`to_bytes`](Self::to_bytes) of a sum, which may have a part of small order.
    ///
    /// # Errors
    /// [`PointError`] for bytes that are no point of the curve.
    pub fn parse_sum(bytes: &[u8; Self::BYTES]) -> Result<Self, PointError> {
        let (mut x, mut y) = ([0; 32], [0; 32]);
        x.copy_from_slice(&bytes[..32]);
        y.copy_from_slice(&bytes[32..]);
        Self::from_coordinates(decode_field(&x)?, decode_field(&y)?)
    }

    /// Parses the encoding of [`to_bytes`](Self::to_bytes) with all checks.
    ///
    /// # Errors
    /// [`PointError`].
    pub fn parse(bytes: &[u8; Self::BYTES]) -> Result<Self, PointError> {
        let point = Self::parse_sum(bytes)?;
        let affine = point.0.into_affine();
        if affine.is_in_correct_subgroup_assuming_on_curve() { Ok(point) } else { Err(PointError::SmallOrder) }
    }
}

impl std::fmt::Debug for CiphertextCommitment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (x, y) = self.coordinates();
        write!(f, "CiphertextCommitment({x}, {y})")
    }
}

// Integer sums stay below the order of the group: 2^18 datasets of 64-bit coefficients.
const _: () = assert!(64 + 18 < Scalar::MODULUS_BIT_SIZE);
// So do combinations of 4,096 datasets with weights of 128 bits.
const _: () = assert!(64 + 128 + 12 < Scalar::MODULUS_BIT_SIZE);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::sha3_256;
    use ark_ff::{AdditiveGroup, Field};

    fn body(label: u64) -> Vec<u64> {
        (0..u64::from(SLOTS)).map(|slot| (slot + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_mul(label)).collect()
    }

    #[test]
    fn the_sum_of_commitments_opens_to_the_integer_sum_of_bodies_and_to_no_other() {
        let generators = Generators::expand(3, 1);
        let bodies = [body(1), body(2), body(3)];
        let commitments = bodies.iter().map(|body| CiphertextCommitment::of_body(&generators, body));
        let total = commitments.fold(CiphertextCommitment::empty(), |sum, next| sum.plus(&next));
        let mut sum: Vec<u128> =
            (0..SLOTS as usize).map(|slot| bodies.iter().map(|body| u128::from(body[slot])).sum()).collect();
        assert!(total.opens_like(&CiphertextCommitment::of_sum(&generators, &sum)));
        let wrapped: Vec<u128> = sum.iter().map(|value| value & u128::from(u64::MAX)).collect();
        assert!(!total.opens_like(&CiphertextCommitment::of_sum(&generators, &wrapped)), "carries count");
        sum[77] += 1;
        assert!(!total.opens_like(&CiphertextCommitment::of_sum(&generators, &sum)));
        let other = Generators::expand(3, 0);
        sum[77] -= 1;
        assert!(!total.opens_like(&CiphertextCommitment::of_sum(&other, &sum)));
    }

    #[test]
    fn a_random_combination_opens_when_every_commitment_is_true_and_not_when_one_is_false() {
        let columns = [(0, 0), (0, 1), (7, 0)].map(|(block, plane)| Generators::expand(block, plane));
        let datasets: Vec<Vec<Vec<u64>>> =
            (1..=5).map(|dataset| (0..3).map(|column| body(10 * dataset + column)).collect()).collect();
        let commitment = |bodies: &Vec<Vec<u64>>| {
            let parts =
                columns.iter().zip(bodies).map(|(generators, body)| CiphertextCommitment::of_body(generators, body));
            parts.fold(CiphertextCommitment::empty(), |sum, next| sum.plus(&next))
        };
        let commitments: Vec<_> = datasets.iter().map(commitment).collect();
        let weights = [u128::MAX, 1, 0x9e37_79b9_7f4a_7c15 << 60, u128::from(u64::MAX), 77];
        let combined = |datasets: &[Vec<Vec<u64>>]| {
            let mut total = CiphertextCommitment::empty();
            for (column, generators) in columns.iter().enumerate() {
                let mut bodies = WeightedBodies::default();
                for (dataset, weight) in datasets.iter().zip(weights) {
                    bodies.add(weight, &dataset[column]);
                }
                total = total.plus(&bodies.commitment(generators));
            }
            total
        };
        let expected = CiphertextCommitment::weighted_sum(&commitments, &weights);
        assert!(combined(&datasets) == expected);
        let mut flipped = datasets.clone();
        flipped[3][2][4095] ^= 1 << 63;
        assert!(combined(&flipped) != expected);
        let mut swapped = commitments;
        swapped.swap(0, 4);
        assert!(combined(&datasets) != CiphertextCommitment::weighted_sum(&swapped, &weights));
    }

    #[test]
    fn generators_are_on_the_curve_different_and_match_their_golden_digest() {
        let mut all = Vec::new();
        for (block, plane) in [(0, 0), (0, 1), (1, 0)] {
            for point in &Generators::expand(block, plane).0 {
                assert!(point.is_on_curve());
                let (x, y) = (encode_field(&point.x), encode_field(&point.y));
                all.push([x, y].concat());
            }
        }
        assert!(CiphertextCommitment::parse(all[5].as_slice().try_into().unwrap()).is_ok(), "prime order");
        let digest = sha3_256("generators", &[&all.concat()]);
        assert_eq!(digest.to_string(), "fc2480bc0dbe665db6b67189c6a0ab20311853d87b864564c1bbaf1bbb2c4e96");
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 3 * SLOTS as usize);
    }

    #[test]
    fn parsing_refuses_what_is_not_a_point_of_prime_order() {
        let generators = Generators::expand(0, 0);
        let good = CiphertextCommitment::of_body(&generators, &body(5));
        assert_eq!(CiphertextCommitment::parse(&good.to_bytes()), Ok(good));
        let mut bytes = good.to_bytes();
        bytes[63] ^= 1;
        assert_eq!(CiphertextCommitment::parse(&bytes), Err(PointError::OffCurve));
        let mut bytes = good.to_bytes();
        bytes[0] = 0xff;
        assert!(matches!(CiphertextCommitment::parse(&bytes), Err(PointError::NotCanonical(_))));
        let torsion = CiphertextCommitment::from_coordinates(Fr::ZERO, -Fr::ONE).unwrap();
        let shifted = good.plus(&torsion);
        assert_eq!(CiphertextCommitment::parse(&shifted.to_bytes()), Err(PointError::SmallOrder));
        assert!(shifted != good && shifted.opens_like(&good));
    }
}
