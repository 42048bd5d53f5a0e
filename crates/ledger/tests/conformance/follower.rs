//! Following a real chain, and its reorganisations on Anvil.

use crate::{
    backend::{Backend, account, key},
    market::{ACCREDITOR, ADMIN, BIOBANK, KEYHOLDERS, Market, PANEL, PERSON, RESEARCHER, earnings, leaf, sign},
};
use locus_ledger::{Amount, ChainView, EventSource, Ledger, OrderState, ViewError, ViewFollower};
use std::time::Duration;

/// Most blocks that a reorganisation takes back.
const REORGANISATION_MAX: u64 = 64;

async fn poll(view: &mut ChainView, market: &Market) {
    view.poll(&market.ledger).await.expect("the chain can be followed");
}

pub(crate) async fn the_view_holds_what_the_chain_says(backend: &Backend) {
    let market = Market::deploy(backend).await;
    let batch = market.register(BIOBANK, 0, 4).await;
    let registered_at = market.ledger.head().await.unwrap().number;
    let offer = market.offer(batch.registration, 1, 10);
    market.post(BIOBANK, &offer).await.expect("posted");
    let offered_at = market.ledger.head().await.unwrap().number;
    let open = market.order(1, 100);
    let order = market.open(1, 100).await;
    let newer = market.offer(batch.registration, 2, 20);
    market.post(BIOBANK, &newer).await.expect("posted");
    backend.finalize().await;

    let mut view = ChainView::default();
    poll(&mut view, &market).await;
    let panel = view.panel(&PANEL).expect("published");
    assert_eq!((panel.name.as_str(), panel.variant_count, panel.complete_calls), ("test panel", 4_080, true));
    let record = view.registration(batch.registration).expect("registered");
    assert_eq!((record.registrant, record.accreditor), (account(BIOBANK), Some(account(ACCREDITOR))));
    assert_eq!((record.version, record.first_slot, record.block), (1, 0, registered_at));
    assert_eq!(record.leaves.to_vec(), (0..4).map(leaf).collect::<Vec<_>>());
    assert_eq!(record.offer_as_of(registered_at), None);
    assert_eq!(record.offer_as_of(offered_at), Some(&offer));
    assert_eq!(record.offer_as_of(u64::MAX), Some(&newer));
    assert_eq!(record.next_offer_nonce(), 3);
    let opened = view.order(&order).expect("opened");
    assert_eq!((opened.order, opened.state), (open, OrderState::Open));
    assert!(opened.time_unix_s >= backend.now_unix_s());
    assert!(view.is_accreditor(&account(ACCREDITOR)) && !view.is_accreditor(&account(BIOBANK)));
    assert!(view.is_accredited_researcher(&account(RESEARCHER), opened.block));
    assert!(!view.is_accredited_researcher(&account(RESEARCHER), 0));
    for keyholder in 1..=3u8 {
        let member = view.keyholder(keyholder).expect("set at deployment");
        assert_eq!(member.signer, account(KEYHOLDERS[usize::from(keyholder) - 1]));
        assert_eq!(member.hpke_public_key.len(), 1216);
    }
}

pub(crate) async fn a_second_view_that_starts_late_agrees_with_the_first(backend: &Backend) {
    let market = Market::deploy(backend).await;
    let follower = ViewFollower::start(market.ledger.clone(), Duration::from_secs(3_600));
    let batch = market.register(BIOBANK, 0, 3).await;
    follower.refreshed().await.expect("the chain can be followed");
    market.post(BIOBANK, &market.offer(batch.registration, 1, 10)).await.expect("posted");
    let order = market.open(1, 100).await;
    market.settle(&market.settlement(order, 1, 30, &earnings(&[(BIOBANK, 30)]))).await.expect("settled");
    let deadline = market.deadline();
    let digest = market.contracts().revocation_signing_hash(batch.registration, &[1], deadline);
    let signature = sign(&key(BIOBANK), &digest);
    market.ledger.revoke_datasets(batch.registration, &[1], deadline, &signature).await.expect("revoked");
    let seen = follower.refreshed().await.expect("the chain can be followed");
    assert!(seen.is_revoked(batch.registration, 1), "revocations act before they are final");
    backend.finalize().await;
    let early = follower.refreshed().await.expect("the chain can be followed");
    let mut late = ChainView::default();
    poll(&mut late, &market).await;
    assert_eq!(format!("{:?}", *early), format!("{late:?}"));
    assert_eq!(late.settlement_count(), 1);
}

/// Anvil calls a block final when two epochs follow it; with 32 blocks an epoch, 64 blocks may go.
#[tokio::test(flavor = "multi_thread")]
async fn anvil_takes_back_sixty_four_blocks_and_no_grant_was_relied_on() {
    let Some(backend) = Backend::anvil(32) else { return };
    let anvil = backend.as_anvil().expect("it is Anvil");
    let market = Market::deploy(&backend).await;
    let kept = market.register(PERSON, 0, 1).await.registration;
    let spoiled = market.register(PERSON, 1, 2).await.registration;
    anvil.mine(REORGANISATION_MAX).await;
    let mut view = ChainView::default();
    poll(&mut view, &market).await;
    assert!(view.registration(spoiled).is_some());

    // All of this lies above the final block and is lost.
    market.post(PERSON, &market.offer(kept, 1, 10)).await.expect("posted");
    let lost = market.register(BIOBANK, 10, 3).await.registration;
    let order = market.open(1, 100).await;
    let deadline = market.deadline();
    let digest = market.contracts().revocation_signing_hash(spoiled, &[1], deadline);
    let signature = sign(&key(PERSON), &digest);
    market.ledger.revoke_datasets(spoiled, &[1], deadline, &signature).await.expect("revoked");
    let used = market.ledger.head().await.unwrap().number - view.finalized().unwrap().number - REORGANISATION_MAX;
    anvil.mine(REORGANISATION_MAX - used).await;
    poll(&mut view, &market).await;
    // Control: whoever believes the head has an order with money and a cohort to sell.
    assert!(market.ledger.order_status(order).await.unwrap() == locus_ledger::OrderStatus::Open);
    assert!(view.order(&order).is_none() && view.registration(lost).is_none());
    assert!(view.registration(kept).unwrap().offer_as_of(u64::MAX).is_none());
    assert!(view.is_revoked(spoiled, 1));

    anvil.reorganise(REORGANISATION_MAX).await;
    assert!(market.ledger.order_status(order).await.unwrap() == locus_ledger::OrderStatus::Unknown);
    assert!(!market.ledger.is_revoked(spoiled, 1).await.unwrap(), "the chain has forgotten the revocation");
    anvil.mine(2 * REORGANISATION_MAX).await;
    poll(&mut view, &market).await;
    assert!(view.order(&order).is_none() && view.registration(lost).is_none());
    assert!(view.is_revoked(spoiled, 1), "the view has not");
    assert!(!view.is_revoked(spoiled, 0));

    // The market goes on, also for the same registrant.
    let again = market.register(BIOBANK, 10, 3).await.registration;
    assert_eq!(again, lost, "the number is free again");
    anvil.mine(2 * REORGANISATION_MAX).await;
    poll(&mut view, &market).await;
    assert!(view.registration(again).is_some());
}

/// The embedded chain never takes a block back by itself, so this is what its worst day looks like: an
/// older copy of the journal is put in its place, 64 blocks are gone, and others are made.
#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_chain_put_back_by_sixty_four_blocks_stops_the_view() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, older) = (folder.path().join("journal"), folder.path().join("older"));
    let backend = Backend::embedded_at(&journal);
    let market = Market::deploy(&backend).await;
    let registration = market.register(PERSON, 0, 2).await.registration;
    let contracts = *market.contracts();
    let height = market.ledger.head().await.unwrap().number;
    std::fs::copy(&journal, &older).unwrap();

    let order = market.open(1, 100).await;
    let deadline = market.deadline();
    let signature = sign(&key(PERSON), &contracts.revocation_signing_hash(registration, &[1], deadline));
    market.ledger.revoke_datasets(registration, &[1], deadline, &signature).await.expect("revoked");
    while market.ledger.head().await.unwrap().number < height + REORGANISATION_MAX {
        market.ledger.mint(account(RESEARCHER), Amount(1)).await.expect("minted");
    }
    let mut view = ChainView::default();
    poll(&mut view, &market).await;
    assert!(view.order(&order).is_some() && view.is_revoked(registration, 1));
    drop((market, backend));

    std::fs::copy(&older, &journal).unwrap();
    let backend = Backend::embedded_at(&journal);
    let ledger = Ledger::open(backend.connect(&key(ADMIN)).await, contracts).await.expect("the market opens");
    // Control: the chain itself sees nothing wrong.
    assert!(!ledger.is_revoked(registration, 1).await.unwrap());
    let error = view.poll(&ledger).await.expect_err("64 final blocks are gone");
    assert!(matches!(error, ViewError::FinalizedWentBack { seen, now } if seen == now + REORGANISATION_MAX), "{error}");
    for _ in 0..=REORGANISATION_MAX {
        ledger.mint(account(PERSON), Amount(2)).await.expect("minted");
    }
    let error = view.poll(&ledger).await.expect_err("they were replaced by others");
    assert!(matches!(error, ViewError::FinalizedChanged { .. }), "{error}");
    assert!(view.is_revoked(registration, 1), "and what was revoked stays revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn anvil_takes_back_a_final_block_and_the_view_stops() {
    let Some(backend) = Backend::anvil(1) else { return };
    let anvil = backend.as_anvil().expect("it is Anvil");
    let market = Market::deploy(&backend).await;
    anvil.mine(10).await;
    let mut view = ChainView::default();
    poll(&mut view, &market).await;
    anvil.reorganise(8).await;
    let error = view.poll(&market.ledger).await.expect_err("a final block changed");
    assert!(matches!(error, locus_ledger::ViewError::FinalizedChanged { .. }), "{error}");
    let error = view.poll(&market.ledger).await.expect_err("and it stays changed");
    assert!(matches!(error, locus_ledger::ViewError::FinalizedChanged { .. }), "{error}");
}
