//! Genotype counts of one variant in one group, and the noise they carry.

use crate::error::StatisticsError;

/// Variances of the independent noises that were added to the numbers a [`ClassCounts`] is made of,
/// in squared people. All zero: exact counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CountNoise {
    counter: f64,
    called: f64,
}

impl CountNoise {
    /// No noise.
    pub const NONE: Self = Self { counter: 0.0, called: 0.0 };

    /// Variances in the het and hom_alt counters (each), in the missing counter, and in the number
    /// of people; pass 0 for what is exact.
    ///
    /// # Errors
    /// [`StatisticsError::Variance`] unless all are finite and at least 0.
    pub fn try_new(counter: f64, missing: f64, individuals: f64) -> Result<Self, StatisticsError> {
        let is_variance = |value: f64| value.is_finite() && value >= 0.0;
        if ![counter, missing, individuals].into_iter().all(is_variance) {
            return Err(StatisticsError::Variance);
        }
        Ok(Self { counter, called: missing + individuals })
    }

    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }

    /// Variance in the het and in the hom_alt counter.
    pub(crate) fn counter(&self) -> f64 {
        self.counter
    }

    /// Variance in the number of people called: people less missing.
    pub(crate) fn called(&self) -> f64 {
        self.called
    }
}

/// Counts of the three genotypes of one variant in one group of people. With noise they need be
/// neither whole nor positive.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClassCounts {
    called: f64,
    het: f64,
    hom_alt: f64,
    noise: CountNoise,
}

/// Coefficients of a function's differential with respect to (het, hom_alt, called).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Differential {
    pub(crate) het: f64,
    pub(crate) hom_alt: f64,
    pub(crate) called: f64,
}

impl ClassCounts {
    /// Exact counts of `individuals` people, of whom `missing` have no call.
    ///
    /// # Errors
    /// [`StatisticsError::Counts`] when the parts exceed the whole.
    pub fn exact(individuals: u64, het: u64, hom_alt: u64, missing: u64) -> Result<Self, StatisticsError> {
        let parts = het.checked_add(hom_alt).and_then(|sum| sum.checked_add(missing));
        if parts.is_none_or(|sum| sum > individuals) {
            return Err(StatisticsError::Counts { individuals, het, hom_alt, missing });
        }
        Ok(Self {
            called: as_f64(individuals - missing),
            het: as_f64(het),
            hom_alt: as_f64(hom_alt),
            noise: CountNoise::NONE,
        })
    }

    /// Released counts that carry `noise`: signed, not clamped.
    pub fn noisy(individuals: i64, het: i64, hom_alt: i64, missing: i64, noise: CountNoise) -> Self {
        let called = signed_as_f64(individuals.saturating_sub(missing));
        Self { called, het: signed_as_f64(het), hom_alt: signed_as_f64(hom_alt), noise }
    }

    /// People with a call.
    pub fn called(&self) -> f64 {
        self.called
    }

    /// Homozygous reference people.
    pub fn hom_ref(&self) -> f64 {
        self.called - self.het - self.hom_alt
    }

    /// Heterozygous people.
    pub fn het(&self) -> f64 {
        self.het
    }

    /// Homozygous alternate people.
    pub fn hom_alt(&self) -> f64 {
        self.hom_alt
    }

    /// Alternate alleles: het + 2 hom_alt.
    pub fn alt_alleles(&self) -> f64 {
        self.het + 2.0 * self.hom_alt
    }

    /// Reference alleles: 2 hom_ref + het.
    pub fn ref_alleles(&self) -> f64 {
        2.0 * self.called - self.alt_alleles()
    }

    /// Alternate allele frequency, `None` when nobody is called.
    pub fn allele_frequency(&self) -> Option<f64> {
        (self.called > 0.0).then(|| self.alt_alleles() / (2.0 * self.called))
    }

    /// The noise these counts carry.
    pub fn noise(&self) -> CountNoise {
        self.noise
    }

    /// The exact counts as whole numbers (hom_ref, het, hom_alt).
    ///
    /// # Errors
    /// [`StatisticsError::NoisyCounts`] when they carry noise.
    pub fn exact_classes(&self) -> Result<[u64; 3], StatisticsError> {
        if !self.noise.is_none() {
            return Err(StatisticsError::NoisyCounts);
        }
        let classes = [self.hom_ref(), self.het, self.hom_alt].map(whole);
        match classes {
            [Some(hom_ref), Some(het), Some(hom_alt)] => Ok([hom_ref, het, hom_alt]),
            _ => Err(StatisticsError::NoisyCounts),
        }
    }

    /// Both groups together.
    pub(crate) fn pooled(&self, other: &Self) -> Self {
        Self {
            called: self.called + other.called,
            het: self.het + other.het,
            hom_alt: self.hom_alt + other.hom_alt,
            noise: CountNoise {
                counter: self.noise.counter + other.noise.counter,
                called: self.noise.called + other.noise.called,
            },
        }
    }

    /// Mean of the weights (0 for hom_ref, `het`, `hom_alt`) over the people called.
    pub(crate) fn mean(&self, het: f64, hom_alt: f64) -> f64 {
        (het * self.het + hom_alt * self.hom_alt) / self.called
    }

    /// Variance that the noise gives to [`mean`](Self::mean), to first order.
    pub(crate) fn mean_noise(&self, het: f64, hom_alt: f64) -> f64 {
        let n = self.called;
        let mean = self.mean(het, hom_alt);
        self.noise_of(Differential { het: het / n, hom_alt: hom_alt / n, called: -mean / n })
    }

    /// Variance that the noise gives to a function with this differential.
    pub(crate) fn noise_of(&self, differential: Differential) -> f64 {
        let Differential { het, hom_alt, called } = differential;
        self.noise.counter * (het * het + hom_alt * hom_alt) + self.noise.called * called * called
    }
}

/// Counts are at most 2^53 in practice; beyond, the nearest float is as good.
#[expect(clippy::cast_precision_loss, reason = "counts of people are far below 2^53")]
pub(crate) fn as_f64(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "counts of people are far below 2^53")]
fn signed_as_f64(count: i64) -> f64 {
    count as f64
}

/// A float that is a whole number at least 0 and below 2^53.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and in range, checked before")]
fn whole(value: f64) -> Option<u64> {
    let in_range = (0.0..9_007_199_254_740_992.0).contains(&value) && value.fract() == 0.0;
    in_range.then_some(value as u64)
}
