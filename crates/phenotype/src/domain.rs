//! Domain separation strings of this crate. Each names exactly one kind of hashed object.

pub(crate) const DST_SCHEMA: &str = "locus/phenotype/schema/v1";
pub(crate) const DST_PREDICATE: &str = "locus/phenotype/predicate/v1";
pub(crate) const DST_SELECTION: &str = "locus/phenotype/selection/v1";
pub(crate) const DST_FILTER: &str = "locus/phenotype/filter/v1";
pub(crate) const DST_AUTHENTICATED_FILTER: &str = "locus/phenotype/authenticated-filter/v1";
