//! Why the cluster does not answer.

use datafusion::error::DataFusionError;
use locus_service::{ErrorCode, ServiceError};
use thiserror::Error;

/// Why bodies were not summed.
#[derive(Debug, Error)]
pub(crate) enum ClusterError {
    /// The question is malformed.
    #[error("{0}")]
    Request(String),
    /// No operating system randomness.
    #[error("the system gives no randomness")]
    Randomness,
    /// The cluster's scratch storage fails.
    #[error("the cluster's scratch storage cannot be used: {0}")]
    Scratch(#[source] object_store::Error),
    /// An executor failed, or could not read an object.
    #[error("the bodies were not summed; the scheduler's log says why")]
    Execution(#[source] Box<DataFusionError>),
    /// It took too long.
    #[error("the bodies were not summed within {0} s")]
    TooSlow(u64),
    /// What came back is not what was asked.
    #[error("the executors answered something else: {0}")]
    Answer(&'static str),
}

impl ServiceError for ClusterError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Request(_) => ErrorCode::BadRequest,
            Self::Randomness | Self::Execution(_) | Self::Answer(_) => ErrorCode::Internal,
            Self::Scratch(_) => ErrorCode::Unavailable,
            Self::TooSlow(_) => ErrorCode::Timeout,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Request(_) => "REQUEST_MALFORMED",
            Self::Randomness => "NO_RANDOMNESS",
            Self::Scratch(_) => "SCRATCH_UNAVAILABLE",
            Self::Execution(_) => "EXECUTION_FAILED",
            Self::TooSlow(_) => "QUERY_TOO_SLOW",
            Self::Answer(_) => "ANSWER_MALFORMED",
        }
    }
}
