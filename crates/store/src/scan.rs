//! Searching everything that is stored for given bytes: the proof that something was erased.

use crate::{
    backend::{Store, blocking},
    error::StoreError,
    gc::files_below,
};
use futures::TryStreamExt;
use std::{collections::BTreeMap, io::Read, path::PathBuf};

/// Bytes that are searched at once.
const SCAN_CHUNK_BYTES: usize = 4 << 20;
/// Length of every needle.
pub const SCAN_NEEDLE_BYTES: usize = 32;

impl Store {
    /// Names of all objects (and, in a local directory, all files, also those that an interrupted
    /// write left) that contain one of `needles` at any place. Reads the whole store.
    ///
    /// # Errors
    /// Those of storage.
    pub async fn scan(&self, needles: &[[u8; SCAN_NEEDLE_BYTES]]) -> Result<Vec<String>, StoreError> {
        let needles = Needles::new(needles);
        if let Some(root) = self.local_root().cloned() {
            return blocking(move || scan_files(root, &needles)).await?;
        }
        let prefix = self.prefix().clone();
        let mut listed = self.inner().list(Some(&prefix));
        let mut found = Vec::new();
        while let Some(meta) = listed.try_next().await.map_err(|error| StoreError::backend(&prefix, error))? {
            let mut carried = Vec::new();
            let mut start = 0;
            while start < meta.size {
                let end = meta.size.min(start + SCAN_CHUNK_BYTES as u64);
                let bytes = self.read_range(&meta.location, start..end).await?;
                carried.extend_from_slice(&bytes);
                if needles.occur_in(&carried) {
                    found.push(meta.location.to_string());
                    break;
                }
                keep_overlap(&mut carried);
                start = end;
            }
        }
        Ok(found)
    }
}

fn scan_files(root: PathBuf, needles: &Needles) -> Result<Vec<String>, StoreError> {
    let mut found = Vec::new();
    for path in files_below(root)? {
        let name = path.display().to_string();
        let contains =
            file_contains(&path, needles).map_err(|source| StoreError::LocalFile { name: name.clone(), source })?;
        if contains {
            found.push(name);
        }
    }
    Ok(found)
}

fn file_contains(path: &PathBuf, needles: &Needles) -> std::io::Result<bool> {
    let mut file = std::fs::File::open(path)?;
    let mut carried = Vec::new();
    loop {
        let read = file.by_ref().take(SCAN_CHUNK_BYTES as u64).read_to_end(&mut carried)?;
        if needles.occur_in(&carried) {
            return Ok(true);
        }
        if read == 0 {
            return Ok(false);
        }
        keep_overlap(&mut carried);
    }
}

/// Keeps the end of `bytes` in which a needle may begin.
fn keep_overlap(bytes: &mut Vec<u8>) {
    let keep = bytes.len().min(SCAN_NEEDLE_BYTES - 1);
    bytes.drain(..bytes.len() - keep);
}

/// Needles by their first eight bytes.
struct Needles(BTreeMap<u64, Vec<[u8; SCAN_NEEDLE_BYTES]>>);

impl Needles {
    fn new(needles: &[[u8; SCAN_NEEDLE_BYTES]]) -> Self {
        let mut by_start: BTreeMap<u64, Vec<[u8; SCAN_NEEDLE_BYTES]>> = BTreeMap::new();
        for needle in needles {
            by_start.entry(start(needle)).or_default().push(*needle);
        }
        Self(by_start)
    }

    fn occur_in(&self, bytes: &[u8]) -> bool {
        bytes.windows(SCAN_NEEDLE_BYTES).any(|window| {
            let same_start = self.0.get(&start(window));
            same_start.is_some_and(|needles| needles.iter().any(|needle| needle == window))
        })
    }
}

fn start(bytes: &[u8]) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&bytes[..8]);
    u64::from_le_bytes(first)
}
