//! Streaming one object to storage with bounded memory.

use crate::{backend::Store, error::StoreError};
use bytes::Bytes;
use object_store::{buffered::BufWriter, path::Path};
use tokio::io::AsyncWriteExt;

/// Bytes of one piece of a multi-piece upload: the least that S3 accepts.
const PIECE_BYTES: usize = 5 << 20;
/// Pieces on their way at once.
const PIECES_IN_FLIGHT_MAX: usize = 2;

/// An object that is being written. It becomes visible when [`finish`](Self::finish) returns, and
/// not at all otherwise.
pub(crate) struct Upload {
    name: Path,
    writer: BufWriter,
}

impl Upload {
    /// Starts writing object `name`.
    pub(crate) fn begin(store: &Store, name: Path) -> Self {
        let writer = BufWriter::with_capacity(store.inner().clone(), name.clone(), PIECE_BYTES)
            .with_max_concurrency(PIECES_IN_FLIGHT_MAX);
        Self { name, writer }
    }

    /// The object's name.
    pub(crate) fn name(&self) -> &Path {
        &self.name
    }

    /// Adds bytes at the end.
    pub(crate) async fn put(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.writer.put(bytes).await.map_err(|error| StoreError::backend(&self.name, error))
    }

    /// Completes the object.
    pub(crate) async fn finish(mut self) -> Result<(), StoreError> {
        self.writer.shutdown().await.map_err(|error| {
            let name = self.name.to_string();
            StoreError::Backend { name, source: Box::new(error) }
        })
    }

    /// Gives the object up and frees what the back end holds of it.
    pub(crate) async fn abort(mut self) -> Result<(), StoreError> {
        self.writer.abort().await.map_err(|error| StoreError::backend(&self.name, error))
    }
}
