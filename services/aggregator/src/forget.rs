//! Forgetting what nobody will ask for any more.

use crate::{aggregator::Aggregator, error::AggregatorError};
use locus_ledger::{OrderId, OrderRecord, OrderState};
use std::{sync::Arc, time::Duration};

/// How often old orders are forgotten.
const FORGET_PERIOD: Duration = Duration::from_secs(24 * 3600);
/// Time after its deadline for which an open order is kept, in seconds: its settlement may have been mined, but not be final.
const OVERDUE_MARGIN_S: u64 = 24 * 3600;

/// Forgets old orders, today and every day.
pub(crate) async fn forget_old_orders(aggregator: Arc<Aggregator>) {
    let mut ticks = tokio::time::interval(FORGET_PERIOD);
    loop {
        ticks.tick().await;
        match forget_once(&aggregator).await {
            Ok(0) => {}
            Ok(orders) => tracing::info!(orders, "old orders forgotten"),
            Err(error) => tracing::warn!(%error, "old orders could not be forgotten"),
        }
    }
}

/// Forgets answers that were kept for long enough, and what came before an answer that never will be. Returns of how many orders.
async fn forget_once(aggregator: &Aggregator) -> Result<u64, AggregatorError> {
    let (now, retention_s) = (aggregator.clock.now_unix_s(), aggregator.limits.answer_retention_s);
    let view = aggregator.view.refreshed().await?;
    // An order that the view does not know was not read yet.
    let is_over = |order: &OrderId| {
        let over = view.order(order).is_some_and(|record| is_over(record, now, retention_s));
        over && aggregator.take_turn(*order).is_ok()
    };
    aggregator.answers.forget(now.saturating_sub(retention_s), is_over)
}

/// Whether nothing more will come of an order that has no answer yet. One that is settled is paid for: its answer can still be
/// asked for, for as long as others are kept.
fn is_over(record: &OrderRecord, now_unix_s: u64, retention_s: u64) -> bool {
    let after_deadline_s = match record.state {
        OrderState::Refunded => return true,
        OrderState::Open => OVERDUE_MARGIN_S,
        OrderState::Settled(_) => retention_s.max(OVERDUE_MARGIN_S),
    };
    now_unix_s > record.order.deadline_unix_s.saturating_add(after_deadline_s)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Limits,
        testing::{Market, ORDER_LIFETIME_S},
    };
    use locus_wire::pb::keyholder::Preparation;

    #[tokio::test]
    async fn what_is_kept_of_refunded_and_expired_orders_is_forgotten() {
        let market = Market::deploy().await;
        let aggregator = market.aggregator(Limits::default()).await;
        let [refunded, open] = [market.open_order(1).await, market.open_order(2).await];
        for order in [&refunded, &open] {
            aggregator.answers.put_preparations(order, &[Preparation::default()]).expect("writes");
        }
        let is_kept = |order| aggregator.answers.preparations(order).expect("reads").is_some();
        market.clock.advance(ORDER_LIFETIME_S + 1);
        assert_eq!(forget_once(&aggregator).await.expect("forgets"), 0);
        market.ledger.refund_order(refunded).await.expect("its deadline has passed");
        assert_eq!(forget_once(&aggregator).await.expect("forgets"), 1);
        assert!(!is_kept(&refunded) && is_kept(&open));
        market.clock.advance(OVERDUE_MARGIN_S);
        let answering = aggregator.take_turn(open).expect("nobody answers it");
        assert_eq!(forget_once(&aggregator).await.expect("forgets"), 0, "it is being answered");
        drop(answering);
        assert_eq!(forget_once(&aggregator).await.expect("forgets"), 1);
        assert!(!is_kept(&open));
    }

    #[tokio::test]
    async fn a_settled_order_without_an_answer_is_kept_as_long_as_answers_are() {
        let market = Market::deploy().await;
        let aggregator = market.aggregator(Limits::default()).await;
        let order = market.open_order(1).await;
        let view = aggregator.view.refreshed().await.expect("the chain is here");
        let record = view.order(&order).expect("it is final");
        let settled = OrderRecord { state: OrderState::Settled(market.settlement(order)), ..record.clone() };
        let (deadline, retention_s) = (record.order.deadline_unix_s, 10 * OVERDUE_MARGIN_S);
        assert!(is_over(record, deadline + OVERDUE_MARGIN_S + 1, retention_s));
        assert!(!is_over(&settled, deadline + retention_s, retention_s));
        assert!(is_over(&settled, deadline + retention_s + 1, retention_s));
    }
}
