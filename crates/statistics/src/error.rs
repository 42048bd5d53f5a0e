//! What can be refused.

use thiserror::Error;

/// Why a value or a test was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum StatisticsError {
    /// A variance is negative or not finite.
    #[error("a noise variance is a finite number of at least zero")]
    Variance,
    /// Exact counts do not add up to the people they are said to be of.
    #[error("{het} het, {hom_alt} hom_alt and {missing} missing do not fit {individuals} people")]
    Counts {
        /// People counted.
        individuals: u64,
        /// Heterozygous people.
        het: u64,
        /// Homozygous alternate people.
        hom_alt: u64,
        /// People without a call.
        missing: u64,
    },
    /// An exact test was asked for on counts that carry noise.
    #[error("an exact test is exact only on exact counts, use the chi-squared test, which allows for noise")]
    NoisyCounts,
    /// A confidence level lies outside (0, 1).
    #[error("a confidence level lies between 0 and 1, for example 0.95")]
    ConfidenceLevel,
    /// A trait scale has no step or no bits.
    #[error("a trait scale has a positive finite step and 1 to 16 bits")]
    TraitScale,
    /// A sum by bit planes lacks planes.
    #[error("a trait of {expected} bits has {expected} plane counts, got {got}")]
    PlaneCount {
        /// Bits of the trait.
        expected: u32,
        /// Counts given.
        got: usize,
    },
}
