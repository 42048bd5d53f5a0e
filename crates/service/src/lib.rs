#![doc = include_str!("../SPEC.md")]

mod clock;
mod config;
mod error;
mod serve;
mod telemetry;

pub use clock::Clock;
pub use config::{ConfigError, read_config};
pub use error::{ERROR_DOMAIN, ErrorCode, ServiceError, blocking, reason_of, to_status};
pub use serve::{
    CALL_DEADLINE, Connector, Listen, MESSAGE_BYTES_MAX, SHUTDOWN_GRACE, ServeError, ServerHandle, ServerOptions,
    connect, connect_lazy, serve,
};
pub use telemetry::init_telemetry;
