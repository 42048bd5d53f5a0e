//! Why the client stops, in sentences that say what to do next.

use crate::{
    entropy::EntropyError, files::FileError, keystore::KeystoreError, network::NetworkChanged, service::CallError,
};
use locus_genomics::{PanelDecodeError, SelectionError};
use locus_ledger::OrderId;
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
    /// A local task was cut off.
    #[error("the work was interrupted: run the same command again")]
    Interrupted,
}
