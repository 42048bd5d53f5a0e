//! Odds ratios of alleles.

use crate::{
    association::CaseControl,
    counts::{ClassCounts, Differential},
    distribution::normal_quantile,
    error::StatisticsError,
};

/// How much of its distribution an interval covers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConfidenceLevel(f64);

impl ConfidenceLevel {
    /// 95 %.
    pub const USUAL: Self = Self(0.95);

    /// A level in (0, 1).
    ///
    /// # Errors
    /// [`StatisticsError::ConfidenceLevel`] outside.
    pub fn try_new(level: f64) -> Result<Self, StatisticsError> {
        if level > 0.0 && level < 1.0 { Ok(Self(level)) } else { Err(StatisticsError::ConfidenceLevel) }
    }

    /// How many standard errors on each side the interval reaches: 1.96 for 95 %.
    pub fn half_width(self) -> f64 {
        normal_quantile(0.5 + self.0 / 2.0)
    }
}

/// An odds ratio with the standard error of its logarithm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OddsRatio {
    /// Odds of the alternate allele among cases, by those among controls.
    pub ratio: f64,
    /// Standard error of ln(ratio), sampling and noise; `None` when a cell is not positive.
    pub log_standard_error: Option<f64>,
}

impl OddsRatio {
    /// The interval at this level, by the normal distribution of the logarithm.
    pub fn interval(&self, level: ConfidenceLevel) -> Option<(f64, f64)> {
        let reach = (level.half_width() * self.log_standard_error?).exp();
        Some((self.ratio / reach, self.ratio * reach))
    }
}

/// Woolf's odds ratio of alleles, noise included: SPEC clause 6. `None` when controls have no
/// alternate or cases no reference alleles, or noise made a count negative.
pub fn allelic_odds_ratio(groups: &CaseControl) -> Option<OddsRatio> {
    let [cases, controls] = [&groups.cases, &groups.controls];
    let cells = [cases.alt_alleles(), cases.ref_alleles(), controls.alt_alleles(), controls.ref_alleles()];
    let [case_alt, case_ref, control_alt, control_ref] = cells;
    if cells.iter().any(|cell| *cell < 0.0) || case_ref <= 0.0 || control_alt <= 0.0 {
        return None;
    }
    let ratio = case_alt * control_ref / (case_ref * control_alt);
    let is_regular = cells.iter().all(|cell| *cell > 0.0);
    let variance =
        || cells.iter().map(|cell| 1.0 / cell).sum::<f64>() + log_odds_noise(cases) + log_odds_noise(controls);
    Some(OddsRatio { ratio, log_standard_error: is_regular.then(|| variance().sqrt()) })
}

/// Variance that noise gives to ln(alternate / reference alleles) of one group, to first order.
pub(crate) fn log_odds_noise(counts: &ClassCounts) -> f64 {
    let per_alt = 1.0 / counts.alt_alleles();
    let per_ref = 1.0 / counts.ref_alleles();
    counts.noise_of(Differential { het: per_alt + per_ref, hom_alt: 2.0 * (per_alt + per_ref), called: -2.0 * per_ref })
}
