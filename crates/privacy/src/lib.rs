//! locus-privacy
