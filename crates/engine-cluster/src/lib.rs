#![doc = include_str!("../SPEC.md")]

mod aggregate;
mod config;
mod error;
mod executor;
mod gateway;
mod request;
mod scheduler;
mod selection;
mod session;
mod table;

pub use config::{ExecutorConfig, SchedulerConfig, StorageConfig};
pub use executor::{ExecutorHandle, start_executor};
pub use gateway::ACCESS;
pub use scheduler::{SchedulerHandle, StartError, start_scheduler};
