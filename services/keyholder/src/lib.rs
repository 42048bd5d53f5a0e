#![doc = include_str!("../SPEC.md")]

mod answer;
mod config;
mod enrol;
mod error;
mod grpc;
mod keyholder;
mod noise;
mod payouts;
mod start;
mod statement;
mod store;
#[cfg(test)]
mod testing;

pub use config::KeyholderConfig;
pub use start::{KeyholderDeps, KeyholderHandle, KeyholderKeys, PreparedKeyholder, StartError, prepare, start};
