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
        if self.taken == self.total() {
            return Err(ArchiveError::RekeyedBodies);
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use locus_commitment::{BodyDigest, Digest32, ShareSetCommitment};
    use locus_genomics::PanelDigest;
    use locus_store::{BatchId, PanelStore, Store};

    /// Rows of the registration, of which the first and the last get new keys.
    const ROWS: u32 = 3;
    const LIVE: [u32; 2] = [0, 2];

    fn shape() -> PanelShape {
        PanelShape::try_new(1, false).expect("a panel of one block")
    }

    fn body(column: u32, row: u32) -> [u8; BODY_BYTES] {
        [u8::try_from(16 * (column + 1) + row).expect("small"); BODY_BYTES]
    }

    fn message(column: u32, first: u32, count: usize) -> RekeyedBodies {
        let rows = LIVE.iter().skip(first as usize).take(count);
        RekeyedBodies { column, first, bodies: rows.flat_map(|row| body(column, *row)).collect::<Vec<_>>().into() }
    }

    fn declared() -> Vec<Option<DatasetKeys>> {
        let keys = |row| DatasetKeys {
            bodies: DatasetBodyDigest::of_bodies(&[0, 1].map(|column| BodyDigest::of_body(&body(column, row)))),
            shares: ShareSetCommitment(Digest32([1; 32])),
        };
        (0..ROWS).map(|row| LIVE.contains(&row).then(|| keys(row))).collect()
    }

    async fn rows() -> (PanelStore, Rows<'static>) {
        let store = Store::memory().panel(PanelDigest([1; 32]), shape());
        let writer = store.create_batch(BatchId([2; 32]), ROWS).await.expect("a batch");
        (store, Rows::new(writer, shape(), &LIVE, ROWS))
    }

    #[tokio::test]
    async fn bodies_in_order_are_sealed_with_fillers_for_whoever_was_left_out() {
        let (store, mut rows) = rows().await;
        for (column, first, count) in [(0, 0, 2), (1, 0, 1), (1, 1, 1)] {
            rows.take(&message(column, first, count)).await.expect("the next bodies");
        }
        assert_eq!((rows.done(), rows.total()), (4, 4));
        rows.finish(&declared()).await.expect("the declared bodies");
        let again = store.create_batch(BatchId([2; 32]), ROWS).await;
        assert!(again.is_err(), "the batch is there");
    }

    #[tokio::test]
    async fn bodies_that_are_not_the_next_ones_are_refused() {
        let (_, mut rows) = rows().await;
        let half = RekeyedBodies { bodies: vec![0; BODY_BYTES / 2].into(), ..message(0, 0, 1) };
        let past = RekeyedBodies { bodies: vec![0; 3 * BODY_BYTES].into(), ..message(0, 0, 1) };
        for wrong in [message(0, 1, 1), message(1, 0, 1), message(0, 0, 0), half, past] {
            assert!(matches!(rows.take(&wrong).await, Err(ArchiveError::RekeyedBodies)));
        }
        for column in [0, 1] {
            rows.take(&message(column, 0, 2)).await.expect("the next bodies");
        }
        // There is no third column.
        for late in [message(2, 0, 1), message(1, 0, 2), RekeyedBodies { column: u32::MAX, ..message(0, 0, 1) }] {
            assert!(matches!(rows.take(&late).await, Err(ArchiveError::RekeyedBodies)));
        }
        rows.finish(&declared()).await.expect("the declared bodies");
    }

    #[tokio::test]
    async fn a_batch_that_lacks_bodies_or_has_others_is_not_sealed() {
        let (_, mut early) = rows().await;
        early.take(&message(0, 0, 2)).await.expect("the next bodies");
        assert!(matches!(early.finish(&declared()).await, Err(ArchiveError::RekeyedBodies)));
        let (_, mut other) = rows().await;
        for column in [0, 1] {
            let bodies = vec![7; 2 * BODY_BYTES].into();
            other.take(&RekeyedBodies { column, first: 0, bodies }).await.expect("the next bodies");
        }
        assert!(matches!(other.finish(&declared()).await, Err(ArchiveError::Store(_))));
    }
}
