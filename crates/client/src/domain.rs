//! Domain separation strings of this crate. Each names exactly one kind of derived or hashed object.

pub(crate) const DST_BATCH_NONCE: &str = "locus/client/batch-nonce/v1";
pub(crate) const DST_KEPT_DIGEST: &str = "locus/client/kept-genotype-digest/v1";
pub(crate) const DST_ANSWER_FILE: &str = "locus/client/answer-file/v1";
