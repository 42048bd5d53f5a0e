//! Domain separation strings of this crate. Each names exactly one kind of hashed object.

pub(crate) const DST_MANIFEST: &str = "locus/store/manifest/v1";
pub(crate) const DST_MANIFEST_CONTENT: &str = "locus/store/manifest-content/v2";
pub(crate) const DST_PART_INDEX: &str = "locus/store/part-index/v1";
pub(crate) const DST_FOOTER: &str = "locus/store/footer/v1";
pub(crate) const DST_COLUMN_ROWS: &str = "locus/store/column-rows/v1";
pub(crate) const DST_COLUMN_TOTAL: &str = "locus/store/column-total/v1";
