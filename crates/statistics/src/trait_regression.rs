//! Linear regression of a quantitative trait on the number of alternate alleles, from sums alone.

use crate::{
    counts::{ClassCounts, as_f64},
    distribution::student_two_sided,
    error::StatisticsError,
};

/// Sums of a trait over the people of one variant who have both a call and a trait value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TraitSums {
    /// These people by genotype.
    pub classes: ClassCounts,
    /// Sum of the trait over all of them.
    pub sum: f64,
    /// Sum over heterozygous people.
    pub het_sum: f64,
    /// Sum over homozygous alternate people.
    pub hom_alt_sum: f64,
    /// Sum of the trait's squares over all of them.
    pub square_sum: f64,
    /// Noise in the four sums.
    pub noise: TraitNoise,
}

/// Variances of the independent noises in the sums of a trait.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TraitNoise {
    class_sum: f64,
    sum: f64,
}

impl TraitNoise {
    /// No noise.
    pub const NONE: Self = Self { class_sum: 0.0, sum: 0.0 };

    /// Variances in the sum of the het and of the hom_alt class (each), and in the sum over
    /// everybody called. Noise in the sum of squares changes the residual variance by a share that
    /// vanishes with the number of people, and does not enter (SPEC clause 10).
    ///
    /// # Errors
    /// [`StatisticsError::Variance`] unless both are finite and at least 0.
    pub fn try_new(class_sum: f64, sum: f64) -> Result<Self, StatisticsError> {
        let is_variance = |value: f64| value.is_finite() && value >= 0.0;
        if is_variance(class_sum) && is_variance(sum) {
            Ok(Self { class_sum, sum })
        } else {
            Err(StatisticsError::Variance)
        }
    }
}

/// A fitted slope.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinearFit {
    /// Change of the trait for each alternate allele.
    pub beta: f64,
    /// Its standard error, noise included.
    pub standard_error: f64,
    /// beta / standard error.
    pub t: f64,
    /// Two-sided p-value of Student's T on `called - 2` degrees of freedom.
    pub p_value: f64,
}

/// Ordinary least squares with an intercept; `None` with fewer than three people or when everybody
/// has the same genotype or trait.
pub fn linear_regression(sums: &TraitSums) -> Option<LinearFit> {
    let people = sums.classes.called();
    if people <= 2.0 {
        return None;
    }
    let counts = &sums.classes;
    let alleles = counts.alt_alleles();
    let mean = sums.sum / people;
    let counter = counts.noise().counter();
    // Differential of the mean trait: (d sum - mean d called) / people.
    let mean_noise = (sums.noise.sum + mean * mean * counts.noise().called()) / (people * people);
    let covariation = sums.het_sum + 2.0 * sums.hom_alt_sum - mean * alleles;
    let covariation_noise = 5.0 * sums.noise.class_sum + mean * mean * 5.0 * counter + alleles * alleles * mean_noise;
    let variation =
        counts.het() + 4.0 * counts.hom_alt() - alleles * alleles / people + people * 4.0 * counts.mean_noise(0.5, 1.0);
    let total = sums.square_sum - people * mean * mean + people * mean_noise;
    if variation <= people * f64::EPSILON || total <= 0.0 {
        return None;
    }
    let explained = (covariation * covariation - covariation_noise).max(0.0) / variation;
    let residual = (total - explained).max(0.0) / (people - 2.0);
    let beta = covariation / variation;
    let standard_error = (residual * variation + covariation_noise).sqrt() / variation;
    let t = beta / standard_error;
    t.is_finite().then(|| LinearFit { beta, standard_error, t, p_value: student_two_sided(t, people - 2.0) })
}

/// How a trait becomes an unsigned number of few bits, so that it can be summed plane by plane.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TraitScale {
    origin: f64,
    step: f64,
    bits: u32,
}

impl TraitScale {
    /// The trait `origin + step * u` for u below 2^bits.
    ///
    /// # Errors
    /// [`StatisticsError::TraitScale`] unless the step is positive and there are 1 to 16 bits.
    pub fn try_new(origin: f64, step: f64, bits: u32) -> Result<Self, StatisticsError> {
        let is_valid = origin.is_finite() && step.is_finite() && step > 0.0 && (1..=16).contains(&bits);
        if is_valid { Ok(Self { origin, step, bits }) } else { Err(StatisticsError::TraitScale) }
    }

    /// Bits of u.
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// The nearest u; values outside the scale go to its ends.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 16 bits before")]
    pub fn quantise(&self, value: f64) -> u32 {
        let largest = f64::from((1u32 << self.bits) - 1);
        ((value - self.origin) / self.step).round().clamp(0.0, largest) as u32
    }

    /// Sum of u over a class from how many of it have each bit set, lowest first.
    ///
    /// # Errors
    /// [`StatisticsError::PlaneCount`] unless there is one count a bit.
    pub fn sum_of_planes(&self, planes: &[i64]) -> Result<i64, StatisticsError> {
        if planes.len() != as_length(self.bits) {
            return Err(StatisticsError::PlaneCount { expected: self.bits, got: planes.len() });
        }
        Ok(planes.iter().rev().fold(0, |sum, count| 2 * sum + count))
    }

    /// Variance of that sum when every plane count carries noise of this variance:
    /// (4^bits - 1) / 3 times as much.
    pub fn plane_noise(&self, variance: f64) -> f64 {
        variance * as_f64((1u64 << (2 * self.bits)) - 1) / 3.0
    }

    /// A fit made on u, in units of the trait.
    pub fn scale_fit(&self, fit: LinearFit) -> LinearFit {
        LinearFit { beta: fit.beta * self.step, standard_error: fit.standard_error * self.step, ..fit }
    }
}

fn as_length(bits: u32) -> usize {
    usize::try_from(bits).unwrap_or(usize::MAX)
}
