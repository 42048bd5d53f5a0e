//! Why the client stops, in sentences that say what to do next.

use crate::{
    entropy::EntropyError, files::FileError, keystore::KeystoreError, network::NetworkChanged, service::CallError,
};
use locus_genomics::{PanelDecodeError, PanelDigest, SelectionError};
use locus_ledger::{Amount, OrderId, RegistrationId};
use locus_privacy::PrivacyError;
use locus_rlwe::RlweError;
use locus_sharing::SharingError;
use locus_wire::convert::FieldError;

/// Anything that can go wrong in the client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Keys are missing, exposed or damaged.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// A local file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// A service refused or cannot be reached.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A service sent something that cannot be right.
    #[error("the {service} sent an answer that cannot be right ({error}): it runs another version, or is not honest")]
    Malformed {
        /// The service.
        service: &'static str,
        /// What is wrong with it.
        error: FieldError,
    },
    /// The market is not the one seen before.
    #[error(transparent)]
    NetworkChanged(#[from] Box<NetworkChanged>),
    /// The system gives no randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// A panel file is damaged.
    #[error("the panel is damaged: {0}")]
    Panel(#[from] PanelDecodeError),
    /// The archive sent another panel.
    #[error("the archive sent something else than panel {wanted}: try again, or obtain the panel elsewhere")]
    OtherPanel {
        /// The panel asked for.
        wanted: PanelDigest,
    },
    /// Kind and filter of a question contradict each other.
    #[error("counts of whole cohorts have no filter, filtered counts one selection, associations several")]
    QueryClass,
    /// An association cannot be computed from an answer.
    #[error(transparent)]
    Association(#[from] crate::research::AssociationError),
    /// The market's privacy rules do not allow the question.
    #[error(transparent)]
    Privacy(#[from] PrivacyError),
    /// The noise of a sum of squares is out of range: every keyholder would refuse it.
    #[error(
        "the noise on the squares of the trait would be too wide: ask with more rho, about fewer variants, or exactly"
    )]
    TraitTooNoisy,
    /// The account holds less than it offers.
    #[error(
        "the account holds {held} tokens, the maximum price is {needed}: obtain more tokens (on a test network with \
         `locus fund`) or offer less"
    )]
    TooPoor {
        /// Tokens held.
        held: Amount,
        /// Tokens needed.
        needed: Amount,
    },
    /// No such registration, or not yet.
    #[error(
        "the market has no registration {} that is final: check the number (`locus export` lists yours); one made a moment \
         ago takes minutes on some chains",
        .0.0
    )]
    NoRegistration(RegistrationId),
    /// A keyholder's deletion receipt is not valid.
    #[error(
        "the deletion receipt of keyholder {keyholder} is not valid: do not rely on the erasure, report it to the market's operators"
    )]
    Receipt {
        /// The keyholder.
        keyholder: u8,
    },
    /// Ordinals that the registration does not have, or none.
    #[error("name at least one dataset of the registration, ordinals 0 to {last}")]
    Ordinals {
        /// Last ordinal.
        last: u32,
    },
    /// No keyholder gave a statement.
    #[error("no keyholder gave a statement; the first said: {first}")]
    NoStatement {
        /// What the first keyholder said.
        first: CallError,
    },
    /// The variants asked for are not a selection.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// Encryption or decryption failed.
    #[error(transparent)]
    Rlwe(#[from] RlweError),
    /// Sealing or opening failed.
    #[error(transparent)]
    Sharing(#[from] SharingError),
    /// What is enrolled cannot be enrolled.
    #[error(transparent)]
    Enrol(#[from] crate::enrol::EnrolError),
    /// Attributes cannot be given to a registration.
    #[error(transparent)]
    Attributes(#[from] crate::enrol::AttributeError),
    /// An answer does not hold what it must.
    #[error(transparent)]
    Answer(#[from] crate::research::AnswerError),
    /// A local record cannot be read.
    #[error("line {line} of {file} is not a record of this version: restore the file from a copy")]
    Record {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
    },
    /// Nothing local is known about an order.
    #[error("nothing is recorded here about order {0}: use the folder from which it was placed")]
    UnknownOrder(OrderId),
    /// A disclosure cannot be made or is not believed.
    #[error(transparent)]
    Disclosure(#[from] crate::disclosure::DisclosureError),
    /// Payouts do not fit.
    #[error(transparent)]
    Payout(#[from] Box<crate::payout::PayoutError>),
    /// The chain cannot be read.
    #[error(transparent)]
    Ledger(#[from] locus_ledger::LedgerError),
    /// Claims that cannot stand together.
    #[error(transparent)]
    Claims(#[from] locus_cohort::ClaimsError),
    /// A document for an offer that cannot be.
    #[error(transparent)]
    OfferDisclosure(#[from] locus_cohort::DisclosureRefusal),
    /// A proof cannot be made or a proving key not used.
    #[error(transparent)]
    Proofs(#[from] locus_proofs::ProofsError),
    /// A real network's proving key is not here.
    #[error("{} has no proving key of {circuit}: obtain the one that this market's ceremony published", folder.display())]
    ProvingKeyMissing {
        /// The circuit.
        circuit: &'static str,
        /// Where it was looked for.
        folder: std::path::PathBuf,
    },
    /// A local task was cut off.
    #[error("the work was interrupted: run the same command again")]
    Interrupted,
}

impl From<crate::payout::PayoutError> for ClientError {
    fn from(error: crate::payout::PayoutError) -> Self {
        Self::Payout(Box::new(error))
    }
}
