//! Why a question is not answered.

use locus_cohort::{CohortRefusal, PlanRefusal};
use locus_engine::EngineError;
use locus_service::{ErrorCode, ServiceError};
use tonic::Status;

/// Everything a call can be refused for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AggregatorError {
    /// A field of a message is not well formed.
    #[error("malformed request: {0}")]
    Field(#[from] locus_wire::convert::FieldError),
    /// The thing is not on the chain, or not final yet.
    #[error("{0} is not final on the chain: check the id, or retry when it is")]
    NotFinal(&'static str),
    /// What is asked is not what the order says.
    #[error("the {0} does not match the order on the chain")]
    OrderMismatch(&'static str),
    /// The order cannot be answered any more.
    #[error("the order was refunded: place a new one")]
    OrderRefunded,
    /// The order is being answered by another call.
    #[error("the order is being answered by another call: retry in a moment")]
    InFlight,
    /// Too many answers at a time.
    #[error("too many questions are being answered: retry in a moment")]
    Busy,
    /// The cohort may not be asked.
    #[error(transparent)]
    Cohort(#[from] CohortRefusal),
    /// The question may not be asked.
    #[error(transparent)]
    Plan(#[from] PlanRefusal),
    /// The privacy rules refuse.
    #[error(transparent)]
    Privacy(#[from] locus_privacy::PrivacyError),
    /// The question asks for more than the tier allows.
    #[error("rho {asked} is above {max}, the most that one question of this tier may use: ask for less")]
    RhoTooHigh {
        /// Asked for.
        asked: locus_privacy::Rho,
        /// Most.
        max: locus_privacy::Rho,
    },
    /// The sum cannot be taken.
    #[error("the ciphertexts of the cohort cannot be summed: {0}")]
    Engine(#[from] EngineError),
    /// The store cannot be read.
    #[error("the store cannot be read: {0}")]
    Store(#[from] locus_store::StoreError),
    /// Too few keyholders are up.
    #[error("only {0} keyholders can be reached, two are needed: retry later")]
    KeyholdersDown(usize),
    /// A keyholder refuses.
    #[error("keyholder {keyholder} refuses: {message}")]
    Keyholder {
        /// Which.
        keyholder: u8,
        /// Its code.
        code: ErrorCode,
        /// Its words.
        message: String,
    },
    /// A keyholder sent something that it must not.
    #[error("keyholder {keyholder} sent {what}: its operator must look into it")]
    BadKeyholder {
        /// Which.
        keyholder: u8,
        /// What is wrong.
        what: &'static str,
    },
    /// The exchange refuses.
    #[error("the settlement failed: {message}")]
    Exchange {
        /// Its code.
        code: ErrorCode,
        /// Its words.
        message: String,
    },
    /// The chain cannot be read.
    #[error("{0}")]
    Chain(#[from] locus_ledger::ViewUnavailable),
    /// The kept answer cannot be written or read.
    #[error("the answer cannot be kept: {0}")]
    Keep(#[from] std::io::Error),
    /// The kept answer is damaged.
    #[error("the kept answer is damaged")]
    Damaged,
}

impl AggregatorError {
    /// What a keyholder answered instead of what was asked for.
    pub(crate) fn of_keyholder(keyholder: u8, status: &Status) -> Self {
        Self::Keyholder { keyholder, code: ErrorCode::of_status(status), message: status.message().to_owned() }
    }

    /// Whether the party behind this error cannot be reached, as opposed to refusing.
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(self, Self::Keyholder { code: ErrorCode::Unavailable | ErrorCode::Timeout, .. })
    }
}

impl ServiceError for AggregatorError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Field(_) => ErrorCode::BadRequest,
            Self::NotFinal(_) => ErrorCode::NotFound,
            Self::InFlight => ErrorCode::Conflict,
            Self::Busy => ErrorCode::Busy,
            Self::Engine(EngineError::NotStored { .. }) => ErrorCode::Conflict,
            Self::Engine(_) | Self::Store(_) | Self::Keep(_) | Self::Damaged => ErrorCode::Internal,
            Self::KeyholdersDown(_) | Self::Chain(_) => ErrorCode::Unavailable,
            Self::Keyholder { code, .. } | Self::Exchange { code, .. } => *code,
            Self::BadKeyholder { .. } => ErrorCode::Conflict,
            _ => ErrorCode::Refused,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Field(_) => "MALFORMED",
            Self::NotFinal(_) => "NOT_FINAL",
            Self::OrderMismatch(_) => "ORDER_MISMATCH",
            Self::OrderRefunded => "ORDER_REFUNDED",
            Self::InFlight => "IN_FLIGHT",
            Self::Busy => "BUSY",
            Self::Cohort(_) => "COHORT_REFUSED",
            Self::Plan(_) => "PLAN_REFUSED",
            Self::Privacy(_) => "PRIVACY_REFUSED",
            Self::RhoTooHigh { .. } => "RHO_TOO_HIGH",
            Self::Engine(_) => "SUM_FAILED",
            Self::Store(_) => "STORE_UNREADABLE",
            Self::KeyholdersDown(_) => "KEYHOLDERS_DOWN",
            Self::Keyholder { .. } => "KEYHOLDER_REFUSED",
            Self::BadKeyholder { .. } => "KEYHOLDER_MISBEHAVED",
            Self::Exchange { .. } => "SETTLEMENT_FAILED",
            Self::Chain(_) => "CHAIN_UNREADABLE",
            Self::Keep(_) | Self::Damaged => "ANSWER_NOT_KEPT",
        }
    }
}
