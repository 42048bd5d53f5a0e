//! Tests of Hardy-Weinberg proportions.

use crate::{
    association::ChiSquared,
    counts::{ClassCounts, Differential, as_f64},
    error::StatisticsError,
    fisher::tail_from_mode,
};

/// The exact test [[Wigginton 2005]]: the probability, given the allele counts, of all numbers of
/// heterozygous people no more probable than the observed one.
///
/// # Errors
/// [`StatisticsError::NoisyCounts`] when the counts carry noise.
///
/// [Wigginton 2005]: https://doi.org/10.1086/429864
pub fn hardy_weinberg_exact(counts: &ClassCounts) -> Result<f64, StatisticsError> {
    let [hom_ref, het, hom_alt] = counts.exact_classes()?;
    let people = hom_ref + het + hom_alt;
    let rare = (2 * hom_ref.min(hom_alt)) + het;
    let common = 2 * people - rare;
    let parity = rare % 2;
    // P(h) / P(h - 2), where two het people take the place of one of each homozygous kind.
    let ratio = |h: u64| {
        let rare_hom = as_f64((rare - h) / 2 + 1);
        let common_hom = as_f64((common - h) / 2 + 1);
        4.0 * rare_hom * common_hom / (as_f64(h) * as_f64(h - 1))
    };
    let expected = if people == 0 { 0 } else { rare * common / (2 * people) };
    let mode = (expected - (expected % 2).min(expected) + parity).min(rare);
    let mode = settle(mode, parity, rare, ratio);
    Ok(tail_from_mode(mode, parity, rare, 2, het, ratio))
}

/// Moves `mode` in steps of two to where the probability is highest.
fn settle(mut mode: u64, lowest: u64, highest: u64, ratio: impl Fn(u64) -> f64) -> u64 {
    while mode + 2 <= highest && ratio(mode + 2) > 1.0 {
        mode += 2;
    }
    while mode >= lowest + 2 && ratio(mode) < 1.0 {
        mode -= 2;
    }
    mode
}

/// The chi-squared test of the disequilibrium coefficient, on one degree of freedom, which allows
/// for noise: SPEC clause 8. `None` when nobody is called or only one allele occurs.
pub fn hardy_weinberg_test(counts: &ClassCounts) -> Option<ChiSquared> {
    let people = counts.called();
    if people <= 0.0 {
        return None;
    }
    let frequency = counts.mean(0.5, 1.0);
    let hom_alt = counts.mean(0.0, 1.0);
    let frequency_noise = counts.mean_noise(0.5, 1.0);
    let coefficient = hom_alt - frequency * frequency + frequency_noise;
    let heterozygosity = (frequency * (1.0 - frequency) + frequency_noise).max(0.0);
    let noise = counts.noise_of(Differential {
        het: -frequency / people,
        hom_alt: (1.0 - 2.0 * frequency) / people,
        called: (2.0 * frequency * frequency - hom_alt) / people,
    });
    ChiSquared::of_difference(coefficient, heterozygosity * heterozygosity / people + noise)
}
