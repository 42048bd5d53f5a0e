//! locus-engine
