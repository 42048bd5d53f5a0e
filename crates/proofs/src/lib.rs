#![doc = include_str!("../SPEC.md")]

mod domain;
pub mod encryption;
mod error;
pub mod groth16;

pub use error::ProofsError;
