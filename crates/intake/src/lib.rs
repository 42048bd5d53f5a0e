//! locus-intake
