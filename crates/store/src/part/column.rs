//! Handing the bodies of one column to a visitor, as fast as storage gives them.
//!
//! A local file is read in place, into one small buffer that stays in the processor's cache: fresh
//! memory for every read would cost more than the read. Other storage is read by ranges, with the
//! next window on its way while one is visited.

use super::{
    index::PartIndex,
    reader::{PartReader, ReadWindow},
};
use crate::{
    backend::{Store, blocking},
    error::StoreError,
    shape::{BODY_BYTES, BodyBytes, Column},
};
use bytes::Bytes;
use locus_commitment::BodyDigest;
use object_store::path::Path;
use std::{cell::RefCell, fs::File, ops::Range, path::PathBuf, sync::Arc};

/// Bodies that are read from a file at once: 512 KiB, half of a usual second-level cache.
const BODIES_AT_ONCE: usize = 16;
/// Where the buffer begins: at a page, because copies to odd places are slower.
const BUFFER_ALIGNMENT: usize = 4096;

thread_local! {
    /// What this thread reads files into. Fresh memory for every object would cost as much as a
    /// twentieth of the reading.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What is done with bodies as they are read.
pub trait BodyVisitor: Send + 'static {
    /// Takes some bodies; `positions` says which rows they are, in the same order. An error ends
    /// the reading.
    ///
    /// # Errors
    /// The visitor's own.
    fn visit(&mut self, positions: &[u32], bodies: &[BodyBytes]) -> Result<(), StoreError>;
}

/// One column of a part, opened for reading.
#[derive(Debug)]
pub struct ColumnReader {
    column: OpenColumn,
    source: Source,
}

#[derive(Debug)]
enum Source {
    File(PathBuf),
    Ranges(Store),
}

/// What reading and checking need to know of a column.
#[derive(Debug, Clone)]
pub struct OpenColumn {
    name: Path,
    row_ids: Arc<[u32]>,
    index: Arc<PartIndex>,
}

impl OpenColumn {
    /// Checks the body at `position` against `digests`, those of all rows of the column.
    ///
    /// # Errors
    /// [`StoreError::BodyMismatch`], with the row's registry slot.
    pub fn check(&self, digests: &[BodyDigest], position: u32, body: &BodyBytes) -> Result<(), StoreError> {
        if digests.get(position as usize) == Some(&BodyDigest::of_body(body)) {
            return Ok(());
        }
        let row = self.row_ids.get(position as usize).copied().unwrap_or(u32::MAX);
        Err(StoreError::BodyMismatch { name: self.name.to_string(), row })
    }

    fn range(&self, run: &Range<u32>) -> Result<Range<u64>, StoreError> {
        let range = self.index.layout.body_range(run.clone());
        range.ok_or_else(|| StoreError::malformed(&self.name, "row lies past the end of the part"))
    }
}

impl PartReader {
    /// Where to read `column` from. Nothing that is read is checked but the lengths.
    ///
    /// # Errors
    /// When the panel has no such column.
    pub fn column(&self, column: Column) -> Result<ColumnReader, StoreError> {
        self.shape().position(column)?;
        let name = self.names().bodies(self.part().name, column);
        let source = match self.store().local_file(&name) {
            Some(file) => Source::File(file),
            None => Source::Ranges(self.store().clone()),
        };
        let column = OpenColumn { name, row_ids: self.row_ids(), index: self.shared_index() };
        Ok(ColumnReader { column, source })
    }
}

impl ColumnReader {
    /// What the column is, to check bodies with.
    pub fn column(&self) -> &OpenColumn {
        &self.column
    }

    /// Reads the rows of `windows` and hands them to `visitor`, which it returns.
    ///
    /// # Errors
    /// When the object is missing or too short; those of the visitor.
    pub async fn visit<V: BodyVisitor>(self, windows: Vec<ReadWindow>, visitor: V) -> Result<V, StoreError> {
        if windows.is_empty() {
            return Ok(visitor);
        }
        let Self { column, source } = self;
        match source {
            // Opened, read and summed in one go: each change of threads costs as much as reading a few bodies.
            Source::File(path) => {
                let read = move |buffer: &mut [BodyBytes]| {
                    let file = open_file(&column, &path)?;
                    visit_file(&column, &file, &windows, visitor, buffer)
                };
                blocking(|| with_buffer(read)).await?
            }
            Source::Ranges(store) => visit_ranges(&column, &store, &windows, visitor).await,
        }
    }
}

fn open_file(column: &OpenColumn, path: &std::path::Path) -> Result<File, StoreError> {
    File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => StoreError::MissingObject { name: column.name.to_string() },
        _ => StoreError::LocalFile { name: column.name.to_string(), source: error },
    })
}

/// Lends this thread's buffer of [`BODIES_AT_ONCE`] bodies to `work`.
fn with_buffer<T>(work: impl FnOnce(&mut [BodyBytes]) -> T) -> T {
    BUFFER.with_borrow_mut(|bytes| {
        bytes.resize(BUFFER_ALIGNMENT + BODIES_AT_ONCE * BODY_BYTES, 0);
        let start = bytes.as_ptr().align_offset(BUFFER_ALIGNMENT).min(BUFFER_ALIGNMENT);
        let (bodies, _) = bytes[start..].as_chunks_mut();
        work(&mut bodies[..BODIES_AT_ONCE])
    })
}

fn visit_file<V: BodyVisitor>(
    column: &OpenColumn,
    file: &File,
    windows: &[ReadWindow],
    mut visitor: V,
    buffer: &mut [BodyBytes],
) -> Result<V, StoreError> {
    let mut positions = Vec::with_capacity(BODIES_AT_ONCE);
    for run in windows.iter().flat_map(ReadWindow::runs) {
        let mut rest = run.clone();
        while !rest.is_empty() {
            let free = &mut buffer[positions.len()..];
            // The buffer has few bodies.
            let count = u32::try_from(free.len()).unwrap_or(u32::MAX).min(rest.end - rest.start);
            let piece = rest.start..rest.start + count;
            let range = column.range(&piece)?;
            let target = free[..count as usize].as_flattened_mut();
            read_exact_at(file, target, range.start).map_err(|error| match error.kind() {
                std::io::ErrorKind::UnexpectedEof => {
                    StoreError::malformed(&column.name, "object is shorter than its index says")
                }
                _ => StoreError::LocalFile { name: column.name.to_string(), source: error },
            })?;
            positions.extend(piece);
            rest.start += count;
            if positions.len() == BODIES_AT_ONCE {
                visitor.visit(&positions, buffer)?;
                positions.clear();
            }
        }
    }
    if !positions.is_empty() {
        visitor.visit(&positions, &buffer[..positions.len()])?;
    }
    Ok(visitor)
}

#[cfg(unix)]
fn read_exact_at(file: &File, target: &mut [u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, target, offset)
}

#[cfg(not(unix))]
fn read_exact_at(mut file: &File, target: &mut [u8], offset: u64) -> std::io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(target)
}

async fn visit_ranges<V: BodyVisitor>(
    column: &OpenColumn,
    store: &Store,
    windows: &[ReadWindow],
    mut visitor: V,
) -> Result<V, StoreError> {
    let mut ahead = match windows.first() {
        Some(first) => read_window(column, store, first).await?,
        None => return Ok(visitor),
    };
    // While one window is visited, the next one is read.
    for next in 1..=windows.len() {
        let runs = std::mem::take(&mut ahead);
        let visiting = blocking(move || {
            for (run, bytes) in runs {
                let positions: Vec<u32> = run.collect();
                visitor.visit(&positions, bytes.as_chunks::<BODY_BYTES>().0)?;
            }
            Ok::<V, StoreError>(visitor)
        });
        visitor = match windows.get(next) {
            Some(window) => {
                let (visited, read) = futures::join!(visiting, read_window(column, store, window));
                let visited = visited??;
                ahead = read?;
                visited
            }
            None => visiting.await??,
        };
    }
    Ok(visitor)
}

async fn read_window(
    column: &OpenColumn,
    store: &Store,
    window: &ReadWindow,
) -> Result<Vec<(Range<u32>, Bytes)>, StoreError> {
    let ranges = window.runs().iter().map(|run| column.range(run)).collect::<Result<Vec<_>, _>>()?;
    let found = store.read_ranges(&column.name, &ranges).await?;
    Ok(window.runs().iter().cloned().zip(found).collect())
}
