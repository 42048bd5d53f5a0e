//! Why the archive refuses.

use crate::upload::sequence::SequenceError;
use locus_cohort::DisclosureRefusal;
use locus_commitment::Digest32;
use locus_genomics::{PanelDecodeError, PanelDigest};
use locus_ledger::{LedgerError, RegistrationId, ViewUnavailable};
use locus_service::{ErrorCode, ServiceError};
use locus_sharing::KeyholderIndex;
use locus_store::StoreError;
use locus_wire::convert::FieldError;
use tonic::Status;

/// Which commitment of a dataset is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Commitment {
    /// H(b).
    Bodies,
    /// The key shares.
    Shares,
    /// The genotypes.
    Genotypes,
    /// The dataset's id.
    Dataset,
    /// The person.
    Person,
}

impl std::fmt::Display for Commitment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bodies => "ciphertexts",
            Self::Shares => "key shares",
            Self::Genotypes => "genotype commitment",
            Self::Dataset => "dataset id",
            Self::Person => "person",
        })
    }
}

/// Everything a call can be refused for.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A message is out of order or has the wrong length.
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    /// A field is malformed.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// Attributes that are not the next ones.
    #[error(
        "attributes for keyholder {keyholder} must go on with dataset {next} of {datasets}: send those of every dataset once, by ordinal"
    )]
    AttributeOrder {
        /// Whom they are for.
        keyholder: KeyholderIndex,
        /// The ordinal expected.
        next: u32,
        /// Datasets of the registration.
        datasets: u32,
    },
    /// A header after the first message.
    #[error("the header of attributes comes once: send nothing but chunks after it")]
    SecondHeader,
    /// A schema of which nobody has attributes.
    #[error("no dataset has attributes of schema {0}: see the list of schemas")]
    UnknownSchema(Digest32),
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
        ordered: u32,
    },
    /// Nobody is left to get new keys.
    #[error("every dataset of registration {0} is revoked: there is nothing to re-key")]
    AllRevoked(RegistrationId),
    /// Keyholders computed different keys.
    #[error("the keyholders computed different new keys, so one of them or its storage is wrong: see their logs")]
    RekeyingDiffers,
    /// Bodies that are not the next ones.
    #[error("keyholder 1 sent other bodies than the next: start the re-keying again")]
    RekeyedBodies,
    /// A message without content.
    #[error("message has no content: send one of its parts")]
    EmptyMessage,
    /// A chunk of a panel is larger than a message may be.
    #[error("panel chunk has {0} bytes: send at most 1048576 in one message")]
    PanelChunkTooLarge(usize),
    /// A panel larger than this archive takes.
    #[error("panel has more than {0} bytes, the limit of this archive: split it")]
    PanelTooLarge(u64),
    /// Bytes that are not a panel.
    #[error("panel is not a canonical panel file: {0}; build it with `locus panel build`")]
    Panel(#[from] PanelDecodeError),
    /// No room for more panels.
    #[error("this archive keeps {0} panels and takes no more: ask its operator")]
    PanelsFull(u32),
    /// A panel that nobody put here.
    #[error("panel {0} is not in this archive: put it first")]
    UnknownPanel(PanelDigest),
    /// A disclosure that does not hold.
    #[error(transparent)]
    Disclosure(#[from] DisclosureRefusal),
    /// A disclosure of a dataset that is revoked.
    #[error("the dataset of registration {0} is revoked: it discloses nothing any more")]
    DisclosureOfRevoked(RegistrationId),
    /// No room for more disclosures.
    #[error("registration {registration} has {count_max} disclosures, the limit of this archive: offer one of these")]
    DisclosuresFull {
        /// The registration.
        registration: RegistrationId,
        /// How many it may have.
        count_max: usize,
    },
    /// A disclosure that nobody put here.
    #[error("disclosure {0} is not in this archive: put it first")]
    UnknownDisclosure(Digest32),
    /// A panel that is not final on the chain.
    #[error("panel {0} is not final on the chain yet: publish it with the exchange, then retry")]
    PanelNotPublished(PanelDigest),
    /// The batch is for another market.
    #[error("the batch names another market: check the network id")]
    OtherNetwork,
    /// The time to register the batch is over or too far away.
    #[error(
        "registration deadline {deadline} is not between now ({now}) and {latest}: sign again with another deadline"
    )]
    Deadline {
        /// Deadline of the batch, seconds since the epoch.
        deadline: u64,
        /// The archive's time.
        now: u64,
        /// Latest deadline accepted.
        latest: u64,
    },
    /// Too many uploads at the same time.
    #[error("{0} uploads are under way, the limit of this archive: retry in a minute")]
    TooManyUploads(u32),
    /// The uploader stopped sending.
    #[error("nothing came for {0} seconds: upload again")]
    Idle(u64),
    /// The upload's stream broke.
    #[error("the upload broke off: {0}; upload again")]
    Broken(String),
    /// A dataset is not what its record says.
    #[error("dataset {ordinal} of the batch has a {what} that does not follow from the upload: encrypt it again")]
    Mismatch {
        /// Which dataset.
        ordinal: u32,
        /// What does not fit.
        what: Commitment,
    },
    /// Two datasets of the batch share something that must be their own.
    #[error("datasets {first} and {second} of the batch have the same {what}: leave one out")]
    DuplicateInBatch {
        /// The earlier one.
        first: u32,
        /// The later one.
        second: u32,
        /// What they share.
        what: Commitment,
    },
    /// A dataset repeats something of a registered one.
    #[error(
        "the {what} of dataset {ordinal} is already registered ({registration}/{registered}): a dataset is registered once"
    )]
    AlreadyRegistered {
        /// Which dataset of the batch.
        ordinal: u32,
        /// What it repeats.
        what: Commitment,
        /// The registration that has it.
        registration: RegistrationId,
        /// Its place there.
        registered: u32,
    },
    /// Nobody vouches for the datasets, and nothing proves them.
    #[error(
        "datasets without an accreditor need proofs: enrol them with a client that proves, or have them accredited"
    )]
    Unproven,
    /// Proofs cannot be checked here.
    #[error("this archive has no key to check proofs with: its operator must name a folder of keys from a ceremony")]
    NoProofKey,
    /// A proof is refused.
    #[error(
        "dataset {ordinal} of the batch, panel block {block}: {source}; encrypt and prove it again with this market's proving key"
    )]
    Proof {
        /// Which dataset.
        ordinal: u32,
        /// Panel block of the body.
        block: u32,
        /// Why.
        source: locus_proofs::ProofsError,
    },
    /// Commitments to ciphertexts are false.
    #[error("the batch's commitments to its ciphertexts are not all those of the bodies: encrypt and commit again")]
    CiphertextCommitments,
    /// A signature does not verify.
    #[error("the signature of the {0} does not verify: sign the registration again with the right key")]
    Signature(&'static str),
    /// The accreditor is not on the market's list.
    #[error(
        "the accreditor is not on the market's list: have the market's operator list it (`locus up --accreditor ACCOUNT=NAME`), ask another one to sign, or leave it out"
    )]
    Accreditor,
    /// A keyholder refused or cannot be reached.
    #[error("keyholder {keyholder}: {}", status.message())]
    Keyholder {
        /// Which one.
        keyholder: KeyholderIndex,
        /// What it answered.
        status: Status,
    },
    /// A keyholder took too long.
    #[error("keyholder {keyholder} did not answer within {seconds} seconds: retry")]
    KeyholderSlow {
        /// Which one.
        keyholder: KeyholderIndex,
        /// How long the archive waited.
        seconds: u64,
    },
    /// A keyholder's message is not what the protocol demands.
    #[error("keyholder {keyholder} sent {what}: its operator must look at it")]
    KeyholderMessage {
        /// Which one.
        keyholder: KeyholderIndex,
        /// What is wrong.
        what: &'static str,
    },
    /// The committee on the chain is incomplete.
    #[error("the chain names no keyholder {0} yet: retry when the market is set up")]
    NoCommittee(u8),
    /// A registration that is not final.
    #[error("registration {0} is not final on the chain yet: retry")]
    UnknownRegistration(RegistrationId),
    /// A registration whose batch is not here.
    #[error("the batch of registration {0} was not uploaded to this archive")]
    NeverUploaded(RegistrationId),
    /// A dataset that is still live.
    #[error("dataset {ordinal} of registration {registration} is not revoked: revoke it first")]
    NotRevoked {
        /// The registration.
        registration: RegistrationId,
        /// The dataset.
        ordinal: u32,
    },
    /// New keys of datasets that are to be erased may still come into force.
    #[error(
        "registration {registration} is being re-keyed: the present bodies are removed, the new ones wait until its new keys are on the chain or block time {deadline_unix_s} has passed; call again then"
    )]
    BeingRekeyed {
        /// The registration.
        registration: RegistrationId,
        /// Deadline of the new keys, seconds since the epoch.
        deadline_unix_s: u64,
    },
    /// Ordinals that are not ascending, none, too many, or past the registration's end.
    #[error("ordinals must be ascending, 1 to 4096 of them, and below the registration's {0} datasets")]
    Ordinals(u32),
    /// A registry slot past what can be stored.
    #[error("registry slot {0} is past what the store can address")]
    Slot(u64),
    /// Bodies are gone, but not every keyholder has destroyed its seeds.
    #[error("bodies are removed, but {source}; call again for the missing receipts")]
    SeedsRemain {
        /// Why a receipt is missing.
        source: Box<ArchiveError>,
    },
    /// The chain cannot be read.
    #[error(transparent)]
    Chain(#[from] ViewUnavailable),
    /// A call of the chain failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The object store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The local database failed.
    #[error("archive database: {0}")]
    Database(#[from] Box<redb::Error>),
    /// A local file failed.
    #[error("local scratch file: {0}; check permissions and free space")]
    Scratch(#[from] std::io::Error),
    /// A local record is not what was written.
    #[error("archive database holds a damaged {0} record: restore it from a backup")]
    DamagedRecord(&'static str),
    /// The system has no randomness.
    #[error("the operating system gives no random bytes: {0}")]
    Randomness(#[from] getrandom::Error),
}

impl From<redb::Error> for ArchiveError {
    fn from(error: redb::Error) -> Self {
        Self::Database(Box::new(error))
    }
}

impl ServiceError for ArchiveError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Sequence(_)
            | Self::Field(_)
            | Self::EmptyMessage
            | Self::AttributeOrder { .. }
            | Self::SecondHeader
            | Self::PanelChunkTooLarge(_)
            | Self::PanelTooLarge(_)
            | Self::Panel(_)
            | Self::OtherNetwork
            | Self::Deadline { .. }
            | Self::Ordinals(_) => ErrorCode::BadRequest,
            Self::PanelsFull(_) | Self::TooManyUploads(_) => ErrorCode::Busy,
            Self::UnknownPanel(_)
            | Self::UnknownRegistration(_)
            | Self::UnknownSchema(_)
            | Self::UnknownDisclosure(_)
            | Self::Disclosure(DisclosureRefusal::UnknownRegistration(_)) => ErrorCode::NotFound,
            Self::Disclosure(DisclosureRefusal::Format | DisclosureRefusal::Claims(_)) => ErrorCode::BadRequest,
            Self::PanelNotPublished(_) | Self::NoCommittee(_) => ErrorCode::Conflict,
            Self::Idle(_) | Self::KeyholderSlow { .. } => ErrorCode::Timeout,
            Self::Broken(_) => ErrorCode::Unavailable,
            Self::Mismatch { .. }
            | Self::DuplicateInBatch { .. }
            | Self::Unproven
            | Self::NoProofKey
            | Self::Proof { .. }
            | Self::CiphertextCommitments
            | Self::Disclosure(_)
            | Self::DisclosureOfRevoked(_)
            | Self::DisclosuresFull { .. }
            | Self::Signature(_)
            | Self::Accreditor
            | Self::NeverUploaded(_)
            | Self::NotRevoked { .. }
            | Self::RekeyingOfCommitted
            | Self::OtherGeneration { .. }
            | Self::AllRevoked(_)
            | Self::BeingRekeyed { .. }
            | Self::Slot(_) => ErrorCode::Refused,
            Self::AlreadyRegistered { .. } => ErrorCode::AlreadyExists,
            Self::Keyholder { status, .. } => ErrorCode::of_status(status),
            Self::KeyholderMessage { .. } | Self::RekeyingDiffers | Self::RekeyedBodies => ErrorCode::Conflict,
            Self::SeedsRemain { source } => source.code(),
            Self::Chain(error) if error.untrustworthy => ErrorCode::Internal,
            Self::Chain(_) | Self::Ledger(LedgerError::Transport(_)) => ErrorCode::Unavailable,
            Self::Store(error) => store_code(error),
            Self::Ledger(_) | Self::Database(_) | Self::Scratch(_) | Self::DamagedRecord(_) | Self::Randomness(_) => {
                ErrorCode::Internal
            }
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Sequence(_) | Self::AttributeOrder { .. } | Self::SecondHeader => "UPLOAD_ORDER",
            Self::UnknownSchema(_) => "SCHEMA_UNKNOWN",
            Self::Field(_) | Self::EmptyMessage => "MALFORMED",
            Self::PanelChunkTooLarge(_) | Self::PanelTooLarge(_) => "PANEL_TOO_LARGE",
            Self::Panel(_) => "PANEL_MALFORMED",
            Self::PanelsFull(_) => "PANELS_FULL",
            Self::UnknownPanel(_) => "PANEL_UNKNOWN",
            Self::Disclosure(_) | Self::DisclosureOfRevoked(_) => "DISCLOSURE_REFUSED",
            Self::DisclosuresFull { .. } => "DISCLOSURES_FULL",
            Self::UnknownDisclosure(_) => "DISCLOSURE_UNKNOWN",
            Self::PanelNotPublished(_) => "PANEL_NOT_PUBLISHED",
            Self::OtherNetwork => "OTHER_NETWORK",
            Self::Deadline { .. } => "DEADLINE",
            Self::TooManyUploads(_) => "TOO_MANY_UPLOADS",
            Self::Idle(_) => "UPLOAD_IDLE",
            Self::Broken(_) => "UPLOAD_BROKEN",
            Self::Mismatch { .. } => "DATASET_MISMATCH",
            Self::DuplicateInBatch { .. } => "DATASET_DUPLICATE",
            Self::AlreadyRegistered { .. } => "DATASET_REGISTERED",
            Self::Unproven => "UNPROVEN",
            Self::NoProofKey => "NO_PROOF_KEY",
            Self::Proof { .. } => "PROOF_REFUSED",
            Self::CiphertextCommitments => "COMMITMENT_REFUSED",
            Self::Signature(_) => "SIGNATURE",
            Self::Accreditor => "ACCREDITOR_UNKNOWN",
            Self::Keyholder { .. } => "KEYHOLDER_REFUSED",
            Self::KeyholderSlow { .. } => "KEYHOLDER_SLOW",
            Self::KeyholderMessage { .. } => "KEYHOLDER_MESSAGE",
            Self::RekeyingOfCommitted => "REKEYING_OF_COMMITTED",
            Self::OtherGeneration { .. } => "OTHER_GENERATION",
            Self::AllRevoked(_) => "ALL_REVOKED",
            Self::RekeyingDiffers => "KEYHOLDERS_DISAGREE",
            Self::RekeyedBodies => "REKEYED_BODIES",
            Self::NoCommittee(_) => "NO_COMMITTEE",
            Self::UnknownRegistration(_) => "REGISTRATION_UNKNOWN",
            Self::NeverUploaded(_) => "NEVER_UPLOADED",
            Self::NotRevoked { .. } => "NOT_REVOKED",
            Self::BeingRekeyed { .. } => "BEING_REKEYED",
            Self::Ordinals(_) => "ORDINALS",
            Self::Slot(_) => "SLOT_LIMIT",
            Self::SeedsRemain { .. } => "SEEDS_REMAIN",
            Self::Chain(_) | Self::Ledger(_) => "CHAIN_UNAVAILABLE",
            Self::Store(_) => "STORE",
            Self::Database(_) | Self::DamagedRecord(_) => "DATABASE",
            Self::Scratch(_) => "SCRATCH_FILE",
            Self::Randomness(_) => "RANDOMNESS",
        }
    }
}

/// Storage that is away may come back; storage that is wrong needs its operator.
fn store_code(error: &StoreError) -> ErrorCode {
    match error {
        StoreError::Backend { .. } | StoreError::Interrupted => ErrorCode::Unavailable,
        StoreError::Contended(_) | StoreError::Collected(_) => ErrorCode::Conflict,
        _ => ErrorCode::Internal,
    }
}
