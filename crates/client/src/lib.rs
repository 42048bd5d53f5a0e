//! locus-client
