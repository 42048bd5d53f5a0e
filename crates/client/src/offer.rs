//! Price and terms of what was enrolled.

use crate::{
    error::ClientError,
    keystore::Keystore,
    network::Network,
    service::{FINALITY, Services, name, retrying, until_final},
};
use locus_commitment::{Address, Digest32};
use locus_genomics::{Condition, DataUse, PanelDigest};
use locus_ledger::{Audience, Demands, Offer, OfferPrices, RegistrationId, TierSet};
use locus_privacy::REKEYINGS_MAX;
use locus_wire::{
    convert::{FieldError, field},
    pb::exchange as pb,
};
use std::ops::Range;
use tonic::{Code, Response, Status};

/// Entries asked for at once.
const PAGE_SIZE: u32 = 500;
/// Most offers that are listed.
const OFFERS_MAX: usize = 100_000;

/// Price and terms of all datasets of a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferTerms {
    /// Price of one dataset in an answer, by kind of question.
    pub prices: OfferPrices,
    /// Conditions of use.
    pub data_use: DataUse,
    /// The disease that the conditions name.
    pub condition: Option<Condition>,
    /// Privacy tiers permitted.
    pub tiers: TierSet,
    /// Who may buy.
    pub audience: Audience,
    /// What questions must be.
    pub demands: Demands,
    /// The document that discloses something about the genome; see
    /// [`offer_disclosure`](crate::disclosure::offer_disclosure).
    pub disclosure: Option<Digest32>,
    /// Panel blocks on offer.
    pub blocks: Range<u32>,
    /// When the offer ends.
    pub expiry_unix_s: u64,
}

impl OfferTerms {
    fn offer(&self, registration: RegistrationId, nonce: u64) -> Offer {
        Offer {
            registration,
            prices: self.prices,
            data_use: self.data_use.bits(),
            tiers: self.tiers,
            audience: self.audience.clone(),
            block_start: self.blocks.start,
            block_end: self.blocks.end,
            condition_digest: Digest32(self.condition.as_ref().map_or([0; 32], Condition::digest)),
            demands: self.demands,
            disclosure_digest: self.disclosure.unwrap_or(Digest32([0; 32])),
            expiry_unix_s: self.expiry_unix_s,
            nonce,
        }
    }
}

/// A registration as the chain has it.
#[derive(Debug, Clone)]
pub struct RegistrationState {
    /// Its number.
    pub registration: RegistrationId,
    /// Who owns it.
    pub registrant: Address,
    /// Its panel.
    pub panel: PanelDigest,
    /// Version of its datasets.
    pub version: u32,
    /// Datasets in it.
    pub dataset_count: u32,
    /// Ordinals of the revoked ones, ascending.
    pub revoked: Vec<u32>,
    /// The offer that stands.
    pub offer: Option<Offer>,
    /// Nonce of the next offer or withdrawal.
    pub next_offer_nonce: u64,
    /// How often the datasets got other keys.
    pub generation: u8,
}

/// What the chain says about a registration.
///
/// # Errors
/// [`ClientError::NoRegistration`] when there is none that is final, [`ClientError::Call`].
pub async fn registration_state(
    services: &Services,
    registration: RegistrationId,
) -> Result<RegistrationState, ClientError> {
    match retrying(name::EXCHANGE, || get_registration(services, registration)).await {
        Ok(message) => checked_state(registration, message),
        Err(error) if error.code == Code::NotFound => Err(ClientError::NoRegistration(registration)),
        Err(error) => Err(error.into()),
    }
}

/// As [`registration_state`] of a registration that is known to be on the chain: waits until it is final.
///
/// # Errors
/// [`ClientError::Call`] when that takes longer than half an hour.
pub(crate) async fn final_registration_state(
    services: &Services,
    registration: RegistrationId,
) -> Result<RegistrationState, ClientError> {
    let message = until_final(name::EXCHANGE, || get_registration(services, registration)).await?;
    checked_state(registration, message)
}

/// The registrations that are final, oldest first.
///
/// # Errors
/// [`ClientError::Call`].
pub async fn registration_states(services: &Services) -> Result<Vec<RegistrationState>, ClientError> {
    let mut states = Vec::new();
    for registration in (1..).map(RegistrationId) {
        match registration_state(services, registration).await {
            Err(ClientError::NoRegistration(_)) => break,
            state => states.push(state?),
        }
    }
    Ok(states)
}

async fn get_registration(
    services: &Services,
    registration: RegistrationId,
) -> Result<Response<pb::GetRegistrationResponse>, Status> {
    let key = Some(pb::get_registration_request::Key::RegistrationId(registration.0));
    services.exchange.clone().get_registration(pb::GetRegistrationRequest { key, ordinal: None }).await
}

fn checked_state(
    registration: RegistrationId,
    message: pb::GetRegistrationResponse,
) -> Result<RegistrationState, ClientError> {
    parse_state(registration, message).map_err(|error| ClientError::Malformed { service: name::EXCHANGE, error })
}

fn parse_state(
    registration: RegistrationId,
    message: pb::GetRegistrationResponse,
) -> Result<RegistrationState, FieldError> {
    field::in_range("registration_id", message.registration_id, registration.0, registration.0)?;
    let dataset_count = u64::from(message.dataset_count);
    let generation = field::in_range("generation", message.generation, 0, u64::from(REKEYINGS_MAX))?;
    let generation = u8::try_from(generation).unwrap_or(REKEYINGS_MAX);
    let most = usize::try_from(message.dataset_count).unwrap_or(usize::MAX);
    Ok(RegistrationState {
        registration,
        registrant: field::address("registrant", &message.registrant)?,
        panel: PanelDigest(field::array("panel_digest", &message.panel_digest)?),
        version: message.version,
        dataset_count: message.dataset_count,
        revoked: field::ascending("revoked_ordinals", &message.revoked_ordinals, dataset_count, most)?,
        offer: message.offer.as_ref().map(Offer::try_from).transpose()?,
        next_offer_nonce: message.next_offer_nonce,
        generation,
    })
}

/// Posts an offer, replacing the one that stands; does nothing when these very terms stand already.
/// Returns the offer's nonce.
///
/// # Errors
/// [`ClientError::Call`] with the contract's reason.
pub async fn post_offer(
    services: &Services,
    network: &Network,
    keystore: &Keystore,
    registration: RegistrationId,
    terms: &OfferTerms,
) -> Result<u64, ClientError> {
    let state = registration_state(services, registration).await?;
    if let Some(standing) = &state.offer
        && *standing == terms.offer(registration, standing.nonce)
    {
        return Ok(standing.nonce);
    }
    let offer = terms.offer(registration, state.next_offer_nonce);
    let request = pb::PostOfferRequest {
        offer: Some((&offer).into()),
        signature: keystore.sign(&network.contracts().offer_signing_hash(&offer))?,
    };
    let call = || {
        let (mut exchange, request) = (services.exchange.clone(), request.clone());
        async move { exchange.post_offer(request).await }
    };
    if let Err(error) = retrying(name::EXCHANGE, call).await {
        // A try whose answer was lost may have succeeded.
        let stands = registration_state(services, registration).await?.offer.is_some_and(|standing| standing == offer);
        return if stands { Ok(offer.nonce) } else { Err(error.into()) };
    }
    wait_until(services, registration, |state| {
        state.offer.as_ref().is_some_and(|standing| standing.nonce >= offer.nonce)
    })
    .await?;
    Ok(offer.nonce)
}

/// Waits until services see a change that is on the chain: they rely on final blocks only. Gives up in
/// silence after the longest time that finality takes, because the change itself was made.
pub(crate) async fn wait_until(
    services: &Services,
    registration: RegistrationId,
    is_seen: impl Fn(&RegistrationState) -> bool,
) -> Result<(), ClientError> {
    let mut attempt = 1;
    while !is_seen(&final_registration_state(services, registration).await?) && FINALITY.pause_after(attempt).await {
        attempt += 1;
    }
    Ok(())
}

/// Takes a registration off the market. Datasets in running answers stay in them.
///
/// # Errors
/// [`ClientError::Call`] with the contract's reason.
pub async fn withdraw_offer(
    services: &Services,
    network: &Network,
    keystore: &Keystore,
    registration: RegistrationId,
) -> Result<(), ClientError> {
    // A withdrawal names the registration's present nonce, so that it ends exactly what is on offer now.
    let nonce = registration_state(services, registration).await?.next_offer_nonce.saturating_sub(1);
    let hash = network.contracts().withdrawal_signing_hash(registration, nonce);
    let request = pb::WithdrawOfferRequest { registration_id: registration.0, nonce, signature: keystore.sign(&hash)? };
    let call = || {
        let (mut exchange, request) = (services.exchange.clone(), request.clone());
        async move { exchange.withdraw_offer(request).await }
    };
    let is_withdrawn = |state: &RegistrationState| state.offer.as_ref().is_none_or(|offer| offer.nonce > nonce);
    if let Err(error) = retrying(name::EXCHANGE, call).await {
        // A try whose answer was lost may have succeeded.
        let state = registration_state(services, registration).await?;
        let succeeded = is_withdrawn(&state) && state.next_offer_nonce > nonce + 1;
        return if succeeded { Ok(()) } else { Err(error.into()) };
    }
    wait_until(services, registration, is_withdrawn).await
}

/// An offer as it is listed.
#[derive(Debug, Clone)]
pub struct ListedOffer {
    /// The offer.
    pub offer: Offer,
    /// Who is paid.
    pub registrant: Address,
    /// The panel.
    pub panel: PanelDigest,
    /// Datasets registered.
    pub dataset_count: u32,
    /// Of these, revoked.
    pub revoked_count: u32,
    /// Who vouches for them.
    pub accreditor: Option<Address>,
    /// Whether they are registered with proofs, as the exchange says.
    pub proven: bool,
}

/// Every offer that stands, oldest registration first; of one panel if it is given.
///
/// # Errors
/// [`ClientError::Call`] or [`ClientError::Malformed`].
pub async fn list_offers(services: &Services, panel: Option<PanelDigest>) -> Result<Vec<ListedOffer>, ClientError> {
    let mut offers = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListOffersRequest {
            panel_digest: panel.map(|panel| panel.0.to_vec()).unwrap_or_default().into(),
            page_size: PAGE_SIZE,
            page_token: page_token.clone(),
        };
        let call = || {
            let (mut exchange, request) = (services.exchange.clone(), request.clone());
            async move { exchange.list_offers(request).await }
        };
        let page = retrying(name::EXCHANGE, call).await?;
        for entry in &page.offers {
            let malformed = |error| ClientError::Malformed { service: name::EXCHANGE, error };
            offers.push(parse_entry(entry).map_err(malformed)?);
        }
        // A page without progress would go round in circles.
        let ends = page.next_page_token.is_empty() || page.next_page_token == page_token;
        if ends || page.offers.is_empty() || offers.len() >= OFFERS_MAX {
            return Ok(offers);
        }
        page_token = page.next_page_token;
    }
}

fn parse_entry(entry: &pb::list_offers_response::Entry) -> Result<ListedOffer, FieldError> {
    Ok(ListedOffer {
        offer: Offer::try_from(field::required("offer", &entry.offer)?)?,
        registrant: field::address("registrant", &entry.registrant)?,
        panel: PanelDigest(field::array("panel_digest", &entry.panel_digest)?),
        dataset_count: entry.dataset_count,
        revoked_count: entry.revoked_count,
        accreditor: field::optional_address("accreditor", &entry.accreditor)?,
        proven: entry.proven,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusing::services_refusing;

    #[tokio::test]
    async fn a_registration_that_does_not_exist_is_refused_at_once_with_advice() {
        let services = services_refusing(Code::NotFound);
        let refused = registration_state(&services, RegistrationId(99)).await.expect_err("none");
        assert!(matches!(refused, ClientError::NoRegistration(RegistrationId(99))), "{refused}");
        let text = refused.to_string();
        assert!(text.contains("no registration 99") && text.contains("locus export"), "{text}");
        // The end of the list is no error.
        assert_eq!(registration_states(&services).await.expect("listed").len(), 0);
    }
}
