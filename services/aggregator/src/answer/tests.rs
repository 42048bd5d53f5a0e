//! Answers between readers that do not read and an exchange that refuses.

use super::*;
use crate::{
    config::Limits,
    relay::tests::{answering, honest_keyholders},
    testing::{Market, refusing_exchange},
};
use locus_service::ServerHandle;
use locus_wire::pb::{keyholder::Question, query::AnswerQueryResponse};
use tokio::sync::mpsc;
use tonic::Status;

/// A test that waits longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// Blocks of a kept answer.
const BLOCKS: u32 = 3;

/// Keeps an answer of three blocks, as if the order had been answered before.
fn keep_answer(aggregator: &Aggregator, order: &OrderId) {
    let block = |block| BlockAnswer { block, ..BlockAnswer::default() };
    let blocks: Vec<BlockAnswer> = (0..BLOCKS).map(block).collect();
    aggregator.answers.put_sums(order, &blocks).expect("writes");
    aggregator.answers.complete(order, aggregator.clock.now_unix_s(), &AnswerSummary::default()).expect("writes");
}

/// What a researcher that reads everything is sent.
async fn read_all(aggregator: &Arc<Aggregator>, request: &AnswerQueryRequest) -> Vec<AnswerQueryResponse> {
    let (sender, mut receiver) = mpsc::channel(16);
    let events = Events::new(sender, PATIENCE);
    let answered = tokio::time::timeout(PATIENCE, answer(aggregator, request, &events)).await;
    answered.expect("nobody is in the way").expect("it is answered");
    drop(events);
    let mut read = Vec::new();
    while let Some(event) = receiver.recv().await {
        read.push(event.expect("an event"));
    }
    read
}

#[tokio::test]
async fn a_reader_that_never_reads_keeps_no_other_question_from_its_answer() {
    let market = Market::deploy().await;
    let aggregator = market.aggregator(Limits { answers_max: 1, ..Limits::default() }).await;
    let [unread, other] = [market.open_order(1).await, market.open_order(2).await];
    keep_answer(&aggregator, &unread);
    keep_answer(&aggregator, &other);
    let (sender, mut receiver) = mpsc::channel(1);
    let answering = tokio::spawn({
        let (aggregator, request) = (aggregator.clone(), market.request(&unread, 1));
        async move { answer(&aggregator, &request, &Events::new(sender, PATIENCE)).await }
    });
    // With the first block here, there is no room for the last one and the summary.
    assert!(receiver.recv().await.is_some_and(|event| event.is_ok()));
    assert_eq!(read_all(&aggregator, &market.request(&other, 2)).await.len(), BLOCKS as usize + 1);
    // Control: the first answer is still on its way.
    assert!(matches!(aggregator.take_turn(unread), Err(AggregatorError::InProgress(_))));
    while receiver.recv().await.is_some() {}
    answering.await.expect("it ends").expect("it is sent");
}

#[tokio::test]
async fn a_researcher_that_stopped_reading_can_ask_again() {
    let market = Market::deploy().await;
    let aggregator = market.aggregator(Limits::default()).await;
    let order = market.open_order(1).await;
    keep_answer(&aggregator, &order);
    let (sender, _unread) = mpsc::channel(1);
    let (request, events) = (market.request(&order, 1), Events::new(sender, Duration::from_millis(1)));
    let ended = tokio::time::timeout(PATIENCE, answer(&aggregator, &request, &events)).await;
    ended.expect("it ends").expect("the answer is kept");
    assert_eq!(read_all(&aggregator, &market.request(&order, 2)).await.len(), BLOCKS as usize + 1);
}

/// What comes of the settlement of an order that honest keyholders sign, when the exchange answers with this refusal.
async fn settle_against(
    market: &Market,
    keyholders: &[ServerHandle; 3],
    order: &OrderId,
    refusal: Status,
) -> Result<Settlement, AggregatorError> {
    let exchange = refusing_exchange(refusal).await;
    let keyholders = keyholders.each_ref().map(ServerHandle::connector);
    let aggregator = market.aggregator_among(Limits::default(), keyholders, &exchange.connector()).await;
    let committee = Committee::of(&aggregator, &*aggregator.view.refreshed().await?)?;
    let (answering, question) = (answering(), Question::default());
    let preparations = committee.prepare(order, &question).await?;
    let agreed = committee.commit(&question, &preparations, order, &answering).await?;
    let (sender, _receiver) = mpsc::channel(1);
    let events = Events::new(sender, PATIENCE);
    settle(&aggregator, &committee, order, &agreed, &answering, &events).await.map(|(settlement, _)| settlement)
}

#[tokio::test]
async fn a_settlement_that_the_exchange_refuses_is_none_unless_the_chain_has_it() {
    let market = Market::deploy().await;
    let order = market.open_order(1).await;
    let keyholders = honest_keyholders(order, market.contracts).await;
    for refusal in [Status::already_exists("not open"), Status::failed_precondition("not open")] {
        match settle_against(&market, &keyholders, &order, refusal.clone()).await {
            Err(AggregatorError::Exchange(status)) => assert_eq!(status.code(), refusal.code()),
            other => panic!("{other:?}"),
        }
    }
    let settlement = market.settlement(order);
    market.settle(&settlement).await;
    let settled = settle_against(&market, &keyholders, &order, Status::failed_precondition("settled")).await;
    assert_eq!(settled.expect("the chain has it"), settlement);
}
