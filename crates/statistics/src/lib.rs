#![doc = include_str!("../SPEC.md")]

mod association;
mod counts;
mod distribution;
mod error;
mod fisher;
mod hardy_weinberg;
mod inflation;
mod odds_ratio;
mod strata;
mod trait_regression;

pub use association::{
    CaseControl, ChiSquared, allelic_test, dominant_test, genotypic_test, recessive_test, trend_test,
};
pub use counts::{ClassCounts, CountNoise};
pub use error::StatisticsError;
pub use fisher::{AlleleTable, fisher_exact};
pub use hardy_weinberg::{hardy_weinberg_exact, hardy_weinberg_test};
pub use inflation::{genomic_inflation, median};
pub use odds_ratio::{ConfidenceLevel, OddsRatio, allelic_odds_ratio};
pub use strata::{Stratified, mantel_haenszel};
pub use trait_regression::{LinearFit, TraitNoise, TraitScale, TraitSums, TraitTotals, linear_regression};
