//! `locus offer` and `locus offers`.

use crate::{
    cli::{OfferArgs, OffersArgs, TermsArgs},
    context::{Context, now_unix_s, tiers},
    error::CommandError,
};
use locus_client::{ListedOffer, OfferTerms, list_offers, post_offer, registration_state};
use locus_genomics::{DataUse, Panel};
use locus_ledger::{Amount, Audience, OfferPrices, RegistrationId, TierSet};
use locus_privacy::Tier;
use serde_json::{Value, json};

const SECONDS_PER_DAY: u64 = 86_400;

/// The terms of a whole panel. The kinds of question that no service answers yet cost what counts
/// cost, so that nothing has to be signed again when they come.
pub(super) fn offer_terms(args: &TermsArgs, panel: &Panel) -> Result<OfferTerms, CommandError> {
    terms_of_blocks(args, panel.block_count())
}

fn terms_of_blocks(args: &TermsArgs, block_count: u32) -> Result<OfferTerms, CommandError> {
    let data_use = DataUse::try_new(args.terms.iter().copied())?;
    if data_use.needs_condition() != args.condition.is_some() {
        let advice =
            if data_use.needs_condition() { "name the disease with --condition" } else { "leave --condition out" };
        return Err(CommandError::Usage(format!(
            "the terms {data_use} and the condition do not go together: {advice}"
        )));
    }
    let audience = if args.accredited_only {
        Audience::AccreditedResearchers
    } else if args.buyer.is_empty() {
        Audience::Anyone
    } else {
        Audience::Named(args.buyer.iter().copied().collect())
    };
    let tiers = TierSet::of(&tiers(&args.tier));
    let unsaid = if tiers.contains(Tier::Exact) { Amount::ZERO } else { args.price };
    let filtered = args.filtered_price.unwrap_or(unsaid);
    Ok(OfferTerms {
        prices: OfferPrices { counts: args.price, filtered_counts: filtered, association: filtered },
        data_use,
        condition: args.condition.clone(),
        tiers,
        audience,
        blocks: 0..block_count,
        expiry_unix_s: now_unix_s().saturating_add(u64::from(args.days) * SECONDS_PER_DAY),
    })
}

/// Replaces the offer of a registration.
pub(super) async fn offer(args: &OfferArgs, context: &Context) -> Result<(), CommandError> {
    let keystore = context.keystore()?;
    let services = context.services()?;
    let network = context.network(&services).await?;
    let registration = RegistrationId(args.registration);
    let state = registration_state(&services, registration).await?;
    let panel = context.panel(&state.panel.to_string(), &services).await?;
    let terms = offer_terms(&args.terms, &panel)?;
    let nonce = post_offer(&services, &network, &keystore, registration, &terms).await?;
    let value = json!({ "registration": registration.0, "offer_nonce": nonce });
    context.output.result(&value, || format!("registration {}: offer {nonce} stands\n", registration.0))
}

/// Lists offers.
pub(super) async fn list(args: &OffersArgs, context: &Context) -> Result<(), CommandError> {
    let services = context.services()?;
    let panel = match &args.panel {
        Some(panel) => Some(context.panel(panel, &services).await?.digest()),
        None => None,
    };
    let offers = list_offers(&services, panel).await?;
    let value: Value = offers.iter().map(describe).collect();
    context.output.result(&value, || {
        if offers.is_empty() {
            return "nothing is on offer\n".to_owned();
        }
        let mut table = crate::demo::table(&[
            "registration",
            "people",
            "price",
            "filtered",
            "tiers",
            "terms",
            "buyers",
            "vouched by",
            "panel",
        ]);
        for listed in &offers {
            table.add_row(row(listed));
        }
        table.to_string()
    })
}

fn row(listed: &ListedOffer) -> Vec<String> {
    let offer = &listed.offer;
    vec![
        offer.registration.0.to_string(),
        (listed.dataset_count - listed.revoked_count.min(listed.dataset_count)).to_string(),
        offer.prices.counts.to_string(),
        match offer.prices.filtered_counts {
            Amount::ZERO => "not sold".to_owned(),
            price => price.to_string(),
        },
        tier_names(offer.tiers).join(" "),
        data_use_words(offer.data_use),
        audience_words(&offer.audience),
        listed.accreditor.map_or_else(|| "nobody".to_owned(), |account| account.to_string()),
        format!("{}...", &listed.panel.to_string()[..12]),
    ]
}

fn describe(listed: &ListedOffer) -> Value {
    let offer = &listed.offer;
    let price = |amount: Amount| amount.to_string();
    json!({
        "registration": offer.registration.0,
        "registrant": listed.registrant.to_string(),
        "panel": listed.panel.to_string(),
        "dataset_count": listed.dataset_count,
        "revoked_count": listed.revoked_count,
        "accreditor": listed.accreditor.map(|account| account.to_string()),
        "price_counts": price(offer.prices.counts),
        "price_filtered_counts": price(offer.prices.filtered_counts),
        "price_association": price(offer.prices.association),
        "data_use": data_use_words(offer.data_use),
        "tiers": tier_names(offer.tiers),
        "audience": audience_words(&offer.audience),
        "block_start": offer.block_start,
        "block_end": offer.block_end,
        "expiry_unix_s": offer.expiry_unix_s,
        "nonce": offer.nonce,
    })
}

fn tier_names(set: TierSet) -> Vec<String> {
    Tier::ALL.into_iter().filter(|tier| set.contains(*tier)).map(|tier| tier.to_string()).collect()
}

fn data_use_words(bits: u32) -> String {
    DataUse::try_from_bits(bits).map_or_else(|_| format!("unknown terms {bits:#x}"), |terms| terms.to_string())
}

fn audience_words(audience: &Audience) -> String {
    match audience {
        Audience::Anyone => "anyone".to_owned(),
        Audience::AccreditedResearchers => "accredited researchers".to_owned(),
        Audience::Named(buyers) => format!("{} named accounts", buyers.len()),
    }
}
