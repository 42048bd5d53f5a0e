//! Domain separation strings of this crate. Each names exactly one kind of hashed object.

pub(crate) const DST_COHORT: &str = "locus/privacy/cohort/v1";
pub(crate) const DST_TAU: &str = "locus/privacy/tau/v1";
pub(crate) const DST_ANSWER: &str = "locus/privacy/answer/v1";
