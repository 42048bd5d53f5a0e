//! Why a keyholder refuses.

use crate::store::StoreError;
use locus_cohort::{CohortRefusal, PlanRefusal};
use locus_commitment::DatasetId;
use locus_engine::EngineError;
use locus_ledger::RegistrationId;
use locus_service::{AuditError, ErrorCode, SeenError, ServiceError};
use locus_sharing::SharingError;
use locus_store::StoreError as ObjectError;

/// Everything a call can be refused for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyholderError {
    /// A message is not well formed.
    #[error("malformed request: {0}")]
    Malformed(String),
    /// A field of a message is not well formed.
    #[error("malformed request: {0}")]
    Field(#[from] locus_wire::convert::FieldError),
    /// A message of a stream is missing or out of order.
    #[error("the stream is out of order: {0}")]
    Order(&'static str),
    /// The request is about another market.
    #[error("the request names another market: check the network id")]
    OtherNetwork,
    /// A signature does not verify.
    #[error("the signature of the {0} does not verify: sign again with the right key")]
    Signature(&'static str),
    /// The committee has no such member, or not this key.
    #[error("keyholder {0} is not in the committee on the chain")]
    Committee(u32),
    /// The thing is not on the chain, or not final yet.
    #[error("{0} is not final on the chain yet: retry when it is")]
    NotFinal(&'static str),
    /// The order cannot be answered any more.
    #[error("the order is already settled or refunded")]
    OrderClosed,
    /// An answer to the order may have left.
    #[error("an answer to the order was released, and it gets no other: have that one released by all keyholders")]
    AnswerFinal,
    /// Its deadline has passed.
    #[error("the order's deadline has passed: its escrow can be refunded")]
    OrderExpired,
    /// What is asked is not what the order says.
    #[error("the {0} does not match the order on the chain")]
    OrderMismatch(&'static str),
    /// A check at enrolment failed.
    #[error("dataset {dataset} fails the check of its {what}: encrypt it again with an unmodified client")]
    Enrolment {
        /// The dataset.
        dataset: DatasetId,
        /// What does not fit.
        what: &'static str,
    },
    /// A check of attributes failed.
    #[error(
        "the attributes of registration {registration} fail the check of {what}: share them again with an unmodified client"
    )]
    Attributes {
        /// The registration.
        registration: RegistrationId,
        /// What does not fit.
        what: &'static str,
    },
    /// A dataset has no attributes of the schema asked about.
    #[error("dataset {0} has no attributes of this schema here: leave it out")]
    NoAttributes(DatasetId),
    /// Nobody vouches for the datasets, and nothing proves them.
    #[error(
        "datasets without an accreditor need proofs: enrol them with a client that proves, or have them accredited"
    )]
    Unproven,
    /// Proofs cannot be checked here.
    #[error("this keyholder has no key to check proofs with: its operator must name a folder of keys from a ceremony")]
    NoProofKey,
    /// The person has another live dataset on the panel.
    #[error("the person of dataset {0} has another live dataset on this panel: revoke that one first")]
    PersonHasDataset(DatasetId),
    /// Parties see different things.
    #[error("keyholders disagree: {0}")]
    Disagreement(String),
    /// This keyholder's ledger went back.
    #[error(
        "the privacy ledger here has {now} answers but keyholder {peer} has seen {seen}: it was restored from an old copy and must not answer, restore the newest copy"
    )]
    Rollback {
        /// Who has seen more.
        peer: u32,
        /// Longest seen.
        seen: u64,
        /// Length now.
        now: u64,
    },
    /// The noise keys are not agreed yet.
    #[error("noise keys are not agreed yet: all keyholders must have been up once")]
    NoNoiseKeys,
    /// A settlement was made without this keyholder.
    #[error(
        "settlement {sequence} was made while this keyholder was down: import the table of earnings of a later one"
    )]
    PayoutsMissing {
        /// The settlement.
        sequence: u64,
        /// The last one whose payees are known.
        known: u64,
    },
    /// A table of earnings is not the one on the chain.
    #[error("the table of earnings does not give the payout root of settlement {0} on the chain: import another copy")]
    PayoutRoot(u64),
    /// The cohort on the chain is not the one of the answer.
    #[error("the cohort to settle on {0}: prove the cohort of this answer")]
    OtherCohort(&'static str),
    /// No attributes of the schema are known.
    #[error("nobody has attributes of this schema: list the schemas in use")]
    UnknownSchema,
    /// The filter is not one.
    #[error(transparent)]
    Filter(#[from] locus_phenotype::FilterError),
    /// The filter would need messages that are too long.
    #[error("a round of this filter needs {bytes} bytes, more than {bytes_max}: ask with a simpler filter")]
    RoundTooLong {
        /// Bytes that a keyholder would send.
        bytes: usize,
        /// Most that it sends.
        bytes_max: usize,
    },
    /// The noise of a sum of squares is out of range.
    #[error(
        "the noise on the squares of the trait would be too wide: ask with more rho, about fewer variants, or exactly"
    )]
    TraitTooNoisy,
    /// Too few people match.
    #[error("too few people match selection {0} of the filter: ask about more people")]
    TooFewMatch(usize),
    /// The check of authenticated shares fails.
    #[error(
        "a keyholder computed the filter falsely: nothing was opened; ask again, and tell the keyholders' operators if it happens again"
    )]
    Falsified,
    /// A message of another keyholder does not fit.
    #[error("round {round}: the message of keyholder {from} {what}")]
    Round {
        /// Number of the round.
        round: u32,
        /// Whose message.
        from: u8,
        /// What is wrong.
        what: &'static str,
    },
    /// The stream ended in the middle.
    #[error("the evaluation was cut off in round {0}: ask again")]
    CutOff(u32),
    /// The keyholder reads no ciphertexts.
    #[error(
        "this keyholder has no object store configured, so it answers no questions about selected people or disclosed variants"
    )]
    NoObjectStore,
    /// The ciphertexts cannot be read.
    #[error("ciphertexts: {0}")]
    Engine(#[from] locus_engine::EngineError),
    /// A step is missing.
    #[error("{0} must come first")]
    StepMissing(&'static str),
    /// Datasets whose commitments to ciphertexts are in registry trees.
    #[error("datasets of a market that settles on proven cohorts cannot be re-keyed: have them enrolled again")]
    RekeyingOfCommitted,
    /// Another generation of keys is next.
    #[error(
        "the order is for generation {ordered} of the registration's keys, generation {next} is next: order that one"
    )]
    OtherGeneration {
        /// The next.
        next: u8,
        /// What was ordered.
        ordered: u8,
    },
    /// A re-keying is not under way here, or another one is.
    #[error("this re-keying is not under way here: start it again")]
    RekeyingGone,
    /// A piece that its sender did not seal, or out of order.
    #[error("piece {0} of the re-keying is not what the other keyholder sent: start the re-keying again")]
    RekeyingPiece(u32),
    /// Attributes whose shares would follow from seeds that are gone.
    #[error(
        "the registration was re-keyed, so its attributes stay as they are: revoke it and enrol anew to change them"
    )]
    AttributesOfRekeyed,
    /// Not revoked.
    #[error("dataset {0} of the registration is not revoked: revoke it first")]
    NotRevoked(u32),
    /// The caller is not the registrant.
    #[error("only the registrant can ask for a statement")]
    NotRegistrant,
    /// What is to be answered cannot be recorded.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// A signed request is not taken.
    #[error(transparent)]
    Request(#[from] SeenError),
    /// The cohort may not be asked.
    #[error(transparent)]
    Cohort(#[from] CohortRefusal),
    /// The question may not be asked.
    #[error(transparent)]
    Plan(#[from] PlanRefusal),
    /// A seed package does not open.
    #[error("sealed seeds: {0}")]
    Sharing(#[from] SharingError),
    /// The ciphertext layer refuses.
    #[error(transparent)]
    Rlwe(#[from] locus_rlwe::RlweError),
    /// The storage refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The chain cannot be read.
    #[error("the chain cannot be read: {0}")]
    Chain(String),
}

impl ServiceError for KeyholderError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Malformed(_) | Self::Field(_) | Self::Order(_) | Self::OtherNetwork | Self::Sharing(_) => {
                ErrorCode::BadRequest
            }
            Self::Signature(_) | Self::Committee(_) | Self::NotRegistrant => ErrorCode::Forbidden,
            Self::Request(error) => error.code(),
            Self::Audit(_) => ErrorCode::Internal,
            Self::NotFinal(_) => ErrorCode::NotFound,
            Self::Disagreement(_)
            | Self::AnswerFinal
            | Self::Store(
                StoreError::ExactHistoryMoved
                | StoreError::AttemptUsed { .. }
                | StoreError::AttemptGone(_)
                | StoreError::EvaluationUsed(_)
                | StoreError::PreparedAnew
                | StoreError::RekeyingChanged,
            )
            | Self::RekeyingGone
            | Self::RekeyingPiece(_) => ErrorCode::Conflict,
            Self::CutOff(_) => ErrorCode::Unavailable,
            Self::Engine(error) if error.is_stale() => ErrorCode::Unavailable,
            // Bodies of keys that were replaced, until the archive has put the new ones there.
            Self::Engine(EngineError::Store(ObjectError::DatasetMismatch { .. })) => ErrorCode::Unavailable,
            Self::Engine(_) => ErrorCode::Internal,
            Self::Filter(_) | Self::RoundTooLong { .. } | Self::Round { .. } => ErrorCode::BadRequest,
            Self::NoNoiseKeys | Self::Chain(_) => ErrorCode::Unavailable,
            Self::Store(StoreError::Duplicate { .. }) => ErrorCode::AlreadyExists,
            Self::Store(
                StoreError::SeedsMissing(_)
                | StoreError::Privacy(_)
                | StoreError::OldRevision { .. }
                | StoreError::BeingRekeyed(_),
            ) => ErrorCode::Refused,
            Self::Store(_) => ErrorCode::Internal,
            _ => ErrorCode::Refused,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(_) | Self::Field(_) => "MALFORMED",
            Self::Order(_) => "STREAM_ORDER",
            Self::OtherNetwork => "OTHER_NETWORK",
            Self::Signature(_) => "BAD_SIGNATURE",
            Self::Committee(_) => "NOT_IN_COMMITTEE",
            Self::NotFinal(_) => "NOT_FINAL",
            Self::OrderClosed => "ORDER_CLOSED",
            Self::AnswerFinal => "ANSWER_FINAL",
            Self::OrderExpired => "ORDER_EXPIRED",
            Self::OrderMismatch(_) => "ORDER_MISMATCH",
            Self::Enrolment { .. } => "ENROLMENT_CHECK_FAILED",
            Self::Attributes { .. } => "ATTRIBUTES_REFUSED",
            Self::NoAttributes(_) => "NO_ATTRIBUTES",
            Self::Store(StoreError::AttemptUsed { .. }) => "ATTEMPT_USED",
            Self::Store(StoreError::AttemptGone(_)) => "ATTEMPT_GONE",
            Self::Store(StoreError::OldRevision { .. }) => "OLD_REVISION",
            Self::RekeyingOfCommitted => "REKEYING_OF_COMMITTED",
            Self::OtherGeneration { .. } => "OTHER_GENERATION",
            Self::RekeyingGone | Self::Store(StoreError::RekeyingChanged) => "REKEYING_GONE",
            Self::RekeyingPiece(_) => "REKEYING_PIECE",
            Self::AttributesOfRekeyed => "ATTRIBUTES_OF_REKEYED",
            Self::Store(StoreError::BeingRekeyed(_)) => "BEING_REKEYED",
            Self::Unproven => "UNPROVEN",
            Self::NoProofKey => "NO_PROOF_KEY",
            Self::PersonHasDataset(_) => "PERSON_HAS_DATASET",
            Self::Disagreement(_) | Self::Store(StoreError::ExactHistoryMoved | StoreError::PreparedAnew) => {
                "KEYHOLDERS_DISAGREE"
            }
            Self::Rollback { .. } => "LEDGER_ROLLBACK",
            Self::PayoutsMissing { .. } => "PAYOUTS_MISSING",
            Self::PayoutRoot(_) => "PAYOUT_ROOT",
            Self::OtherCohort(_) => "OTHER_COHORT",
            Self::NoNoiseKeys => "NOISE_KEYS_MISSING",
            Self::UnknownSchema => "UNKNOWN_SCHEMA",
            Self::Filter(_) => "FILTER_REFUSED",
            Self::RoundTooLong { .. } => "FILTER_TOO_LARGE",
            Self::TraitTooNoisy => "TRAIT_TOO_NOISY",
            Self::TooFewMatch(_) => "TOO_FEW_MATCH",
            Self::Falsified => "EVALUATION_FALSIFIED",
            Self::Round { .. } => "ROUND_REFUSED",
            Self::CutOff(_) => "CUT_OFF",
            Self::Store(StoreError::EvaluationUsed(_)) => "ATTEMPT_USED",
            Self::NoObjectStore => "NO_OBJECT_STORE",
            Self::Engine(_) => "CIPHERTEXTS",
            Self::StepMissing(_) => "STEP_MISSING",
            Self::NotRevoked(_) => "NOT_REVOKED",
            Self::NotRegistrant => "NOT_REGISTRANT",
            Self::Request(error) => error.reason(),
            Self::Audit(_) => "AUDIT_LOG",
            Self::Cohort(_) => "COHORT_REFUSED",
            Self::Plan(_) => "PLAN_REFUSED",
            Self::Sharing(_) => "SEEDS_REFUSED",
            Self::Rlwe(_) => "CIPHERTEXT_REFUSED",
            Self::Store(StoreError::Duplicate { .. }) => "DUPLICATE",
            Self::Store(StoreError::SeedsMissing(_)) => "SEEDS_MISSING",
            Self::Store(StoreError::Privacy(_)) => "PRIVACY_REFUSED",
            Self::Store(_) => "STORAGE",
            Self::Chain(_) => "CHAIN_UNREADABLE",
        }
    }
}
