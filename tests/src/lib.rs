//! locus-tests
