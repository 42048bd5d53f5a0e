#![doc = include_str!("../SPEC.md")]

mod account;
pub mod disclosure;
mod domain;
pub mod enrol;
mod entropy;
mod erase;
mod error;
mod export;
mod files;
mod folder;
mod keystore;
mod network;
mod offer;
mod panel;
mod parallel;
pub mod payout;
mod progress;
pub mod proving;
#[cfg(test)]
mod refusing;
mod rekey;
mod request;
pub mod research;
mod service;
mod statement;
#[cfg(test)]
mod testing;

pub use account::{AccountState, account_state, claim, mint_test_tokens};
pub use entropy::EntropyError;
pub use erase::{Erasure, erase, revoke};
pub use error::ClientError;
pub use export::{OwnData, OwnEnrolment, OwnOffer, export_own_data};
pub use files::FileError;
pub use folder::DataFolder;
pub use keystore::{AccreditorKeys, Keystore, KeystoreError, KeystoreMetadata, NewKeys};
pub use network::{Network, NetworkChanged};
pub use offer::{
    ListedOffer, OfferTerms, RegistrationState, list_offers, post_offer, registration_state, registration_states,
    withdraw_offer,
};
pub use panel::{ListedPanel, fetch_panel, list_panels, publish_panel};
pub use progress::{NoProgress, Progress, Stage};
pub use rekey::{AttestedKeys, attest_new_keys, publish_new_keys};
pub use service::{CallError, ServiceChannels, Services};
pub use statement::{BudgetState, DatasetUse, Difference, Statement, statement};
