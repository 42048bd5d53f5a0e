//! locus-store
