#![doc = include_str!("../SPEC.md")]

mod access;
mod claims;
mod config;
mod error;
mod exchange;
mod grpc;
mod offers;
mod payouts;
mod record;
mod refusal;
mod registrations;
mod settle;
mod start;

pub use access::ACCESS;
pub use config::ExchangeConfig;
pub use error::ExchangeError;
pub use payouts::PayoutError;
pub use refusal::Refusal;
pub use start::{ExchangeDeps, ExchangeHandle, StartError, start, start_on, start_with};
