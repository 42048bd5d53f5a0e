//! Many callers at once.

use crate::{
    backend::{Backend, account, key},
    market::{BIOBANK, Market, PERSON, RESEARCHER, STRANGER, earnings, sign},
};
use locus_ledger::{Amount, Ledger, LedgerError};
use std::collections::BTreeMap;

/// Callers that race.
const RACERS: u8 = 64;

/// Connections of different accounts, so that nothing but the contracts decides a race.
async fn racers(backend: &Backend, market: &Market) -> Vec<Ledger> {
    let mut ledgers = Vec::new();
    for racer in 0..RACERS {
        ledgers.push(market.seen_by(backend, &key(100 + racer)).await);
    }
    ledgers
}

/// Counts the winners; every other racer must have been refused with this contract error.
fn winners<T>(outcomes: Vec<Result<T, LedgerError>>, refused_with: &str) -> usize {
    let mut won = 0;
    for outcome in outcomes {
        match outcome {
            Ok(_) => won += 1,
            // Included after the winner, and the reason was gone by the time it was asked for.
            Err(LedgerError::Reverted(_)) => {}
            Err(error) => assert_eq!(error.refusal(), Some(refused_with), "{error}"),
        }
    }
    won
}

pub(crate) async fn of_sixty_four_offers_with_one_nonce_exactly_one_is_posted(backend: &Backend) {
    let market = Market::deploy(backend).await;
    let registration = market.register(PERSON, 0, 1).await.registration;
    let mut tasks = Vec::new();
    for (price, ledger) in (1..).zip(racers(backend, &market).await) {
        let offer = market.offer(registration, 1, price);
        let signature = sign(&key(PERSON), &market.contracts().offer_signing_hash(&offer));
        tasks.push(tokio::spawn(async move { ledger.post_offer(&offer, &signature).await }));
    }
    let mut outcomes = Vec::new();
    for task in tasks {
        outcomes.push(task.await.expect("no racer panics"));
    }
    assert_eq!(winners(outcomes, "OfferBookBadNonce"), 1);
    assert_eq!(market.ledger.offer_nonce(registration).await.unwrap(), 1);
}

pub(crate) async fn of_sixty_four_claims_of_one_payout_exactly_one_is_paid(backend: &Backend) {
    let market = Market::deploy(backend).await;
    let order = market.open(1, 1_000).await;
    let tree = earnings(&[(BIOBANK, 10), (STRANGER, 990)]);
    market.settle(&market.settlement(order, 1, 1_000, &tree)).await.expect("settled");
    let proof = tree.proof(account(BIOBANK)).expect("it earned");
    let mut tasks = Vec::new();
    for ledger in racers(backend, &market).await {
        let proof = proof.clone();
        tasks.push(tokio::spawn(async move { ledger.claim_payout(&proof).await }));
    }
    let mut outcomes = Vec::new();
    for task in tasks {
        outcomes.push(task.await.expect("no racer panics"));
    }
    assert_eq!(winners(outcomes, "QueryEscrowNothingToClaim"), 1);
    assert_eq!(market.balance(account(BIOBANK)).await, 10);
}

pub(crate) async fn of_sixty_four_openings_of_one_order_exactly_one_takes_money(backend: &Backend) {
    let market = Market::deploy(backend).await;
    let order = market.order(1, 100);
    market.ledger.mint(account(RESEARCHER), Amount(100 * u128::from(RACERS))).await.expect("minted");
    // The allowance would pay for all of them.
    let permit = market.permit(100 * u128::from(RACERS)).await;
    let signature = sign(&key(RESEARCHER), &market.contracts().order_signing_hash(&order));
    let mut tasks = Vec::new();
    for ledger in racers(backend, &market).await {
        let (permit, signature) = (permit, signature.clone());
        tasks.push(tokio::spawn(async move { ledger.open_order(&order, &signature, Some(&permit)).await }));
    }
    let mut outcomes = Vec::new();
    for task in tasks {
        outcomes.push(task.await.expect("no racer panics"));
    }
    assert_eq!(winners(outcomes, "QueryEscrowOrderExists"), 1);
    assert_eq!(market.balance(market.contracts().escrow).await, 100);
    assert_eq!(market.balance(account(RESEARCHER)).await, 100 * (u128::from(RACERS) - 1));
}

pub(crate) async fn of_sixty_four_settlements_with_one_number_exactly_one_is_made(backend: &Backend) {
    let market = Market::deploy(backend).await;
    let tree = earnings(&[(BIOBANK, 10)]);
    let mut tasks = Vec::new();
    // Different orders that keyholders were made to sign as the same settlement number.
    let mut settlements = Vec::new();
    for nonce in 1..=u64::from(RACERS) {
        let order = market.open(nonce, 10).await;
        settlements.push(market.settlement(order, 1, 10, &tree));
    }
    for (terms, ledger) in settlements.into_iter().zip(racers(backend, &market).await) {
        let signatures = market.endorse(&terms, &[1, 3]);
        tasks.push(tokio::spawn(async move { ledger.settle_order(&terms, &signatures).await }));
    }
    let mut outcomes = Vec::new();
    for task in tasks {
        outcomes.push(task.await.expect("no racer panics"));
    }
    assert_eq!(winners(outcomes, "QueryEscrowBadSequence"), 1);
    assert_eq!(market.ledger.payout_sequence().await.unwrap(), 1);
    assert_eq!(market.ledger.payout_root().await.unwrap(), tree.root());
}

pub(crate) async fn one_account_sends_sixty_four_transactions_at_once(backend: &Backend) {
    let market = Market::deploy(backend).await;
    let mut tasks = Vec::new();
    for racer in 0..RACERS {
        let ledger = market.ledger.clone();
        let (to, amount) = (account(100 + racer % 8), Amount(1 + u128::from(racer)));
        tasks.push(tokio::spawn(async move { ledger.mint(to, amount).await }));
    }
    let mut transactions = BTreeMap::new();
    for task in tasks {
        let transaction = task.await.expect("no sender panics").expect("every transaction is included");
        transactions.insert(transaction.0, ());
    }
    assert_eq!(transactions.len(), usize::from(RACERS));
    let mut total = 0;
    for racer in 0..8 {
        total += market.balance(account(100 + racer)).await;
    }
    assert_eq!(total, 64 * 65 / 2, "each ran once");
}
