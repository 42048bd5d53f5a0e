//! Why the exchange refuses.

use crate::{payouts::PayoutError, refusal::Refusal};
use locus_commitment::Address;
use locus_ledger::{LedgerError, OrderId, RegistrationId, ViewUnavailable};
use locus_service::{AuditError, ErrorCode, ServiceError};
use locus_wire::convert::FieldError;

/// Anything that a call of the exchange can fail with.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// A field of the request is malformed.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// Transactions were sent, and their record is not on disk.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// A page token that was not given out.
    #[error("the page token is not one of this service: leave it empty to start from the first page")]
    PageToken,
    /// The registration is not final on the chain.
    #[error("registration {0} is not final on the chain yet, or does not exist: wait for finality, then try again")]
    UnknownRegistration(RegistrationId),
    /// No registration under this batch nonce.
    #[error(
        "the registrant has no final registration under this batch nonce: wait for finality, or register the batch"
    )]
    UnknownBatch,
    /// The order is not final on the chain.
    #[error("order {0} is not final on the chain yet, or does not exist: wait for finality, then try again")]
    UnknownOrder(OrderId),
    /// The batch nonce belongs to other datasets.
    #[error("the batch nonce was used for other datasets: choose a new one")]
    BatchNonceUsed,
    /// Fewer than two keyholders signed.
    #[error("a settlement needs the signatures of two keyholders, {valid} valid ones came: collect more and try again")]
    TooFewSignatures {
        /// Valid signatures.
        valid: usize,
    },
    /// The sequence is not the next one.
    #[error("the settlement has payout sequence {got}, the next one is {next}: ask the keyholders to sign with that")]
    PayoutSequence {
        /// Sequence of the settlement.
        got: u64,
        /// Next sequence.
        next: u64,
    },
    /// The root does not follow from the payees.
    #[error("the payout root does not follow from the table and the payees: compute the payees of this cohort again")]
    PayoutRoot,
    /// The order was settled on other terms.
    #[error("order {0} was settled on other terms: read the settlement from the chain")]
    SettledOtherwise(OrderId),
    /// The order is on the chain as settled, and the table cannot take it in yet.
    #[error(
        "the order is settled with payout sequence {0}, but the payout table lacks settlements before it: present those first, in order"
    )]
    EarlierMissing(u64),
    /// A refund of a settled order.
    #[error("order {0} was settled: nothing is left to refund")]
    OrderSettled(OrderId),
    /// A settlement of a refunded order.
    #[error("order {0} was refunded: nothing is left to settle with, order again")]
    OrderRefunded(OrderId),
    /// The account is being paid.
    #[error("a claim of {0} is under way: wait until it is paid, then look at the account")]
    ClaimUnderWay(Address),
    /// Too many claims at once.
    #[error("too many claims are under way: try again in a minute")]
    TooManyClaims,
    /// The contract refuses.
    #[error("{0}")]
    Refused(Refusal),
    /// The network is not a test network.
    #[error("test tokens exist on test networks only: obtain the payment token elsewhere")]
    NotATestNetwork,
    /// The chain's committee is incomplete.
    #[error("the market has no complete keyholder committee: ask its admin to set all three keyholders")]
    CommitteeIncomplete,
    /// The view of the chain cannot be brought up to date.
    #[error(transparent)]
    View(#[from] ViewUnavailable),
    /// The chain cannot be reached or answers wrongly.
    #[error(transparent)]
    Ledger(LedgerError),
    /// The payout table.
    #[error(transparent)]
    Payouts(#[from] PayoutError),
}

impl From<LedgerError> for ExchangeError {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Refused { name, reason } => Self::Refused(Refusal::of(&name, reason)),
            other => Self::Ledger(other),
        }
    }
}

impl ServiceError for ExchangeError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Field(_) | Self::PageToken | Self::TooFewSignatures { .. } => ErrorCode::BadRequest,
            Self::UnknownRegistration(_) | Self::UnknownBatch | Self::UnknownOrder(_) => ErrorCode::NotFound,
            Self::BatchNonceUsed => ErrorCode::AlreadyExists,
            Self::PayoutSequence { .. }
            | Self::PayoutRoot
            | Self::SettledOtherwise(_)
            | Self::EarlierMissing(_)
            | Self::OrderSettled(_)
            | Self::OrderRefunded(_)
            | Self::CommitteeIncomplete => ErrorCode::Refused,
            Self::ClaimUnderWay(_) | Self::TooManyClaims => ErrorCode::Busy,
            Self::Refused(refusal) => refusal.code(),
            Self::NotATestNetwork => ErrorCode::Forbidden,
            Self::View(unavailable) if unavailable.untrustworthy => ErrorCode::Internal,
            Self::View(_) => ErrorCode::Unavailable,
            Self::Ledger(error) => ledger_code(error),
            Self::Payouts(_) | Self::Audit(_) => ErrorCode::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Field(_) => "MALFORMED",
            Self::PageToken => "PAGE_TOKEN",
            Self::UnknownRegistration(_) | Self::UnknownBatch | Self::UnknownOrder(_) => "NOT_FINAL",
            Self::BatchNonceUsed => "BATCH_NONCE_USED",
            Self::TooFewSignatures { .. } => "TOO_FEW_SIGNATURES",
            Self::PayoutSequence { .. } => "PAYOUT_SEQUENCE",
            Self::PayoutRoot => "PAYOUT_ROOT",
            Self::SettledOtherwise(_) => "SETTLED_OTHERWISE",
            Self::EarlierMissing(_) => "EARLIER_MISSING",
            Self::OrderSettled(_) | Self::OrderRefunded(_) => "ORDER_CLOSED",
            Self::ClaimUnderWay(_) => "CLAIM_UNDER_WAY",
            Self::TooManyClaims => "TOO_MANY_CLAIMS",
            Self::Refused(refusal) => refusal.reason(),
            Self::NotATestNetwork => "NOT_A_TEST_NETWORK",
            Self::CommitteeIncomplete => "COMMITTEE_INCOMPLETE",
            Self::View(_) => "CHAIN_UNREADABLE",
            Self::Audit(_) | Self::Ledger(LedgerError::Unrecorded(_)) => "AUDIT_LOG",
            Self::Ledger(_) => "CHAIN",
            Self::Payouts(_) => "PAYOUT_TABLE",
        }
    }
}

fn ledger_code(error: &LedgerError) -> ErrorCode {
    match error {
        LedgerError::Reverted(_) => ErrorCode::Conflict,
        LedgerError::NoReceipt { .. } | LedgerError::TooSlow | LedgerError::Transport(_) => ErrorCode::Unavailable,
        _ => ErrorCode::Internal,
    }
}
