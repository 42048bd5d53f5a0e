//! The whole life of a cohort.

use crate::{
    backend::{Backend, account, key},
    market::{BIOBANK, KEYHOLDERS, Market, PERSON, RESEARCHER, earnings, sign},
};
use locus_ledger::{ChainView, OrderState, OrderStatus};

pub(crate) async fn a_cohort_is_registered_sold_paid_revoked_and_erased(backend: &Backend) {
    let market = Market::deploy(backend).await;
    let (ledger, contracts) = (&market.ledger, *market.contracts());
    let cohort = market.register(BIOBANK, 0, 5).await;
    let single = market.register(PERSON, 100, 1).await;
    assert_eq!((cohort.registration.0, cohort.first_slot), (1, 0));
    assert_eq!((single.registration.0, single.first_slot), (2, 5));
    market.post(BIOBANK, &market.offer(cohort.registration, 1, 10)).await.expect("posted");
    market.post(PERSON, &market.offer(single.registration, 1, 50)).await.expect("posted");

    let order = market.open(1, 1_000).await;
    assert_eq!(market.balance(account(RESEARCHER)).await, 0);
    assert_eq!(market.balance(contracts.escrow).await, 1_000);
    let tree = earnings(&[(BIOBANK, 50), (PERSON, 50)]);
    market.settle(&market.settlement(order, 1, 100, &tree)).await.expect("settled");
    assert_eq!(market.balance(account(RESEARCHER)).await, 900);
    assert_eq!(ledger.order_status(order).await.unwrap(), OrderStatus::Settled);

    for earner in [BIOBANK, PERSON] {
        let proof = tree.proof(account(earner)).expect("they earned");
        ledger.claim_payout(&proof).await.expect("paid");
        assert_eq!(market.balance(account(earner)).await, 50);
    }
    assert_eq!(market.balance(contracts.escrow).await, 0);

    let (registration, deadline) = (single.registration, market.deadline());
    let revocation = contracts.revocation_signing_hash(registration, &[0], deadline);
    ledger.revoke_datasets(registration, &[0], deadline, &sign(&key(PERSON), &revocation)).await.expect("revoked");
    for keyholder in 1..=3u8 {
        let digest = contracts.erasure_signing_hash(registration, &[0], keyholder);
        let signature = sign(&key(KEYHOLDERS[usize::from(keyholder) - 1]), &digest);
        ledger.record_erasure(registration, &[0], keyholder, &signature).await.expect("recorded");
    }

    backend.finalize().await;
    let mut view = ChainView::default();
    view.poll(ledger).await.expect("the chain can be followed");
    assert!(view.is_revoked(registration, 0) && !view.is_revoked(cohort.registration, 0));
    assert_eq!(view.erased_by(registration, 0).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(matches!(view.order(&order).unwrap().state, OrderState::Settled(terms) if terms.price.0 == 100));
    assert_eq!(view.claimed(&account(BIOBANK)), 50);
}

pub(crate) async fn an_order_that_costs_less_than_its_limit_returns_the_rest(backend: &Backend) {
    let market = Market::deploy(backend).await;
    let mut earned = 0;
    for (sequence, price) in [(1, 0), (2, 700), (3, 1_000)] {
        let order = market.open(sequence, 1_000).await;
        let before = market.balance(account(RESEARCHER)).await;
        earned += price;
        let tree = earnings(&[(BIOBANK, earned), (PERSON, 1)]);
        market.settle(&market.settlement(order, sequence, price, &tree)).await.expect("settled");
        assert_eq!(market.balance(account(RESEARCHER)).await, before + 1_000 - price);
        assert_eq!(market.balance(market.contracts().escrow).await, earned);
        assert_eq!(market.ledger.payout_sequence().await.unwrap(), sequence);
        assert_eq!(market.ledger.payout_root().await.unwrap(), tree.root());
    }
}
