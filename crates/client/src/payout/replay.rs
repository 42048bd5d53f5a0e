//! The market as it was at every settlement, from recorded events.

use super::PayoutError;
use locus_commitment::Digest32;
use locus_ledger::{BlockRef, ChainView, EventSource, LocatedEvent, MarketEvent, OrderId};
use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
};

/// The market at one settlement.
pub(super) struct Moment {
    pub(super) order: OrderId,
    /// At the end of the block that opened the order.
    pub(super) opened: ChainView,
    /// At the end of the block that settled it.
    pub(super) settled: ChainView,
}

/// Events up to a block, as a chain that ends there.
struct Recorded<'a> {
    events: &'a [LocatedEvent],
    last: u64,
}

fn block_ref(number: u64) -> BlockRef {
    BlockRef { number, hash: Digest32([0; 32]) }
}

impl EventSource for Recorded<'_> {
    type Error = Infallible;

    async fn head(&self) -> Result<BlockRef, Infallible> {
        Ok(block_ref(self.last))
    }

    async fn finalized(&self) -> Result<BlockRef, Infallible> {
        Ok(block_ref(self.last))
    }

    async fn block(&self, number: u64) -> Result<BlockRef, Infallible> {
        Ok(block_ref(number))
    }

    async fn events(&self, from: u64, to: u64) -> Result<Vec<LocatedEvent>, Infallible> {
        Ok(self.events.iter().filter(|event| (from..=to).contains(&event.block)).cloned().collect())
    }

    async fn first_block(&self) -> Result<u64, Infallible> {
        Ok(self.events.iter().map(|event| event.block).min().unwrap_or(0))
    }
}

/// The market at every settlement, in their order, and at the end.
pub(super) async fn replay(events: &[LocatedEvent]) -> Result<(Vec<Moment>, ChainView), PayoutError> {
    let is_stop = |event: &&LocatedEvent| {
        matches!(event.event, MarketEvent::OrderOpened { .. } | MarketEvent::OrderSettled { .. })
    };
    let stops: BTreeSet<u64> = events.iter().filter(is_stop).map(|event| event.block).collect();
    let mut opened = BTreeMap::new();
    let mut moments = Vec::new();
    let mut view = ChainView::default();
    for stop in stops {
        view.poll(&Recorded { events, last: stop }).await?;
        for event in events.iter().filter(|event| event.block == stop) {
            match &event.event {
                MarketEvent::OrderOpened { order_id, .. } => {
                    opened.insert(*order_id, view.clone());
                }
                MarketEvent::OrderSettled { settlement } => {
                    let order = settlement.order;
                    // The view has refused settlements of orders that were not opened.
                    let opened = opened.remove(&order).ok_or(PayoutError::OtherOrder(order))?;
                    moments.push(Moment { order, opened, settled: view.clone() });
                }
                _ => {}
            }
        }
    }
    let last = events.iter().map(|event| event.block).max().unwrap_or(0);
    view.poll(&Recorded { events, last }).await?;
    Ok((moments, view))
}
