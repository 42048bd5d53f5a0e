#![doc = include_str!("../SPEC.md")]

pub mod circom;
pub mod cohort;
pub mod disclosure;
mod domain;
pub mod encryption;
mod error;
#[cfg(test)]
mod testing;
pub mod groth16;
pub mod keys;
pub mod registry;
pub mod update;
pub mod words;

pub use error::ProofsError;
