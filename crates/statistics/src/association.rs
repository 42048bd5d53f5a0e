//! Tests of association between a variant and being a case.

use crate::{counts::ClassCounts, distribution::chi_squared_upper};

/// Genotype counts of one variant among cases and among controls.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CaseControl {
    /// People with the condition.
    pub cases: ClassCounts,
    /// People without it.
    pub controls: ClassCounts,
}

/// The outcome of a chi-squared test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChiSquared {
    /// The statistic, at least 0.
    pub statistic: f64,
    /// Its degrees of freedom under the null hypothesis, 1 or 2.
    pub degrees_of_freedom: u32,
    /// Probability of a statistic at least as large under the null hypothesis.
    pub p_value: f64,
}

impl ChiSquared {
    /// `difference`^2 / `variance` on one degree of freedom; `None` without variance.
    pub(crate) fn of_difference(difference: f64, variance: f64) -> Option<Self> {
        let statistic = difference * difference / variance;
        (variance > 0.0 && statistic.is_finite()).then(|| Self::new(statistic, 1))
    }

    fn new(statistic: f64, degrees_of_freedom: u32) -> Self {
        Self { statistic, degrees_of_freedom, p_value: chi_squared_upper(statistic, degrees_of_freedom) }
    }
}

impl CaseControl {
    /// The two groups in one.
    pub fn pooled(&self) -> ClassCounts {
        self.cases.pooled(&self.controls)
    }

    fn has_people(&self) -> bool {
        self.cases.called() > 0.0 && self.controls.called() > 0.0
    }

    /// 1 / cases + 1 / controls.
    fn inverse_sizes(&self) -> f64 {
        1.0 / self.cases.called() + 1.0 / self.controls.called()
    }

    /// Compares the mean of a weight per genotype (0 for hom_ref) between the groups: SPEC clause 4.
    fn compare_means(&self, het: f64, hom_alt: f64) -> Option<ChiSquared> {
        if !self.has_people() {
            return None;
        }
        let pooled = self.pooled();
        let mean = pooled.mean(het, hom_alt);
        let sampling = pooled.mean(het * het, hom_alt * hom_alt) - mean * mean + pooled.mean_noise(het, hom_alt);
        let noise = self.cases.mean_noise(het, hom_alt) + self.controls.mean_noise(het, hom_alt);
        let difference = self.cases.mean(het, hom_alt) - self.controls.mean(het, hom_alt);
        ChiSquared::of_difference(difference, sampling.max(0.0) * self.inverse_sizes() + noise)
    }
}

/// Cochran-Armitage trend test with scores 0, 1, 2 for hom_ref, het, hom_alt, on one degree of
/// freedom; `None` when a group is empty or nobody differs.
pub fn trend_test(groups: &CaseControl) -> Option<ChiSquared> {
    groups.compare_means(1.0, 2.0)
}

/// Carriers of the alternate allele against the rest, on one degree of freedom; `None` as for
/// [`trend_test`].
pub fn dominant_test(groups: &CaseControl) -> Option<ChiSquared> {
    groups.compare_means(1.0, 1.0)
}

/// Homozygous alternate people against the rest, on one degree of freedom; `None` as for
/// [`trend_test`].
pub fn recessive_test(groups: &CaseControl) -> Option<ChiSquared> {
    groups.compare_means(0.0, 1.0)
}

/// Pearson's test on the 2 x 2 table of alleles, without continuity correction, on one degree of
/// freedom; `None` as for [`trend_test`].
pub fn allelic_test(groups: &CaseControl) -> Option<ChiSquared> {
    if !groups.has_people() {
        return None;
    }
    let pooled = groups.pooled();
    let frequency = pooled.mean(0.5, 1.0);
    let sampling = frequency * (1.0 - frequency) + pooled.mean_noise(0.5, 1.0);
    let noise = groups.cases.mean_noise(0.5, 1.0) + groups.controls.mean_noise(0.5, 1.0);
    let difference = groups.cases.mean(0.5, 1.0) - groups.controls.mean(0.5, 1.0);
    ChiSquared::of_difference(difference, sampling.max(0.0) * groups.inverse_sizes() / 2.0 + noise)
}

/// Pearson's test on the 2 x 3 table of genotypes, on two degrees of freedom; `None` when a group
/// is empty or a genotype does not occur.
pub fn genotypic_test(groups: &CaseControl) -> Option<ChiSquared> {
    if !groups.has_people() {
        return None;
    }
    let pooled = groups.pooled();
    let (het, hom_alt) = on_simplex(pooled.mean(1.0, 0.0), pooled.mean(0.0, 1.0));
    let sizes = groups.inverse_sizes();
    let mut covariance = [het * (1.0 - het) * sizes, -het * hom_alt * sizes, hom_alt * (1.0 - hom_alt) * sizes];
    for group in [&groups.cases, &groups.controls] {
        let n_squared = group.called() * group.called();
        let shares = [group.mean(1.0, 0.0), group.mean(0.0, 1.0)];
        let noise = group.noise();
        covariance[0] += (noise.counter() + shares[0] * shares[0] * noise.called()) / n_squared;
        covariance[1] += shares[0] * shares[1] * noise.called() / n_squared;
        covariance[2] += (noise.counter() + shares[1] * shares[1] * noise.called()) / n_squared;
    }
    let [first, cross, second] = covariance;
    let determinant = first * second - cross * cross;
    // Rounding leaves a determinant near the square of the machine precision where a genotype is absent.
    if determinant <= first * second * 1e-12 {
        return None;
    }
    let differences = [
        groups.cases.mean(1.0, 0.0) - groups.controls.mean(1.0, 0.0),
        groups.cases.mean(0.0, 1.0) - groups.controls.mean(0.0, 1.0),
    ];
    let statistic = (second * differences[0] * differences[0] - 2.0 * cross * differences[0] * differences[1]
        + first * differences[1] * differences[1])
        / determinant;
    statistic.is_finite().then(|| ChiSquared::new(statistic.max(0.0), 2))
}

/// The nearest shares that are not negative and add up to no more than 1.
fn on_simplex(het: f64, hom_alt: f64) -> (f64, f64) {
    let (het, hom_alt) = (het.max(0.0), hom_alt.max(0.0));
    let sum = (het + hom_alt).max(1.0);
    (het / sum, hom_alt / sum)
}
