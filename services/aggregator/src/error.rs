//! Why the aggregator refuses.

use locus_cohort::{CohortRefusal, ExclusionReason, PlanRefusal};
use locus_engine::EngineError;
use locus_genomics::PanelDigest;
use locus_ledger::{LedgerError, OrderId, ViewUnavailable};
use locus_privacy::PrivacyError;
use locus_prover::ProverError;
use locus_service::{ErrorCode, SeenError, ServiceError};
use locus_sharing::{KeyholderIndex, SharingError};
use locus_store::StoreError;
use locus_wire::convert::FieldError;
use std::{collections::BTreeMap, fmt};
use tonic::Status;

/// Everything a call can be refused for.
#[derive(Debug, thiserror::Error)]
pub enum AggregatorError {
    /// A field is malformed.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// The researcher's key is malformed.
    #[error("hpke_public_key: {0}")]
    Key(#[source] SharingError),
    /// More ranges of variants than one question may have.
    #[error("the selection has {got} ranges, more than {max}: ask in several orders")]
    SelectionTooLong {
        /// Ranges in the request.
        got: usize,
        /// Most allowed.
        max: usize,
    },
    /// Class and filter of the question do not fit.
    #[error(
        "counts of whole cohorts have no filter, filtered counts one selection, associations 2 to 32: choose another class"
    )]
    QueryClass,
    /// The panel is not on the chain.
    #[error("panel {0} is not final on the chain: check its digest, or retry when it is published")]
    UnknownPanel(PanelDigest),
    /// The order is not on the chain.
    #[error("order {0} is not final on the chain: open it with the exchange, or retry")]
    UnknownOrder(OrderId),
    /// No cohort of this order is known here.
    #[error("this aggregator has proven no cohort for order {0}, or has forgotten it: ask for the answer first")]
    NoCohort(OrderId),
    /// The cohort cannot be proven.
    #[error("the cohort cannot be proven: {0}")]
    Proving(Box<ProverError>),
    /// What is asked is not what the order says.
    #[error("the {0} is not the one that the order names: send what was ordered")]
    OrderMismatch(&'static str),
    /// Somebody else asks.
    #[error("only the order's researcher is answered: sign the request with the account that signed the order")]
    NotResearcher,
    /// A signed request is not taken.
    #[error(transparent)]
    Request(#[from] SeenError),
    /// The escrow went back.
    #[error("the order was refunded: open a new one")]
    Refunded,
    /// Too late to answer.
    #[error("the order's deadline has passed: anyone can have its escrow refunded")]
    Expired,
    /// Nobody can answer.
    #[error("{refusal}{}", left_out(.excluded))]
    Cohort {
        /// The rule.
        refusal: CohortRefusal,
        /// Who is left out before that, by reason.
        excluded: BTreeMap<ExclusionReason, u32>,
    },
    /// The question cannot be asked.
    #[error(transparent)]
    Plan(#[from] PlanRefusal),
    /// A privacy rule refuses.
    #[error(transparent)]
    Privacy(#[from] PrivacyError),
    /// The order is being answered already.
    #[error("order {0} is being answered by another call: retry in a moment")]
    InProgress(OrderId),
    /// Too many calls.
    #[error("{0} calls of this kind are running or waiting, the limit of this aggregator: retry in a moment")]
    Busy(u32),
    /// A keyholder refused.
    #[error("keyholder {keyholder}: {}", status.message())]
    Keyholder {
        /// Which one.
        keyholder: KeyholderIndex,
        /// What it answered.
        status: Status,
    },
    /// Not enough keyholders answer.
    #[error("{answering} of 3 keyholders can answer, 2 are needed: retry ({reasons})")]
    TooFewKeyholders {
        /// How many answer.
        answering: usize,
        /// Why the others do not.
        reasons: String,
    },
    /// A keyholder that took part cannot be reached any more.
    #[error("keyholder {0} took part in this answer and cannot be reached now: retry when it is back")]
    KeyholderGone(KeyholderIndex),
    /// A filtered question with a keyholder down.
    #[error("filtered questions need all three keyholders, and keyholder {0} is down: retry when it is back")]
    NeedsAllKeyholders(KeyholderIndex),
    /// The keyholders take too long over a filter.
    #[error("the keyholders have not evaluated the filter within {0} seconds: retry")]
    EvaluationTooSlow(u64),
    /// A keyholder's message is not what the protocol demands. Nothing was released.
    #[error("keyholder {keyholder} sent {what}: nothing is released; its operator must look at it")]
    KeyholderMessage {
        /// Which one.
        keyholder: KeyholderIndex,
        /// What is wrong.
        what: &'static str,
    },
    /// Two keyholders contradict each other. Nothing was released.
    #[error(
        "keyholders {first} and {second} sent different {what}: nothing is released; their operators must look at it"
    )]
    Disagreement {
        /// One of them.
        first: KeyholderIndex,
        /// The other.
        second: KeyholderIndex,
        /// About what.
        what: &'static str,
    },
    /// The committee on the chain is incomplete.
    #[error("the chain names no keyholder {0} yet: retry when the market is set up")]
    NoCommittee(u8),
    /// Keyholders do not know all earlier settlements yet.
    #[error(
        "{signatures} keyholders can sign the settlement, 2 are needed: the others do not know all earlier ones yet; retry"
    )]
    SettlementLags {
        /// Signatures there are.
        signatures: usize,
    },
    /// The exchange refused or cannot be reached.
    #[error("exchange: {}", .0.message())]
    Exchange(Status),
    /// A member was withdrawn while its ciphertext was being summed.
    #[error("a dataset of the cohort was withdrawn meanwhile: retry")]
    Withdrawn,
    /// Summing failed.
    #[error(transparent)]
    Engine(EngineError),
    /// A registry slot past what can be stored.
    #[error("registry slot {0} is past what the store can address")]
    Slot(u64),
    /// The chain cannot be followed.
    #[error(transparent)]
    Chain(#[from] ViewUnavailable),
    /// A call of the chain failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The object store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The local database failed.
    #[error("aggregator database: {0}")]
    Database(#[from] Box<redb::Error>),
    /// The operating system gives no randomness.
    #[error("no randomness: {0}")]
    Randomness(#[from] getrandom::Error),
    /// A local record is not what was written.
    #[error("aggregator database holds a damaged {0} record: restore it from a backup")]
    DamagedRecord(&'static str),
}

/// Who is left out, as the end of a sentence.
struct LeftOut<'a>(&'a BTreeMap<ExclusionReason, u32>);

fn left_out(excluded: &BTreeMap<ExclusionReason, u32>) -> LeftOut<'_> {
    LeftOut(excluded)
}

impl fmt::Display for LeftOut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (reason, count)) in self.0.iter().enumerate() {
            let before = if position == 0 { "; left out: " } else { ", " };
            write!(f, "{before}{count} datasets ({reason})")?;
        }
        Ok(())
    }
}

impl From<redb::Error> for AggregatorError {
    fn from(error: redb::Error) -> Self {
        Self::Database(Box::new(error))
    }
}

impl From<EngineError> for AggregatorError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Withdrawn { .. } => Self::Withdrawn,
            EngineError::Store(error) => Self::Store(error),
            other => Self::Engine(other),
        }
    }
}

impl From<ProverError> for AggregatorError {
    fn from(error: ProverError) -> Self {
        Self::Proving(Box::new(error))
    }
}

impl ServiceError for AggregatorError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Field(_) | Self::Key(_) | Self::SelectionTooLong { .. } | Self::QueryClass => ErrorCode::BadRequest,
            Self::UnknownPanel(_) | Self::UnknownOrder(_) | Self::NoCohort(_) => ErrorCode::NotFound,
            Self::NotResearcher => ErrorCode::Forbidden,
            Self::Request(error) => error.code(),
            Self::OrderMismatch(_)
            | Self::Refunded
            | Self::Expired
            | Self::Cohort { .. }
            | Self::Plan(_)
            | Self::Privacy(_)
            | Self::Slot(_) => ErrorCode::Refused,
            Self::InProgress(_)
            | Self::KeyholderMessage { .. }
            | Self::Disagreement { .. }
            | Self::NoCommittee(_)
            | Self::SettlementLags { .. }
            | Self::Withdrawn => ErrorCode::Conflict,
            Self::Busy(_) => ErrorCode::Busy,
            Self::Proving(error) => match **error {
                // An offer has changed since the keyholders agreed: asked again, they leave it out.
                ProverError::Refused(_) | ProverError::UnknownRoot { .. } => ErrorCode::Conflict,
                ProverError::Ledger(_) | ProverError::Unsettled | ProverError::Interrupted => ErrorCode::Unavailable,
                _ => ErrorCode::Internal,
            },
            Self::Keyholder { status, .. } | Self::Exchange(status) => ErrorCode::of_status(status),
            Self::TooFewKeyholders { .. } | Self::KeyholderGone(_) | Self::NeedsAllKeyholders(_) => {
                ErrorCode::Unavailable
            }
            Self::EvaluationTooSlow(_) => ErrorCode::Timeout,
            Self::Engine(error) if error.is_stale() => ErrorCode::Conflict,
            Self::Engine(EngineError::Interrupted) => ErrorCode::Unavailable,
            Self::Chain(error) if error.untrustworthy => ErrorCode::Internal,
            Self::Chain(_) | Self::Ledger(LedgerError::Transport(_)) => ErrorCode::Unavailable,
            Self::Store(StoreError::Backend { .. } | StoreError::Interrupted) => ErrorCode::Unavailable,
            // Other digests than the chain's are those of keys that were replaced, until the archive has put the new bodies there.
            Self::Store(
                StoreError::MissingObject { .. } | StoreError::UnknownVersion(_) | StoreError::DatasetMismatch { .. },
            ) => ErrorCode::Conflict,
            Self::Engine(_)
            | Self::Ledger(_)
            | Self::Store(_)
            | Self::Database(_)
            | Self::Randomness(_)
            | Self::DamagedRecord(_) => ErrorCode::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Field(_) | Self::Key(_) => "MALFORMED",
            Self::SelectionTooLong { .. } => "SELECTION_TOO_LONG",
            Self::QueryClass => "QUERY_CLASS",
            Self::UnknownPanel(_) => "PANEL_UNKNOWN",
            Self::UnknownOrder(_) => "ORDER_NOT_FINAL",
            Self::NoCohort(_) => "NO_COHORT",
            Self::Proving(_) => "NOT_PROVEN",
            Self::OrderMismatch(_) => "ORDER_MISMATCH",
            Self::NotResearcher => "NOT_RESEARCHER",
            Self::Request(error) => error.reason(),
            Self::Refunded => "ORDER_REFUNDED",
            Self::Expired => "ORDER_EXPIRED",
            Self::Cohort { .. } => "COHORT_REFUSED",
            Self::Plan(_) => "PLAN_REFUSED",
            Self::Privacy(_) => "PRIVACY_REFUSED",
            Self::InProgress(_) => "ORDER_IN_PROGRESS",
            Self::Busy(_) => "BUSY",
            Self::Keyholder { .. } => "KEYHOLDER_REFUSED",
            Self::TooFewKeyholders { .. } => "TOO_FEW_KEYHOLDERS",
            Self::KeyholderGone(_) => "KEYHOLDER_GONE",
            Self::NeedsAllKeyholders(_) => "NEEDS_ALL_KEYHOLDERS",
            Self::EvaluationTooSlow(_) => "EVALUATION_TOO_SLOW",
            Self::KeyholderMessage { .. } => "KEYHOLDER_MESSAGE",
            Self::Disagreement { .. } => "KEYHOLDERS_DISAGREE",
            Self::NoCommittee(_) => "NO_COMMITTEE",
            Self::SettlementLags { .. } => "SETTLEMENT_LAGS",
            Self::Exchange(_) => "EXCHANGE_REFUSED",
            Self::Withdrawn => "DATASET_WITHDRAWN",
            Self::Engine(_) => "SUM_FAILED",
            Self::Slot(_) => "SLOT_LIMIT",
            Self::Chain(_) | Self::Ledger(_) => "CHAIN_UNAVAILABLE",
            Self::Store(_) => "STORE",
            Self::Database(_) | Self::Randomness(_) | Self::DamagedRecord(_) => "DATABASE",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_cohort_says_who_was_left_out() {
        let excluded = BTreeMap::from([(ExclusionReason::NoOffer, 3), (ExclusionReason::OfferExpired, 1)]);
        let text = AggregatorError::Cohort { refusal: CohortRefusal::Empty, excluded }.to_string();
        assert!(text.ends_with("; left out: 3 datasets (nothing on offer), 1 datasets (offer expired)"), "{text}");
        let text = AggregatorError::Cohort { refusal: CohortRefusal::Empty, excluded: BTreeMap::new() }.to_string();
        assert_eq!(text, CohortRefusal::Empty.to_string());
    }
}
