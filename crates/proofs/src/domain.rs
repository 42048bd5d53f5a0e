//! Domain separation strings of this crate. Each names exactly one kind of hashed object.

/// Secrets of development keys; they are public on purpose.
pub(crate) const DST_DEVELOPMENT_KEYS: &str = "locus/proofs/development-keys/v1";
pub(crate) const DST_KEY_ID: &str = "locus/proofs/key-id/v1";

/// Statement E.
pub(crate) const DST_SHARES: [&str; 3] =
    ["locus/proofs/share-1-bits/v1", "locus/proofs/share-2-bits/v1", "locus/proofs/share-3-bits/v1"];
pub(crate) const DST_BLOCK_GENOTYPES: &str = "locus/proofs/block-genotypes/v1";
pub(crate) const DST_NOISE_AND_CARRIES: &str = "locus/proofs/noise-and-carries/v1";
pub(crate) const DST_CHALLENGE: &str = "locus/proofs/encryption-challenge/v1";
pub(crate) const DST_ENCRYPTION_BINDING: &str = "locus/proofs/encryption-binding/v1";
pub(crate) const DST_MASK: &str = "locus/proofs/mask/v1";
pub(crate) const DST_BLOCK_BLINDING: &str = "locus/proofs/block-blinding/v1";

/// Statement D.
pub(crate) const DST_DISCLOSURE_BINDING: &str = "locus/proofs/disclosure-binding/v1";

/// The registry tree, statements C and U.
pub(crate) const DST_GROUP: &str = "locus/proofs/registry-group/v1";
pub(crate) const DST_PAYOUTS: &str = "locus/proofs/cohort-payouts/v1";
pub(crate) const DST_COHORT_WORDS: &str = "locus/proofs/cohort-words/v1";
pub(crate) const DST_UPDATE_WORDS: &str = "locus/proofs/update-words/v1";
