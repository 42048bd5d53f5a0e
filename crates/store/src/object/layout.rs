//! Where the bodies of an object are, taken from its Parquet footer after checking it.

use super::{BODY_COLUMN, DIGEST_COLUMN, ROW_COLUMN};
use crate::{
    batch_id::Hex32,
    domain::DST_FOOTER,
    error::StoreError,
    shape::{BODY_BYTES, DIGEST_BYTES, GROUP_ROWS, PAGE_ROWS, SHARD_SLOTS},
};
use bytes::Bytes;
use locus_commitment::{Digest32, sha3_256};
use object_store::path::Path;
use parquet::{
    basic::{Compression, Encoding, Type},
    file::metadata::{ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader},
    file::page_index::offset_index::PageLocation,
};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Longest footer (page index and metadata) of an object: 16 row groups of 3 columns need about
/// 8 KiB.
pub(crate) const FOOTER_BYTES_MAX: u64 = 256 << 10;
/// Longest header of a Parquet page; ours have 20 to 60 bytes.
const PAGE_HEADER_BYTES_MAX: u64 = 256;
/// The magic at the start of every Parquet file.
const MAGIC_BYTES: u64 = 4;
/// Columns, in order: name, physical type, bytes of a value.
const COLUMNS: [(&str, Type, usize); 3] = [
    (ROW_COLUMN, Type::INT32, 4),
    (DIGEST_COLUMN, Type::FIXED_LEN_BYTE_ARRAY, DIGEST_BYTES),
    (BODY_COLUMN, Type::FIXED_LEN_BYTE_ARRAY, BODY_BYTES),
];

/// Where the bodies are in every object of one part. All objects of a part have the same layout,
/// because they have the same rows and every value has a fixed length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Layout {
    /// Length of the object.
    pub(crate) object_bytes: u64,
    /// Length of its page index, metadata and closing magic.
    pub(crate) footer_bytes: u64,
    /// Digest of these last bytes.
    pub(crate) footer_digest: Hex32,
    /// Offset of the first body of every page of 32 rows.
    pub(crate) body_pages: Vec<u64>,
}

impl Layout {
    /// Whether the pages can hold `rows` bodies inside the object, without overlap.
    pub(crate) fn is_plausible(&self, rows: usize) -> bool {
        let Some(data_end) = self.object_bytes.checked_sub(self.footer_bytes) else { return false };
        let limit = object_bytes_max(rows);
        let mut free = MAGIC_BYTES;
        let mut left = rows as u64;
        for &page in &self.body_pages {
            let page_rows = left.min(u64::from(PAGE_ROWS));
            let end = page.checked_add(page_rows * BODY_BYTES as u64);
            match end {
                Some(end) if page >= free && end <= data_end => free = end,
                _ => return false,
            }
            left -= page_rows;
        }
        left == 0
            && self.body_pages.len() == rows.div_ceil(PAGE_ROWS as usize)
            && (1..=FOOTER_BYTES_MAX).contains(&self.footer_bytes)
            && self.object_bytes <= limit
    }

    /// Where the bodies at `positions` are; all of one page.
    pub(crate) fn body_range(&self, positions: Range<u32>) -> Option<Range<u64>> {
        let page = self.body_pages.get((positions.start / PAGE_ROWS) as usize)?;
        let start = page + u64::from(positions.start % PAGE_ROWS) * BODY_BYTES as u64;
        Some(start..start + u64::from(positions.end - positions.start) * BODY_BYTES as u64)
    }

    /// Where the footer is.
    pub(crate) fn footer_range(&self) -> Range<u64> {
        self.object_bytes.saturating_sub(self.footer_bytes)..self.object_bytes
    }
}

/// Most bytes an object of `rows` rows may have.
fn object_bytes_max(rows: usize) -> u64 {
    let values = rows as u64 * COLUMNS.iter().map(|column| column.2 as u64).sum::<u64>();
    let pages = rows.div_ceil(PAGE_ROWS as usize) as u64 * COLUMNS.len() as u64;
    MAGIC_BYTES + values + pages * PAGE_HEADER_BYTES_MAX + FOOTER_BYTES_MAX
}

/// Digest of an object's footer.
pub(crate) fn footer_digest(footer: &[u8]) -> Digest32 {
    sha3_256(DST_FOOTER, &[footer])
}

/// The offsets of all values, from a checked footer.
#[derive(Debug)]
pub(crate) struct Footer {
    /// Per column, the offset of the first value of every page of 32 rows.
    pub(crate) pages: [Vec<u64>; 3],
}

impl Footer {
    /// Reads and checks the footer of object `name`, which has `object_bytes` bytes and `rows`
    /// rows. `footer` is the end of the object.
    ///
    /// The Parquet library trusts the list lengths in a footer, so `footer` must be bytes that
    /// this crate wrote: either just now, or with the digest that the part's index names.
    pub(crate) fn parse(name: &Path, footer: Bytes, object_bytes: u64, rows: usize) -> Result<Self, StoreError> {
        let data_end = object_bytes
            .checked_sub(footer.len() as u64)
            .filter(|_| footer.len() as u64 <= FOOTER_BYTES_MAX)
            .ok_or_else(|| StoreError::malformed(name, "footer is longer than a footer may be"))?;
        let mut reader = ParquetMetaDataReader::new()
            .with_column_index_policy(PageIndexPolicy::Skip)
            .with_offset_index_policy(PageIndexPolicy::Required);
        let parsed = reader.try_parse_sized(&footer, object_bytes).and_then(|()| reader.finish());
        let metadata = parsed.map_err(|error| StoreError::parquet(name, error))?;
        check_file(&metadata, rows).map_err(|rule| StoreError::malformed(name, rule))?;
        let mut pages = [const { Vec::new() }; 3];
        let mut free = MAGIC_BYTES;
        let mut left = rows;
        for (group, row_group) in metadata.row_groups().iter().enumerate() {
            let group_rows = left.min(GROUP_ROWS as usize);
            let counted = usize::try_from(row_group.num_rows()).is_ok_and(|found| found == group_rows);
            if !counted || row_group.num_columns() != COLUMNS.len() {
                return Err(StoreError::malformed(name, "row group does not have the rows or columns it must have"));
            }
            for (column, offsets) in pages.iter_mut().enumerate() {
                let locations = metadata.offset_index().and_then(|index| index.get(group)?.get(column));
                let locations = locations.map(|index| index.page_locations().as_slice()).unwrap_or_default();
                free = check_chunk(row_group.column(column), locations, column, group_rows, free, offsets)
                    .map_err(|rule| StoreError::malformed(name, rule))?;
            }
            left -= group_rows;
        }
        if left > 0 || free > data_end {
            return Err(StoreError::malformed(name, "row groups do not hold the object's rows"));
        }
        Ok(Self { pages })
    }

    /// The layout of the object that ends with `footer` and has `object_bytes` bytes.
    pub(crate) fn into_layout(self, footer: &[u8], object_bytes: u64) -> Layout {
        let [_, _, body_pages] = self.pages;
        let footer_bytes = footer.len() as u64;
        Layout { object_bytes, footer_bytes, footer_digest: footer_digest(footer).into(), body_pages }
    }
}

/// Checks the schema and the row counts of the file.
fn check_file(metadata: &ParquetMetaData, rows: usize) -> Result<(), &'static str> {
    let file = metadata.file_metadata();
    if rows == 0 || rows > SHARD_SLOTS as usize || usize::try_from(file.num_rows()) != Ok(rows) {
        return Err("number of rows differs from the index");
    }
    if metadata.num_row_groups() != rows.div_ceil(GROUP_ROWS as usize) {
        return Err("row groups do not have 64 rows each");
    }
    let schema = file.schema_descr();
    if schema.num_columns() != COLUMNS.len() {
        return Err("columns are not row, digest and body");
    }
    for (column, (name, physical_type, bytes)) in schema.columns().iter().zip(COLUMNS) {
        let fixed = physical_type == Type::FIXED_LEN_BYTE_ARRAY;
        let length_agrees = !fixed || usize::try_from(column.type_length()) == Ok(bytes);
        let required = column.max_def_level() == 0 && column.max_rep_level() == 0;
        let named = column.path().parts() == [name.to_owned()];
        if !named || column.physical_type() != physical_type || !length_agrees || !required {
            return Err("columns are not row, digest and body");
        }
    }
    Ok(())
}

/// Checks one column of one row group, adds the offsets of its pages, and returns where it ends.
/// It must not begin before `free`.
fn check_chunk(
    chunk: &ColumnChunkMetaData,
    locations: &[PageLocation],
    column: usize,
    rows: usize,
    free: u64,
    offsets: &mut Vec<u64>,
) -> Result<u64, &'static str> {
    let plain = chunk.encodings().all(|encoding| matches!(encoding, Encoding::PLAIN | Encoding::RLE));
    let dictionary = chunk.dictionary_page_offset().is_some();
    if chunk.compression() != Compression::UNCOMPRESSED || !plain || dictionary {
        return Err("values are not stored plain and uncompressed");
    }
    if usize::try_from(chunk.num_values()) != Ok(rows) || locations.len() != rows.div_ceil(PAGE_ROWS as usize) {
        return Err("pages do not have 32 rows each");
    }
    let value_bytes = COLUMNS[column].2 as u64;
    let mut end = free;
    let mut first_row = 0;
    for location in locations {
        let page_rows = (rows - first_row).min(PAGE_ROWS as usize);
        let values_bytes = page_rows as u64 * value_bytes;
        let offset = u64::try_from(location.offset).map_err(|_| "page has a negative offset")?;
        let page_bytes = u64::try_from(location.compressed_page_size).map_err(|_| "page has a negative size")?;
        let header_bytes = page_bytes.checked_sub(values_bytes).ok_or("page is too short for its rows")?;
        let in_order = offset >= end && usize::try_from(location.first_row_index) == Ok(first_row);
        if !in_order || !(1..=PAGE_HEADER_BYTES_MAX).contains(&header_bytes) {
            return Err("pages overlap or have the wrong size");
        }
        offsets.push(offset.checked_add(header_bytes).ok_or("page lies past the end")?);
        end = offset.checked_add(page_bytes).ok_or("page lies past the end")?;
        first_row += page_rows;
    }
    Ok(end)
}
