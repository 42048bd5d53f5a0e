#![doc = include_str!("../SPEC.md")]

pub mod circom;
mod circuits;
pub mod cohort;
pub mod dataset;
pub mod disclosure;
mod domain;
pub mod encryption;
mod error;
pub mod groth16;
pub mod keys;
mod network;
pub mod registry;
#[cfg(test)]
mod testing;
pub mod update;
pub mod words;

pub use circuits::Statement;
pub use error::ProofsError;
pub use network::NetworkKeys;
