//! Reading a part: every body is checked against a digest that leads to the manifest, and for
//! selected datasets to the digest they were registered with.

use super::{
    index::{INDEX_BYTES_MAX, PartIndex, column_rows_digest, column_total_digest},
    writer::DIGEST_CHUNK_BYTES,
};
use crate::{
    backend::{Store, blocking},
    error::StoreError,
    manifest::Part,
    names::Names,
    shape::{BODY_BYTES, BodyBytes, Column, DIGEST_BYTES, GROUP_ROWS, PAGE_ROWS, PanelShape},
    sum::{BodySum, SUM_BYTES},
};
use bytes::Bytes;
use locus_commitment::{BodyDigest, DatasetBodyDigest, Digest32};
use object_store::path::Path;
use std::{ops::Range, sync::Arc};

/// An opened part. Rows are addressed by position: `0..row_count()` in ascending slot order.
#[derive(Debug, Clone)]
pub struct PartReader {
    store: Store,
    names: Names,
    shape: PanelShape,
    part: Part,
    index: Arc<PartIndex>,
    row_ids: Arc<[u32]>,
}

/// Body digests of some columns of a part, which agree with the manifest, and with the registered
/// digests of the datasets that were asked for.
#[derive(Debug, Clone)]
pub struct PartDigests {
    columns: Vec<(Column, Vec<BodyDigest>)>,
}

impl PartDigests {
    /// Digests of all rows of `column`, if it was asked for.
    pub fn column(&self, column: Column) -> Option<&[BodyDigest]> {
        let found = self.columns.iter().find(|(name, _)| *name == column);
        found.map(|(_, digests)| digests.as_slice())
    }
}

/// Rows of one row group that are read together, as runs within pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadWindow {
    runs: Vec<Range<u32>>,
}

impl ReadWindow {
    /// Positions of the rows, as runs of neighbours.
    pub fn runs(&self) -> &[Range<u32>] {
        &self.runs
    }

    /// Number of rows; at most [`GROUP_ROWS`].
    pub fn row_count(&self) -> u32 {
        self.runs.iter().map(|run| run.end - run.start).sum()
    }
}

/// Plans how to read the rows at `positions` (ascending): one window per row group that has any.
pub fn read_windows(positions: &[u32]) -> Vec<ReadWindow> {
    let mut windows: Vec<ReadWindow> = Vec::new();
    let mut last_group = None;
    for &position in positions {
        let group = position / GROUP_ROWS;
        if last_group != Some(group) {
            windows.push(ReadWindow { runs: Vec::new() });
            last_group = Some(group);
        }
        let Some(window) = windows.last_mut() else { continue };
        match window.runs.last_mut() {
            Some(run) if run.end == position && !position.is_multiple_of(PAGE_ROWS) => run.end += 1,
            _ => window.runs.push(position..position + 1),
        }
    }
    windows
}

/// Bodies as they came from storage, not yet checked.
#[derive(Debug, Clone)]
pub struct BodyRun {
    name: Path,
    row_ids: Arc<[u32]>,
    first: u32,
    bytes: Bytes,
}

impl BodyRun {
    pub(crate) fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// Checks every body against `digests` (all rows of the column) and hands it on, up to
    /// `at_once` at a time while they are in the processor's cache. Bodies handed on before an
    /// error are correct ones.
    ///
    /// # Errors
    /// [`StoreError::BodyMismatch`] for the first body that has another digest.
    pub fn visit_checked(
        &self,
        digests: &[BodyDigest],
        at_once: usize,
        mut visit: impl FnMut(&[BodyBytes]),
    ) -> Result<(), StoreError> {
        let mut position = self.first as usize;
        for bodies in self.bytes.as_chunks::<BODY_BYTES>().0.chunks(at_once.max(1)) {
            for body in bodies {
                if digests.get(position) != Some(&BodyDigest::of_body(body)) {
                    let row = self.row_ids.get(position).copied().unwrap_or(u32::MAX);
                    return Err(StoreError::BodyMismatch { name: self.name.to_string(), row });
                }
                position += 1;
            }
            visit(bodies);
        }
        Ok(())
    }
}

impl PartReader {
    /// Opens `part`: reads its index and checks it against the digest in the manifest.
    pub(crate) async fn open(store: Store, names: Names, shape: PanelShape, part: Part) -> Result<Self, StoreError> {
        let name = names.index(part.name);
        let bytes = store.read_whole(&name, INDEX_BYTES_MAX).await?;
        check_digest(&name, part.index_digest, PartIndex::digest(&bytes))?;
        let index = PartIndex::parse(&name, &bytes, shape)?;
        let slots: Option<Vec<u32>> = index.row_ids().iter().map(|row| row.checked_add(part.slot_base)).collect();
        let row_ids = slots.ok_or_else(|| StoreError::malformed(&name, "rows lie past the last registry slot"))?;
        let within = row_ids.len() == part.stored_rows as usize || part.is_shard();
        if !within || !part.slots.iter().all(|range| range.iter().all(|slot| row_ids.binary_search(&slot).is_ok())) {
            return Err(StoreError::malformed(&name, "part does not have the rows the manifest names"));
        }
        Ok(Self { store, names, shape, part, index: Arc::new(index), row_ids: row_ids.into() })
    }

    /// Number of rows in the part, including any that the manifest no longer uses.
    pub fn row_count(&self) -> u32 {
        // An index with more than 1024 rows is refused by its parser.
        u32::try_from(self.row_ids.len()).unwrap_or(u32::MAX)
    }

    /// Registry slots of the rows, by position.
    pub fn slots(&self) -> &[u32] {
        &self.row_ids
    }

    /// Position of the row of `slot`.
    pub fn position(&self, slot: u32) -> Option<u32> {
        let position = self.row_ids.binary_search(&slot).ok()?;
        u32::try_from(position).ok()
    }

    /// The number that the part's objects have for the row at `position`: its ordinal in a batch, or its slot.
    pub fn row_number(&self, position: u32) -> Option<u32> {
        self.row_ids.get(position as usize)?.checked_sub(self.part.slot_base)
    }

    /// Size of each of the part's objects with bodies.
    pub fn object_bytes(&self) -> u64 {
        self.index.layout.object_bytes
    }

    /// The part as the manifest has it.
    pub fn part(&self) -> &Part {
        &self.part
    }

    /// Reads the body digests of `columns`, and checks that they are those the manifest names and
    /// that each dataset in `registered` (position, H(b); ascending) has its registered digest.
    ///
    /// # Errors
    /// [`StoreError::DatasetMismatch`] for the first dataset that differs,
    /// [`StoreError::DigestMismatch`] when a column differs from the manifest.
    pub async fn digests(
        &self,
        columns: &[Column],
        registered: &[(u32, DatasetBodyDigest)],
    ) -> Result<PartDigests, StoreError> {
        let name = self.names.digests(self.part.name);
        let wanted: Vec<usize> = columns.iter().map(|&column| self.shape.position(column)).collect::<Result<_, _>>()?;
        let record_bytes = self.shape.column_count() * DIGEST_BYTES;
        let rows_at_once = (DIGEST_CHUNK_BYTES / record_bytes).max(1);
        let rows = self.row_ids.len();
        let mut collected: Vec<Vec<BodyDigest>> = wanted.iter().map(|_| Vec::with_capacity(rows)).collect();
        for first in (0..rows).step_by(rows_at_once) {
            let last = rows.min(first + rows_at_once);
            let range = (first * record_bytes) as u64..(last * record_bytes) as u64;
            let records = self.store.read_range(&name, range).await?;
            let inside = |&&(position, _): &&(u32, _)| (first..last).contains(&(position as usize));
            let registered: Vec<(u32, DatasetBodyDigest)> = registered.iter().filter(inside).copied().collect();
            let job = DigestChunk { first, records, record_bytes, registered, wanted: wanted.clone() };
            let parts = blocking(move || job.check()).await?.map_err(|position| {
                let row = self.row_ids.get(position as usize).copied().unwrap_or(u32::MAX);
                StoreError::DatasetMismatch { row }
            })?;
            for (column, more) in collected.iter_mut().zip(parts) {
                column.extend(more);
            }
        }
        let index = self.index.clone();
        let collected = blocking(move || {
            for (&position, digests) in wanted.iter().zip(&collected) {
                let expected = index.columns[position].rows_digest;
                check_digest(&name, expected.into(), column_rows_digest(digests))?;
            }
            Ok(collected)
        })
        .await??;
        Ok(PartDigests { columns: columns.iter().copied().zip(collected).collect() })
    }

    /// The stored sum over all rows of `column`, checked against the manifest, which binds it to
    /// the rows it was computed from.
    ///
    /// # Errors
    /// [`StoreError::DigestMismatch`] when it is not the sum that was stored.
    pub async fn total(&self, column: Column) -> Result<Box<BodySum>, StoreError> {
        let entry = self.index.columns[self.shape.position(column)?];
        let name = self.names.total(self.part.name, column);
        let bytes = self.store.read_whole(&name, SUM_BYTES as u64).await?;
        let found = column_total_digest(entry.rows_digest.into(), &bytes);
        check_digest(&name, entry.total_digest.into(), found)?;
        BodySum::parse(&bytes).ok_or_else(|| StoreError::malformed(&name, "total is not two bodies long"))
    }

    /// Reads the bodies of one window of `column`. Nothing is checked yet but the lengths.
    ///
    /// # Errors
    /// When the object is missing or too short.
    pub async fn read(&self, column: Column, window: &ReadWindow) -> Result<Vec<BodyRun>, StoreError> {
        self.shape.position(column)?;
        let name = self.names.bodies(self.part.name, column);
        let ranges: Option<Vec<Range<u64>>> =
            window.runs.iter().map(|run| self.index.layout.body_range(run.clone())).collect();
        let ranges = ranges.ok_or_else(|| StoreError::malformed(&name, "row lies past the end of the part"))?;
        let found = self.store.read_ranges(&name, &ranges).await?;
        let runs = window.runs.iter().zip(found).map(|(run, bytes)| BodyRun {
            name: name.clone(),
            row_ids: self.row_ids.clone(),
            first: run.start,
            bytes,
        });
        Ok(runs.collect())
    }

    pub(crate) fn index(&self) -> &PartIndex {
        &self.index
    }

    pub(crate) fn shared_index(&self) -> Arc<PartIndex> {
        self.index.clone()
    }

    pub(crate) fn row_ids(&self) -> Arc<[u32]> {
        self.row_ids.clone()
    }

    pub(crate) fn shape(&self) -> PanelShape {
        self.shape
    }

    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }
}

/// Part of a digests object.
struct DigestChunk {
    first: usize,
    records: Bytes,
    record_bytes: usize,
    registered: Vec<(u32, DatasetBodyDigest)>,
    wanted: Vec<usize>,
}

impl DigestChunk {
    /// The wanted columns, or the position of the first dataset that has another digest.
    fn check(&self) -> Result<Vec<Vec<BodyDigest>>, u32> {
        for (position, expected) in &self.registered {
            let start = (*position as usize - self.first) * self.record_bytes;
            let record = &self.records[start..start + self.record_bytes];
            if DatasetBodyDigest::of_bodies(&parse_digests(record)) != *expected {
                return Err(*position);
            }
        }
        let column = |&column: &usize| {
            let (digests, _) = self.records.as_chunks::<DIGEST_BYTES>();
            let columns = self.record_bytes / DIGEST_BYTES;
            digests.iter().skip(column).step_by(columns).map(|digest| BodyDigest(Digest32(*digest))).collect()
        };
        Ok(self.wanted.iter().map(column).collect())
    }
}

fn parse_digests(bytes: &[u8]) -> Vec<BodyDigest> {
    bytes.as_chunks::<DIGEST_BYTES>().0.iter().map(|digest| BodyDigest(Digest32(*digest))).collect()
}

pub(crate) fn check_digest(name: &Path, expected: Digest32, found: Digest32) -> Result<(), StoreError> {
    if expected == found {
        return Ok(());
    }
    Err(StoreError::DigestMismatch { name: name.to_string(), expected, found })
}
