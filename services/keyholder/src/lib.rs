#![doc = include_str!("../SPEC.md")]

mod access;
mod answer;
mod attributes;
mod config;
mod enrol;
mod error;
mod grpc;
mod identity;
mod init;
mod kek;
mod keyholder;
mod noise;
mod payouts;
mod proven;
mod rekeying;
mod reply_grid;
mod start;
mod statement;
mod store;
mod succession;
#[cfg(test)]
mod testing;

pub use access::ACCESS;
pub use config::KeyholderConfig;
pub use identity::{IdentityError, KeyholderIdentity};
pub use init::{InitError, init};
pub use kek::{KeyEncryptionKey, KeyFileError, rewrap};
pub use start::{KeyholderDeps, KeyholderHandle, KeyholderKeys, PreparedKeyholder, StartError, prepare, start};
pub use succession::{SuccessionError, hand_over, take_over};
