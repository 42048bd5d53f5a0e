//! locus
