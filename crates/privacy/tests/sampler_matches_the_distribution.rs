//! Chi-square tests of the sampler against the exact probabilities, with controls that fail.

use crate::stream::{AesStream, seeded_words, uniform_real};
use locus_privacy::{DiscreteGaussian, FLOODING_SIGMA_SQUARED, SigmaSquared, UniformWords};
use statrs::distribution::{ChiSquared, ContinuousCDF, Normal};

const SEEDS: u64 = 20;
const DRAWS: usize = 200_000;
/// Least p-value: with 140 tests at fixed seeds, chance alone would fail about one run in 70.
const P_MIN: f64 = 1e-4;
/// Standard errors allowed to a mean or a variance: chance failure below 10^-6 per test, of 320.
const TOLERANCE_ERRORS: f64 = 5.0;
/// sigma above which a sum over a bin equals the integral over it within 1 / (24 sigma^2) < 10^-7.
const INTEGRAL_SIGMA_MIN: f64 = 1000.0;

/// sigma^2 = 1/16, 1, 7/5, 3^2, 10^2, 10000/3, 100^2, 2^42.
fn levels() -> Vec<SigmaSquared> {
    let fractions = [(1, 16), (1, 1), (7, 5), (9, 1), (100, 1), (10_000, 3), (10_000, 1)];
    let mut levels: Vec<_> =
        fractions.into_iter().map(|(n, d)| SigmaSquared::try_new(n, d).expect("positive")).collect();
    levels.push(FLOODING_SIGMA_SQUARED);
    levels
}

fn as_real(level: SigmaSquared) -> f64 {
    level.numerator() as f64 / level.denominator() as f64
}

/// Bins of equal width up to about 3.5 sigma, and two tails.
struct Bins {
    width: i64,
    /// Lowest value of the first bin that is no tail.
    start: i64,
    probabilities: Vec<f64>,
}

impl Bins {
    fn new(variance: f64) -> Self {
        let sigma = variance.sqrt();
        let width = ((sigma / 8.0).round() as i64).max(1);
        let half_count = ((3.5 * sigma) as i64 / width).max(1);
        let start = -half_count * width - width / 2;
        let inner = 2 * half_count + 1;
        let mut probabilities: Vec<f64> = (0..inner)
            .map(|bin| interval_probability(variance, start + bin * width, start + (bin + 1) * width - 1))
            .collect();
        let tails = 1.0 - probabilities.iter().sum::<f64>();
        // The bins are symmetric up to one value when the width is even; ask for both tails apart.
        let low_tail = interval_probability(variance, start - 12 * (sigma as i64 + 1), start - 1);
        probabilities.insert(0, low_tail);
        probabilities.push(tails - low_tail);
        Self { width, start, probabilities }
    }

    fn index(&self, value: i64) -> usize {
        let last = self.probabilities.len() - 1;
        match value < self.start {
            true => 0,
            false => usize::try_from((value - self.start) / self.width + 1).expect("not negative").min(last),
        }
    }

    /// p-value of these values; bins that expect fewer than five are pooled.
    fn p_value(&self, values: &[i64]) -> f64 {
        let mut observed = vec![0.0; self.probabilities.len()];
        for value in values {
            observed[self.index(*value)] += 1.0;
        }
        chi_square_p_value(&observed, &self.probabilities, values.len())
    }
}

fn chi_square_p_value(observed: &[f64], probabilities: &[f64], draws: usize) -> f64 {
    let expected = probabilities.iter().map(|probability| probability * draws as f64);
    let (mut statistic, mut cells) = (0.0, 0);
    let (mut pooled_observed, mut pooled_expected) = (0.0, 0.0);
    for (seen, due) in observed.iter().zip(expected) {
        pooled_observed += seen;
        pooled_expected += due;
        if pooled_expected >= 5.0 {
            statistic += (pooled_observed - pooled_expected).powi(2) / pooled_expected;
            (pooled_observed, pooled_expected) = (0.0, 0.0);
            cells += 1;
        }
    }
    ChiSquared::new(f64::from(cells - 1)).expect("several cells").sf(statistic)
}

/// Exact probability of the integers `low..=high` (to the precision of a 64-bit float).
fn interval_probability(variance: f64, low: i64, high: i64) -> f64 {
    let sigma = variance.sqrt();
    if sigma >= INTEGRAL_SIGMA_MIN {
        let normal = Normal::new(0.0, sigma).expect("positive sigma");
        return normal.cdf(high as f64 + 0.5) - normal.cdf(low as f64 - 0.5);
    }
    let weight = |value: i64| (-(value as f64).powi(2) / (2.0 * variance)).exp();
    let reach = 12 * (sigma as i64 + 1);
    let total: f64 = (-reach..=reach).map(weight).sum();
    (low..=high).map(weight).sum::<f64>() / total
}

fn draw(level: SigmaSquared, seed: u64) -> Vec<i64> {
    let mut values = vec![0; DRAWS];
    DiscreteGaussian::try_new(level).expect("supported").fill(&mut seeded_words(seed), &mut values);
    values
}

#[test]
fn samples_fit_the_exact_probabilities_at_every_noise_level() {
    for level in levels() {
        let bins = Bins::new(as_real(level));
        for seed in 0..SEEDS {
            let p = bins.p_value(&draw(level, seed));
            assert!(p > P_MIN, "sigma^2 = {level}, seed {seed}: p = {p}");
        }
    }
}

#[test]
fn low_digits_of_wide_noise_are_uniform() {
    for level in [SigmaSquared::try_new(10_000, 3).expect("positive"), FLOODING_SIGMA_SQUARED] {
        for seed in 0..SEEDS {
            let mut observed = [0.0; 32];
            for value in draw(level, seed) {
                observed[usize::try_from(value.rem_euclid(32)).expect("not negative")] += 1.0;
            }
            let p = chi_square_p_value(&observed, &[1.0 / 32.0; 32], DRAWS);
            assert!(p > P_MIN, "sigma^2 = {level}, seed {seed}: p = {p}");
        }
    }
}

#[test]
fn mean_and_variance_are_those_of_the_distribution() {
    for level in levels() {
        let variance = as_real(level);
        // Below sigma 1 the variance of the discrete Gaussian is visibly smaller than sigma^2.
        let expected = match variance < 1.0 {
            true => (-12..=12).map(|value| (value * value) as f64 * interval_probability(variance, value, value)).sum(),
            false => variance,
        };
        for seed in 0..SEEDS {
            let values = draw(level, seed);
            let count = values.len() as f64;
            let mean = values.iter().map(|value| *value as f64).sum::<f64>() / count;
            let mean_square = values.iter().map(|value| (*value as f64).powi(2)).sum::<f64>() / count;
            let fourth = values.iter().map(|value| (*value as f64).powi(4)).sum::<f64>() / count;
            let mean_error = (mean_square / count).sqrt();
            let variance_error = ((fourth - mean_square.powi(2)) / count).sqrt();
            assert!(mean.abs() < TOLERANCE_ERRORS * mean_error, "sigma^2 = {level}, seed {seed}: mean {mean}");
            assert!(
                (mean_square - expected).abs() < TOLERANCE_ERRORS * variance_error,
                "sigma^2 = {level}, seed {seed}: variance {mean_square}, expected {expected} +- {variance_error}"
            );
        }
    }
}

#[test]
fn noise_levels_that_are_five_percent_off_are_noticed() {
    for level in levels().into_iter().filter(|level| as_real(*level) >= 1.0) {
        for (above, below) in [(441, 400), (361, 400)] {
            let wrong =
                SigmaSquared::try_new(level.numerator() * above, level.denominator() * below).expect("positive");
            let bins = Bins::new(as_real(level));
            for seed in 0..3 {
                let p = bins.p_value(&draw(wrong, seed));
                assert!(p < P_MIN, "control passed: sigma^2 {wrong} taken for {level}, p = {p}");
            }
        }
    }
}

/// A continuous Gaussian (Box-Muller), rounded: not the discrete Gaussian.
fn rounded_gaussian(sigma: f64, words: &mut UniformWords<AesStream>) -> i64 {
    let radius = (-2.0 * (1.0 - uniform_real(words)).ln()).sqrt();
    (sigma * radius * (std::f64::consts::TAU * uniform_real(words)).cos()).round() as i64
}

#[test]
fn a_rounded_continuous_gaussian_is_noticed() {
    let bins = Bins::new(1.0);
    for seed in 0..SEEDS {
        let mut words = seeded_words(seed);
        let values: Vec<i64> = (0..DRAWS).map(|_| rounded_gaussian(1.0, &mut words)).collect();
        let p = bins.p_value(&values);
        assert!(p < P_MIN, "control passed: seed {seed}, p = {p}");
    }
}

#[test]
fn a_zero_that_is_counted_with_both_signs_is_noticed() {
    // What the sampler would give if it kept negative zeros: zero has twice its weight.
    let bins = Bins::new(9.0);
    let level = SigmaSquared::try_new(9, 1).expect("positive");
    let zero = interval_probability(9.0, 0, 0);
    for seed in 0..3 {
        let mut words = seeded_words(1000 + seed);
        let mut values = draw(level, seed);
        for value in &mut values {
            if uniform_real(&mut words) < zero / (1.0 + zero) {
                *value = 0;
            }
        }
        let p = bins.p_value(&values);
        assert!(p < P_MIN, "control passed: seed {seed}, p = {p}");
    }
}

#[test]
fn no_value_exceeds_the_bound_and_the_bound_leaves_nothing_out() {
    for level in levels() {
        let sampler = DiscreteGaussian::try_new(level).expect("supported");
        let bound = sampler.abs_max();
        assert!(bound < 1 << 31);
        // 48 sigma: exp(-48^2 / 2) < 2^-1600.
        assert!(bound as f64 + 1.0 >= 48.0 * as_real(level).sqrt(), "sigma^2 = {level}: {bound}");
        assert!(draw(level, 7).into_iter().all(|value| value.abs() <= bound));
    }
}

#[test]
fn the_widest_and_the_longest_noise_levels_are_sampled() {
    let largest_numerator = (1u128 << 53) - 1;
    for (numerator, denominator) in
        [(1 << 50, 1), (largest_numerator, 8), (largest_numerator, largest_numerator - 1), (largest_numerator, 1 << 56)]
    {
        let level = SigmaSquared::try_new(numerator, denominator).expect("positive");
        let bins = Bins::new(as_real(level));
        let p = bins.p_value(&draw(level, 11));
        assert!(p > P_MIN, "sigma^2 = {level}: p = {p}");
    }
    for (numerator, denominator) in
        [((1 << 50) + 1, 1), (1 << 53, 1 << 52 | 1), (1, 17), (u128::MAX, 1), (1, u128::MAX)]
    {
        let level = SigmaSquared::try_new(numerator, denominator).expect("positive");
        assert!(DiscreteGaussian::try_new(level).is_err(), "{level}");
    }
}

#[test]
fn the_flooding_sampler_is_the_general_one_at_its_level() {
    assert_eq!(DiscreteGaussian::try_new(FLOODING_SIGMA_SQUARED), Ok(DiscreteGaussian::flooding()));
}
