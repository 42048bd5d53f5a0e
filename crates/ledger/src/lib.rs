//! locus-ledger
