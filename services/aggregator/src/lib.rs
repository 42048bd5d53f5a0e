#![doc = include_str!("../SPEC.md")]

mod access;
mod aggregator;
mod answer;
mod answers;
mod cluster;
mod config;
mod error;
mod events;
mod forget;
mod grpc;
mod opening;
mod prove;
mod question;
mod quote;
mod relay;
mod start;
mod sum;
mod tags;
#[cfg(test)]
mod testing;

pub use access::ACCESS;
pub use cluster::{Cluster, ClusterConfig};
pub use config::{AggregatorConfig, Limits};
pub use error::AggregatorError;
pub use locus_prover::ProverError;
pub use prove::ProverKeys;
pub use start::{AggregatorDeps, AggregatorHandle, StartError, start, start_on, start_with};
