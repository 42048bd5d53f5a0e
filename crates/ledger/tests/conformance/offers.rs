//! Offers and withdrawals, and every way to abuse their signatures.

use crate::{
    backend::{Backend, account, key},
    market::{BIOBANK, Market, PERSON, STRANGER, refusal, sign},
    registration::high_form,
};
use locus_commitment::Digest32;
use locus_ledger::{Amount, Audience, Demands, Offer, TierSet};

const BAD_SIGNATURE: &str = "OfferBookBadSignature";
const BAD_NONCE: &str = "OfferBookBadNonce";

pub(crate) async fn an_offer_is_the_registrants_alone(backend: &Backend) {
    let market = Market::deploy(backend).await;
    let registration = market.register(BIOBANK, 0, 1).await.registration;
    let offer = market.offer(registration, 1, 10);
    assert_eq!(refusal(market.post(STRANGER, &offer).await), BAD_SIGNATURE);
    let signature = sign(&key(BIOBANK), &market.contracts().offer_signing_hash(&offer));
    assert_eq!(refusal(market.ledger.post_offer(&offer, &high_form(&signature)).await), BAD_SIGNATURE);
    assert_eq!(refusal(market.ledger.post_offer(&offer, &signature[..64]).await), BAD_SIGNATURE);
    assert_eq!(refusal(market.ledger.post_offer(&offer, &[]).await), BAD_SIGNATURE);
    let changes: [(&str, fn(&mut Offer)); 11] = [
        ("price", |offer| offer.prices.counts = Amount(0)),
        ("filtered price", |offer| offer.prices.filtered_counts = Amount(0)),
        ("association price", |offer| offer.prices.association = Amount(0)),
        ("data use", |offer| offer.data_use = 0),
        ("tiers", |offer| offer.tiers = TierSet(7)),
        ("audience", |offer| offer.audience = Audience::Anyone),
        ("buyers", |offer| offer.audience = Audience::Named([account(BIOBANK)].into())),
        ("blocks", |offer| offer.block_end = 9),
        ("demands", |offer| offer.demands = Demands::PROVEN),
        ("disclosure", |offer| offer.disclosure_digest = Digest32([1; 32])),
        ("expiry", |offer| offer.expiry_unix_s += 1),
    ];
    for (what, change) in changes {
        let mut changed = offer.clone();
        change(&mut changed);
        assert_eq!(refusal(market.ledger.post_offer(&changed, &signature).await), BAD_SIGNATURE, "{what}");
    }
    assert_eq!(refusal(market.ledger.post_own_offer(&offer).await), "OfferBookNotRegistrant");
    market.ledger.post_offer(&offer, &signature).await.expect("as signed it is posted");
    let direct = market.seen_by(backend, &key(BIOBANK)).await;
    direct.post_own_offer(&market.offer(registration, 2, 20)).await.expect("the registrant needs no signature");
}

pub(crate) async fn an_offer_signature_counts_once_and_in_order(backend: &Backend) {
    let market = Market::deploy(backend).await;
    let registration = market.register(PERSON, 0, 1).await.registration;
    let (cheap, dear) = (market.offer(registration, 1, 1), market.offer(registration, 2, 100));
    assert_eq!(refusal(market.post(PERSON, &dear).await), BAD_NONCE, "from the future");
    market.post(PERSON, &cheap).await.expect("posted");
    assert_eq!(refusal(market.post(PERSON, &cheap).await), BAD_NONCE, "again");
    market.post(PERSON, &dear).await.expect("posted");
    assert_eq!(refusal(market.post(PERSON, &cheap).await), BAD_NONCE, "the old price");
    assert_eq!(market.ledger.offer_nonce(registration).await.unwrap(), 2);
}

pub(crate) async fn a_signature_for_another_method_or_market_posts_no_offer(backend: &Backend) {
    let market = Market::deploy(backend).await;
    let other = Market::deploy(backend).await;
    let registration = market.register(PERSON, 0, 1).await.registration;
    let twin = other.register(PERSON, 0, 1).await.registration;
    assert_eq!(registration, twin);
    let offer = market.offer(registration, 1, 10);
    let elsewhere = sign(&key(PERSON), &other.contracts().offer_signing_hash(&offer));
    assert_eq!(refusal(market.ledger.post_offer(&offer, &elsewhere).await), BAD_SIGNATURE, "another market");
    // Control: there it is good.
    other.ledger.post_offer(&offer, &elsewhere).await.expect("posted in the other market");
    let mut contracts = *market.contracts();
    contracts.network.chain_id = 1;
    let abroad = sign(&key(PERSON), &contracts.offer_signing_hash(&offer));
    assert_eq!(refusal(market.ledger.post_offer(&offer, &abroad).await), BAD_SIGNATURE, "another chain");
    let method = sign(&key(PERSON), &market.contracts().withdrawal_signing_hash(registration, 1));
    assert_eq!(refusal(market.ledger.post_offer(&offer, &method).await), BAD_SIGNATURE, "another method");
    market.post(PERSON, &offer).await.expect("posted");
    let posted = sign(&key(PERSON), &market.contracts().offer_signing_hash(&offer));
    assert_eq!(refusal(market.ledger.withdraw_offer(registration, 1, &posted).await), BAD_SIGNATURE);
}

pub(crate) async fn an_expired_or_malformed_offer_is_refused(backend: &Backend) {
    let market = Market::deploy(backend).await;
    let registration = market.register(PERSON, 0, 1).await.registration;
    let good = market.offer(registration, 1, 10);
    let changes: [(&str, fn(&mut Offer)); 5] = [
        ("no tier", |offer| offer.tiers = TierSet(0)),
        ("an unknown tier", |offer| offer.tiers = TierSet(8)),
        ("no block", |offer| offer.block_end = offer.block_start),
        ("an unknown demand", |offer| offer.demands = Demands(4)),
        ("nobody named", |offer| offer.audience = Audience::Named(Default::default())),
    ];
    for (what, change) in changes {
        let mut bad = good.clone();
        change(&mut bad);
        assert_eq!(refusal(market.post(PERSON, &bad).await), "OfferBookBadOffer", "{what}");
    }
    let mut absent = good.clone();
    absent.registration.0 = 99;
    assert_eq!(refusal(market.post(PERSON, &absent).await), "DatasetRegistryUnknownRegistration");
    backend.advance_s(7_200).await;
    assert_eq!(refusal(market.post(PERSON, &good).await), "OfferBookBadOffer", "expired");
}

pub(crate) async fn a_withdrawal_cancels_offers_that_were_signed_before(backend: &Backend) {
    let market = Market::deploy(backend).await;
    let registration = market.register(PERSON, 0, 1).await.registration;
    market.post(PERSON, &market.offer(registration, 1, 10)).await.expect("posted");
    let signed_before = market.offer(registration, 2, 5);
    let stranger = sign(&key(STRANGER), &market.contracts().withdrawal_signing_hash(registration, 1));
    assert_eq!(refusal(market.ledger.withdraw_offer(registration, 1, &stranger).await), BAD_SIGNATURE);
    let signature = sign(&key(PERSON), &market.contracts().withdrawal_signing_hash(registration, 1));
    market.ledger.withdraw_offer(registration, 1, &signature).await.expect("withdrawn");
    assert_eq!(refusal(market.ledger.withdraw_offer(registration, 1, &signature).await), BAD_NONCE, "again");
    assert_eq!(refusal(market.post(PERSON, &signed_before).await), BAD_NONCE);
    market.post(PERSON, &market.offer(registration, 3, 20)).await.expect("a newer offer is posted");
    let direct = market.seen_by(backend, &key(PERSON)).await;
    direct.withdraw_own_offer(registration).await.expect("the registrant needs no signature");
    assert_eq!(market.ledger.offer_nonce(registration).await.unwrap(), 4);
}
