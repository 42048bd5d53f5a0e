#![doc = include_str!("../SPEC.md")]

mod cohort_sums;
mod engine;
mod error;
mod kernel;
mod object;
mod plan;
mod registered;
mod rows;
mod summer;
mod tag;
mod tags;

pub use cohort_sums::{COHORTS_KEPT_MAX, CohortDigest, CohortSumChange, CohortSumName, CohortSumStorage};
pub use engine::Engine;
pub use error::EngineError;
pub use kernel::Kernel;
pub use registered::RegisteredBodies;
pub use rows::{RowVisitor, visit_rows};
pub use summer::{BodySummer, BodySummerError, PartRows, ROW_BITS_BYTES, RowBits, SumJob};
pub use tag::{Tag, TagKey};
pub use tags::{RowTags, TAG_BLOCK_BYTES, TagBlockName, TagStorage, TagStorageError};
