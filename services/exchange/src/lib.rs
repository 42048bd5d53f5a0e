//! locus-exchange
