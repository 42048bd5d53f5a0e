#![doc = include_str!("../SPEC.md")]

mod engine;
mod error;
mod kernel;
mod plan;
mod registered;

pub use engine::Engine;
pub use error::EngineError;
pub use kernel::{BodySum, Kernel};
pub use registered::RegisteredBodies;
