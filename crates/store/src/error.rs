//! What can go wrong between this crate and object storage.

use crate::{batch_id::BatchId, shape::Column};
use locus_commitment::Digest32;
use thiserror::Error;

/// An error from the storage back end, without its type.
pub type BackendError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Why an operation on the store failed. Object names are relative to the store.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The address of the store cannot be understood.
    #[error("store address is not usable: {reason}; use a directory, file://, memory://, s3://, gs:// or az://")]
    Address {
        /// What is wrong with it.
        reason: String,
    },
    /// An option does not exist for this kind of store.
    #[error("store option {key:?} does not exist for {scheme}:// addresses; remove it or correct its name")]
    UnknownOption {
        /// The option's name.
        key: String,
        /// Scheme of the address.
        scheme: String,
    },
    /// The storage back end failed; a retry may help.
    #[error("storage failed on {name}; try again, then check the storage service")]
    Backend {
        /// The object.
        name: String,
        /// The back end's own error.
        #[source]
        source: BackendError,
    },
    /// An object that must be there is not.
    #[error("object {name} is missing; load the newest manifest, or restore the object from a backup")]
    MissingObject {
        /// The object.
        name: String,
    },
    /// An object that must not exist yet is there already.
    #[error("object {name} exists already")]
    ObjectExists {
        /// The object.
        name: String,
    },
    /// A local file could not be created, read or made durable.
    #[error("local file {name} cannot be used; check permissions and free space")]
    LocalFile {
        /// The file or directory.
        name: String,
        /// The system's own error.
        #[source]
        source: std::io::Error,
    },
    /// An object is larger than any valid object of its kind.
    #[error("object {name} has {bytes} bytes, more than the {limit} its kind may have")]
    ObjectTooLarge {
        /// The object.
        name: String,
        /// Its length.
        bytes: u64,
        /// The largest valid length.
        limit: u64,
    },
    /// An object's bytes are not what the manifest says they are.
    #[error("object {name} does not have the content the manifest names; restore it from a backup")]
    DigestMismatch {
        /// The object.
        name: String,
        /// The digest the manifest leads to.
        expected: Digest32,
        /// The digest of the bytes found.
        found: Digest32,
    },
    /// An object is not in the format this version writes.
    #[error("object {name} is malformed: {rule}")]
    Malformed {
        /// The object.
        name: String,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// An object is not readable as Parquet.
    #[error("object {name} is not valid Parquet")]
    Parquet {
        /// The object.
        name: String,
        /// The Parquet reader's or writer's own error.
        #[source]
        source: BackendError,
    },
    /// A body differs from the digest its dataset was registered with.
    #[error(
        "body of registry slot or batch row {row} in {name} differs from its digest; restore the object from a backup"
    )]
    BodyMismatch {
        /// The object.
        name: String,
        /// Registry slot (committed data) or ordinal in the batch.
        row: u32,
    },
    /// The digests stored for a dataset do not hash to its registered digest.
    #[error("dataset {row} does not have the body digest it was registered with")]
    DatasetMismatch {
        /// Registry slot (committed data) or ordinal in the batch.
        row: u32,
    },
    /// A panel is used with another shape than its data have.
    #[error("panel has {found_blocks} blocks of {found_planes} planes in the store, not {blocks} of {planes}")]
    ShapeMismatch {
        /// Panel blocks the caller expects.
        blocks: u32,
        /// Planes the caller expects.
        planes: u32,
        /// Panel blocks of the stored data.
        found_blocks: u32,
        /// Planes of the stored data.
        found_planes: u32,
    },
    /// A panel shape outside the limits.
    #[error("panel shape of {blocks} blocks is outside 1..={limit}")]
    ShapeLimit {
        /// Panel blocks asked for.
        blocks: u32,
        /// Most panel blocks allowed.
        limit: u32,
    },
    /// A panel block or plane that the panel does not have.
    #[error("panel has no column at block {} plane {}", .0.block.0, .0.plane.code())]
    UnknownColumn(Column),
    /// A batch size outside the limits.
    #[error("batch of {rows} datasets is outside 1..={limit}; split it")]
    BatchLimit {
        /// Datasets asked for.
        rows: u32,
        /// Most datasets allowed.
        limit: u32,
    },
    /// A batch id that is in use.
    #[error("batch {0} exists already; choose a new id, or discard the batch first")]
    BatchExists(BatchId),
    /// A batch that was never finished, or was discarded.
    #[error("batch {0} is not complete in the store; upload it again under a new id")]
    BatchNotSealed(BatchId),
    /// A batch that the manifest uses, so that it cannot be discarded.
    #[error("batch {0} is registered and cannot be discarded; erase its slots instead")]
    BatchInUse(BatchId),
    /// Bodies that do not continue where the last ones ended.
    #[error("bodies for block {} plane {} row {row} are out of order; expected block {} plane {} row {expected_row}",
        column.block.0, column.plane.code(), expected.block.0, expected.plane.code())]
    OutOfOrder {
        /// Column that was sent.
        column: Column,
        /// First row that was sent.
        row: u32,
        /// Column that is next.
        expected: Column,
        /// Row that is next.
        expected_row: u32,
    },
    /// Bytes appended that are not whole bodies, too many at once, or past the end of a column.
    #[error("{bytes} bytes of bodies cannot be appended here; send 1 to {rows_max} whole bodies of 32768 bytes")]
    AppendLength {
        /// Bytes sent.
        bytes: usize,
        /// Most bodies that may be sent here.
        rows_max: u32,
    },
    /// A batch finished before all its bodies were there.
    #[error("batch is incomplete: next expected is block {} plane {} row {row}", column.block.0, column.plane.code())]
    Incomplete {
        /// Column that is next.
        column: Column,
        /// Row that is next.
        row: u32,
    },
    /// A list of digests whose length is not the number of datasets.
    #[error("{found} dataset digests were given for {expected} datasets")]
    DigestCount {
        /// Datasets of the batch.
        expected: u32,
        /// Digests given.
        found: usize,
    },
    /// A registry slot past the largest that this version can address.
    #[error("registry slot {slot} is past the limit of {limit}")]
    SlotLimit {
        /// The slot.
        slot: u32,
        /// First slot that is too large.
        limit: u32,
    },
    /// Registry slots that hold, or held, other data.
    #[error("registry slots {first}..{end} are taken by other data, or were erased", end = u64::from(*first) + u64::from(*count))]
    SlotsTaken {
        /// First slot.
        first: u32,
        /// Number of slots.
        count: u32,
    },
    /// Registry slots whose bodies a batch cannot replace.
    #[error("registry slots {first}..{end} are not those of one registration that is stored; register its batch first", end = u64::from(*first) + u64::from(*count))]
    SlotsNotRegistered {
        /// First slot.
        first: u32,
        /// Number of slots.
        count: u32,
    },
    /// A dataset in use whose bodies were to be replaced by a filler.
    #[error("dataset {row} of the batch is in use and has no new digest; tombstone it first, or upload its bodies")]
    DatasetMissing {
        /// Ordinal in the batch.
        row: u32,
    },
    /// A manifest version that does not exist (any more).
    #[error("manifest version {0} is not in the store; load the newest version")]
    UnknownVersion(u64),
    /// The newest manifest is older than, or differs from, one that was seen before.
    #[error(
        "newest manifest is version {found} but version {seen} was seen before with other content or a higher number; the storage was rolled back, restore it"
    )]
    RolledBack {
        /// Version seen before.
        seen: u64,
        /// Version found now.
        found: u64,
    },
    /// Too many other writers changed the manifest at the same time.
    #[error("manifest changed {0} times while this change was being written; try again")]
    Contended(u32),
    /// The manifest would outgrow its limit.
    #[error("manifest would have {bytes} bytes, more than {limit}; compact the panel first")]
    ManifestFull {
        /// Length it would have.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// A part or shard that the manifest does not name.
    #[error("manifest version {version} has no data in shard {shard}")]
    UnknownShard {
        /// The shard.
        shard: u32,
        /// The manifest.
        version: u64,
    },
    /// Garbage collection removed data that was about to be registered.
    #[error("{0} was collected as garbage before it was registered; upload it again")]
    Collected(String),
    /// A background task stopped before it was done.
    #[error("background work was interrupted; try again")]
    Interrupted,
}

impl StoreError {
    /// Wraps an error of the storage back end on object `name`.
    pub(crate) fn backend(name: &object_store::path::Path, source: object_store::Error) -> Self {
        let name = name.to_string();
        match source {
            object_store::Error::NotFound { .. } => Self::MissingObject { name },
            object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. } => {
                Self::ObjectExists { name }
            }
            other => Self::Backend { name, source: Box::new(other) },
        }
    }

    /// Wraps an error of the Parquet library on object `name`.
    pub(crate) fn parquet(name: &object_store::path::Path, source: parquet::errors::ParquetError) -> Self {
        Self::Parquet { name: name.to_string(), source: Box::new(source) }
    }

    /// Says that object `name` breaks `rule`.
    pub(crate) fn malformed(name: &object_store::path::Path, rule: &'static str) -> Self {
        Self::Malformed { name: name.to_string(), rule }
    }
}
