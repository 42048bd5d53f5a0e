//! locus-archive
