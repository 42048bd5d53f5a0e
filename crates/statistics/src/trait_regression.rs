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

/// Sums of a trait over everybody whose trait is known, with and without a call.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TraitTotals {
    /// How many they are.
    pub people: f64,
    /// Sum of the trait.
    pub sum: f64,
    /// Sum of its squares.
    pub square_sum: f64,
}

impl TraitTotals {
    /// The sum of squares over the `called` people whose traits add up to `called_sum`: the others, whose sum is
    /// known with theirs, are taken to vary about the common mean as everybody does (SPEC clause 11).
    pub fn squares_of_called(&self, called: f64, called_sum: f64) -> f64 {
        if self.people <= 0.0 {
            return 0.0;
        }
        let (uncalled, uncalled_sum) = (self.people - called, self.sum - called_sum);
        let mean = self.sum / self.people;
        let variance = self.square_sum / self.people - mean * mean;
        self.square_sum - (uncalled * (variance - mean * mean) + 2.0 * mean * uncalled_sum)
    }
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
        Ok(number_of_planes(planes))
    }

    /// Sum of u^2 over a class from how many of it have each bit of u^2 set, lowest first.
    ///
    /// # Errors
    /// [`StatisticsError::PlaneCount`] unless there are two counts a bit of u.
    pub fn square_sum_of_planes(&self, planes: &[i64]) -> Result<i64, StatisticsError> {
        if planes.len() != as_length(2 * self.bits) {
            return Err(StatisticsError::PlaneCount { expected: 2 * self.bits, got: planes.len() });
        }
        Ok(number_of_planes(planes))
    }

    /// Variance of a sum of u when every plane count carries noise of this variance:
    /// (4^bits - 1) / 3 times as much.
    pub fn plane_noise(&self, variance: f64) -> f64 {
        variance * as_f64((1u64 << (2 * self.bits)) - 1) / 3.0
    }

    /// A fit made on u, in units of the trait.
    pub fn scale_fit(&self, fit: LinearFit) -> LinearFit {
        LinearFit { beta: fit.beta * self.step, standard_error: fit.standard_error * self.step, ..fit }
    }
}

fn number_of_planes(planes: &[i64]) -> i64 {
    planes.iter().rev().fold(0, |sum, count| 2 * sum + count)
}

fn as_length(bits: u32) -> usize {
    usize::try_from(bits).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_of_called_people_do_not_depend_on_where_the_trait_begins() {
        for origin in [0.0, 1e4] {
            // Forty people of a thousand have no call, and are higher than the others.
            let people: Vec<f64> = (0..1_000u32).map(|number| origin + f64::from(number * 37 % 101)).collect();
            let is_called = |number: usize| number % 25 != 3 || people[number] < origin + 30.0;
            let (mut all, mut called, mut called_sum, mut squares) = (TraitTotals::default(), 0.0, 0.0, 0.0);
            for (number, value) in people.iter().enumerate() {
                all.people += 1.0;
                all.sum += value;
                all.square_sum += value * value;
                if is_called(number) {
                    called += 1.0;
                    called_sum += value;
                    squares += value * value;
                }
            }
            assert!((900.0..990.0).contains(&called), "{called}");
            let about_the_mean = |squares: f64| squares - called_sum * called_sum / called;
            let taken = all.squares_of_called(called, called_sum);
            let error = about_the_mean(taken) / about_the_mean(squares) - 1.0;
            assert!(error.abs() < 0.02, "from {origin}: {error}");
            // As if their squares were like the others', which their sum contradicts.
            let alike = about_the_mean(all.square_sum * called / all.people) / about_the_mean(squares) - 1.0;
            assert!(origin == 0.0 || alike.abs() > 0.5, "from {origin}: {alike}");
            assert_eq!(all.squares_of_called(all.people, all.sum), all.square_sum);
        }
        assert_eq!(TraitTotals::default().squares_of_called(0.0, 0.0), 0.0);
    }
}
