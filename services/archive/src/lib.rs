#![doc = include_str!("../SPEC.md")]

mod access;
mod archive;
mod attributes;
mod background;
mod committee;
mod config;
mod disclosures;
mod enrol;
mod erase;
mod error;
mod grpc;
mod panels;
mod progress;
mod publish;
mod rekey;
mod schemas;
mod staged;
mod start;
#[cfg(test)]
mod tests;
mod upload;

pub use access::ACCESS;
pub use config::{ArchiveConfig, Limits};
pub use error::{ArchiveError, Commitment};
pub use start::{ArchiveDeps, ArchiveHandle, StartError, start, start_on, start_with};
pub use upload::sequence::{PlaceText, SequenceError};
