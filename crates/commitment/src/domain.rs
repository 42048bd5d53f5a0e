//! Domain separation strings of this crate. Each names exactly one kind of hashed object.

pub(crate) const DST_DATASET_ID: &str = "locus/commitment/dataset-id/v1";
pub(crate) const DST_PERSON_TAG: &str = "locus/commitment/person-tag/v1";
pub(crate) const DST_BODY: &str = "locus/commitment/body/v1";
pub(crate) const DST_DATASET_BODY: &str = "locus/commitment/dataset-body/v1";
pub(crate) const DST_SHARE: &str = "locus/commitment/share/v1";
pub(crate) const DST_SHARE_SET: &str = "locus/commitment/share-set/v1";
pub(crate) const DST_GENOTYPES: &str = "locus/commitment/genotypes/v1";
pub(crate) const DST_ROWS: &str = "locus/commitment/rows/v1";
pub(crate) const DST_TREE_NODE: &str = "locus/commitment/tree-node/v1";
pub(crate) const DST_GENERATOR: &str = "locus/commitment/generator/v1";
