#![doc = include_str!("../SPEC.md")]

mod config;
mod error;
mod exchange;
mod grpc;
mod offers;
mod payouts;
mod refusal;
mod registrations;
mod settle;
mod start;

pub use config::{ExchangeConfig, MarketConfig};
pub use error::ExchangeError;
pub use payouts::PayoutError;
pub use refusal::Refusal;
pub use start::{ExchangeDeps, ExchangeHandle, StartError, start, start_with};
