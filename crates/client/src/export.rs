//! Everything a contributor has, as one document to take along.

use crate::{
    account::account_state,
    enrol::{EnrolmentRecord, EnrolmentRecords},
    error::ClientError,
    keystore::Keystore,
    network::Network,
    offer::{RegistrationState, registration_state},
    service::Services,
};
use locus_genomics::DataUse;
use locus_ledger::RegistrationId;
use serde::Serialize;

/// Version of the document.
const FORMAT: u32 = 1;

/// A contributor's own data: what was enrolled from here, what the chain says about it, what it
/// earned. Genotypes and keys stay in their own files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OwnData {
    /// Version of the document.
    pub format: u32,
    /// When it was made.
    pub exported_unix_s: u64,
    /// Chain of the market.
    pub chain_id: u64,
    /// Registry of the market.
    pub registry: String,
    /// The account.
    pub account: String,
    /// Tokens held.
    pub balance: String,
    /// Everything ever earned.
    pub earned: String,
    /// Paid out so far.
    pub claimed: String,
    /// Everything enrolled from here.
    pub enrolments: Vec<OwnEnrolment>,
}

/// An enrolment with its present state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OwnEnrolment {
    /// What is recorded here.
    #[serde(flatten)]
    pub record: EnrolmentRecord,
    /// Ordinals that the chain has as revoked; absent before the registration is final, and in other markets.
    pub revoked_on_chain: Option<Vec<u32>>,
    /// The offer that stands.
    pub offer: Option<OwnOffer>,
}

/// An offer in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OwnOffer {
    /// Price of a dataset for counts, in tokens.
    pub price_counts: String,
    /// Conditions of use, as abbreviations of the Data Use Ontology.
    pub data_use: String,
    /// Tiers: bit 0 open, bit 1 vetted, bit 2 exact.
    pub tiers: u32,
    /// When it ends.
    pub expiry_unix_s: u64,
}

/// Collects everything about what was enrolled from `records`.
///
/// # Errors
/// [`ClientError::Call`] when the exchange cannot be reached, [`ClientError::Record`] for a damaged
/// file.
pub async fn export_own_data(
    services: &Services,
    network: &Network,
    keystore: &Keystore,
    records: &EnrolmentRecords,
    now_unix_s: u64,
) -> Result<OwnData, ClientError> {
    let account = account_state(services, keystore.address()).await?;
    let mut enrolments = Vec::new();
    for record in records.load()? {
        let state = chain_state(services, network, &record).await?;
        let offer = state.as_ref().and_then(|state| state.offer.as_ref()).map(|offer| OwnOffer {
            price_counts: offer.prices.counts.to_string(),
            data_use: DataUse::try_from_bits(offer.data_use).map(|terms| terms.to_string()).unwrap_or_default(),
            tiers: offer.tiers.0,
            expiry_unix_s: offer.expiry_unix_s,
        });
        enrolments.push(OwnEnrolment { record, revoked_on_chain: state.map(|state| state.revoked), offer });
    }
    Ok(OwnData {
        format: FORMAT,
        exported_unix_s: now_unix_s,
        chain_id: network.id().chain_id,
        registry: network.id().registry.to_string(),
        account: keystore.address().to_string(),
        balance: account.balance.to_string(),
        earned: account.earned.to_string(),
        claimed: account.claimed.to_string(),
        enrolments,
    })
}

/// What this market's chain says about an enrolment; nothing about those in other markets, and before it is final.
async fn chain_state(
    services: &Services,
    network: &Network,
    record: &EnrolmentRecord,
) -> Result<Option<RegistrationState>, ClientError> {
    let Some(number) = record.registration_id.filter(|_| record.is_of(&network.id())) else { return Ok(None) };
    match registration_state(services, RegistrationId(number)).await {
        Err(ClientError::NoRegistration(_)) => Ok(None),
        state => state.map(Some),
    }
}
