//! Figures that people read: predicted errors, usefulness and what an answer lets others infer.
//! The only floating-point numbers of this crate; no noise, charge or digest depends on them.

use crate::{
    error::PrivacyError,
    parameters::{NetworkParameters, Tier},
    rho::{NANO, Rho, RhoCost},
    sigma::SigmaSquared,
};

/// Allele-frequency standard error above which an answer is called useless.
pub const USEFUL_STANDARD_ERROR_MAX: f64 = 0.1;
/// Failure probability delta for which a quote states epsilon.
pub const QUOTE_DELTA: f64 = 1e-6;

/// (5/4) / [`USEFUL_STANDARD_ERROR_MAX`]^2: an answer is useful when 125 * variants <= rho * people^2.
const USEFUL_FACTOR: u128 = 125;
/// Standard scores beyond which the normal distribution function is 0 or 1 in 64-bit floats.
const NORMAL_TAIL: f64 = 8.5;
/// Halvings of the search interval for the best conversion order.
const SEARCH_STEPS: u32 = 200;

/// What a quote is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuoteRequest {
    /// Tier of the order.
    pub tier: Tier,
    /// People in the cohort.
    pub cohort_size: u32,
    /// Variants to release.
    pub variants: u32,
    /// Panel blocks they lie in.
    pub blocks: u32,
    /// Whether the panel has a missing plane, whose counters are released too.
    pub has_missing_plane: bool,
    /// Privacy loss of the dp noise; zero in the exact tier.
    pub rho: Rho,
    /// How often bodies of the cohort got other keys, at most.
    pub rekeyings: u8,
}

/// The figures of a quote.
#[derive(Debug, Clone, PartialEq)]
pub struct Quote {
    /// What each person in the cohort is charged, unless they were charged for it before.
    pub cost: RhoCost,
    /// The dp noise, or what exact counts give away.
    pub precision: QuotePrecision,
}

/// How precise the counts of a quote are, and what that precision costs in privacy.
#[derive(Debug, Clone, PartialEq)]
pub enum QuotePrecision {
    /// Differentially private counts.
    Noisy(NoisyQuote),
    /// Exact counts, not differentially private.
    Exact {
        /// [`exact_membership_auc`] of these counts.
        membership_auc: f64,
    },
}

/// The figures of differentially private counts.
#[derive(Debug, Clone, PartialEq)]
pub struct NoisyQuote {
    /// Variance of the noise in every counter.
    pub total: SigmaSquared,
    /// Variance of the noise in each share.
    pub share: SigmaSquared,
    /// Offset of the counters before decoding.
    pub decode_offset: u64,
    /// Standard error that the noise alone adds to an allele frequency.
    pub allele_frequency_standard_error: f64,
    /// Whether that is low enough to be of use.
    pub usefulness: Usefulness,
    /// Rho towards a researcher who colludes with one keyholder.
    pub rho_with_one_keyholder: Rho,
    /// epsilon at [`QUOTE_DELTA`], towards the researcher.
    pub epsilon: f64,
    /// Worst-case area under the curve of a membership test by the researcher.
    pub membership_auc_max: f64,
    /// The same with the help of one keyholder.
    pub membership_auc_max_with_one_keyholder: f64,
}

/// Whether noisy counts are of use, and what would make them so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usefulness {
    /// The standard error of an allele frequency is at most [`USEFUL_STANDARD_ERROR_MAX`].
    Useful,
    /// It is larger. Any one of these would do.
    Useless {
        /// Most variants that this cohort and rho serve; zero when none.
        variants_max: u32,
        /// Fewest people for these variants and this rho.
        cohort_size_min: u64,
        /// Least rho for these variants and this cohort, when the tier allows it in one query.
        rho_min: Option<Rho>,
    },
}

impl Quote {
    /// Computes the figures. Whether the cohort is large enough and its people have budget left
    /// is for the caller to check.
    ///
    /// # Errors
    /// - [`PrivacyError::QuoteInput`] when a count is zero;
    /// - [`PrivacyError::TierRho`] when an exact question has rho, or a noisy one has none;
    /// - [`PrivacyError::QueryCap`] when rho exceeds the tier's cap;
    /// - [`PrivacyError::RhoRange`], [`PrivacyError::NoiseLevelRange`] when a figure does not fit.
    pub fn compute(request: &QuoteRequest, parameters: &NetworkParameters) -> Result<Self, PrivacyError> {
        let counts = [("cohort_size", request.cohort_size), ("variants", request.variants), ("blocks", request.blocks)];
        if let Some((name, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return Err(PrivacyError::QuoteInput { name, rule: "at least 1" });
        }
        let QuoteRequest { tier, rho, .. } = *request;
        if (tier == Tier::Exact) != rho.is_zero() {
            return Err(PrivacyError::TierRho { tier, rho });
        }
        let allowed = parameters.caps(tier).rho_query_max;
        if rho > allowed {
            return Err(PrivacyError::QueryCap { tier, asked: rho, allowed });
        }
        let planes = if request.has_missing_plane { 2 } else { 1 };
        let bodies = request.blocks.checked_mul(planes).ok_or(PrivacyError::RhoRange)?;
        if tier == Tier::Exact {
            let cost = RhoCost::of_release(request.variants, None, bodies, request.rekeyings)?;
            let membership_auc = exact_membership_auc(request.variants, request.cohort_size, request.has_missing_plane);
            return Ok(Self { cost, precision: QuotePrecision::Exact { membership_auc } });
        }
        let noisy = NoisyQuote::compute(request, allowed)?;
        let cost = RhoCost::of_release(request.variants, Some(noisy.share), bodies, request.rekeyings)?;
        Ok(Self { cost, precision: QuotePrecision::Noisy(noisy) })
    }
}

impl NoisyQuote {
    fn compute(request: &QuoteRequest, rho_allowed: Rho) -> Result<Self, PrivacyError> {
        let QuoteRequest { cohort_size, variants, rho, .. } = *request;
        let total = SigmaSquared::total(variants, rho)?;
        let rho_with_one_keyholder = rho.checked_mul(3)?;
        Ok(Self {
            total,
            share: SigmaSquared::per_share(variants, rho)?,
            decode_offset: total.decode_offset()?,
            allele_frequency_standard_error: allele_frequency_standard_error(total, cohort_size),
            usefulness: usefulness(variants, cohort_size, rho, rho_allowed),
            rho_with_one_keyholder,
            epsilon: epsilon(rho, QUOTE_DELTA)?,
            membership_auc_max: membership_auc_bound(rho),
            membership_auc_max_with_one_keyholder: membership_auc_bound(rho_with_one_keyholder),
        })
    }
}

/// The standard deviation sigma, for display.
pub fn sigma(sigma_squared: SigmaSquared) -> f64 {
    (sigma_squared.numerator() as f64 / sigma_squared.denominator() as f64).sqrt()
}

/// Standard error that noise of variance `total` in every counter adds to an allele frequency.
///
/// The frequency is (het + 2 hom_alt) / (2 K), so its variance is (1 + 4) sigma^2 / (4 K^2) and the
/// error sqrt(5) / 2 * sigma / K = 1.118 sigma / K. With a missing plane the number of called alleles
/// is noisy too, which adds at most a tenth at frequencies below one half.
pub fn allele_frequency_standard_error(total: SigmaSquared, cohort_size: u32) -> f64 {
    5f64.sqrt() / 2.0 * sigma(total) / f64::from(cohort_size)
}

/// Decides in integers: error^2 = (5/4) (variants / rho) / people^2 <= 0.01.
fn usefulness(variants: u32, cohort_size: u32, rho: Rho, rho_allowed: Rho) -> Usefulness {
    let people_squared = u128::from(cohort_size) * u128::from(cohort_size);
    let needed = USEFUL_FACTOR * u128::from(NANO) * u128::from(variants);
    let nano = u128::from(rho.as_nano());
    if needed <= nano * people_squared {
        return Usefulness::Useful;
    }
    let variants_max = nano * people_squared / (USEFUL_FACTOR * u128::from(NANO));
    let squared_min = needed.div_ceil(nano);
    let root = squared_min.isqrt();
    let cohort_size_min = root + u128::from(root * root < squared_min);
    let rho_min = u64::try_from(needed.div_ceil(people_squared)).ok().map(Rho::from_nano);
    Usefulness::Useless {
        variants_max: u32::try_from(variants_max).unwrap_or(u32::MAX),
        cohort_size_min: u64::try_from(cohort_size_min).unwrap_or(u64::MAX),
        rho_min: rho_min.filter(|least| *least <= rho_allowed),
    }
}

/// Upper bound on the area under the curve of any test whether a person is in the data, for a
/// Gaussian release at `rho`: its two cases are mu = sqrt(2 rho) standard deviations apart at most
/// ([[DRS19], Theorem 2.7]), and a test between two such normals has area Phi(mu / sqrt(2)) =
/// Phi(sqrt(rho)).
///
/// [DRS19]: https://arxiv.org/abs/1905.02383
pub fn membership_auc_bound(rho: Rho) -> f64 {
    normal_cdf((rho.as_nano() as f64 / NANO as f64).sqrt())
}

/// Estimate of the area under the curve of the best known membership test on exact counts, by
/// someone who knows the allele frequencies and the person's genome.
///
/// The log-likelihood ratio test of [[SOJH09]] on M independent variants with C free counters each
/// (het and hom_alt: 2; with missing: 3). Per variant, with x the person's flags centred and S their
/// covariance, the member's counters contribute x' S^-1 x / K to the statistic, of expectation C / K,
/// and everybody else's contribute variance C / K. So members and others are
/// mu = sqrt(C M / K) standard deviations apart, and the area is Phi(mu / sqrt(2)) =
/// Phi(sqrt(C M / (2 K))).
///
/// Assumes: independent variants. Linked variants tell less, so this errs on the safe side. Simulated
/// attacks on complete calls (C = 2) gave 0.92 for K = 500, M = 1000 (this formula: 0.921), 0.97 for
/// 2504, 10,000 (0.977), 0.72 to 0.73 for 2504, 1000 (0.736), 0.67 to 0.70 for 50,000, 10,000 (0.673).
///
/// [SOJH09]: https://doi.org/10.1038/ng.436
pub fn exact_membership_auc(variants: u32, cohort_size: u32, has_missing_plane: bool) -> f64 {
    let counters_per_variant = if has_missing_plane { 3.0 } else { 2.0 };
    let separation_squared = counters_per_variant * f64::from(variants) / f64::from(cohort_size);
    normal_cdf((separation_squared / 2.0).sqrt())
}

/// The least epsilon such that a release at `rho` is known to be (epsilon, `delta`)-differentially
/// private: the infimum over orders alpha > 1 of
/// rho alpha + ln(1 / (alpha delta)) / (alpha - 1) + ln(1 - 1 / alpha) ([[CKS20], Proposition 12]).
/// Every order gives a valid epsilon, so an inexact search errs on the safe side.
///
/// [CKS20]: https://arxiv.org/abs/2004.00010
///
/// # Errors
/// [`PrivacyError::QuoteInput`] unless `delta` lies in (0, 1).
pub fn epsilon(rho: Rho, delta: f64) -> Result<f64, PrivacyError> {
    if !(delta > 0.0 && delta < 1.0) {
        return Err(PrivacyError::QuoteInput { name: "delta", rule: "between 0 and 1" });
    }
    if rho.is_zero() {
        return Ok(0.0);
    }
    let loss = rho.as_nano() as f64 / NANO as f64;
    let at_order = |log_excess: f64| {
        let excess = log_excess.exp();
        let order = 1.0 + excess;
        loss * order - (order * delta).ln() / excess + (excess / order).ln()
    };
    // Orders from 1 + e^-12 to 1 + e^25; the best one is near 1 + sqrt(ln(1 / delta) / rho).
    let (mut low, mut high) = (-12.0f64, 25.0f64);
    for _ in 0..SEARCH_STEPS {
        let third = (high - low) / 3.0;
        if at_order(low + third) < at_order(high - third) {
            high -= third;
        } else {
            low += third;
        }
    }
    Ok(at_order((low + high) / 2.0).max(0.0))
}

/// The standard normal distribution function, to about 10^-15: 1/2 + phi(x) (x + x^3 / 3 + x^5 / 15 + ...)
/// ([[Mar04]]).
///
/// [Mar04]: https://doi.org/10.18637/jss.v011.i04
pub fn normal_cdf(x: f64) -> f64 {
    if x.abs() > NORMAL_TAIL {
        return if x > 0.0 { 1.0 } else { 0.0 };
    }
    let (mut sum, mut term, mut odd) = (x, x, 1.0);
    while term.abs() > f64::EPSILON * sum.abs() {
        odd += 2.0;
        term *= x * x / odd;
        sum += term;
    }
    let density = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    0.5 + density * sum
}
