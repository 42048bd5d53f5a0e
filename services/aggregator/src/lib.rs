#![doc = include_str!("../SPEC.md")]

mod aggregator;
mod answer;
mod config;
mod error;
mod grpc;
mod kept;
mod quote;
mod relay;
mod start;

pub use config::AggregatorConfig;
pub use start::{AggregatorDeps, StartError, prepare, start};
