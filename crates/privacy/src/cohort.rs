//! The name of a cohort.

use crate::{domain::DST_COHORT, error::PrivacyError};
use locus_commitment::{DatasetBodyDigest, DatasetId, Digest32, Sha3Writer};
use std::fmt;

/// One dataset of a cohort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CohortEntry {
    /// The dataset.
    pub dataset: DatasetId,
    /// Its version.
    pub version: u32,
    /// H(b) of that version.
    pub bodies: DatasetBodyDigest,
}

/// Bytes of one entry in the hash: dataset id, version (`u32` little endian), H(b).
const ENTRY_BYTES: usize = 32 + 4 + 32;

impl CohortEntry {
    fn to_bytes(self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..32].copy_from_slice(&self.dataset.0);
        bytes[32..36].copy_from_slice(&self.version.to_le_bytes());
        bytes[36..].copy_from_slice(&self.bodies.0.0);
        bytes
    }
}

/// Name of the exact set of ciphertexts that an answer sums: SHA3-256 over the entries in ascending
/// order of dataset id, and their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CohortDigest(pub Digest32);

impl fmt::Display for CohortDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl CohortDigest {
    /// The digest of a cohort given in any order.
    ///
    /// # Errors
    /// [`PrivacyError::CohortDuplicate`] when a dataset occurs twice, in whichever version;
    /// [`PrivacyError::CohortEmpty`] when there is none.
    pub fn of_entries(mut entries: Vec<CohortEntry>) -> Result<Self, PrivacyError> {
        entries.sort_unstable();
        let mut writer = CohortDigestWriter::new();
        for entry in &entries {
            writer.push(entry)?;
        }
        writer.finish()
    }
}

/// Hashes a cohort entry by entry, without keeping it.
#[derive(Debug, Clone)]
pub struct CohortDigestWriter {
    hash: Sha3Writer,
    last: Option<DatasetId>,
    count: u64,
}

impl Default for CohortDigestWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl CohortDigestWriter {
    /// A writer that has seen no entry.
    pub fn new() -> Self {
        Self { hash: Sha3Writer::new(DST_COHORT), last: None, count: 0 }
    }

    /// Adds the next entry, in strictly ascending order of dataset id.
    ///
    /// # Errors
    /// [`PrivacyError::CohortDuplicate`] when the dataset was the last one, [`PrivacyError::CohortOrder`]
    /// when it belongs before the last one; the writer is then unchanged.
    pub fn push(&mut self, entry: &CohortEntry) -> Result<(), PrivacyError> {
        match self.last {
            Some(last) if last == entry.dataset => return Err(PrivacyError::CohortDuplicate(entry.dataset)),
            Some(last) if last > entry.dataset => return Err(PrivacyError::CohortOrder(entry.dataset)),
            _ => {}
        }
        self.hash.part(&entry.to_bytes());
        self.last = Some(entry.dataset);
        self.count += 1;
        Ok(())
    }

    /// Number of entries so far.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The digest of all entries.
    ///
    /// # Errors
    /// [`PrivacyError::CohortEmpty`] when there is none.
    pub fn finish(mut self) -> Result<CohortDigest, PrivacyError> {
        if self.count == 0 {
            return Err(PrivacyError::CohortEmpty);
        }
        self.hash.part(&self.count.to_le_bytes());
        Ok(CohortDigest(self.hash.finish()))
    }
}
