//! Genomic control.

use crate::distribution::normal_quantile;

/// Genomic control lambda [[Devlin 1999]]: the median of one-degree chi-squared statistics over the
/// median of their distribution under the null hypothesis (0.4549...). `None` without statistics.
///
/// [Devlin 1999]: https://doi.org/10.1111/j.0006-341X.1999.00997.x
pub fn genomic_inflation(statistics: &[f64]) -> Option<f64> {
    let quartile = normal_quantile(0.75);
    median(statistics).map(|median| median / (quartile * quartile))
}

/// The middle value, or the mean of the two in the middle; `None` for no values. NaN are left out.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get((sorted.len() - 1) / 2)?;
    Some((lower + upper) / 2.0)
}
