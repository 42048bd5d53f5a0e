//! locus-testkit
