//! The index of a part: which rows it has, where their bodies are, and what they must hash to.

use crate::{
    batch_id::Hex32,
    domain::{DST_COLUMN_ROWS, DST_COLUMN_TOTAL, DST_PART_INDEX},
    error::StoreError,
    object::layout::Layout,
    shape::{DIGEST_BYTES, PanelShape, SHARD_SLOTS},
    slots::{SlotRange, SlotSet},
};
use locus_commitment::{BodyDigest, Digest32, Sha3Writer, sha3_256};
use object_store::path::Path;
use serde::{Deserialize, Serialize};

/// Version of the part format.
pub(crate) const PART_FORMAT: u32 = 1;
/// Longest index: 2048 columns need about 400 KiB.
pub(crate) const INDEX_BYTES_MAX: u64 = 1 << 20;

/// The description of a part, as stored in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PartIndex {
    /// [`PART_FORMAT`].
    pub(crate) format: u32,
    /// Numbers of the rows: ordinals in the batch, or registry slots.
    pub(crate) rows: Vec<SlotRange>,
    /// Where the bodies are in every object of the part.
    pub(crate) layout: Layout,
    /// One entry per column of the panel, in its order.
    pub(crate) columns: Vec<ColumnIndex>,
}

/// What one column of a part must hash to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ColumnIndex {
    /// Panel block of the column.
    pub(crate) block: u32,
    /// Code of its plane.
    pub(crate) plane: u8,
    /// Digest of the body digests of all rows.
    pub(crate) rows_digest: Hex32,
    /// Digest of `rows_digest` and the sum of all bodies.
    pub(crate) total_digest: Hex32,
}

/// Digest of the body digests of one column, in row order.
pub(crate) fn column_rows_digest(digests: &[BodyDigest]) -> Digest32 {
    let mut writer = Sha3Writer::new(DST_COLUMN_ROWS);
    writer.begin((digests.len() * DIGEST_BYTES) as u64);
    for digest in digests {
        writer.extend(&digest.0.0);
    }
    writer.finish()
}

/// Digest that binds a stored sum to the rows it was computed from.
pub(crate) fn column_total_digest(rows_digest: Digest32, total: &[u8]) -> Digest32 {
    sha3_256(DST_COLUMN_TOTAL, &[&rows_digest.0, total])
}

impl PartIndex {
    /// The bytes that are stored, and their digest.
    pub(crate) fn encode(&self, name: &Path) -> Result<(Vec<u8>, Digest32), StoreError> {
        let bytes =
            serde_json::to_vec(self).map_err(|_| StoreError::malformed(name, "index cannot be written as JSON"))?;
        let digest = Self::digest(&bytes);
        Ok((bytes, digest))
    }

    /// The digest by which manifests name an index.
    pub(crate) fn digest(bytes: &[u8]) -> Digest32 {
        sha3_256(DST_PART_INDEX, &[bytes])
    }

    /// Parses and checks the index `name` of a part of a panel of `shape`.
    pub(crate) fn parse(name: &Path, bytes: &[u8], shape: PanelShape) -> Result<Self, StoreError> {
        let index: Self =
            serde_json::from_slice(bytes).map_err(|_| StoreError::malformed(name, "index is not valid JSON"))?;
        index.check(shape).map_err(|rule| StoreError::malformed(name, rule))?;
        Ok(index)
    }

    fn check(&self, shape: PanelShape) -> Result<(), &'static str> {
        if self.format != PART_FORMAT {
            return Err("index has a format that this version does not read");
        }
        let rows: u64 = self.rows.iter().map(|range| u64::from(range.count)).sum();
        if rows == 0 || rows > u64::from(SHARD_SLOTS) || self.rows.len() > SHARD_SLOTS as usize {
            return Err("part has no rows, or more than 1024");
        }
        if SlotSet::from_canonical_ranges(&self.rows).is_none() {
            return Err("rows of the part are not ascending ranges");
        }
        let columns_agree = self.columns.len() == shape.column_count()
            && self
                .columns
                .iter()
                .zip(shape.columns())
                .all(|(found, expected)| found.block == expected.block.0 && found.plane == expected.plane.code());
        if !columns_agree {
            return Err("columns of the part are not those of the panel");
        }
        if !self.layout.is_plausible(self.row_count()) {
            return Err("layout of the part does not fit its rows");
        }
        Ok(())
    }

    /// Number of rows; at most 1024.
    pub(crate) fn row_count(&self) -> usize {
        self.rows.iter().map(|range| range.count as usize).sum()
    }

    /// Numbers of all rows, ascending.
    pub(crate) fn row_ids(&self) -> Vec<u32> {
        self.rows.iter().flat_map(|range| range.iter()).collect()
    }
}
