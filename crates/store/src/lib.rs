#![doc = include_str!("../SPEC.md")]

mod audit;
mod backend;
mod batch;
mod batch_id;
mod compact;
pub mod conformance;
mod disclosure_file;
mod domain;
mod error;
mod gc;
mod manifest;
mod names;
mod object;
mod panel_file;
mod panel_store;
mod part;
mod replace;
mod scan;
mod shape;
mod slots;
mod sum;

pub use audit::AuditReport;
pub use backend::{Store, open_store};
pub use batch::{BatchSummary, BatchWriter, SealedBatch};
pub use batch_id::BatchId;
pub use error::{BackendError, StoreError};
pub use gc::{ErasureReport, GarbagePolicy, GarbageReport};
pub use manifest::{Manifest, ManifestPin, Part};
pub use names::{Origin, PartName};
pub use object::encode::BodyOpening;
pub use panel_store::{PanelStore, RegistrationCommit};
pub use part::column::{BodyVisitor, ColumnReader, OpenColumn};
pub use part::reader::{BodyRun, PartDigests, PartReader, ReadWindow, read_windows};
pub use replace::FILLER_BODY;
pub use scan::SCAN_NEEDLE_BYTES;
pub use shape::{
    APPEND_ROWS_MAX, BATCH_ROWS_MAX, BODY_BYTES, BODY_WORDS, BodyBytes, Column, GROUP_ROWS, PAGE_ROWS,
    PANEL_BLOCKS_MAX, PanelShape, SHARD_SLOTS,
};
pub use slots::{SLOT_LIMIT, SlotRange, SlotSet};
pub use sum::{BodySum, SUM_BYTES};
