//! Domain separation strings of this crate. Each names exactly one kind of derived or hashed object.

/// Input of SHAKE256 that expands to the mask. It is the same on every network: nothing about the
/// mask was chosen by anybody.
pub(crate) const MASK_SEED: &str = "Locus mask v1: uniform element of Z_(2^64)[X]/(X^4096+1), expanded by SHAKE256";

pub(crate) const DST_BLOCK_KEY: &str = "locus/rlwe/block-key/v1";
pub(crate) const DST_ENCRYPTION_NOISE: &str = "locus/rlwe/encryption-noise/v1";
pub(crate) const DST_DERIVED_NOISE: &str = "locus/rlwe/derived-noise/v1";
pub(crate) const DST_PARTIAL_DECRYPTION: &str = "locus/rlwe/partial-decryption/v1";
pub(crate) const DST_FILTERED_PART: &str = "locus/rlwe/filtered-part/v1";
pub(crate) const DST_REKEYING_NOISE: &str = "locus/rlwe/rekeying-noise/v1";
