//! Frequencies in a base so small that every rare branch is taken often.

use super::*;

/// Three-bit digits of a 64-bit linear congruential generator's high bits: ties in one draw of
/// eight, so that the rare branches carry weight.
struct Octal(u64);

impl Digits for Octal {
    const DIGIT_BITS: u32 = 3;

    fn next_digit(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(self.0 >> 61).expect("three bits")
    }
}

const DRAWS: u32 = 2_000_000;
/// Five standard deviations of a frequency: chance failure below 10^-6 per case.
const TOLERANCE_DEVIATIONS: f64 = 5.0;

fn check_frequency(name: &str, expected: f64, mut draw: impl FnMut(&mut Octal) -> bool) {
    let mut digits = Octal(0x5eed);
    let hits: u32 = (0..DRAWS).map(|_| u32::from(draw(&mut digits))).sum();
    let frequency = f64::from(hits) / f64::from(DRAWS);
    let deviation = (expected * (1.0 - expected) / f64::from(DRAWS)).sqrt();
    let tolerance = TOLERANCE_DEVIATIONS * deviation.max(1e-9);
    assert!((frequency - expected).abs() <= tolerance, "{name}: {frequency} is not {expected} +- {tolerance}");
}

#[test]
fn bernoulli_frequencies_match_their_fraction_in_a_base_full_of_ties() {
    for (numerator, denominator) in [(0, 1), (1, 3), (2, 3), (1, 64), (63, 64), (355, 452), ((1 << 110) - 1, 1 << 111)]
    {
        let exact = Fraction { numerator, denominator };
        let expected = numerator as f64 / denominator as f64;
        check_frequency("is_below", expected, |digits| is_below(exact, digits));
    }
}

#[test]
fn exponential_frequencies_match_in_a_base_full_of_ties() {
    for (numerator, denominator) in
        [(0, 1), (1, 8), (1, 7), (1, 3), (5, 8), (9, 10), (999, 1000), ((1 << 110) + 1, 1 << 111)]
    {
        let exact = Fraction { numerator, denominator };
        let expected = (-(numerator as f64 / denominator as f64)).exp();
        check_frequency("exp_minus", expected, |digits| exp_minus(exact, digits));
    }
    check_frequency("exp_minus_one", (-1.0f64).exp(), exp_minus_one);
}

#[test]
fn a_tie_rule_that_ignores_shared_intervals_would_be_noticed() {
    // The control: ties always break the chain. In base 8 that is far from exp(-1).
    let naive = |digits: &mut Octal| {
        let (mut lowest, mut even) = (digits.next_digit(), false);
        loop {
            let next = digits.next_digit();
            if next >= lowest {
                return even;
            }
            (lowest, even) = (next, !even);
        }
    };
    let mut digits = Octal(0x5eed);
    let hits: u32 = (0..DRAWS).map(|_| u32::from(naive(&mut digits))).sum();
    let frequency = f64::from(hits) / f64::from(DRAWS);
    assert!((frequency - (-1.0f64).exp()).abs() > 0.01, "control passed with {frequency}");
}
