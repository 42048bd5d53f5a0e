//! New bodies of the datasets that get new keys, as rows of a batch that has one for every dataset of the registration.

use crate::error::ArchiveError;
use bytes::Bytes;
use locus_commitment::DatasetBodyDigest;
use locus_ledger::DatasetKeys;
use locus_store::{BODY_BYTES, BatchWriter, Column, FILLER_BODY, PanelShape};
use locus_wire::pb::keyholder::RekeyedBodies;

/// Rows written in one call.
const ROWS_MAX: u32 = 64;

/// The rows so far. Those of datasets that were left out are fillers, which no manifest uses.
pub(super) struct Rows<'a> {
    writer: BatchWriter,
    shape: PanelShape,
    columns: Vec<Column>,
    /// Ordinals of the bodies that come, ascending.
    live: &'a [u32],
    rows: u32,
    /// Column and row that come next.
    next: (usize, u32),
    taken: u64,
}

impl<'a> Rows<'a> {
    pub(super) fn new(writer: BatchWriter, shape: PanelShape, live: &'a [u32], rows: u32) -> Self {
        Self { writer, shape, columns: shape.columns().collect(), live, rows, next: (0, 0), taken: 0 }
    }

    /// Bodies stored.
    pub(super) fn done(&self) -> u64 {
        self.taken
    }

    /// Bodies that there will be.
    pub(super) fn total(&self) -> u64 {
        self.live.len() as u64 * self.columns.len() as u64
    }

    /// Stores bodies, which must be the next ones.
    pub(super) async fn take(&mut self, message: &RekeyedBodies) -> Result<(), ArchiveError> {
        let expected = (self.taken / self.live.len() as u64, self.taken % self.live.len() as u64);
        let count = message.bodies.len() / BODY_BYTES;
        let first = message.first as usize;
        let live: &'a [u32] = self.live;
        let ordinals = first.checked_add(count).and_then(|end| live.get(first..end));
        let is_next = (u64::from(message.column), u64::from(message.first)) == expected;
        let (Some(ordinals), true, true) =
            (ordinals, is_next && count > 0, message.bodies.len().is_multiple_of(BODY_BYTES))
        else {
            return Err(ArchiveError::RekeyedBodies);
        };
        for (ordinal, place) in ordinals.iter().copied().zip(0..) {
            self.fill_up_to(message.column as usize, ordinal).await?;
            let body = message.bodies.slice(place * BODY_BYTES..(place + 1) * BODY_BYTES);
            self.append(body, 1).await?;
        }
        self.taken += count as u64;
        Ok(())
    }

    /// Writes fillers up to a row of a column.
    async fn fill_up_to(&mut self, column: usize, row: u32) -> Result<(), ArchiveError> {
        while self.next != (column, row) {
            let end = if self.next.0 == column { row } else { self.rows };
            let count = (end - self.next.1).min(ROWS_MAX);
            self.append(Bytes::from(FILLER_BODY.repeat(count as usize)), count).await?;
        }
        Ok(())
    }

    async fn append(&mut self, bodies: Bytes, count: u32) -> Result<(), ArchiveError> {
        let (column, row) = self.next;
        self.writer.append(self.columns[column], row, bodies).await?;
        self.next = if row + count == self.rows { (column + 1, 0) } else { (column, row + count) };
        Ok(())
    }

    /// Seals the batch, if its bodies have the digests that were declared.
    pub(super) async fn finish(mut self, declared: &[Option<DatasetKeys>]) -> Result<(), ArchiveError> {
        if self.taken != self.total() {
            return Err(ArchiveError::RekeyedBodies);
        }
        self.fill_up_to(self.columns.len(), 0).await?;
        let filler = self.shape.filler_digest();
        let digests: Vec<DatasetBodyDigest> =
            declared.iter().map(|keys| keys.as_ref().map_or(filler, |keys| keys.bodies)).collect();
        self.writer.finish(&digests).await?;
        Ok(())
    }
}
