//! Domain separation strings of this crate. Each names exactly one kind of hashed object.

pub(crate) const DST_SCHEMA: &str = "locus/phenotype/schema/v1";
pub(crate) const DST_PREDICATE: &str = "locus/phenotype/predicate/v1";
