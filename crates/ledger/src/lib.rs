#![doc = include_str!("../SPEC.md")]

mod account;
mod amount;
mod bindings;
mod chain;
mod clock;
mod eip712;
mod embedded;
mod key_file;
mod ledger;
mod payouts;
mod proven;
mod requests;
mod types;
mod view;

pub use account::{AccountError, AccountKey, AccountSignature, SIGNATURE_BYTES, recover};
pub use amount::{Amount, AmountError};
pub use chain::{ChainConfig, ChainError, EmbeddedChain};
pub use clock::{Clock, SystemClock};
pub use eip712::{
    Contracts, DeploymentFile, ParseAddressError, PermitTerms, committed_leaves_hash, keys_hash, leaves_hash, order_id,
    parse_address, signed_leaves_hash,
};
pub use key_file::{KeyFileError, is_private_file, read_key_file};
pub use ledger::{
    BeforeSending, Chain, DeploymentConfig, Ledger, LedgerError, OrderStatus, PermitSignature, ProofDeployment,
    ProvenRegistry, RegisteredBatch, RegistrationSummary, SettlementSignatures, ShownSettlement, TokenFacts,
    TransactionOutcome, VerifierKey, deploy, deploy_with_proofs,
};
pub use payouts::{PayoutProof, PayoutTree};
pub use proven::{
    Ciphertexts, Cohort, CohortChoice, CohortEvidence, CohortId, CohortStatement, CohortStep, EVENT_WORDS,
    OperationQueue, PROOF_BYTES, QueuePlace, QueuedOperation, RootBatch, RootMove, RootSlice, TakenOperations,
    cohort_id, next_slices,
};
pub use requests::{
    AttributeStatement, RekeyRequest, RequestTerms, answer_request_hash, attribute_statement_hash, rekey_request_hash,
    statement_request_hash,
};
pub use types::{
    Audience, CommitteeMember, DatasetKeys, DatasetLeaf, Demands, Offer, OfferPrices, Order, OrderId, QueryClass,
    Registration, RegistrationId, Rekeying, Settlement, TierSet, tier_code, tier_from_code,
};
pub use view::{
    BlockRef, ChainView, EVENT_PAGE_BLOCKS, EventSource, LocatedEvent, MarketEvent, OrderRecord, OrderState,
    PanelRecord, RegistrationRecord, ViewError, ViewFollower, ViewUnavailable, read_events,
};
