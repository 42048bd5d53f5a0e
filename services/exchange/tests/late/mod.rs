//! The exchange when blocks are late, replies are lost, callers hang up or its table is an old one.

use crate::support::{Market, ORDER_LIFETIME_S, PRICE};
use locus_commitment::Address;
use locus_ledger::{Amount, Order, Settlement};
use locus_service::reason_of;
use locus_wire::{convert::Payee, pb::exchange as pb};
use tonic::{Code, Status};

const ONE: Address = Address([1; 20]);

/// The settlement number `sequence` of a market whose orders all pay one account.
fn settlement(market: &Market, order: &Order, sequence: u64) -> Settlement {
    crate::settlement(market, order, sequence, &[(ONE, PRICE * u128::from(sequence))])
}

fn settle_request(market: &Market, settlement: &Settlement) -> pb::SettleOrderRequest {
    crate::settle_request(settlement, &market.sign_settlement(settlement, &[1, 2]), &[(ONE, PRICE)])
}

/// The request that settles a new order as number `sequence`.
async fn order_to_settle(market: &mut Market, sequence: u64) -> pb::SettleOrderRequest {
    let order = market.open_order(sequence).await;
    settle_request(market, &settlement(market, &order, sequence))
}

fn refund_request(market: &Market, order: &Order) -> pb::RefundOrderRequest {
    pb::RefundOrderRequest { order_id: market.order_id(order).0.0.to_vec().into() }
}

fn claim_request() -> pb::ClaimPayoutRequest {
    pb::ClaimPayoutRequest { account: ONE.0.to_vec().into() }
}

fn told(status: &Status) -> (Code, Option<String>) {
    (status.code(), reason_of(status))
}

fn refused(reason: &str) -> (Code, Option<String>) {
    (Code::FailedPrecondition, Some(reason.to_owned()))
}

/// A market whose table was restored from before its `count` settlements, with the requests that made them.
async fn restored_market(count: u64) -> (Market, Vec<pb::SettleOrderRequest>) {
    let mut market = Market::start().await;
    market.stop_exchange().await;
    let empty = market.copy_data();
    market.restart_exchange().await;
    let mut requests = Vec::new();
    for sequence in 1..=count {
        let request = order_to_settle(&mut market, sequence).await;
        market.exchange.settle_order(request.clone()).await.expect("settled");
        requests.push(request);
    }
    market.stop_exchange().await;
    market.restore_data(&empty);
    market.restart_exchange().await;
    (market, requests)
}

#[tokio::test]
async fn a_restored_table_catches_up_when_what_it_misses_is_presented_in_order() {
    for count in [2, 3] {
        let (mut market, requests) = restored_market(count).await;
        let refusal = market.exchange.settle_order(requests[1].clone()).await.expect_err("the first is missing");
        assert_eq!(told(&refusal), refused("EARLIER_MISSING"));
        for (place, request) in requests.iter().enumerate() {
            let closed = market.exchange.claim_payout(claim_request()).await.expect_err("the table is an old one");
            assert_eq!(closed.code(), Code::Internal, "{place} of {count}");
            let mut forged = request.clone();
            forged.payees = vec![Payee { account: Address([2; 20]), amount: Amount(PRICE) }.into()];
            let refusal = market.exchange.settle_order(forged).await.expect_err("somebody else's earnings");
            assert_eq!(told(&refusal), refused("PAYOUT_ROOT"));
            let known = market.exchange.settle_order(request.clone()).await.expect("known from the chain");
            assert!(known.into_inner().tx_hash.is_empty());
        }
        let claimed = market.exchange.claim_payout(claim_request()).await.expect("the table is whole");
        assert_eq!(claimed.into_inner().paid, (PRICE * u128::from(count)).to_string());
        let next = order_to_settle(&mut market, count + 1).await;
        market.exchange.settle_order(next).await.expect("it goes on");
    }
}

#[tokio::test]
async fn an_account_can_order_while_the_table_is_an_old_one() {
    let (mut market, requests) = restored_market(2).await;
    let account = pb::GetAccountRequest { account: ONE.0.to_vec().into() };
    let state = market.exchange.get_account(account.clone()).await.expect("an account").into_inner();
    assert_eq!((state.balance.as_str(), state.earned.as_str(), state.claimed.as_str()), ("0", "0", "0"));
    // It asks for the researcher's permit nonce.
    market.open_order(9).await;
    for request in requests {
        market.exchange.settle_order(request).await.expect("known from the chain");
    }
    let state = market.exchange.get_account(account).await.expect("an account").into_inner();
    assert_eq!(state.earned, (2 * PRICE).to_string());
}

#[tokio::test]
async fn an_order_that_ended_is_refunded_again_but_ends_in_no_other_way() {
    let mut market = Market::start().await;
    let (settled, refunded) = (market.open_order(1).await, market.open_order(2).await);
    let settle = settle_request(&market, &settlement(&market, &settled, 1));
    market.exchange.settle_order(settle.clone()).await.expect("settled");
    market.advance_clock(ORDER_LIFETIME_S + 1);
    let refund = refund_request(&market, &refunded);
    let first = market.exchange.refund_order(refund.clone()).await.expect("refunded").into_inner();
    let again = market.exchange.refund_order(refund).await.expect("refunded before").into_inner();
    assert_eq!((first.tx_hash.len(), again.tx_hash.len()), (32, 0));
    assert!(market.exchange.settle_order(settle).await.expect("settled before").into_inner().tx_hash.is_empty());

    let refund = refund_request(&market, &settled);
    let status = market.exchange.refund_order(refund).await.expect_err("it was settled");
    assert_eq!(told(&status), refused("ORDER_CLOSED"));
    assert!(status.message().contains("was settled: nothing is left to refund"), "{}", status.message());
    let settle = settle_request(&market, &settlement(&market, &refunded, 2));
    let status = market.exchange.settle_order(settle).await.expect_err("it was refunded");
    assert_eq!(told(&status), refused("ORDER_CLOSED"));
    assert!(status.message().contains("was refunded"), "{}", status.message());
    let unknown = pb::RefundOrderRequest { order_id: vec![9; 32].into() };
    let status = market.exchange.refund_order(unknown).await.expect_err("there is none");
    assert_eq!(told(&status), refused("ORDER_CLOSED"));
}

#[tokio::test]
async fn a_batch_whose_reply_was_lost_is_answered_before_it_is_final() {
    let (mut market, node) = Market::start_behind_node().await;
    node.stop_finality();
    let batch = market.batch(7);
    let first = market.exchange.register_datasets(batch.clone()).await.expect("registered").into_inner();
    assert_eq!(first.tx_hash.len(), 32);
    let other = market.batch_of_version(7, 2);
    for _ in 0..2 {
        let again = market.exchange.register_datasets(batch.clone()).await.expect("known").into_inner();
        assert_eq!((again.registration_id, again.first_slot), (first.registration_id, first.first_slot));
        assert!(again.tx_hash.is_empty());
        let status = market.exchange.register_datasets(other.clone()).await.expect_err("another batch");
        assert_eq!(told(&status), (Code::AlreadyExists, Some("BATCH_NONCE_USED".to_owned())));
        node.resume_finality();
    }
}

#[tokio::test]
async fn a_claim_that_waits_for_its_block_holds_up_no_settlement() {
    let (mut market, node) = Market::start_behind_node().await;
    let first = order_to_settle(&mut market, 1).await;
    market.exchange.settle_order(first).await.expect("settled");
    let second = order_to_settle(&mut market, 2).await;
    node.delay_next();
    let mut exchange = market.exchange.clone();
    let claiming = tokio::spawn(async move { exchange.claim_payout(claim_request()).await });
    node.delayed().await;
    market.exchange.settle_order(second).await.expect("settled");
    assert!(!claiming.is_finished(), "it still waits");
    let status = market.exchange.claim_payout(claim_request()).await.expect_err("the same account");
    assert_eq!(told(&status), (Code::ResourceExhausted, Some("CLAIM_UNDER_WAY".to_owned())));
    node.include();
    let claimed = claiming.await.expect("it ends").expect("paid").into_inner();
    assert_eq!(claimed.paid, PRICE.to_string());
    let rest = market.exchange.claim_payout(claim_request()).await.expect("paid").into_inner();
    assert_eq!(rest.paid, PRICE.to_string());
}

#[tokio::test]
async fn a_transaction_is_on_record_although_its_caller_hangs_up_before_it_is_included() {
    let (market, node) = Market::start_behind_node().await;
    node.delay_next();
    let mut exchange = market.exchange.clone();
    let calling = tokio::spawn(async move {
        let request = pb::MintTestTokensRequest { account: ONE.0.to_vec().into(), amount: "1".to_owned() };
        exchange.mint_test_tokens(request).await
    });
    let hash = node.delayed().await;
    calling.abort();
    let log = market.audit_log();
    let entry = log.lines().last().expect("an entry");
    let named = entry.contains("transaction_sent") && entry.contains("MintTestTokens");
    assert!(named && entry.contains(hash.trim_start_matches("0x")), "{entry}");
}
