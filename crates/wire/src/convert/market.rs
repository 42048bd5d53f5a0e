//! Registrations, offers and orders.

use super::{
    field::{self, FieldError, FieldErrorKind},
    genomics::{parse_purpose, parse_query_class, parse_tier, query_class_to_pb, tier_to_pb},
};
use crate::pb::genomics as pb;
use locus_commitment::Address;
use locus_genomics::{DataUse, PanelDigest};
use locus_ledger::{Audience, Demands, Offer, OfferPrices, Order, Registration, RegistrationId, TierSet};
use locus_privacy::{Rho, Tier};
use std::collections::BTreeSet;

/// Most accounts that an offer can name.
pub const NAMED_BUYERS_MAX: usize = 256;
/// All tiers.
const TIER_BITS: u32 = 0b111;

impl From<&Registration> for pb::Registration {
    fn from(registration: &Registration) -> Self {
        Self {
            registrant: registration.registrant.0.to_vec().into(),
            panel_digest: registration.panel.0.to_vec().into(),
            version: registration.version,
            batch_nonce: registration.batch_nonce,
            accreditor: registration.accreditor.map(|account| account.0.to_vec()).unwrap_or_default().into(),
            deadline_unix_s: registration.deadline_unix_s,
            leaves_hash: registration.leaves_hash.0.to_vec().into(),
        }
    }
}

impl TryFrom<&pb::Registration> for Registration {
    type Error = FieldError;

    fn try_from(message: &pb::Registration) -> Result<Self, FieldError> {
        Ok(Self {
            registrant: field::address("registration.registrant", &message.registrant)?,
            panel: PanelDigest(field::array("registration.panel_digest", &message.panel_digest)?),
            version: field::in_range("registration.version", message.version, 1, u64::from(u32::MAX))?,
            batch_nonce: message.batch_nonce,
            accreditor: field::optional_address("registration.accreditor", &message.accreditor)?,
            deadline_unix_s: message.deadline_unix_s,
            leaves_hash: field::digest("registration.leaves_hash", &message.leaves_hash)?,
        })
    }
}

impl From<&Offer> for pb::Offer {
    fn from(offer: &Offer) -> Self {
        let (audience, buyers) = match &offer.audience {
            Audience::Anyone => (pb::Audience::Anyone, Vec::new()),
            Audience::AccreditedResearchers => (pb::Audience::AccreditedResearchers, Vec::new()),
            Audience::Named(accounts) => (pb::Audience::NamedBuyers, accounts.iter().copied().collect()),
        };
        Self {
            registration_id: offer.registration.0,
            price_counts: field::amount_text(offer.prices.counts),
            price_filtered_counts: field::amount_text(offer.prices.filtered_counts),
            price_association: field::amount_text(offer.prices.association),
            data_use: offer.data_use,
            tiers: offer.tiers.0,
            audience: audience.into(),
            buyers: buyers.iter().map(|account: &Address| account.0.to_vec().into()).collect(),
            block_start: offer.block_start,
            block_end: offer.block_end,
            condition_digest: offer.condition_digest.0.to_vec().into(),
            demands: offer.demands.0,
            disclosure_digest: offer.disclosure_digest.0.to_vec().into(),
            expiry_unix_s: offer.expiry_unix_s,
            nonce: offer.nonce,
        }
    }
}

impl TryFrom<&pb::Offer> for Offer {
    type Error = FieldError;

    fn try_from(message: &pb::Offer) -> Result<Self, FieldError> {
        if message.block_start >= message.block_end {
            let (min, got) = (u64::from(message.block_start) + 1, u64::from(message.block_end));
            let kind = FieldErrorKind::OutOfRange { min, max: u64::from(u32::MAX), got };
            return Err(FieldError::new("offer.block_end", kind));
        }
        Ok(Self {
            registration: RegistrationId(message.registration_id),
            prices: OfferPrices {
                counts: field::amount("offer.price_counts", &message.price_counts)?,
                filtered_counts: field::amount("offer.price_filtered_counts", &message.price_filtered_counts)?,
                association: field::amount("offer.price_association", &message.price_association)?,
            },
            data_use: DataUse::try_from_bits(message.data_use)
                .map_err(|error| FieldError::refused("offer.data_use", error))?
                .bits(),
            tiers: parse_tiers(message.tiers)?,
            audience: parse_audience(message)?,
            block_start: message.block_start,
            block_end: message.block_end,
            condition_digest: field::digest("offer.condition_digest", &message.condition_digest)?,
            demands: field::flags("offer.demands", message.demands, Demands::ALL.0).map(Demands)?,
            disclosure_digest: field::digest("offer.disclosure_digest", &message.disclosure_digest)?,
            expiry_unix_s: message.expiry_unix_s,
            nonce: message.nonce,
        })
    }
}

fn parse_tiers(bits: u32) -> Result<TierSet, FieldError> {
    if bits == 0 {
        return Err(FieldError::new("offer.tiers", FieldErrorKind::Missing));
    }
    field::flags("offer.tiers", bits, TIER_BITS).map(TierSet)
}

fn parse_audience(message: &pb::Offer) -> Result<Audience, FieldError> {
    let unknown = || FieldError::new("offer.audience", FieldErrorKind::UnknownValue(message.audience));
    let audience = pb::Audience::try_from(message.audience).map_err(|_| unknown())?;
    if audience == pb::Audience::NamedBuyers {
        return parse_buyers(message).map(Audience::Named);
    }
    let parsed = match audience {
        pb::Audience::Anyone => Audience::Anyone,
        pb::Audience::AccreditedResearchers => Audience::AccreditedResearchers,
        pb::Audience::NamedBuyers | pb::Audience::Unspecified => return Err(unknown()),
    };
    if message.buyers.is_empty() {
        Ok(parsed)
    } else {
        Err(FieldError::refused("offer.buyers", "buyers are named only for the audience of named buyers"))
    }
}

fn parse_buyers(message: &pb::Offer) -> Result<BTreeSet<Address>, FieldError> {
    let (max, got) = (NAMED_BUYERS_MAX, message.buyers.len());
    if got > max {
        return Err(FieldError::new("offer.buyers", FieldErrorKind::TooLong { max, got }));
    }
    let buyers =
        message.buyers.iter().map(|bytes| field::address("offer.buyers", bytes)).collect::<Result<Vec<_>, _>>()?;
    // One order only: the signature covers the list as it stands.
    if !buyers.is_sorted_by(|left, right| left < right) {
        return Err(FieldError::new("offer.buyers", FieldErrorKind::NotAscending));
    }
    if buyers.is_empty() {
        return Err(FieldError::new("offer.buyers", FieldErrorKind::Missing));
    }
    Ok(buyers.into_iter().collect())
}

impl From<&Order> for pb::Order {
    fn from(order: &Order) -> Self {
        Self {
            researcher: order.researcher.0.to_vec().into(),
            panel_digest: order.panel.0.to_vec().into(),
            selection_digest: order.selection_digest.0.to_vec().into(),
            predicate_digest: order.predicate_digest.0.to_vec().into(),
            query_class: query_class_to_pb(order.query_class).into(),
            purpose: order.purpose,
            condition_digest: order.condition_digest.0.to_vec().into(),
            tier: tier_to_pb(order.tier).into(),
            rho_nano: order.rho.as_nano(),
            max_price: field::amount_text(order.max_price),
            hpke_key_digest: order.hpke_key_digest.0.to_vec().into(),
            deadline_unix_s: order.deadline_unix_s,
            nonce: order.nonce,
        }
    }
}

impl TryFrom<&pb::Order> for Order {
    type Error = FieldError;

    fn try_from(message: &pb::Order) -> Result<Self, FieldError> {
        let tier = parse_tier("order.tier", message.tier)?;
        Ok(Self {
            researcher: field::address("order.researcher", &message.researcher)?,
            panel: PanelDigest(field::array("order.panel_digest", &message.panel_digest)?),
            selection_digest: field::digest("order.selection_digest", &message.selection_digest)?,
            predicate_digest: field::digest("order.predicate_digest", &message.predicate_digest)?,
            query_class: parse_query_class("order.query_class", message.query_class)?,
            purpose: parse_purpose("order.purpose", message.purpose)?.to_bits(),
            condition_digest: field::digest("order.condition_digest", &message.condition_digest)?,
            tier,
            rho: parse_rho("order.rho_nano", tier, message.rho_nano)?,
            max_price: field::amount("order.max_price", &message.max_price)?,
            hpke_key_digest: field::digest("order.hpke_key_digest", &message.hpke_key_digest)?,
            deadline_unix_s: message.deadline_unix_s,
            nonce: message.nonce,
        })
    }
}

/// The privacy loss asked for in a tier: zero in the exact tier, which adds no noise, and more than
/// zero in the others.
///
/// # Errors
/// [`FieldErrorKind::OutOfRange`].
pub fn parse_rho(field: &'static str, tier: Tier, rho_nano: u64) -> Result<Rho, FieldError> {
    let (min, max) = if tier == Tier::Exact { (0, 0) } else { (1, u64::MAX) };
    field::in_range(field, rho_nano, min, max).map(Rho::from_nano)
}

#[cfg(test)]
mod tests;
