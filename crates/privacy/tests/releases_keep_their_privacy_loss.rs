//! What a researcher sees of two neighbouring cohorts differs by no more than the loss that was
//! charged, and noise of different questions is independent.

use crate::stream::{AesStream, seeded_words};
use locus_commitment::sha3_256;
use locus_privacy::{DiscreteGaussian, Rho, SigmaSquared, Tau, UniformWords, report};
use statrs::distribution::{Beta, ContinuousCDF};

const RUNS: u32 = 400_000;
const DELTA: f64 = 1e-5;
/// Each one-sided confidence bound fails by chance with this probability.
const CONFIDENCE_MISS: f64 = 1e-5;

/// Noise of one released counter: three shares.
fn counter_noise(share: &DiscreteGaussian, words: &mut UniformWords<AesStream>) -> i64 {
    (0..3).map(|_| share.sample(words)).sum()
}

/// How often hom_alt - het is at least `threshold`, when a person with Het at one variant is
/// (`replaced`) or is not replaced by one with HomAlt.
fn hits(share: &DiscreteGaussian, replaced: bool, threshold: i64, seed: u64) -> u32 {
    let mut words = seeded_words(seed);
    let shift = if replaced { 2 } else { 0 };
    (0..RUNS)
        .map(|_| {
            let het = counter_noise(share, &mut words);
            let hom_alt = counter_noise(share, &mut words);
            u32::from(hom_alt - het + shift >= threshold)
        })
        .sum()
}

/// Clopper-Pearson bounds on a probability.
fn lower_bound(hit_count: u32) -> f64 {
    let hits = f64::from(hit_count);
    Beta::new(hits, f64::from(RUNS) - hits + 1.0).expect("some hits").inverse_cdf(CONFIDENCE_MISS)
}

fn upper_bound(hit_count: u32) -> f64 {
    let hits = f64::from(hit_count);
    Beta::new(hits + 1.0, f64::from(RUNS) - hits).expect("some misses").inverse_cdf(1.0 - CONFIDENCE_MISS)
}

/// The largest epsilon that the runs prove, over several thresholds.
fn proven_epsilon(share: &DiscreteGaussian) -> f64 {
    let at_threshold = |threshold| {
        let with = lower_bound(hits(share, true, threshold, 1));
        let without = upper_bound(hits(share, false, threshold, 2));
        ((with - DELTA) / without).ln()
    };
    [1, 2, 3, 4, 5].into_iter().map(at_threshold).fold(0.0, f64::max)
}

#[test]
fn neighbouring_cohorts_are_as_close_as_the_quoted_epsilon() {
    let rho = Rho::from_nano(500_000_000);
    let claimed = report::epsilon(rho, DELTA).expect("delta in range");
    let share = SigmaSquared::per_share(1, rho).expect("positive");
    let proven = proven_epsilon(&DiscreteGaussian::try_new(share).expect("supported"));
    assert!(proven <= claimed, "proven {proven}, claimed {claimed}");
    assert!(proven > 1.0, "the audit is blind: it proves only {proven}");
}

#[test]
fn half_the_noise_breaks_the_quoted_epsilon() {
    let rho = Rho::from_nano(500_000_000);
    let claimed = report::epsilon(rho, DELTA).expect("delta in range");
    let share = SigmaSquared::per_share(1, rho).expect("positive");
    let halved = SigmaSquared::try_new(share.numerator(), 4 * share.denominator()).expect("positive");
    let proven = proven_epsilon(&DiscreteGaussian::try_new(halved).expect("supported"));
    assert!(proven > claimed, "control passed: proven {proven}, claimed {claimed}");
}

const COORDINATES: usize = 65_536;

fn noise_of(tau: Tau, purpose: u8, level: SigmaSquared) -> Vec<f64> {
    let key = sha3_256("test/noise-stream", &[&[7; 32], &tau.0.0, &[purpose]]);
    let mut values = vec![0; COORDINATES];
    let sampler = DiscreteGaussian::try_new(level).expect("supported");
    sampler.fill(&mut UniformWords::new(AesStream::new(key.0)), &mut values);
    values.into_iter().map(|value| value as f64).collect()
}

fn correlation(first: &[f64], second: &[f64]) -> f64 {
    let product = |left: &[f64], right: &[f64]| left.iter().zip(right).map(|(a, b)| a * b).sum::<f64>();
    product(first, second) / (product(first, first) * product(second, second)).sqrt()
}

#[test]
fn noise_of_other_questions_scales_and_purposes_is_independent() {
    let wide = SigmaSquared::try_new(10_000, 3).expect("positive");
    let narrow = SigmaSquared::try_new(2_500, 3).expect("positive");
    let tau = Tau(sha3_256("test/tau", &[b"one"]));
    let other_tau = Tau(sha3_256("test/tau", &[b"other"]));
    let base = noise_of(tau, 0, wide);
    for (name, other) in [
        ("another question", noise_of(other_tau, 0, wide)),
        ("another question and scale", noise_of(other_tau, 0, narrow)),
        ("another purpose", noise_of(tau, 1, wide)),
    ] {
        let correlation = correlation(&base, &other).abs();
        assert!(correlation < 4.0 / (COORDINATES as f64).sqrt(), "{name}: {correlation}");
    }
    assert_eq!(base, noise_of(tau, 0, wide));
    // The control: one stream read at two scales. Its values are far from independent at first.
    let same_stream = noise_of(tau, 0, narrow);
    assert!(correlation(&base[..8], &same_stream[..8]).abs() > 0.5);
}
