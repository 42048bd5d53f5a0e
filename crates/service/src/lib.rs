#![doc = include_str!("../SPEC.md")]

/// Makes a type of errors with a variant `Database(Box<redb::Error>)` from every error of redb.
#[macro_export]
macro_rules! from_database_errors {
    ($error:ty) => {
        $crate::from_database_errors!($error:
            redb::DatabaseError, redb::TransactionError, redb::TableError, redb::StorageError, redb::CommitError,
            redb::SetDurabilityError
        );
    };
    ($error:ty: $($cause:ty),*) => {$(
        impl From<$cause> for $error {
            fn from(error: $cause) -> Self {
                Self::Database(Box::new(error.into()))
            }
        }
    )*};
}

mod accept;
mod access;
mod audit;
mod check;
mod clock;
mod config;
mod error;
mod front;
mod guard;
mod metrics;
mod observe;
mod process;
mod rates;
mod request_id;
mod seen;
mod serve;
mod telemetry;
mod tls;

pub use access::{Access, AccessTable, Caller, KEYHOLDERS, caller, check_speaks_for_itself};
pub use audit::{AuditError, AuditHead, AuditLog, ParseHeadError, verify_audit_log};
pub use check::Findings;
pub use clock::Clock;
pub use config::{ConfigError, environment_prefix, read_config};
pub use error::{ERROR_DOMAIN, ErrorCode, ServiceError, blocking, reason_of, to_status};
pub use front::{Front, FrontConfig, FrontError};
pub use metrics::Metrics;
pub use observe::{ObserveConfig, Observer, Readiness, ReadinessGate};
pub use process::{ProcessError, Running, ServiceArgs, ServiceConfig, protect_memory, run_service};
pub use rates::RateConfig;
pub use request_id::{PassRequestId, REQUEST_ID_KEY, RequestId, ServiceChannel, spawn_for_request};
pub use seen::{CLOCK_SKEW_S, REQUEST_LIFETIME_MAX_S, SeenError, SeenRequests, SignedRequest};
pub(crate) use serve::serve_guarded;
pub use serve::{
    CALL_DEADLINE, Connector, Listen, MESSAGE_BYTES_MAX, SHUTDOWN_GRACE, ServeError, ServerHandle, ServerOptions,
    TlsConnector, connect, connect_lazy, connect_service, serve,
};
pub use telemetry::{Telemetry, TelemetryError, init_service_telemetry, init_telemetry};
pub use tls::{Authority, AuthorityError, IssuedFiles, Role, Tls, TlsConfig, TlsError, UnknownRole, public_connector};
