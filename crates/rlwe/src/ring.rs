//! Products in Z_(2^64)[X]/(X^4096+1) with a fixed polynomial, by number theoretic transforms.
//!
//! The product of a mask coefficient in [0, 2^64) and a multiplier in [0, M] is computed over the
//! integers, as residues modulo a few word-sized primes, and reduced modulo 2^64 when the integer
//! is put together again. A coefficient of the product is a signed sum of N terms, so it is below
//! N * 2^64 * M in absolute value, and must be below half the product of the primes.
//!
//! Two sets of primes, the same results: three 30-bit primes on every machine, two 50-bit primes
//! where AVX-512 IFMA exists. The transforms of the fixed polynomial are computed once.

use crate::constants::{COHORT_SIZE_MAX, RING_DIMENSION};
use tfhe_ntt::{native_binary64, native64};
use zeroize::{Zeroize, Zeroizing};

/// Multipliers of the three-prime transform lie below 2^12.
const PORTABLE_MULTIPLIER_BITS: u32 = 12;
/// Digits of a multiplier of 64 bits: six products by either set of primes.
const FULL_DIGIT_BITS: u32 = PORTABLE_MULTIPLIER_BITS;
/// The 30-bit primes that tfhe-ntt works with.
const PRIMES_30: [u128; 3] = [1_062_862_849, 1_063_059_457, 1_064_697_857];
/// The 50-bit primes that tfhe-ntt works with.
const PRIMES_50: [u128; 2] = [0x3_ffff_fe77_0001, 0x3_ffff_feb9_0001];

/// Bound on a coefficient of a product with multipliers up to `multiplier_max`.
const fn product_bound(multiplier_max: u128) -> u128 {
    RING_DIMENSION as u128 * (1 << 64) * multiplier_max
}

// Below half the product of the primes, less the lowest digits that the sign test ignores.
const _: () =
    assert!(product_bound(1 << PORTABLE_MULTIPLIER_BITS) < (PRIMES_30[2] / 2 - 1) * PRIMES_30[1] * PRIMES_30[0]);
const _: () = assert!(product_bound(COHORT_SIZE_MAX as u128) < (PRIMES_50[1] / 2 - 1) * PRIMES_50[0]);
// Multipliers up to the largest cohort split into at most two 12-bit digits.
const _: () = assert!(COHORT_SIZE_MAX as u64 >> (2 * PORTABLE_MULTIPLIER_BITS) == 0);

/// Coefficients of one polynomial.
pub(crate) type Polynomial = [u64; RING_DIMENSION];

/// Multiplication by one fixed polynomial.
pub(crate) struct FixedFactor {
    portable: Portable,
    #[cfg(target_arch = "x86_64")]
    wide: Option<Wide>,
}

impl FixedFactor {
    pub(crate) fn new(factor: &Polynomial) -> Self {
        Self {
            portable: Portable::new(factor),
            #[cfg(target_arch = "x86_64")]
            wide: Wide::try_new(factor),
        }
    }

    /// The product with `multiplier`, whose coefficients are at most `multiplier_max`, itself at
    /// most [`COHORT_SIZE_MAX`]. The time depends on `multiplier_max` only.
    pub(crate) fn multiply(&self, multiplier: &Polynomial, multiplier_max: u32) -> Box<Polynomial> {
        debug_assert!(multiplier_max <= COHORT_SIZE_MAX);
        debug_assert!(multiplier.iter().all(|coefficient| *coefficient <= u64::from(multiplier_max)));
        #[cfg(target_arch = "x86_64")]
        if let Some(wide) = &self.wide {
            return wide.multiply(multiplier);
        }
        self.portable.multiply(multiplier, multiplier_max)
    }
}

impl FixedFactor {
    /// The product with any multiplier modulo 2^64. The multiplier is cut in digits of 12 bits, each
    /// within the bounds of [`multiply`](Self::multiply).
    pub(crate) fn multiply_full(&self, multiplier: &Polynomial) -> Box<Polynomial> {
        let mut product = Box::new([0u64; RING_DIMENSION]);
        let mut digits = Box::new([0u64; RING_DIMENSION]);
        for shift in (0..u64::BITS).step_by(FULL_DIGIT_BITS as usize) {
            for (digit, coefficient) in digits.iter_mut().zip(multiplier) {
                *digit = (coefficient >> shift) & ((1 << FULL_DIGIT_BITS) - 1);
            }
            let mut part = self.multiply(&digits, (1 << FULL_DIGIT_BITS) - 1);
            for (sum, term) in product.iter_mut().zip(part.iter()) {
                *sum = sum.wrapping_add(term << shift);
            }
            part.zeroize();
        }
        digits.zeroize();
        product
    }
}

/// Three 30-bit primes.
struct Portable {
    transform: native_binary64::Plan32,
    pointwise: native64::Plan32,
    factor: [Vec<u32>; 3],
}

impl Portable {
    fn new(factor: &Polynomial) -> Self {
        let transform = native_binary64::Plan32::try_new(RING_DIMENSION).expect("the primes are 1 modulo 8192");
        let pointwise = native64::Plan32::try_new(RING_DIMENSION).expect("the primes are 1 modulo 8192");
        let mut residues = [(); 3].map(|()| vec![0; RING_DIMENSION]);
        let [first, second, third] = &mut residues;
        transform.fwd(factor, first, second, third);
        Self { transform, pointwise, factor: residues }
    }

    /// The product, by one transform for multipliers below 2^12 and two above.
    fn multiply(&self, multiplier: &Polynomial, multiplier_max: u32) -> Box<Polynomial> {
        let digit_mask = (1u64 << PORTABLE_MULTIPLIER_BITS) - 1;
        let mut digits = Box::new([0; RING_DIMENSION]);
        for (digit, coefficient) in digits.iter_mut().zip(multiplier) {
            *digit = coefficient & digit_mask;
        }
        let mut product = self.multiply_digits(&digits);
        if multiplier_max >> PORTABLE_MULTIPLIER_BITS != 0 {
            for (digit, coefficient) in digits.iter_mut().zip(multiplier) {
                *digit = coefficient >> PORTABLE_MULTIPLIER_BITS;
            }
            let mut high = self.multiply_digits(&digits);
            for (coefficient, high_coefficient) in product.iter_mut().zip(high.iter()) {
                *coefficient = coefficient.wrapping_add(high_coefficient << PORTABLE_MULTIPLIER_BITS);
            }
            high.zeroize();
        }
        digits.zeroize();
        product
    }

    fn multiply_digits(&self, digits: &Polynomial) -> Box<Polynomial> {
        let mut residues = [(); 3].map(|()| Zeroizing::new(vec![0u32; RING_DIMENSION]));
        let [first, second, third] = &mut residues;
        self.transform.fwd_binary(digits, first, second, third);
        self.pointwise.ntt_0().mul_assign_normalize(first, &self.factor[0]);
        self.pointwise.ntt_1().mul_assign_normalize(second, &self.factor[1]);
        self.pointwise.ntt_2().mul_assign_normalize(third, &self.factor[2]);
        let mut product = Box::new([0; RING_DIMENSION]);
        self.transform.inv(&mut product[..], first, second, third);
        product
    }
}

/// Two 50-bit primes, with AVX-512 IFMA.
#[cfg(target_arch = "x86_64")]
struct Wide {
    transform: native_binary64::Plan52,
    pointwise: native64::Plan52,
    factor: [Vec<u64>; 2],
}

#[cfg(target_arch = "x86_64")]
impl Wide {
    /// `None` on a machine without the instructions.
    fn try_new(factor: &Polynomial) -> Option<Self> {
        let transform = native_binary64::Plan52::try_new(RING_DIMENSION)?;
        let pointwise = native64::Plan52::try_new(RING_DIMENSION)?;
        let mut residues = [(); 2].map(|()| vec![0; RING_DIMENSION]);
        let [first, second] = &mut residues;
        transform.fwd(factor, first, second);
        Some(Self { transform, pointwise, factor: residues })
    }

    fn multiply(&self, multiplier: &Polynomial) -> Box<Polynomial> {
        let mut residues = [(); 2].map(|()| Zeroizing::new(vec![0u64; RING_DIMENSION]));
        let [first, second] = &mut residues;
        self.transform.fwd_binary(multiplier, first, second);
        self.pointwise.ntt_0().mul_assign_normalize(first, &self.factor[0]);
        self.pointwise.ntt_1().mul_assign_normalize(second, &self.factor[1]);
        let mut product = Box::new([0; RING_DIMENSION]);
        self.transform.inv(&mut product[..], first, second);
        product
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::MASK_SEED;
    use locus_commitment::sha3_256;

    /// Coefficients of a reproducible polynomial, all bits used.
    fn pseudorandom(label: u8) -> Box<Polynomial> {
        let mut polynomial = Box::new([0; RING_DIMENSION]);
        for (place, coefficient) in (0u64..).zip(polynomial.iter_mut()) {
            let digest = sha3_256(MASK_SEED, &[&[label], &place.to_le_bytes()]);
            *coefficient = u64::from_le_bytes(digest.0[..8].try_into().expect("8 bytes"));
        }
        polynomial
    }

    fn schoolbook(left: &Polynomial, right: &Polynomial) -> Box<Polynomial> {
        let mut product = Box::new([0u64; RING_DIMENSION]);
        for (shift, coefficient) in right.iter().enumerate() {
            let (wrapped, straight) = product.split_at_mut(shift);
            for (sum, term) in straight.iter_mut().zip(left) {
                *sum = sum.wrapping_add(term.wrapping_mul(*coefficient));
            }
            for (sum, term) in wrapped.iter_mut().zip(&left[RING_DIMENSION - shift..]) {
                *sum = sum.wrapping_sub(term.wrapping_mul(*coefficient));
            }
        }
        product
    }

    fn check(factor: &Polynomial, multiplier: &Polynomial, multiplier_max: u32) {
        let fixed = FixedFactor::new(factor);
        let expected = schoolbook(factor, multiplier);
        assert!(fixed.multiply(multiplier, multiplier_max) == expected, "fastest, up to {multiplier_max}");
        let portable = fixed.portable.multiply(multiplier, multiplier_max);
        assert!(portable == expected, "portable, up to {multiplier_max}");
    }

    #[test]
    fn the_primes_are_those_the_bounds_were_computed_with() {
        let fixed = FixedFactor::new(&[0; RING_DIMENSION]);
        let narrow = &fixed.portable.pointwise;
        let moduli = [narrow.ntt_0(), narrow.ntt_1(), narrow.ntt_2()].map(|plan| u128::from(plan.modulus()));
        assert_eq!(moduli, PRIMES_30);
        #[cfg(target_arch = "x86_64")]
        if let Some(wide) = &fixed.wide {
            let moduli = [wide.pointwise.ntt_0(), wide.pointwise.ntt_1()].map(|plan| u128::from(plan.modulus()));
            assert_eq!(moduli, PRIMES_50);
        }
    }

    #[test]
    fn products_equal_schoolbook_for_every_range_of_multipliers() {
        let factor = pseudorandom(1);
        for multiplier_max in [1, 3, 4095, 4096, COHORT_SIZE_MAX] {
            let mut multiplier = pseudorandom(2);
            multiplier.iter_mut().for_each(|coefficient| *coefficient %= u64::from(multiplier_max) + 1);
            check(&factor, &multiplier, multiplier_max);
        }
    }

    #[test]
    fn products_with_full_words_equal_schoolbook() {
        let (factor, multiplier) = (pseudorandom(3), pseudorandom(4));
        assert!(FixedFactor::new(&factor).multiply_full(&multiplier) == schoolbook(&factor, &multiplier));
        let largest = [u64::MAX; RING_DIMENSION];
        assert!(FixedFactor::new(&largest).multiply_full(&largest) == schoolbook(&largest, &largest));
    }

    #[test]
    fn the_largest_products_do_not_overflow_the_primes() {
        let factor = [u64::MAX; RING_DIMENSION];
        for multiplier_max in [3, 4095, COHORT_SIZE_MAX] {
            check(&factor, &[u64::from(multiplier_max); RING_DIMENSION], multiplier_max);
            let mut one_sign = [0; RING_DIMENSION];
            one_sign[0] = u64::from(multiplier_max);
            check(&factor, &one_sign, multiplier_max);
        }
    }
}
