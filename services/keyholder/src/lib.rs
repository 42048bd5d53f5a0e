//! locus-keyholder
