//! Why a call of a contract fails.

use crate::bindings;
use alloy_sol_types::SolInterface as _;
use alloy_transport::TransportError;
use locus_commitment::Digest32;

/// Why the ledger refuses or cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The endpoint is not a URL that this client can use.
    #[error(
        "{0:?} is no address of a chain node: write for example http://127.0.0.1:8545 or https://chain.example.org"
    )]
    BadUrl(String),
    /// A contract refused; nothing changed.
    #[error("the contract refuses: {reason}")]
    Refused {
        /// Name of the contract's error, for example `QueryEscrowNotOpen`.
        name: String,
        /// The error with its arguments.
        reason: String,
    },
    /// The transaction was included and reverted; nothing changed but the sender's nonce.
    #[error("transaction {0} was included but reverted: another transaction came first, look again and retry")]
    Reverted(Digest32),
    /// The connection has no account to send from.
    #[error("this connection can only read: open it with an account key")]
    NoSender,
    /// The chain has another id than the deployment.
    #[error("the chain has id {found}, the deployment is on {expected}: connect to the right node")]
    OtherChain {
        /// Id of the deployment.
        expected: u64,
        /// Id of the chain.
        found: u64,
    },
    /// A contract answered with something else than its interface says.
    #[error("the contract's answer cannot be read: is this the right contract address")]
    UnexpectedAnswer,
    /// The transaction was sent, but nobody saw it included in time. Sending the same message again
    /// is safe: contracts execute a signed message at most once.
    #[error("transaction {transaction} was not included in time: look it up, then send the same message again")]
    NoReceipt {
        /// The transaction.
        transaction: Digest32,
    },
    /// What is told of transactions failed, so this one was not sent.
    #[error("the transaction was not sent, because it could not be recorded: {0}")]
    Unrecorded(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The chain node does not answer.
    #[error("the chain node does not answer in time: try again, or connect to another node")]
    TooSlow,
    /// The account's key could not sign a transaction.
    #[error("the account's key could not sign the transaction")]
    Sign,
    /// The node cannot be reached or answers with an error.
    #[error("the chain node fails: {0}")]
    Transport(#[source] Box<TransportError>),
    /// A value read from the chain is outside of the protocol's rules.
    #[error("the chain holds a value outside of the protocol's rules: {0}")]
    Value(&'static str),
}

impl LedgerError {
    /// Name of the contract error, when a contract refused.
    pub fn refusal(&self) -> Option<&str> {
        match self {
            Self::Refused { name, .. } => Some(name),
            _ => None,
        }
    }

    /// Whether a node refuses to return so many logs at once. There is no agreed code: -32005 is the
    /// commonest, and the others are known by their words.
    pub(super) fn is_too_many_logs(&self) -> bool {
        const LIMIT_EXCEEDED: i64 = -32005;
        const WORDS: [&str; 5] = ["too many", "more than", "limit", "block range", "response size"];
        let Self::Transport(error) = self else { return false };
        let Some(response) = error.as_error_resp() else { return false };
        let message = response.message.to_lowercase();
        response.code == LIMIT_EXCEEDED || WORDS.iter().any(|word| message.contains(word))
    }
}

impl From<TransportError> for LedgerError {
    fn from(error: TransportError) -> Self {
        let data = error.as_error_resp().and_then(|response| response.as_revert_data());
        match data.and_then(|data| describe(&data)) {
            Some((name, reason)) => Self::Refused { name, reason },
            None => Self::Transport(Box::new(error)),
        }
    }
}

/// Name and text of a custom error.
fn describe(data: &[u8]) -> Option<(String, String)> {
    macro_rules! try_contract {
        ($($errors:ty),*) => {
            $(if let Ok(error) = <$errors>::abi_decode(data) {
                let reason = format!("{error:?}");
                let name = reason.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
                return Some((name.to_owned(), reason));
            })*
        };
    }
    try_contract!(
        bindings::registry::DatasetRegistry::DatasetRegistryErrors,
        bindings::offers::OfferBook::OfferBookErrors,
        bindings::escrow::QueryEscrow::QueryEscrowErrors,
        bindings::verifier::CommitteeVerifier::CommitteeVerifierErrors,
        bindings::roots::RegistryRoots::RegistryRootsErrors,
        bindings::cohorts::CohortVerifier::CohortVerifierErrors,
        bindings::groth16::Groth16Verifier::Groth16VerifierErrors,
        bindings::token::LocusToken::LocusTokenErrors
    );
    None
}
