//! Uploading a batch: staged objects that no manifest names until the batch is registered.

use crate::{
    batch_id::{BatchId, Hex32},
    error::StoreError,
    manifest::Part,
    names::{Origin, PartName},
    object::encode::BodyOpening,
    panel_store::PanelStore,
    part::{
        reader::PartReader,
        writer::{ColumnWriter, PartWriter},
    },
    shape::{APPEND_ROWS_MAX, BATCH_ROWS_MAX, BODY_BYTES, Column, SHARD_SLOTS},
    slots::SlotRange,
};
use bytes::Bytes;
use locus_commitment::{DatasetBodyDigest, Digest32};
use serde::{Deserialize, Serialize};

/// Version of the claim and seal format.
const BATCH_FORMAT: u32 = 1;
/// Longest seal: four parts.
const SEAL_BYTES_MAX: u64 = 4096;

/// A batch that is complete, checked and not necessarily registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedBatch {
    batch: BatchId,
    rows: u32,
    parts: Vec<SealedPart>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SealedPart {
    pub(crate) first_row: u32,
    pub(crate) rows: u32,
    pub(crate) index_digest: Digest32,
}

impl SealedBatch {
    /// The batch.
    pub fn batch(&self) -> BatchId {
        self.batch
    }

    /// Number of datasets.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    pub(crate) fn parts(&self) -> &[SealedPart] {
        &self.parts
    }
}

/// What a finished upload holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchSummary {
    /// The batch, ready to be registered.
    pub sealed: SealedBatch,
    /// H(b) of every dataset, computed from the bodies that were written.
    pub datasets: Vec<DatasetBodyDigest>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClaimFile {
    format: u32,
    rows: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SealFile {
    format: u32,
    rows: u32,
    /// Digests of the indexes of all parts.
    parts: Vec<Hex32>,
}

/// Writes one batch. Bodies come column by column (panel block 0 calls, panel block 0 missing,
/// panel block 1 calls, ...), and within a column dataset by dataset.
///
/// Keeps one row group (2 MiB), upload pieces (at most 15 MiB) and 32 bytes per body.
pub struct BatchWriter {
    panel: PanelStore,
    batch: BatchId,
    rows: u32,
    parts: Vec<PartWriter>,
    current: Option<ColumnWriter>,
    column: usize,
    row: u32,
    failed: bool,
}

impl std::fmt::Debug for BatchWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BatchWriter({} at column {} row {})", self.batch, self.column, self.row)
    }
}

impl PanelStore {
    /// Starts a batch of `rows` datasets. The id must be new: an upload that was interrupted starts
    /// over under another id.
    ///
    /// # Errors
    /// [`StoreError::BatchLimit`], [`StoreError::BatchExists`].
    pub async fn create_batch(&self, batch: BatchId, rows: u32) -> Result<BatchWriter, StoreError> {
        if rows == 0 || rows > BATCH_ROWS_MAX {
            return Err(StoreError::BatchLimit { rows, limit: BATCH_ROWS_MAX });
        }
        let origin = Origin::Batch(batch);
        let claim = self.names.claim(origin);
        let bytes = serde_json::to_vec(&ClaimFile { format: BATCH_FORMAT, rows })
            .map_err(|_| StoreError::malformed(&claim, "claim cannot be written as JSON"))?;
        self.store.create(&claim, bytes).await.map_err(|error| match error {
            StoreError::ObjectExists { .. } => StoreError::BatchExists(batch),
            other => other,
        })?;
        let parts = part_ranges(rows).map(|(part, range)| {
            let name = PartName { origin, part };
            PartWriter::new(self.store.clone(), self.names.clone(), name, self.shape, range.iter().collect())
        });
        let parts = parts.collect();
        let panel = self.clone();
        Ok(BatchWriter { panel, batch, rows, parts, current: None, column: 0, row: 0, failed: false })
    }

    /// The batch `batch`, if its upload was finished.
    ///
    /// # Errors
    /// [`StoreError::BatchNotSealed`] if it was not, or was discarded.
    pub async fn sealed_batch(&self, batch: BatchId) -> Result<SealedBatch, StoreError> {
        let name = self.names.seal(batch);
        let bytes = self.store.read_whole(&name, SEAL_BYTES_MAX).await.map_err(|error| match error {
            StoreError::MissingObject { .. } => StoreError::BatchNotSealed(batch),
            other => other,
        })?;
        let seal: SealFile =
            serde_json::from_slice(&bytes).map_err(|_| StoreError::malformed(&name, "seal is not valid JSON"))?;
        let sized =
            (1..=BATCH_ROWS_MAX).contains(&seal.rows) && seal.parts.len() == seal.rows.div_ceil(SHARD_SLOTS) as usize;
        if seal.format != BATCH_FORMAT || !sized {
            return Err(StoreError::malformed(&name, "seal has an impossible size or format"));
        }
        let parts = part_ranges(seal.rows).zip(seal.parts).map(|((_, range), digest)| SealedPart {
            first_row: range.first,
            rows: range.count,
            index_digest: digest.into(),
        });
        Ok(SealedBatch { batch, rows: seal.rows, parts: parts.collect() })
    }

    /// Opens the parts of a sealed batch, whose rows are then addressed by ordinal instead of by
    /// registry slot.
    ///
    /// # Errors
    /// When an index is missing, malformed or not the one that was sealed.
    pub async fn open_sealed(&self, sealed: &SealedBatch) -> Result<Vec<PartReader>, StoreError> {
        let mut readers = Vec::with_capacity(sealed.parts.len());
        for (part, part_index) in sealed.parts.iter().zip(0u32..) {
            let name = PartName { origin: Origin::Batch(sealed.batch), part: part_index };
            let slots = vec![SlotRange { first: part.first_row, count: part.rows }];
            let index_digest = part.index_digest;
            readers.push(self.open(&Part { name, slot_base: 0, stored_rows: part.rows, slots, index_digest }).await?);
        }
        Ok(readers)
    }

    /// Deletes everything of a batch that is not registered. A batch that is already gone is fine.
    ///
    /// # Errors
    /// [`StoreError::BatchInUse`] when the manifest names the batch.
    pub async fn discard_batch(&self, batch: BatchId) -> Result<(), StoreError> {
        if self.discard(Origin::Batch(batch)).await? { Ok(()) } else { Err(StoreError::BatchInUse(batch)) }
    }
}

/// The parts of a batch of `rows` datasets.
fn part_ranges(rows: u32) -> impl Iterator<Item = (u32, SlotRange)> {
    (0..rows.div_ceil(SHARD_SLOTS)).map(move |part| {
        let first = part * SHARD_SLOTS;
        (part, SlotRange { first, count: (rows - first).min(SHARD_SLOTS) })
    })
}

impl BatchWriter {
    /// The column and row that must come next; `None` when all bodies are there.
    pub fn expects(&self) -> Option<(Column, u32)> {
        let column = self.panel.shape.column_at(self.column)?;
        Some((column, self.row))
    }

    /// Adds bodies of `column` from dataset `first_row` on: 1 to 256 whole bodies, not past the
    /// end of the column. Returns what opens the check slots of each, in the same order.
    ///
    /// # Errors
    /// [`StoreError::OutOfOrder`] and [`StoreError::AppendLength`] leave the batch as it was. After
    /// any other error only [`abort`](Self::abort) is left.
    pub async fn append(
        &mut self,
        column: Column,
        first_row: u32,
        bodies: Bytes,
    ) -> Result<Vec<BodyOpening>, StoreError> {
        if self.failed {
            return Err(StoreError::BatchNotSealed(self.batch));
        }
        let (expected, expected_row) =
            self.expects().ok_or(StoreError::AppendLength { bytes: bodies.len(), rows_max: 0 })?;
        if (column, first_row) != (expected, expected_row) {
            return Err(StoreError::OutOfOrder { column, row: first_row, expected, expected_row });
        }
        let rows_max = APPEND_ROWS_MAX.min(self.rows - self.row);
        let whole = !bodies.is_empty() && bodies.len().is_multiple_of(BODY_BYTES);
        if !whole || bodies.len() > rows_max as usize * BODY_BYTES {
            return Err(StoreError::AppendLength { bytes: bodies.len(), rows_max });
        }
        self.failed = true;
        let openings = self.store(bodies).await?;
        self.failed = false;
        Ok(openings)
    }

    async fn store(&mut self, mut bodies: Bytes) -> Result<Vec<BodyOpening>, StoreError> {
        let mut openings = Vec::with_capacity(bodies.len() / BODY_BYTES);
        while !bodies.is_empty() {
            let part = (self.row / SHARD_SLOTS) as usize;
            let writer = match self.current.take() {
                Some(writer) => writer,
                None => self.parts[part].begin_column()?,
            };
            let here = bodies.len().min(writer.rows_missing() * BODY_BYTES);
            let (writer, more) = writer.append(bodies.split_to(here)).await?;
            self.row += u32::try_from(more.len()).unwrap_or(0);
            openings.extend(more);
            if writer.rows_missing() == 0 {
                self.parts[part].end_column(writer).await?;
            } else {
                self.current = Some(writer);
            }
        }
        if self.row == self.rows {
            self.row = 0;
            self.column += 1;
        }
        Ok(openings)
    }

    /// Completes the batch, after checking that every dataset has the digest its owner declared.
    ///
    /// # Errors
    /// [`StoreError::Incomplete`], [`StoreError::DigestCount`], [`StoreError::DatasetMismatch`]
    /// (with the ordinal); the batch is then not sealed and can be discarded.
    pub async fn finish(mut self, declared: &[DatasetBodyDigest]) -> Result<BatchSummary, StoreError> {
        if let Some((column, row)) = self.expects() {
            return Err(StoreError::Incomplete { column, row });
        }
        if declared.len() != self.rows as usize {
            return Err(StoreError::DigestCount { expected: self.rows, found: declared.len() });
        }
        let origin = Origin::Batch(self.batch);
        let mut objects = vec![self.panel.names.claim(origin)];
        let mut datasets = Vec::with_capacity(declared.len());
        let mut digests = Vec::with_capacity(self.parts.len());
        for part in std::mem::take(&mut self.parts) {
            let written = part.finish().await?;
            digests.push(written.index_digest.into());
            datasets.extend(written.datasets);
            objects.extend(written.objects);
        }
        let differs = |(found, stated): (&DatasetBodyDigest, &DatasetBodyDigest)| found != stated;
        if let Some(ordinal) = datasets.iter().zip(declared).position(differs) {
            return Err(StoreError::DatasetMismatch { row: u32::try_from(ordinal).unwrap_or(u32::MAX) });
        }
        self.panel.store.persist(objects).await?;
        let name = self.panel.names.seal(self.batch);
        let seal = SealFile { format: BATCH_FORMAT, rows: self.rows, parts: digests };
        let bytes =
            serde_json::to_vec(&seal).map_err(|_| StoreError::malformed(&name, "seal cannot be written as JSON"))?;
        self.panel.store.create(&name, bytes).await?;
        self.panel.store.persist(vec![name]).await?;
        let sealed = self.panel.sealed_batch(self.batch).await?;
        Ok(BatchSummary { sealed, datasets })
    }

    /// Gives the batch up and deletes what was written.
    ///
    /// # Errors
    /// Those of storage; garbage collection then deletes the rest later.
    pub async fn abort(mut self) -> Result<(), StoreError> {
        if let Some(writer) = self.current.take() {
            writer.abort().await?;
        }
        self.panel.discard_batch(self.batch).await
    }
}
