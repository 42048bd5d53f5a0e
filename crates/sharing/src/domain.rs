//! Domain separation strings of this crate. Each names exactly one kind of derived or sealed object.

pub(crate) const DST_GENOTYPE_DIGEST: &str = "locus/sharing/genotype-digest/v1";
pub(crate) const DST_DATASET_ROOT: &str = "locus/sharing/dataset-root/v1";
pub(crate) const DST_ROOT_SEED: &str = "locus/sharing/root-seed/v1";
pub(crate) const DST_SHARE_BLINDING: &str = "locus/sharing/share-blinding/v1";
pub(crate) const DST_GENOTYPE_BLINDING: &str = "locus/sharing/genotype-blinding/v1";
pub(crate) const DST_ENCRYPTION_NOISE: &str = "locus/sharing/encryption-noise/v1";
pub(crate) const DST_SEALING_KEY: &str = "locus/sharing/sealing-key/v1";
pub(crate) const DST_NOISE_KEY_CONFIRMATION: &str = "locus/sharing/noise-key-confirmation/v1";

/// HPKE `info` of a sealed seed package.
pub(crate) const DST_SEED_PACKAGE: &str = "locus/sharing/seed-package/v1";
/// HPKE `info` of a sealed noise key.
pub(crate) const DST_NOISE_KEY: &str = "locus/sharing/noise-key/v1";

pub(crate) const DST_PRSS_STREAM: &str = "locus/sharing/prss-stream/v1";
pub(crate) const DST_PRSS_KEY: &str = "locus/sharing/prss-key/v1";
pub(crate) const DST_COIN: &str = "locus/sharing/coin/v1";
pub(crate) const DST_ATTRIBUTE_BLINDING: &str = "locus/sharing/attribute-blinding/v1";
pub(crate) const DST_ATTRIBUTES: &str = "locus/sharing/attributes/v1";
pub(crate) const DST_ATTRIBUTE_SHARE: &str = "locus/sharing/attribute-share/v1";
pub(crate) const DST_ATTRIBUTE_SHARE_DIGEST: &str = "locus/sharing/attribute-share-digest/v1";
pub(crate) const DST_ATTRIBUTE_SHARE_DIGESTS: &str = "locus/sharing/attribute-share-digests/v1";
pub(crate) const DST_ATTRIBUTE_COMMITMENTS: &str = "locus/sharing/attribute-commitments/v1";
/// HPKE `info` of a sealed attribute package.
pub(crate) const DST_ATTRIBUTE_PACKAGE: &str = "locus/sharing/attribute-package/v1";

pub(crate) const DST_REKEYING_SESSION: &str = "locus/sharing/rekeying-session/v1";
/// HPKE `info` of a sealed contribution to a re-keying.
pub(crate) const DST_REKEYING_CONTRIBUTION: &str = "locus/sharing/rekeying-contribution/v1";
pub(crate) const DST_REKEYING_SEED: &str = "locus/sharing/rekeying-seed/v1";
pub(crate) const DST_REKEYING_ROOT: &str = "locus/sharing/rekeying-root/v1";
pub(crate) const DST_REKEYING_BLINDING: &str = "locus/sharing/rekeying-blinding/v1";
pub(crate) const DST_REKEYING_NOISE: &str = "locus/sharing/rekeying-noise/v1";
pub(crate) const DST_REKEYING_PIECE: &str = "locus/sharing/rekeying-piece/v1";
