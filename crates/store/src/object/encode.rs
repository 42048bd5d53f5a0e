//! Encoding bodies as Parquet, one row group at a time.

use super::{
    BODY_COLUMN, DIGEST_COLUMN, ROW_COLUMN,
    layout::{Footer, Layout},
};
use crate::{
    error::StoreError,
    shape::{BODY_BYTES, BodyBytes, DIGEST_BYTES, GROUP_ROWS, PAGE_ROWS},
    sum::BodySum,
};
use arrow_array::{ArrayRef, FixedSizeBinaryArray, RecordBatch, UInt32Array};
use arrow_buffer::Buffer;
use arrow_schema::{DataType, Field, Schema};
use bytes::{Bytes, BytesMut};
use locus_commitment::{BodyDigest, Digest32};
use object_store::path::Path;
use parquet::{
    arrow::{ArrowWriter, arrow_writer::ArrowWriterOptions},
    basic::{Compression, Encoding},
    errors::ParquetError,
    file::properties::{EnabledStatistics, WriterProperties, WriterVersion},
    schema::types::ColumnPath,
};
use std::sync::Arc;

/// Names the format in every object.
const CREATED_BY: &str = "locus-store format 1";

/// [`BODY_BYTES`] and [`DIGEST_BYTES`] in the type that Arrow uses for lengths.
const BODY_LENGTH: i32 = 32_768;
const DIGEST_LENGTH: i32 = 32;

const _: () = assert!(BODY_LENGTH as usize == BODY_BYTES && DIGEST_LENGTH as usize == DIGEST_BYTES);

/// What shows the check slots of a body without the body: its digest follows from the two parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyOpening {
    /// The first 128 bytes of the body.
    pub check_slots: [u8; 128],
    /// BLAKE3 of the whole body.
    pub whole: Digest32,
}

impl BodyOpening {
    /// The opening of `body`.
    pub fn of_body(body: &BodyBytes) -> Self {
        let mut check_slots = [0; 128];
        check_slots.copy_from_slice(&body[..128]);
        Self { check_slots, whole: BodyDigest::whole_hash(body) }
    }

    /// The digest of the body it opens.
    pub fn digest(&self) -> BodyDigest {
        BodyDigest::of_parts(&self.check_slots, &self.whole)
    }
}

/// Everything known about an object after its last byte.
pub(crate) struct Encoded {
    /// Where its bodies are.
    pub(crate) layout: Layout,
    /// Digest of every body, in row order.
    pub(crate) digests: Vec<BodyDigest>,
    /// Sum of all bodies.
    pub(crate) total: Box<BodySum>,
    /// Bytes still to be stored.
    pub(crate) tail: Bytes,
}

/// Turns bodies into the bytes of one object. Keeps at most one row group.
pub(crate) struct Encoder {
    name: Path,
    writer: ArrowWriter<Vec<u8>>,
    schema: Arc<Schema>,
    row_ids: Arc<[u32]>,
    group: BytesMut,
    digests: Vec<BodyDigest>,
    total: Box<BodySum>,
    drained_bytes: u64,
}

impl Encoder {
    /// Starts the object `name` whose rows are numbered `row_ids`.
    pub(crate) fn new(name: Path, row_ids: Arc<[u32]>) -> Result<Self, StoreError> {
        let schema = Arc::new(Schema::new(vec![
            Field::new(ROW_COLUMN, DataType::UInt32, false),
            Field::new(DIGEST_COLUMN, DataType::FixedSizeBinary(DIGEST_LENGTH), false),
            Field::new(BODY_COLUMN, DataType::FixedSizeBinary(BODY_LENGTH), false),
        ]));
        let options = ArrowWriterOptions::new().with_properties(properties()).with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(Vec::new(), schema.clone(), options)
            .map_err(|error| StoreError::parquet(&name, error))?;
        let group = BytesMut::with_capacity(GROUP_ROWS as usize * BODY_BYTES);
        let digests = Vec::with_capacity(row_ids.len());
        Ok(Self { name, writer, schema, row_ids, group, digests, total: BodySum::zero(), drained_bytes: 0 })
    }

    /// Rows still missing.
    pub(crate) fn rows_missing(&self) -> usize {
        self.row_ids.len() - self.digests.len()
    }

    /// Adds whole bodies, at most [`rows_missing`](Self::rows_missing), and returns their openings
    /// and the bytes that are ready to be stored.
    pub(crate) fn append(&mut self, bodies: &[u8]) -> Result<(Vec<BodyOpening>, Bytes), StoreError> {
        let (bodies, partial) = bodies.as_chunks::<BODY_BYTES>();
        if !partial.is_empty() || bodies.len() > self.rows_missing() {
            return Err(StoreError::malformed(&self.name, "bodies do not fit the rows of the object"));
        }
        let mut openings = Vec::with_capacity(bodies.len());
        for body in bodies {
            let opening = BodyOpening::of_body(body);
            self.digests.push(opening.digest());
            openings.push(opening);
            self.total.add_body(body);
            self.group.extend_from_slice(body);
            if self.group.len() == GROUP_ROWS as usize * BODY_BYTES {
                self.flush_group().map_err(|error| StoreError::parquet(&self.name, error))?;
            }
        }
        Ok((openings, self.drain()))
    }

    /// Writes the footer.
    pub(crate) fn finish(mut self) -> Result<Encoded, StoreError> {
        if self.rows_missing() > 0 {
            return Err(StoreError::malformed(&self.name, "object is finished before all its rows are there"));
        }
        self.flush_group().map_err(|error| StoreError::parquet(&self.name, error))?;
        let last_group = self.drain();
        self.writer.finish().map_err(|error| StoreError::parquet(&self.name, error))?;
        let footer = self.drain();
        let parsed = Footer::parse(&self.name, footer.clone(), self.drained_bytes, self.row_ids.len())?;
        let layout = parsed.into_layout(&footer, self.drained_bytes);
        let tail = [last_group, footer].concat().into();
        Ok(Encoded { layout, digests: self.digests, total: self.total, tail })
    }

    fn flush_group(&mut self) -> Result<(), ParquetError> {
        if self.group.is_empty() {
            return Ok(());
        }
        let bodies = self.group.split().freeze();
        self.group.reserve(GROUP_ROWS as usize * BODY_BYTES);
        let end = self.digests.len();
        let first = end - bodies.len() / BODY_BYTES;
        let digests: Vec<u8> = self.digests[first..end].iter().flat_map(|digest| digest.0.0).collect();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(UInt32Array::from(self.row_ids[first..end].to_vec())),
            Arc::new(FixedSizeBinaryArray::try_new(DIGEST_LENGTH, Buffer::from_vec(digests), None)?),
            Arc::new(FixedSizeBinaryArray::try_new(BODY_LENGTH, Buffer::from(bodies), None)?),
        ];
        self.writer.write(&RecordBatch::try_new(self.schema.clone(), columns)?)?;
        self.writer.flush()
    }

    fn drain(&mut self) -> Bytes {
        let bytes = Bytes::from(std::mem::take(self.writer.inner_mut()));
        self.drained_bytes += bytes.len() as u64;
        bytes
    }
}

/// Plain, uncompressed (ciphertexts do not compress), no dictionary; row groups of 64 rows and
/// pages of 32; statistics on the row numbers alone, so that other Parquet readers can skip.
fn properties() -> WriterProperties {
    let mut builder = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_created_by(CREATED_BY.to_owned())
        .set_max_row_group_row_count(Some(GROUP_ROWS as usize))
        .set_write_batch_size(PAGE_ROWS as usize)
        .set_data_page_row_count_limit(PAGE_ROWS as usize)
        .set_data_page_size_limit(PAGE_ROWS as usize * BODY_BYTES)
        .set_dictionary_enabled(false)
        .set_compression(Compression::UNCOMPRESSED)
        .set_encoding(Encoding::PLAIN)
        .set_statistics_enabled(EnabledStatistics::None);
    builder = builder.set_column_statistics_enabled(ColumnPath::from(ROW_COLUMN), EnabledStatistics::Page);
    builder.build()
}
