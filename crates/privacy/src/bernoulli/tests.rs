//! Frequencies in bases so small that every rare branch is taken often.

use super::*;

/// Digits of few bits: the high bits of a 64-bit linear congruential generator. In base 2 every
/// other draw ties, in base 8 one of eight, so that the rare branches carry weight.
struct Narrow<const BITS: u32>(u64);

impl<const BITS: u32> Digits for Narrow<BITS> {
    const DIGIT_BITS: u32 = BITS;

    fn next_digit(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(self.0 >> (64 - BITS)).expect("few bits")
    }
}

const DRAWS: u32 = 2_000_000;
/// Five standard deviations of a frequency: chance failure below 10^-6 per case.
const TOLERANCE_DEVIATIONS: f64 = 5.0;

fn frequency<const BITS: u32>(mut draw: impl FnMut(&mut Narrow<BITS>) -> bool) -> f64 {
    let mut digits = Narrow(0x5eed);
    let hits: u32 = (0..DRAWS).map(|_| u32::from(draw(&mut digits))).sum();
    f64::from(hits) / f64::from(DRAWS)
}

fn check_frequency<const BITS: u32>(name: &str, expected: f64, draw: impl FnMut(&mut Narrow<BITS>) -> bool) {
    let measured = frequency(draw);
    let deviation = (expected * (1.0 - expected) / f64::from(DRAWS)).sqrt();
    let tolerance = TOLERANCE_DEVIATIONS * deviation.max(1e-9);
    assert!(
        (measured - expected).abs() <= tolerance,
        "{name} with {BITS} bits: {measured} is not {expected} +- {tolerance}"
    );
}

const FRACTIONS: [(u128, u128); 9] = [
    (0, 1),
    (1, 64),
    (1, 7),
    (1, 3),
    (5, 8),
    (3, 4),
    (355, 452),
    (999, 1000),
    // The widest fraction that the arithmetic takes.
    ((1 << 110) + 1, 1 << 111),
];

fn check_fractions<const BITS: u32>() {
    for (numerator, denominator) in FRACTIONS {
        let exact = Fraction { numerator, denominator };
        let rounded = numerator as f64 / denominator as f64;
        check_frequency::<BITS>("is_below", rounded, |digits| is_below(exact, digits));
        check_frequency::<BITS>("exp_minus", (-rounded).exp(), |digits| exp_minus(exact, digits));
    }
    check_frequency::<BITS>("exp_minus_one", (-1.0f64).exp(), exp_minus_one);
}

#[test]
fn frequencies_match_where_every_other_draw_ties() {
    check_fractions::<1>();
}

#[test]
fn frequencies_match_where_one_draw_of_eight_ties() {
    check_fractions::<3>();
}

#[test]
fn frequencies_match_with_the_digits_in_use() {
    check_fractions::<32>();
}

#[test]
fn a_tie_rule_that_ignores_shared_intervals_would_be_noticed() {
    // The control: ties always break the chain. In base 8 that is far from exp(-1).
    let naive = frequency(|digits: &mut Narrow<3>| {
        let (mut lowest, mut even) = (digits.next_digit(), false);
        loop {
            let next = digits.next_digit();
            if next >= lowest {
                return even;
            }
            (lowest, even) = (next, !even);
        }
    });
    assert!((naive - (-1.0f64).exp()).abs() > 0.01, "control passed with {naive}");
}
