//! Noise levels as exact rationals.

use crate::{
    error::PrivacyError,
    rho::{NANO, Rho},
};
use std::fmt;

/// Standard deviations by which counters are lifted before decoding, so that a negative noisy
/// counter cannot borrow from its neighbour: P(|x| >= 7 sigma) < 2 exp(-24.5) = 2^-34 a counter.
const OFFSET_SIGMAS: u128 = 7;
/// Shares that each carry their own noise.
const SHARES: u64 = 3;

/// A variance sigma^2 of discrete Gaussian noise: an exact positive rational in lowest terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SigmaSquared {
    numerator: u128,
    denominator: u128,
}

impl SigmaSquared {
    /// The variance `numerator / denominator`.
    ///
    /// # Errors
    /// [`PrivacyError::NoiseLevelZero`] when either is zero.
    pub fn try_new(numerator: u128, denominator: u128) -> Result<Self, PrivacyError> {
        if numerator == 0 || denominator == 0 {
            return Err(PrivacyError::NoiseLevelZero);
        }
        let divisor = greatest_common_divisor(numerator, denominator);
        Ok(Self { numerator: numerator / divisor, denominator: denominator / divisor })
    }

    /// At least the variance of noise `factor` times as wide, a whole number: for a sum that one person changes
    /// by up to `factor`.
    ///
    /// # Errors
    /// [`PrivacyError::SamplerRange`] when it does not fit 128 bits.
    pub fn widened(self, factor: u32) -> Result<Self, PrivacyError> {
        let factor = u128::from(factor);
        let widened = self.numerator.div_ceil(self.denominator).checked_mul(factor * factor);
        Self::try_new(widened.ok_or(PrivacyError::SamplerRange(self))?, 1)
    }

    /// The variance 2^(2 * `sigma_log2`), or `None` when it does not fit 128 bits.
    pub const fn of_sigma_log2(sigma_log2: u8) -> Option<Self> {
        if sigma_log2 >= 64 {
            return None;
        }
        Some(Self { numerator: 1 << (2 * sigma_log2), denominator: 1 })
    }

    /// The variance that the researcher faces when `variants` variants are released at `rho`:
    /// `variants / rho`.
    ///
    /// A Gaussian of variance s^2 gives rho = D^2 / (2 s^2) ([[CKS20], Theorem 4]), and replacing
    /// one person has D^2 = 2 * `variants`: one counter of each variant loses one, another gains one
    /// (het, hom_alt and missing are exclusive, so this covers both planes).
    ///
    /// Assumes: the sum of three discrete Gaussians is treated as one of three times the variance;
    /// for share variances of 6 and more, which covers every tier's query cap, the two differ by
    /// less than 10^-24 in log probability ratio ([[KLS21], tau of Theorem 1: 10 exp(-pi^2 * 6)]);
    /// below that, 3 * `rho` (one share alone) is what is proven.
    ///
    /// [CKS20]: https://arxiv.org/abs/2004.00010
    /// [KLS21]: https://arxiv.org/abs/2102.06387
    ///
    /// # Errors
    /// [`PrivacyError::NoiseLevelZero`] when `variants` or `rho` is zero.
    pub fn total(variants: u32, rho: Rho) -> Result<Self, PrivacyError> {
        Self::try_new(u128::from(variants) * u128::from(NANO), u128::from(rho.as_nano()))
    }

    /// The variance that each of the three shares adds: `variants / (3 rho)`.
    ///
    /// # Errors
    /// [`PrivacyError::NoiseLevelZero`] when `variants` or `rho` is zero.
    pub fn per_share(variants: u32, rho: Rho) -> Result<Self, PrivacyError> {
        let denominator = u128::from(SHARES) * u128::from(rho.as_nano());
        Self::try_new(u128::from(variants) * u128::from(NANO), denominator)
    }

    /// Numerator, coprime to the denominator.
    pub const fn numerator(self) -> u128 {
        self.numerator
    }

    /// Denominator, at least 1.
    pub const fn denominator(self) -> u128 {
        self.denominator
    }

    /// The public offset T = ceil(7 sigma) that is added to every counter before decoding when
    /// this is the total variance. Exact: T is the least integer with T^2 >= 49 sigma^2.
    ///
    /// # Errors
    /// [`PrivacyError::NoiseLevelRange`] when 49 sigma^2 does not fit 128 bits or T not 64.
    pub fn decode_offset(self) -> Result<u64, PrivacyError> {
        let out_of_range = PrivacyError::NoiseLevelRange { numerator: self.numerator, denominator: self.denominator };
        let Some(scaled) = self.numerator.checked_mul(OFFSET_SIGMAS * OFFSET_SIGMAS) else {
            return Err(out_of_range);
        };
        let square = scaled.div_ceil(self.denominator);
        let floor = square.isqrt();
        let ceiling = floor + u128::from(floor * floor < square);
        u64::try_from(ceiling).map_err(|_| out_of_range)
    }
}

impl fmt::Display for SigmaSquared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.denominator {
            1 => write!(f, "{}", self.numerator),
            _ => write!(f, "{}/{}", self.numerator, self.denominator),
        }
    }
}

fn greatest_common_divisor(first: u128, second: u128) -> u128 {
    let (mut larger, mut smaller) = (first, second);
    while smaller != 0 {
        (larger, smaller) = (smaller, larger % smaller);
    }
    larger
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn noise_levels_follow_from_variants_and_rho() {
        let rho = Rho::from_nano(10_000_000);
        let total = SigmaSquared::total(100, rho).expect("positive");
        let share = SigmaSquared::per_share(100, rho).expect("positive");
        assert_eq!((total.numerator(), total.denominator()), (10_000, 1));
        assert_eq!((share.numerator(), share.denominator()), (10_000, 3));
        assert_eq!(total.decode_offset(), Ok(700));
        assert_eq!(share.to_string(), "10000/3");
    }

    #[test]
    fn zero_variants_or_zero_rho_give_no_noise_level() {
        assert_eq!(SigmaSquared::total(0, Rho::from_nano(1)), Err(PrivacyError::NoiseLevelZero));
        assert_eq!(SigmaSquared::total(1, Rho::ZERO), Err(PrivacyError::NoiseLevelZero));
        assert_eq!(SigmaSquared::per_share(1, Rho::ZERO), Err(PrivacyError::NoiseLevelZero));
    }

    #[test]
    fn the_offset_rounds_up_at_every_edge() {
        for (numerator, denominator, offset) in
            [(1, 1, 7), (1, 49, 1), (1, 50, 1), (2, 49, 2), (4, 49, 2), (5, 49, 3), (1 << 42, 1, 7 << 21)]
        {
            let sigma_squared = SigmaSquared::try_new(numerator, denominator).expect("positive");
            assert_eq!(sigma_squared.decode_offset(), Ok(offset), "{sigma_squared}");
        }
        let largest = SigmaSquared::try_new(u128::MAX, 1).expect("positive");
        assert!(matches!(largest.decode_offset(), Err(PrivacyError::NoiseLevelRange { .. })));
    }

    proptest! {
        #[test]
        fn the_offset_is_the_least_integer_above_seven_sigma(numerator in 1u128..1 << 60, denominator in 1u128..1 << 40) {
            let sigma_squared = SigmaSquared::try_new(numerator, denominator).expect("positive");
            let offset = u128::from(sigma_squared.decode_offset().expect("in range"));
            let reaches = |candidate: u128| candidate * candidate * denominator >= 49 * numerator;
            prop_assert!(reaches(offset));
            prop_assert!(!reaches(offset - 1));
        }

        #[test]
        fn equal_fractions_are_equal_noise_levels(numerator in 1u128..1 << 60, denominator in 1u128..1 << 60, factor in 1u128..1 << 60) {
            prop_assert_eq!(
                SigmaSquared::try_new(numerator * factor, denominator * factor),
                SigmaSquared::try_new(numerator, denominator)
            );
        }
    }
}
