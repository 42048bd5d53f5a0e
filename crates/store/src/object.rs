//! One Parquet object: the bodies of one column of at most 1024 rows.
//!
//! [`encode`] writes it, [`layout`] says where its bodies are.

pub(crate) mod encode;
pub(crate) mod layout;
pub(crate) mod upload;

/// Name of the column with the row's number (registry slot, or ordinal in its batch).
pub(crate) const ROW_COLUMN: &str = "row";
/// Name of the column with the body digests.
pub(crate) const DIGEST_COLUMN: &str = "digest";
/// Name of the column with the bodies.
pub(crate) const BODY_COLUMN: &str = "body";
