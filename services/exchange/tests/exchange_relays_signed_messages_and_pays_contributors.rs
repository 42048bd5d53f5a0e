//! The exchange against an embedded chain: what it relays, what it refuses, and how its payout table
//! survives crashes.

mod late;
mod support;

use locus_commitment::{Address, Digest32};
use locus_ledger::{Amount, Order, PayoutTree, Settlement};
use locus_service::reason_of;
use locus_wire::{
    convert::{Payee, SettlementSignature},
    pb::exchange as pb,
};
use std::collections::BTreeMap;
use support::{Market, PRICE, TOKEN};
use tonic::Code;

fn settle_request(
    settlement: &Settlement,
    signatures: &[SettlementSignature],
    payees: &[(Address, u128)],
) -> pb::SettleOrderRequest {
    pb::SettleOrderRequest {
        cohort: None,
        settlement: Some(settlement.into()),
        signatures: signatures.iter().map(Into::into).collect(),
        payees: payees.iter().map(|&(account, amount)| Payee { account, amount: Amount(amount) }.into()).collect(),
    }
}

/// The settlement of `order` as the only next step of a table with these earnings.
fn settlement(market: &Market, order: &Order, sequence: u64, earnings: &[(Address, u128)]) -> Settlement {
    let earnings: BTreeMap<_, _> = earnings.iter().map(|&(account, amount)| (account, Amount(amount))).collect();
    Settlement {
        order: market.order_id(order),
        answer_digest: Digest32([1; 32]),
        cohort_digest: Digest32([2; 32]),
        cohort_size: 2,
        price: Amount(PRICE),
        payout_sequence: sequence,
        payout_root: PayoutTree::build(earnings).root(),
    }
}

async fn account(market: &mut Market, account: Address) -> (u128, u128, u128) {
    let request = pb::GetAccountRequest { account: account.0.to_vec().into() };
    let state = market.exchange.get_account(request).await.expect("an account").into_inner();
    let number = |text: String| text.parse().expect("an amount");
    (number(state.balance), number(state.earned), number(state.claimed))
}

async fn claim(market: &mut Market, account: Address) -> u128 {
    let request = pb::ClaimPayoutRequest { account: account.0.to_vec().into() };
    market.exchange.claim_payout(request).await.expect("a claim").into_inner().paid.parse().expect("an amount")
}

#[tokio::test]
async fn an_order_is_escrowed_settled_and_paid_out_once() {
    let mut market = Market::start().await;
    let (one, other) = (Address([1; 20]), Address([2; 20]));
    let order = market.open_order(1).await;
    let settlement = settlement(&market, &order, 1, &[(one, PRICE - 3), (other, 3)]);
    let signatures = market.sign_settlement(&settlement, &[1, 3]);
    let payees = [(one, PRICE - 3), (other, 3)];
    let request = settle_request(&settlement, &signatures, &payees);
    let first = market.exchange.settle_order(request.clone()).await.expect("settled").into_inner();
    assert_eq!(first.tx_hash.len(), 32);
    // The same settlement again is answered without another transaction.
    let again = market.exchange.settle_order(request).await.expect("settled before").into_inner();
    assert!(again.tx_hash.is_empty());
    // Anybody can rebuild the table of earnings and hold it against the root that was settled.
    let after = |account: &[u8]| pb::ListEarningsRequest { after_account: account.to_vec().into() };
    let page = market.exchange.list_earnings(after(&[])).await.expect("a page").into_inner();
    let parsed = locus_wire::convert::parse_earnings(&page.earnings, None).expect("well formed");
    let earned = parsed.iter().map(|earning| (earning.account, earning.cumulative)).collect();
    assert_eq!(locus_ledger::PayoutTree::build(earned).root(), settlement.payout_root);
    assert_eq!((page.payout_sequence, page.is_last), (1, true));
    let rest = market.exchange.list_earnings(after(&one.0)).await.expect("a page").into_inner();
    assert_eq!(rest.earnings, page.earnings[1..]);
    let refused = market.exchange.list_earnings(after(&one.0[1..])).await.expect_err("19 bytes");
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(account(&mut market, one).await, (0, PRICE - 3, 0));
    assert_eq!(claim(&mut market, one).await, PRICE - 3);
    assert_eq!(claim(&mut market, one).await, 0, "nothing is paid twice");
    assert_eq!(claim(&mut market, Address([9; 20])).await, 0, "a stranger earned nothing");
    assert_eq!(account(&mut market, one).await, (PRICE - 3, PRICE - 3, PRICE - 3));
    assert_eq!(account(&mut market, other).await, (0, 3, 0));
    // Escrow above the price went back.
    let researcher = market.researcher.address();
    assert_eq!(account(&mut market, researcher).await.0, support::GRANT - PRICE);
    let state = market.exchange.get_order(pb::GetOrderRequest { order_id: settlement.order.0.0.to_vec().into() });
    assert_eq!(state.await.expect("an order").into_inner().state(), pb::OrderState::Settled);
}

#[tokio::test]
async fn settlements_that_do_not_add_up_are_refused_before_anything_is_sent() {
    let mut market = Market::start().await;
    let one = Address([1; 20]);
    let order = market.open_order(1).await;
    let good = settlement(&market, &order, 1, &[(one, PRICE)]);
    let signed = |market: &Market, settlement: &Settlement, by: &[u8]| market.sign_settlement(settlement, by);
    let wrong_root = Settlement { payout_root: Digest32([9; 32]), ..good };
    let wrong_sequence = Settlement { payout_sequence: 2, ..good };
    let forged = {
        let mut signatures = signed(&market, &good, &[1, 2]);
        signatures[1].signature = signatures[0].signature.clone();
        signatures
    };
    let all = [(one, PRICE)];
    let cases = [
        (settle_request(&good, &signed(&market, &good, &[1]), &all), Code::InvalidArgument, "TOO_FEW_SIGNATURES"),
        (settle_request(&good, &forged, &all), Code::InvalidArgument, "TOO_FEW_SIGNATURES"),
        (
            settle_request(&good, &signed(&market, &wrong_root, &[1, 2]), &all),
            Code::InvalidArgument,
            "TOO_FEW_SIGNATURES",
        ),
        (
            settle_request(&good, &signed(&market, &good, &[1, 2]), &[(one, PRICE - 1)]),
            Code::InvalidArgument,
            "MALFORMED",
        ),
        (
            settle_request(&good, &signed(&market, &good, &[1, 2]), &[(Address([3; 20]), PRICE)]),
            Code::FailedPrecondition,
            "PAYOUT_ROOT",
        ),
        (
            settle_request(&wrong_root, &signed(&market, &wrong_root, &[1, 2]), &all),
            Code::FailedPrecondition,
            "PAYOUT_ROOT",
        ),
        (
            settle_request(&wrong_sequence, &signed(&market, &wrong_sequence, &[1, 2]), &all),
            Code::FailedPrecondition,
            "PAYOUT_SEQUENCE",
        ),
    ];
    for (number, (request, code, reason)) in cases.into_iter().enumerate() {
        let status = market.exchange.settle_order(request).await.expect_err("refused");
        assert_eq!((status.code(), reason_of(&status).as_deref()), (code, Some(reason)), "case {number}: {status}");
    }
    assert_eq!(account(&mut market, one).await, (0, 0, 0));
    // Positive control: the settlement that all of these were made from is accepted.
    let request = settle_request(&good, &signed(&market, &good, &[1, 2]), &all);
    market.exchange.settle_order(request).await.expect("settled");
    assert_eq!(account(&mut market, one).await.1, PRICE);
}

#[tokio::test]
async fn earnings_accumulate_over_orders_and_a_restart() {
    let mut market = Market::start().await;
    let (one, other) = (Address([1; 20]), Address([2; 20]));
    let first = market.open_order(1).await;
    let settled = settlement(&market, &first, 1, &[(one, PRICE)]);
    // A signature that is not its keyholder's does not stand in the way of two that are.
    let mut signatures = market.sign_settlement(&settled, &[1, 2, 3]);
    signatures[1].signature = signatures[0].signature.clone();
    market.exchange.settle_order(settle_request(&settled, &signatures, &[(one, PRICE)])).await.expect("settled");
    market.restart_exchange().await;
    let second = market.open_order(2).await;
    let settled = settlement(&market, &second, 2, &[(one, PRICE + 1), (other, PRICE - 1)]);
    let signatures = market.sign_settlement(&settled, &[2, 3]);
    let payees = [(one, 1), (other, PRICE - 1)];
    market.exchange.settle_order(settle_request(&settled, &signatures, &payees)).await.expect("settled");
    assert_eq!(claim(&mut market, one).await, PRICE + 1);
    assert_eq!(claim(&mut market, other).await, PRICE - 1);
}

#[tokio::test]
async fn a_crash_between_submitting_and_remembering_loses_nothing() {
    let mut market = Market::start().await;
    let one = Address([1; 20]);
    let order = market.open_order(1).await;
    let settled = settlement(&market, &order, 1, &[(one, PRICE)]);
    let signatures = market.sign_settlement(&settled, &[1, 2]);
    // The exchange's data as they are when the version is stored and the process dies: a copy from
    // before the table followed the chain.
    market.stop_exchange().await;
    let empty = market.copy_data();
    market.restart_exchange().await;
    let request = settle_request(&settled, &signatures, &[(one, PRICE)]);
    market.exchange.settle_order(request.clone()).await.expect("settled");
    market.stop_exchange().await;
    market.restore_data(&empty);
    market.restart_exchange().await;
    // Nothing of this settlement is stored, so claims fail closed instead of paying from a wrong table.
    let refused = market.exchange.claim_payout(pb::ClaimPayoutRequest { account: one.0.to_vec().into() }).await;
    assert_eq!(refused.expect_err("fails closed").code(), Code::Internal);
    // Presenting the payees again heals the table.
    let healed = market.exchange.settle_order(request).await.expect("known from the chain").into_inner();
    assert!(healed.tx_hash.is_empty());
    assert_eq!(claim(&mut market, one).await, PRICE);
}

#[tokio::test]
async fn batches_and_orders_are_registered_once_and_refusals_say_what_to_do() {
    let mut market = Market::start().await;
    let batch = market.batch(7);
    let first = market.exchange.register_datasets(batch.clone()).await.expect("registered").into_inner();
    let again = market.exchange.register_datasets(batch.clone()).await.expect("found").into_inner();
    assert_eq!((again.registration_id, again.first_slot), (first.registration_id, first.first_slot));
    assert!(again.tx_hash.is_empty());
    let found = market.exchange.get_registration(pb::GetRegistrationRequest {
        key: Some(pb::get_registration_request::Key::Batch(pb::get_registration_request::Batch {
            registrant: market.registrant.address().0.to_vec().into(),
            batch_nonce: 7,
        })),
        ordinal: Some(1),
    });
    let found = found.await.expect("described").into_inner();
    assert_eq!((found.registration_id, found.dataset_count, found.next_offer_nonce), (first.registration_id, 2, 1));
    assert_eq!(found.leaf.as_ref(), batch.leaves.get(1));
    let beyond = pb::GetRegistrationRequest {
        key: Some(pb::get_registration_request::Key::RegistrationId(first.registration_id)),
        ordinal: Some(2),
    };
    let refused = market.exchange.get_registration(beyond).await.expect_err("there are two datasets");
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    let mut copied = market.batch(8);
    copied.leaves = batch.leaves.clone();
    let status = market.exchange.register_datasets(copied).await.expect_err("not what was signed");
    assert_eq!(status.code(), Code::FailedPrecondition);
    let mut forged = market.batch(9);
    forged.attestations[1] = forged.attestations[0].clone();
    let status = market.exchange.register_datasets(forged).await.expect_err("not attested");
    assert_eq!((status.code(), reason_of(&status).as_deref()), (Code::PermissionDenied, Some("BAD_SIGNATURE")));
    assert!(status.message().contains("sign with the right key"), "{}", status.message());

    let order = market.open_order(1).await;
    let status = market.try_open_order(&order).await.expect_err("opened before");
    assert_eq!(status.code(), Code::AlreadyExists);
    let unknown = pb::GetOrderRequest { order_id: vec![9; 32].into() };
    assert_eq!(market.exchange.get_order(unknown).await.expect_err("unknown").code(), Code::NotFound);
    let early = pb::RefundOrderRequest { order_id: market.order_id(&order).0.0.to_vec().into() };
    let status = market.exchange.refund_order(early.clone()).await.expect_err("too early");
    assert_eq!(reason_of(&status).as_deref(), Some("BEFORE_DEADLINE"));
    market.advance_clock(support::ORDER_LIFETIME_S + 1);
    market.exchange.refund_order(early).await.expect("refunded");
    let researcher = market.researcher.address();
    assert_eq!(account(&mut market, researcher).await.0, support::GRANT);
}

#[tokio::test]
async fn new_keys_come_into_force_once_and_with_all_signatures() {
    let mut market = Market::start().await;
    let batch = market.batch(3);
    let id = market.exchange.register_datasets(batch).await.expect("registered").into_inner().registration_id;
    let keys = market.new_keys(id, 1);
    let mut forged = keys.clone();
    forged.attestations[2] = forged.attestations[1].clone();
    let mut changed = keys.clone();
    changed.keys = market.new_keys(id, 2).keys;
    for wrong in [forged, changed, market.new_keys(id, 2)] {
        let status = market.exchange.rekey_datasets(wrong).await.expect_err("not what was signed");
        assert_eq!(reason_of(&status).as_deref(), Some("BAD_SIGNATURE"));
    }
    let late = pb::RekeyDatasetsRequest { deadline_unix_s: 1, ..keys.clone() };
    let status = market.exchange.rekey_datasets(late).await.expect_err("too late");
    assert_eq!(reason_of(&status).as_deref(), Some("EXPIRED"));
    let sent = market.exchange.rekey_datasets(keys.clone()).await.expect("new keys").into_inner();
    assert_eq!(sent.tx_hash.len(), 32);
    let again = market.exchange.rekey_datasets(keys).await.expect("the same keys").into_inner();
    assert!(again.tx_hash.is_empty());
    let key = Some(pb::get_registration_request::Key::RegistrationId(id));
    let found = market.exchange.get_registration(pb::GetRegistrationRequest { key, ordinal: None });
    assert_eq!(found.await.expect("described").into_inner().generation, 1);

    let status = market.exchange.rekey_datasets(market.new_keys(9, 1)).await.expect_err("there is none");
    assert_eq!(reason_of(&status).as_deref(), Some("REGISTRATION_UNKNOWN"));
    for generation in 2..=8 {
        market.exchange.rekey_datasets(market.new_keys(id, generation)).await.expect("eight times");
    }
    let status = market.exchange.rekey_datasets(market.new_keys(id, 9)).await.expect_err("not nine times");
    assert!(status.code() == Code::InvalidArgument && status.message().contains("generation"), "{status}");
}

#[tokio::test]
async fn malformed_requests_name_the_field() {
    let mut market = Market::start().await;
    let halved = pb::RekeyDatasetsRequest { keys: vec![1; 32].into(), ..market.new_keys(1, 1) };
    let status = market.exchange.rekey_datasets(halved).await.expect_err("half of an entry");
    assert!(status.code() == Code::InvalidArgument && status.message().contains("keys"), "{status}");
    let mut batch = market.batch(1);
    batch.leaves[1].person_tag = vec![1; 31].into();
    let status = market.exchange.register_datasets(batch).await.expect_err("malformed");
    assert!(status.code() == Code::InvalidArgument && status.message().contains("leaf.person_tag"), "{status}");
    let status = market.exchange.revoke_datasets(pb::RevokeDatasetsRequest {
        registration_id: 1,
        ordinals: vec![1, 1],
        deadline_unix_s: 9,
        signature: vec![1; 65].into(),
    });
    let status = status.await.expect_err("malformed");
    assert!(status.message().contains("ordinals"), "{status}");
    let status = market.exchange.list_offers(pb::ListOffersRequest { page_token: "x".into(), ..Default::default() });
    assert_eq!(status.await.expect_err("malformed").code(), Code::InvalidArgument);
    let mint =
        |tokens: u128| pb::MintTestTokensRequest { account: vec![5; 20].into(), amount: (tokens * TOKEN).to_string() };
    let status = market.exchange.mint_test_tokens(mint(1_000_001)).await.expect_err("a call mints a million at most");
    assert!(status.code() == Code::InvalidArgument && status.message().contains("amount"), "{status}");
    assert_eq!(account(&mut market, Address([5; 20])).await.0, 0);
    market.exchange.mint_test_tokens(mint(1_000_000)).await.expect("a test network");
    assert_eq!(account(&mut market, Address([5; 20])).await.0, 1_000_000 * TOKEN);
}
