#![doc = include_str!("../SPEC.md")]

mod engine;
mod error;
mod kernel;
mod object;
mod plan;
mod registered;
mod rows;
mod tag;
mod tags;

pub use engine::Engine;
pub use error::EngineError;
pub use kernel::Kernel;
pub use registered::RegisteredBodies;
pub use rows::{RowVisitor, visit_rows};
pub use tag::{Tag, TagKey};
pub use tags::{RowTags, TAG_BLOCK_BYTES, TagBlockName, TagStorage, TagStorageError};
