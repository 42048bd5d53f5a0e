//! locus-rlwe
