//! The closed set of error codes and the one place where an error becomes a gRPC status.

use std::{collections::HashMap, error::Error, time::Duration};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// Domain of the `ErrorInfo` detail of every status.
pub const ERROR_DOMAIN: &str = "locus";

/// Every way a call can fail. A new variant is a change of the public contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The request is malformed; retrying the same request is useless.
    BadRequest,
    /// The caller did not prove who they are, or may not do this.
    Forbidden,
    /// The thing named does not exist (yet).
    NotFound,
    /// The thing exists already; the first try had succeeded or someone else was faster.
    AlreadyExists,
    /// A rule of the protocol stands in the way; the message says which.
    Refused,
    /// Parties disagree or lag behind each other; the same request may be retried.
    Conflict,
    /// A limit on size, rate or concurrency was hit; retry later.
    Busy,
    /// A service or store cannot be reached; the same request may be retried.
    Unavailable,
    /// The deadline passed; the same request may be retried.
    Timeout,
    /// A broken invariant or unreadable state; needs an operator.
    Internal,
}

impl ErrorCode {
    /// The gRPC code.
    pub fn grpc(self) -> Code {
        match self {
            Self::BadRequest => Code::InvalidArgument,
            Self::Forbidden => Code::PermissionDenied,
            Self::NotFound => Code::NotFound,
            Self::AlreadyExists => Code::AlreadyExists,
            Self::Refused => Code::FailedPrecondition,
            Self::Conflict => Code::Aborted,
            Self::Busy => Code::ResourceExhausted,
            Self::Unavailable => Code::Unavailable,
            Self::Timeout => Code::DeadlineExceeded,
            Self::Internal => Code::Internal,
        }
    }

    /// Whether the same request may be sent again.
    pub fn is_retriable(self) -> bool {
        matches!(self, Self::Conflict | Self::Busy | Self::Unavailable | Self::Timeout)
    }

    /// The code of a status received from another service.
    pub fn of_status(status: &Status) -> Self {
        match status.code() {
            Code::InvalidArgument | Code::OutOfRange => Self::BadRequest,
            Code::PermissionDenied | Code::Unauthenticated => Self::Forbidden,
            Code::NotFound => Self::NotFound,
            Code::AlreadyExists => Self::AlreadyExists,
            Code::FailedPrecondition => Self::Refused,
            Code::Aborted => Self::Conflict,
            Code::ResourceExhausted => Self::Busy,
            Code::Unavailable => Self::Unavailable,
            Code::DeadlineExceeded | Code::Cancelled => Self::Timeout,
            _ => Self::Internal,
        }
    }
}

/// An error that a service can answer with.
pub trait ServiceError: Error {
    /// The code.
    fn code(&self) -> ErrorCode;

    /// The violated rule as a stable upper-case word, for programs.
    fn reason(&self) -> &'static str;
}

/// Turns an error into a status with a machine-readable reason. The text of internal errors stays
/// in the log: callers see only that something broke.
pub fn to_status(error: &dyn ServiceError) -> Status {
    status_of(error, None)
}

/// As [`to_status`], with advice to wait that programs can read.
pub(crate) fn to_status_after(error: &dyn ServiceError, wait: Duration) -> Status {
    status_of(error, Some(wait))
}

fn status_of(error: &dyn ServiceError, wait: Option<Duration>) -> Status {
    let code = error.code();
    let message = if code == ErrorCode::Internal {
        tracing::error!(reason = error.reason(), error = %error, "call failed");
        "internal error, the operator's log has the details".to_owned()
    } else {
        tracing::debug!(reason = error.reason(), error = %error, "call refused");
        error.to_string()
    };
    let mut metadata = HashMap::new();
    metadata.insert("retriable".to_owned(), code.is_retriable().to_string());
    let mut details = ErrorDetails::with_error_info(error.reason(), ERROR_DOMAIN, metadata);
    if wait.is_some() {
        details.set_retry_info(wait);
    }
    Status::with_error_details(code.grpc(), message, details)
}

/// The reason word inside a status, when it has one.
pub fn reason_of(status: &Status) -> Option<String> {
    status.get_error_details().error_info().map(|info| info.reason.clone())
}

/// Runs computation off the event loop. A panic in `work` is resumed in the caller.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // A blocking task that has started cannot be cancelled, and the runtime is alive: we run on it.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("secret path /x")]
    struct Broken(ErrorCode);

    impl ServiceError for Broken {
        fn code(&self) -> ErrorCode {
            self.0
        }
        fn reason(&self) -> &'static str {
            "BROKEN"
        }
    }

    #[test]
    fn internal_errors_do_not_leave_the_service() {
        let status = to_status(&Broken(ErrorCode::Internal));
        assert!(!status.message().contains("secret"));
        assert_eq!(reason_of(&status).as_deref(), Some("BROKEN"));
        assert!(to_status(&Broken(ErrorCode::Refused)).message().contains("secret"));
    }

    #[test]
    fn codes_survive_the_wire() {
        for code in [
            ErrorCode::BadRequest,
            ErrorCode::Forbidden,
            ErrorCode::NotFound,
            ErrorCode::AlreadyExists,
            ErrorCode::Refused,
            ErrorCode::Conflict,
            ErrorCode::Busy,
            ErrorCode::Unavailable,
            ErrorCode::Timeout,
            ErrorCode::Internal,
        ] {
            assert_eq!(ErrorCode::of_status(&to_status(&Broken(code))), code);
        }
    }
}
