//! Domain strings of this crate.

/// Names of kept cohorts.
pub(crate) const DST_COHORT_NAME: &str = "locus/prover/cohort-name/v1";
