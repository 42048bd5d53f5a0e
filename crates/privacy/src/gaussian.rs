//! The discrete Gaussian, sampled exactly with integers.

use crate::{
    bernoulli::{Fraction, exp_minus, exp_minus_one},
    error::PrivacyError,
    sigma::SigmaSquared,
    uniform::{UniformBytes, UniformWords},
};

/// log2 of the standard deviation of the flooding noise in each share.
///
/// One share alone must hide a contributor's encryption noise: see [`RhoCost::flooding`](crate::RhoCost::flooding).
pub const FLOODING_SIGMA_LOG2: u8 = 21;

/// The variance of the flooding noise in each share: 2^42.
pub const FLOODING_SIGMA_SQUARED: SigmaSquared = match SigmaSquared::of_sigma_log2(FLOODING_SIGMA_LOG2) {
    Some(sigma_squared) => sigma_squared,
    None => panic!("2^42 fits 128 bits"),
};

/// Numerators of sigma^2 lie below 2^53.
const NUMERATOR_BITS_MAX: u32 = 53;
/// sigma^2 is at most 2^50.
const SIGMA_SQUARED_LOG2_MAX: u32 = 50;
/// sigma^2 is at least 1/16.
const SIGMA_SQUARED_MIN_INVERSE: u128 = 16;
/// The proposal's scale is at least 3/4 of sigma, the least power of two that is: 16 t^2 >= 9 sigma^2.
const SCALE_SQUARED_FACTOR: u128 = 16;
const SCALE_SQUARED_BOUND: u128 = 9;
/// Values at and beyond this many scales are drawn again: they have probability below 2^-1600.
const SCALES_MAX: u64 = 64;
/// Largest log2 of the scale: t < 1.5 * 2^25 for sigma <= 2^25, so t <= 2^25.
const SCALE_LOG2_MAX: u32 = 25;
/// Bits of a word.
const WORD_BITS: u32 = 32;

// The scale bits of a word must not reach its lowest bit, which is the sign.
const _: () = assert!(SCALE_LOG2_MAX < WORD_BITS);
// Squared exponent numerators: at most 2 n d t^2 * gamma, with t^2 <= 16 n / d and gamma <= 2^15.
const _: () = assert!(2 * NUMERATOR_BITS_MAX + 5 + 15 <= 126);
// Denominators of exponents: at most 2 n d t^2 <= 2^(2 * 53 + 5), within `Fraction`'s bound.
const _: () = assert!(2 * NUMERATOR_BITS_MAX + 5 < 112);

/// A discrete Gaussian centred at zero: P(x) proportional to exp(-x^2 / (2 sigma^2)) over the
/// integers of absolute value up to [`abs_max`](Self::abs_max), which leaves out less than 2^-1600.
///
/// Rejection from a discrete Laplace proposal ([[CKS20], Algorithm 3]), itself made of exact
/// Bernoulli(exp(-x)) variables ([[CKS20], Algorithms 1 and 2]). Integers only; the result is a
/// function of the words alone, so two holders of one seed draw the same noise.
///
/// Differs: the proposal's scale t is a power of two in [0.75, 1.5) sigma instead of
/// floor(sigma) + 1, so that its remainder is t's worth of random bits; any positive t gives the
/// same distribution, and these accept with probability 0.67 to 0.76.
/// Differs: Bernoulli(exp(-x)) compares digits of uniform reals instead of drawing each series term.
/// Differs: values of 64 t and more are drawn again, which bounds the output.
///
/// The time taken depends on the value. Draw noise before secret data is read, and answer on a
/// fixed schedule.
///
/// [CKS20]: https://arxiv.org/abs/2004.00010
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiscreteGaussian {
    sigma_squared: SigmaSquared,
    scale_log2: u32,
    /// t / sigma^2 = `slope` / `intercept` in lowest terms.
    slope: u128,
    intercept: u128,
    /// 2 * `slope` * `intercept` * t.
    denominator: u128,
}

impl DiscreteGaussian {
    /// The distribution with this variance parameter.
    ///
    /// # Errors
    /// [`PrivacyError::SamplerRange`] unless 1/16 <= sigma^2 <= 2^50 and its numerator is below 2^53.
    pub fn try_new(sigma_squared: SigmaSquared) -> Result<Self, PrivacyError> {
        let (numerator, denominator) = (sigma_squared.numerator(), sigma_squared.denominator());
        let numerator_fits = numerator >> NUMERATOR_BITS_MAX == 0;
        // Both products are in range once the numerator is.
        let in_range = numerator_fits
            && denominator <= SIGMA_SQUARED_MIN_INVERSE * numerator
            && numerator <= denominator << SIGMA_SQUARED_LOG2_MAX;
        if !in_range {
            return Err(PrivacyError::SamplerRange(sigma_squared));
        }
        let scale_log2 = scale_log2_of(numerator, denominator);
        let reduced = SigmaSquared::try_new(denominator << scale_log2, numerator)?;
        let (slope, intercept) = (reduced.numerator(), reduced.denominator());
        let exponent_denominator = (2 * slope * intercept) << scale_log2;
        Ok(Self { sigma_squared, scale_log2, slope, intercept, denominator: exponent_denominator })
    }

    /// The flooding noise of one share.
    pub fn flooding() -> Self {
        let scale_log2 = u32::from(FLOODING_SIGMA_LOG2);
        let scale = 1 << scale_log2;
        Self {
            sigma_squared: FLOODING_SIGMA_SQUARED,
            scale_log2,
            slope: 1,
            intercept: scale,
            denominator: 2 * scale * scale,
        }
    }

    /// The variance parameter; the variance itself is at most this ([[CKS20], Corollary 9]).
    ///
    /// [CKS20]: https://arxiv.org/abs/2004.00010
    pub const fn sigma_squared(&self) -> SigmaSquared {
        self.sigma_squared
    }

    /// The largest absolute value that can come out: 64 t - 1 < 2^31, where t is the scale.
    pub const fn abs_max(&self) -> i64 {
        (1 << (self.scale_log2 + SCALES_MAX.ilog2())) - 1
    }

    /// Draws one value, at most [`abs_max`](Self::abs_max) in absolute value; about 14 words on
    /// average.
    #[inline]
    pub fn sample<S: UniformBytes>(&self, words: &mut UniformWords<S>) -> i64 {
        loop {
            let Some((magnitude, is_negative)) = self.propose(words) else { continue };
            // Zero is counted once: a negative zero is drawn again.
            if is_negative && magnitude == 0 {
                continue;
            }
            if self.accepts(magnitude, words) {
                return if is_negative { -i64::from(magnitude) } else { i64::from(magnitude) };
            }
        }
    }

    /// Fills `values` with successive draws.
    pub fn fill<S: UniformBytes>(&self, words: &mut UniformWords<S>, values: &mut [i64]) {
        for value in values {
            *value = self.sample(words);
        }
    }

    /// A magnitude with probability proportional to exp(-magnitude / t), and a sign. The remainder
    /// modulo t is the top bits of a word, the sign its lowest bit. `None`: too large, draw again.
    #[inline]
    fn propose<S: UniformBytes>(&self, words: &mut UniformWords<S>) -> Option<(u32, bool)> {
        let scale = 1u128 << self.scale_log2;
        let (remainder, is_negative) = loop {
            let word = words.next_word();
            let remainder = word.checked_shr(WORD_BITS - self.scale_log2).unwrap_or(0);
            if exp_minus(Fraction { numerator: u128::from(remainder), denominator: scale }, words) {
                break (remainder, word & 1 == 1);
            }
        };
        let mut scales: u32 = 0;
        while exp_minus_one(words) {
            scales += 1;
            if u64::from(scales) == SCALES_MAX {
                return None;
            }
        }
        // Below 64 * 2^25 = 2^31.
        Some(((scales << self.scale_log2) | remainder, is_negative))
    }

    /// True with probability exp(-gamma), gamma = (magnitude - sigma^2 / t)^2 / (2 sigma^2)
    /// = (slope * magnitude - intercept)^2 / (2 * slope * intercept * t).
    #[inline]
    fn accepts<S: UniformBytes>(&self, magnitude: u32, words: &mut UniformWords<S>) -> bool {
        let distance = (self.slope * u128::from(magnitude)).abs_diff(self.intercept);
        let mut numerator = distance * distance;
        while numerator >= self.denominator {
            if !exp_minus_one(words) {
                return false;
            }
            numerator -= self.denominator;
        }
        exp_minus(Fraction { numerator, denominator: self.denominator }, words)
    }
}

/// The least k with 16 * 4^k * denominator >= 9 * numerator.
fn scale_log2_of(numerator: u128, denominator: u128) -> u32 {
    let bound = SCALE_SQUARED_BOUND * numerator;
    let mut scale_log2 = 0;
    while (SCALE_SQUARED_FACTOR * denominator) << (2 * scale_log2) < bound {
        scale_log2 += 1;
    }
    scale_log2
}
