//! `locus offer` and `locus offers`.

use super::{
    disclosure::OwnGenome,
    enroll::{own_place, read},
};
use crate::{
    cli::{OfferArgs, OffersArgs, TermsArgs},
    context::{Context, now_unix_s, tiers},
    error::CommandError,
    progress::Bars,
};
use locus_client::{
    ListedOffer, OfferTerms, Services,
    disclosure::{Claim, claim_texts, fetch_offer_disclosure},
    enrol::EnrolInput,
    list_offers, post_offer, registration_state,
};
use locus_genomics::{DataUse, Panel};
use locus_ledger::{Amount, Audience, Demands, OfferPrices, RegistrationId, TierSet};
use locus_privacy::Tier;
use serde_json::{Value, json};
use std::sync::Arc;

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
        demands: args.demand.iter().fold(Demands::NONE, |demands, demand| demands.and((*demand).into())),
        disclosure: None,
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
    let mut terms = offer_terms(&args.terms, &panel)?;
    if args.genotypes.is_given() == args.disclose.is_empty() {
        return Err(CommandError::Usage("genotypes are needed for --disclose only: leave them out".to_owned()));
    }
    if !args.disclose.is_empty() {
        let panel = Arc::new(panel);
        let bars = Bars::new(context.output);
        let cohort = read(&args.genotypes, panel.clone(), context, &bars).await?;
        let input = EnrolInput::of_cohort(panel.clone(), cohort);
        let genotypes = input.genotypes.person(own_place(args.sample.as_deref(), &input)?)?;
        let (services, network, keystore) = (&services, &network, &keystore);
        let genome = OwnGenome { services, network, keystore, panel: &panel, genotypes };
        genome.disclose_in(registration, &mut terms, &args.disclose, args.proof_keys.as_deref(), &bars).await?;
    }
    let nonce = post_offer(&services, &network, &keystore, registration, &terms).await?;
    context.folder.enrolments().note_offer(&network.id(), registration, nonce)?;
    let disclosure = terms.disclosure.map(|digest| digest.to_string());
    let value = json!({ "registration": registration.0, "offer_nonce": nonce, "disclosure": disclosure });
    context.output.result(&value, || format!("registration {}: offer {nonce} stands\n", registration.0))
}

/// Lists offers.
pub(super) async fn list(args: &OffersArgs, context: &Context) -> Result<(), CommandError> {
    let services = context.services()?;
    let panel = match &args.panel {
        Some(panel) => Some(context.panel(panel, &services).await?.digest()),
        None => None,
    };
    let mut offers = Vec::new();
    for listed in list_offers(&services, panel).await? {
        let disclosed = disclosed(&listed, context, &services).await?;
        offers.push((listed, disclosed));
    }
    let value: Value = offers.iter().map(|(listed, disclosed)| describe(listed, disclosed)).collect();
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
            "datasets",
            "demands",
            "discloses",
            "panel",
        ]);
        for (listed, disclosed) in &offers {
            table.add_row(row(listed, disclosed));
        }
        table.to_string()
    })
}

/// What an offer discloses.
enum Disclosed {
    /// What its document claims.
    Claims(Vec<Claim>),
    /// Its document is not to be had, so nobody counts it as disclosed.
    Unreadable,
}

async fn disclosed(listed: &ListedOffer, context: &Context, services: &Services) -> Result<Disclosed, CommandError> {
    let Some(digest) = listed.offer.disclosure() else { return Ok(Disclosed::Claims(Vec::new())) };
    let Ok(document) = fetch_offer_disclosure(services, listed.offer.registration, digest).await else {
        return Ok(Disclosed::Unreadable);
    };
    let panel = context.panel(&listed.panel.to_string(), services).await?;
    Ok(Disclosed::Claims(claim_texts(&panel, document.claims())))
}

fn row(listed: &ListedOffer, disclosed: &Disclosed) -> Vec<String> {
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
        origin_words(listed),
        demand_names(offer.demands).join(" "),
        match disclosed {
            Disclosed::Claims(claims) => claims.iter().map(Claim::to_string).collect::<Vec<_>>().join(" "),
            Disclosed::Unreadable => "unreadable".to_owned(),
        },
        format!("{}...", &listed.panel.to_string()[..12]),
    ]
}

/// How the datasets came in.
fn origin_words(listed: &ListedOffer) -> String {
    let attested = listed.accreditor.map(|account| format!("attested by {account}"));
    let words: Vec<String> = listed.proven.then(|| "proven".to_owned()).into_iter().chain(attested).collect();
    words.join(", ")
}

fn demand_names(demands: Demands) -> Vec<&'static str> {
    let named = [(Demands::PROVEN, "proven"), (Demands::AUTHENTICATED, "authenticated")];
    named.into_iter().filter(|(demand, _)| demands.contains(*demand)).map(|(_, name)| name).collect()
}

fn describe(listed: &ListedOffer, disclosed: &Disclosed) -> Value {
    let offer = &listed.offer;
    let price = |amount: Amount| amount.to_string();
    json!({
        "registration": offer.registration.0,
        "registrant": listed.registrant.to_string(),
        "panel": listed.panel.to_string(),
        "dataset_count": listed.dataset_count,
        "revoked_count": listed.revoked_count,
        "accreditor": listed.accreditor.map(|account| account.to_string()),
        "proven": listed.proven,
        "demands": demand_names(offer.demands),
        "disclosure": offer.disclosure().map(|digest| digest.to_string()),
        "disclosed": match disclosed {
            Disclosed::Claims(claims) => json!(claims),
            Disclosed::Unreadable => Value::Null,
        },
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
