//! Association over strata: Cochran, Mantel and Haenszel.

use crate::{
    association::{CaseControl, ChiSquared},
    odds_ratio::{OddsRatio, log_odds_noise},
};

/// The outcome over all strata.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stratified {
    /// The Cochran-Mantel-Haenszel test of alleles, without continuity correction, on one degree of
    /// freedom.
    pub test: ChiSquared,
    /// The Mantel-Haenszel common odds ratio; `None` when a sum of it vanishes.
    pub odds_ratio: Option<OddsRatio>,
}

/// Tests alleles against being a case within `strata`: SPEC clause 9. Strata without cases,
/// controls or both alleles say nothing and are passed over; `None` when none is left.
pub fn mantel_haenszel(strata: &[CaseControl]) -> Option<Stratified> {
    let informative: Vec<&CaseControl> = strata.iter().filter(|stratum| is_informative(stratum)).collect();
    let (mut excess, mut variance) = (0.0, 0.0);
    for stratum in &informative {
        let [cases, controls] = [&stratum.cases, &stratum.controls];
        let [case_alleles, control_alleles] = [2.0 * cases.called(), 2.0 * controls.called()];
        let total = case_alleles + control_alleles;
        let pooled = stratum.pooled();
        let weight = case_alleles * control_alleles / total;
        excess += weight * (cases.mean(0.5, 1.0) - controls.mean(0.5, 1.0));
        let frequency = pooled.mean(0.5, 1.0);
        let heterozygosity = (frequency * (1.0 - frequency) + pooled.mean_noise(0.5, 1.0)).max(0.0);
        let noise = cases.mean_noise(0.5, 1.0) + controls.mean_noise(0.5, 1.0);
        variance += weight * heterozygosity * total / (total - 1.0) + weight * weight * noise;
    }
    Some(Stratified { test: ChiSquared::of_difference(excess, variance)?, odds_ratio: common_odds_ratio(&informative) })
}

fn is_informative(stratum: &CaseControl) -> bool {
    let pooled = stratum.pooled();
    let is_mixed = pooled.alt_alleles() > 0.0 && pooled.ref_alleles() > 0.0;
    // With noise a count at the border says little about whether both alleles occur.
    let is_noisy = !pooled.noise().is_none();
    stratum.cases.called() > 0.0 && stratum.controls.called() > 0.0 && (is_mixed || is_noisy)
}

/// Sum of case-alternate * control-reference over sum of case-reference * control-alternate, each
/// by the stratum's size; variance of the logarithm by Robins, Breslow and Greenland.
fn common_odds_ratio(strata: &[&CaseControl]) -> Option<OddsRatio> {
    let (mut concordant, mut discordant) = (0.0, 0.0);
    let mut products = [0.0; 3];
    let mut noise = 0.0;
    for stratum in strata {
        let [cases, controls] = [&stratum.cases, &stratum.controls];
        let total = 2.0 * (cases.called() + controls.called());
        let with = cases.alt_alleles() * controls.ref_alleles() / total;
        let against = cases.ref_alleles() * controls.alt_alleles() / total;
        let with_share = (cases.alt_alleles() + controls.ref_alleles()) / total;
        concordant += with;
        discordant += against;
        products[0] += with_share * with;
        products[1] += with_share * against + (1.0 - with_share) * with;
        products[2] += (1.0 - with_share) * against;
        // d ln(ratio) = weight * d ln(odds ratio of the stratum) with weight = with / sum of with, at ratio 1.
        if !stratum.pooled().noise().is_none() && with > 0.0 {
            noise += with * with * (log_odds_noise(cases) + log_odds_noise(controls));
        }
    }
    if concordant <= 0.0 || discordant <= 0.0 {
        return None;
    }
    let sampling = products[0] / (2.0 * concordant * concordant)
        + products[1] / (2.0 * concordant * discordant)
        + products[2] / (2.0 * discordant * discordant);
    let variance = sampling + noise / (concordant * concordant);
    let log_standard_error = (variance.is_finite() && variance > 0.0).then(|| variance.sqrt());
    Some(OddsRatio { ratio: concordant / discordant, log_standard_error })
}
