//! Fisher's exact test.

use crate::{association::CaseControl, counts::as_f64, error::StatisticsError};

/// A 2 x 2 table of alleles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlleleTable {
    /// Alternate and reference alleles of cases.
    pub cases: [u64; 2],
    /// Alternate and reference alleles of controls.
    pub controls: [u64; 2],
}

impl AlleleTable {
    /// The alleles of exact genotype counts.
    ///
    /// # Errors
    /// [`StatisticsError::NoisyCounts`] when the counts carry noise.
    pub fn of_groups(groups: &CaseControl) -> Result<Self, StatisticsError> {
        let alleles = |[hom_ref, het, hom_alt]: [u64; 3]| [het + 2 * hom_alt, het + 2 * hom_ref];
        let cases = alleles(groups.cases.exact_classes()?);
        Ok(Self { cases, controls: alleles(groups.controls.exact_classes()?) })
    }
}

/// Outcomes whose probability exceeds the observed one by less than this share count as equally
/// probable: they are, but for rounding.
pub(crate) const TIE: f64 = 1e-9;

/// Two-sided p-value: the probability, given the margins, of all tables that are no more probable
/// than this one. Takes time in proportion to the spread of the probable tables.
pub fn fisher_exact(table: &AlleleTable) -> f64 {
    let [observed, _] = table.cases;
    let cases = table.cases[0] + table.cases[1];
    let alternates = table.cases[0] + table.controls[0];
    let total = cases + table.controls[0] + table.controls[1];
    let lowest = (cases + alternates).saturating_sub(total);
    let highest = cases.min(alternates);
    // P(x) / P(x - 1) for x alternate alleles among the cases.
    let ratio = |x: u64| {
        as_f64(cases - x + 1) * as_f64(alternates - x + 1) / (as_f64(x) * as_f64(total + x - cases - alternates))
    };
    let mode = mode_of(cases, alternates, total).clamp(lowest, highest);
    tail_from_mode(mode, lowest, highest, 1, observed, ratio)
}

/// The most probable number of alternate alleles among the cases.
fn mode_of(cases: u64, alternates: u64, total: u64) -> u64 {
    let product = (u128::from(cases) + 1) * (u128::from(alternates) + 1) / (u128::from(total) + 2);
    u64::try_from(product).unwrap_or(u64::MAX)
}

/// The probability of all outcomes no more probable than `observed`, for outcomes `lowest`,
/// `lowest + step`, ..., `highest` whose probabilities fall on both sides of `mode`, and
/// `ratio(x)` = P(x) / P(x - step). Weights relative to the mode never overflow; those that
/// underflow add nothing.
pub(crate) fn tail_from_mode(
    mode: u64,
    lowest: u64,
    highest: u64,
    step: u64,
    observed: u64,
    ratio: impl Fn(u64) -> f64,
) -> f64 {
    let mut outcomes = vec![(mode, 1.0)];
    let mut weight = 1.0;
    let mut x = mode;
    while x >= lowest + step && weight > 0.0 {
        weight /= ratio(x);
        x -= step;
        outcomes.push((x, weight));
    }
    weight = 1.0;
    x = mode;
    while x + step <= highest && weight > 0.0 {
        x += step;
        weight *= ratio(x);
        outcomes.push((x, weight));
    }
    let observed_weight = outcomes.iter().find(|(x, _)| *x == observed).map_or(0.0, |(_, weight)| *weight);
    let threshold = observed_weight * (1.0 + TIE);
    let total: f64 = outcomes.iter().map(|(_, weight)| weight).sum();
    let tail: f64 = outcomes.iter().map(|(_, weight)| *weight).filter(|weight| *weight <= threshold).sum();
    (tail / total).min(1.0)
}
