//! locus-aggregator
