//! Why a sum could not be computed.

use crate::{summer::BodySummerError, tags::TagStorageError};
use locus_store::{Column, StoreError};
use thiserror::Error;

/// Why a sum could not be computed. There is never a wrong sum instead.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EngineError {
    /// A selected slot is tombstoned.
    #[error("registry slot {slot} was withdrawn; leave it out of the cohort")]
    Withdrawn {
        /// The slot.
        slot: u32,
    },
    /// A selected slot is not in the manifest.
    #[error("registry slot {slot} is not stored in manifest version {version}; load the newest manifest")]
    NotStored {
        /// The slot.
        slot: u32,
        /// The manifest.
        version: u64,
    },
    /// A selected slot for which the caller gave no registered digest.
    #[error("registry slot {slot} has no registered dataset; it cannot be summed")]
    NotRegistered {
        /// The slot.
        slot: u32,
    },
    /// The manifest and the panel belong to different panels.
    #[error("panel has no column at block {} plane {}", .0.block.0, .0.plane.code())]
    UnknownColumn(Column),
    /// Stored data are missing, damaged or other data, or storage failed.
    #[error("stored ciphertexts cannot be summed")]
    Store(#[from] StoreError),
    /// The reader's own tags cannot be read or kept.
    #[error("row tags cannot be kept; check the disk of this process")]
    Tags(#[source] TagStorageError),
    /// A sum of rows that were all hashed does not have the tag of these rows.
    #[error("sum at block {} plane {} does not add up; check the memory of this machine", .0.block.0, .0.plane.code())]
    Unverified(Column),
    /// What was to be summed elsewhere was not. Callers never see it: the engine then sums here.
    #[error("nothing was summed elsewhere: {0}")]
    Elsewhere(#[source] BodySummerError),
    /// A background task stopped before it was done.
    #[error("summing was interrupted; try again")]
    Interrupted,
}

impl EngineError {
    /// Whether the manifest is too old for what is in storage, so that the same query on the
    /// newest manifest may succeed.
    pub fn is_stale(&self) -> bool {
        matches!(
            self,
            Self::NotStored { .. } | Self::Store(StoreError::MissingObject { .. } | StoreError::UnknownVersion(_))
        )
    }
}
