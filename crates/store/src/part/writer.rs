//! Writing a part column by column.

use super::index::{ColumnIndex, PART_FORMAT, PartIndex, column_rows_digest, column_total_digest};
use crate::{
    backend::{Store, blocking},
    error::StoreError,
    names::{Names, PartName},
    object::{
        encode::{BodyOpening, Encoded, Encoder},
        layout::Layout,
        upload::Upload,
    },
    shape::{Column, DIGEST_BYTES, PanelShape},
    slots::SlotSet,
};
use bytes::Bytes;
use locus_commitment::{BodyDigest, DatasetBodyDigest, Digest32};
use object_store::path::Path;
use std::sync::Arc;

/// Bytes of body digests that are written or read at once, about.
pub(crate) const DIGEST_CHUNK_BYTES: usize = 2 << 20;

/// Writes the objects of one part. Keeps the digests of all its bodies (32 bytes each) and, inside
/// the [`ColumnWriter`], one row group.
pub(crate) struct PartWriter {
    store: Store,
    names: Names,
    part: PartName,
    shape: PanelShape,
    row_ids: Arc<[u32]>,
    layout: Option<Layout>,
    columns: Vec<ColumnIndex>,
    digests: Vec<Vec<BodyDigest>>,
    written: Vec<Path>,
}

/// A part whose objects are all stored, but not yet its index.
pub(crate) struct WrittenPart {
    /// Digest by which a manifest names the part.
    pub(crate) index_digest: Digest32,
    /// H(b) of every row.
    pub(crate) datasets: Vec<DatasetBodyDigest>,
    /// Every object of the part.
    pub(crate) objects: Vec<Path>,
}

impl PartWriter {
    /// Starts `part` with rows numbered `row_ids`, ascending.
    pub(crate) fn new(store: Store, names: Names, part: PartName, shape: PanelShape, row_ids: Vec<u32>) -> Self {
        Self {
            store,
            names,
            part,
            shape,
            row_ids: row_ids.into(),
            layout: None,
            columns: Vec::with_capacity(shape.column_count()),
            digests: Vec::with_capacity(shape.column_count()),
            written: Vec::new(),
        }
    }

    /// Starts the next column.
    pub(crate) fn begin_column(&self) -> Result<ColumnWriter, StoreError> {
        let column = self.next_column()?;
        let name = self.names.bodies(self.part, column);
        let encoder = Encoder::new(name.clone(), self.row_ids.clone())?;
        Ok(ColumnWriter { column, encoder, upload: Upload::begin(&self.store, name) })
    }

    /// Ends the column begun last, which must have all its rows.
    pub(crate) async fn end_column(&mut self, writer: ColumnWriter) -> Result<(), StoreError> {
        let ColumnWriter { column, encoder, mut upload } = writer;
        let body_name = upload.name().clone();
        let Encoded { layout, digests, total, tail } = blocking(move || encoder.finish()).await??;
        upload.put(tail).await?;
        upload.finish().await?;
        if self.layout.get_or_insert_with(|| layout.clone()) != &layout {
            return Err(StoreError::malformed(&body_name, "layout differs from that of the other columns"));
        }
        let total = total.to_bytes();
        let rows_digest = column_rows_digest(&digests);
        let total_digest = column_total_digest(rows_digest, &total);
        let total_name = self.names.total(self.part, column);
        self.store.create(&total_name, total).await?;
        self.written.extend([body_name, total_name]);
        self.columns.push(ColumnIndex {
            block: column.block.0,
            plane: column.plane.code(),
            rows_digest: rows_digest.into(),
            total_digest: total_digest.into(),
        });
        self.digests.push(digests);
        Ok(())
    }

    /// Stores the digests and the index of the part.
    pub(crate) async fn finish(mut self) -> Result<WrittenPart, StoreError> {
        let name = self.names.index(self.part);
        let layout = match self.layout.take() {
            Some(layout) if self.columns.len() == self.shape.column_count() => layout,
            _ => return Err(StoreError::malformed(&name, "part is finished before all its columns are there")),
        };
        let datasets = self.write_digests().await?;
        let rows = SlotSet::try_from_iter(self.row_ids.iter().copied())?.ranges();
        let index = PartIndex { format: PART_FORMAT, rows, layout, columns: self.columns };
        let (bytes, index_digest) = index.encode(&name)?;
        PartIndex::parse(&name, &bytes, self.shape)?;
        self.store.create(&name, bytes).await?;
        self.written.push(name);
        Ok(WrittenPart { index_digest, datasets, objects: self.written })
    }

    /// Stores all body digests dataset by dataset, and returns every dataset's H(b).
    async fn write_digests(&mut self) -> Result<Vec<DatasetBodyDigest>, StoreError> {
        let name = self.names.digests(self.part);
        let columns = Arc::new(std::mem::take(&mut self.digests));
        let rows = self.row_ids.len();
        let rows_at_once = (DIGEST_CHUNK_BYTES / (columns.len() * DIGEST_BYTES)).max(1);
        let mut upload = Upload::begin(&self.store, name.clone());
        let mut datasets = Vec::with_capacity(rows);
        for first in (0..rows).step_by(rows_at_once) {
            let columns = columns.clone();
            let last = rows.min(first + rows_at_once);
            let (bytes, hashed) = blocking(move || transpose(&columns, first, last)).await?;
            upload.put(bytes).await?;
            datasets.extend(hashed);
        }
        upload.finish().await?;
        self.written.push(name);
        Ok(datasets)
    }

    fn next_column(&self) -> Result<Column, StoreError> {
        self.shape.column_at(self.columns.len()).ok_or_else(|| {
            let name = self.names.index(self.part);
            StoreError::malformed(&name, "part has all its columns already")
        })
    }
}

/// The digests of datasets `first..last`, each dataset's in column order, and their H(b).
fn transpose(columns: &[Vec<BodyDigest>], first: usize, last: usize) -> (Bytes, Vec<DatasetBodyDigest>) {
    let mut bytes = Vec::with_capacity((last - first) * columns.len() * DIGEST_BYTES);
    let mut datasets = Vec::with_capacity(last - first);
    for row in first..last {
        let digests: Vec<BodyDigest> = columns.iter().map(|column| column[row]).collect();
        bytes.extend(digests.iter().flat_map(|digest| digest.0.0));
        datasets.push(DatasetBodyDigest::of_bodies(&digests));
    }
    (bytes.into(), datasets)
}

/// Writes one column of a part.
pub(crate) struct ColumnWriter {
    column: Column,
    encoder: Encoder,
    upload: Upload,
}

impl ColumnWriter {
    /// Rows still missing.
    pub(crate) fn rows_missing(&self) -> usize {
        self.encoder.rows_missing()
    }

    /// Adds whole bodies and returns the writer with their openings. The writer is gone when this
    /// fails, as is what it wrote.
    pub(crate) async fn append(self, bodies: Bytes) -> Result<(Self, Vec<BodyOpening>), StoreError> {
        let Self { column, mut encoder, mut upload } = self;
        let (encoder, appended) = blocking(move || {
            let appended = encoder.append(&bodies);
            (encoder, appended)
        })
        .await?;
        let stored = match appended {
            Ok((openings, ready)) => upload.put(ready).await.map(|()| openings),
            Err(error) => Err(error),
        };
        match stored {
            Ok(openings) => Ok((Self { column, encoder, upload }, openings)),
            Err(error) => {
                // The first error is the one to report; storage forgets an unfinished upload later.
                let _ = upload.abort().await;
                Err(error)
            }
        }
    }

    /// Gives the column up.
    pub(crate) async fn abort(self) -> Result<(), StoreError> {
        self.upload.abort().await
    }
}
