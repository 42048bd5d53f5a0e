//! Following the chain and folding events in.

use super::{
    BlockRef, ChainView, EVENT_PAGE_BLOCKS, EventSource, LocatedEvent, MarketEvent, OrderRecord, OrderState,
    PanelRecord, RegistrationRecord, ViewError,
};
use std::sync::Arc;

impl ChainView {
    /// Reads everything new: grants up to the finalized block, revocations up to the head. Returns
    /// whether anything was folded in.
    ///
    /// # Errors
    /// [`ViewError::FinalizedChanged`] and [`ViewError::FinalizedWentBack`] leave the view as it was;
    /// a source error may leave finalized pages folded in, and the next call goes on from there.
    pub async fn poll<S: EventSource>(&mut self, source: &S) -> Result<bool, ViewError<S::Error>> {
        let finalized = source.finalized().await.map_err(ViewError::Source)?;
        self.check_continuity(source, finalized).await?;
        let mut changed = false;
        let mut next = self.finalized.map_or(0, |seen| seen.number.saturating_add(1));
        while next <= finalized.number {
            let last = finalized.number.min(next.saturating_add(EVENT_PAGE_BLOCKS - 1));
            let events = source.events(next, last).await.map_err(ViewError::Source)?;
            let end = if last == finalized.number {
                finalized
            } else {
                source.block(last).await.map_err(ViewError::Source)?
            };
            changed |= !events.is_empty();
            for event in events {
                self.see_revocation(&event);
                self.apply(event);
            }
            self.finalized = Some(end);
            next = last.saturating_add(1);
        }
        Ok(changed | self.look_ahead(source, next).await?)
    }

    /// Looks at blocks that are not final yet, for revocations only.
    async fn look_ahead<S: EventSource>(&mut self, source: &S, from: u64) -> Result<bool, ViewError<S::Error>> {
        let head = source.head().await.map_err(ViewError::Source)?;
        let mut changed = false;
        let mut next = from;
        while next <= head.number {
            let last = head.number.min(next.saturating_add(EVENT_PAGE_BLOCKS - 1));
            for event in source.events(next, last).await.map_err(ViewError::Source)? {
                changed |= self.see_revocation(&event);
            }
            next = last.saturating_add(1);
        }
        Ok(changed)
    }

    async fn check_continuity<S: EventSource>(
        &self,
        source: &S,
        finalized: BlockRef,
    ) -> Result<(), ViewError<S::Error>> {
        let Some(seen) = self.finalized else { return Ok(()) };
        if finalized.number < seen.number {
            return Err(ViewError::FinalizedWentBack { seen: seen.number, now: finalized.number });
        }
        let canonical = source.block(seen.number).await.map_err(ViewError::Source)?;
        if canonical.hash != seen.hash {
            return Err(ViewError::FinalizedChanged { number: seen.number });
        }
        Ok(())
    }

    /// Honours a revocation wherever it stands; returns whether it is new.
    fn see_revocation(&mut self, located: &LocatedEvent) -> bool {
        match &located.event {
            MarketEvent::DatasetsRevoked { registration, ordinals } => {
                ordinals.iter().fold(false, |new, ordinal| self.revoked.insert((*registration, *ordinal)) | new)
            }
            MarketEvent::OfferWithdrawn { registration } => {
                let seen = self.withdrawn.entry(*registration).or_insert(0);
                let new = located.block > *seen;
                *seen = located.block.max(*seen);
                new
            }
            _ => false,
        }
    }

    /// Folds in a final event.
    fn apply(&mut self, located: LocatedEvent) {
        let block = located.block;
        match located.event {
            MarketEvent::PanelPublished { panel, name, variant_count, complete_calls } => {
                self.panels.entry(panel).or_insert(PanelRecord { name, variant_count, complete_calls });
            }
            MarketEvent::DatasetsRegistered {
                registration,
                registrant,
                panel,
                version,
                first_slot,
                accreditor,
                leaves,
            } => {
                let record = RegistrationRecord {
                    id: registration,
                    registrant,
                    panel,
                    version,
                    first_slot,
                    accreditor,
                    block,
                    leaves,
                    offers: Vec::new(),
                };
                if self.registrations.insert(registration, Arc::new(record)).is_none() {
                    self.by_panel.entry(panel).or_default().push(registration);
                }
            }
            MarketEvent::OfferPosted { offer } => {
                if let Some(record) = self.registrations.get_mut(&offer.registration) {
                    Arc::make_mut(record).offers.push((block, Some(offer)));
                }
            }
            MarketEvent::OfferWithdrawn { registration } => {
                if let Some(record) = self.registrations.get_mut(&registration) {
                    Arc::make_mut(record).offers.push((block, None));
                }
            }
            MarketEvent::OrderOpened { order_id, order } => {
                let record =
                    OrderRecord { order, block, time_unix_s: located.time_unix_s, state: OrderState::Open };
                self.orders.entry(order_id).or_insert(record);
            }
            MarketEvent::OrderSettled { settlement } => {
                if let Some(record) = self.orders.get_mut(&settlement.order)
                    && record.state == OrderState::Open
                {
                    record.state = OrderState::Settled(settlement);
                    self.settlements.push(settlement);
                }
            }
            MarketEvent::OrderRefunded { order_id } => {
                if let Some(record) = self.orders.get_mut(&order_id) {
                    record.state = OrderState::Refunded;
                }
            }
            MarketEvent::PayoutClaimed { account, amount } => {
                let claimed = self.claimed.entry(account).or_insert(0);
                *claimed = claimed.saturating_add(amount);
            }
            MarketEvent::AccreditorChanged { account, listed } => {
                self.accreditors.insert(account, listed);
            }
            MarketEvent::ResearcherChanged { account, listed } => {
                self.researchers.entry(account).or_default().push((block, listed));
            }
            MarketEvent::KeyholderChanged { keyholder, member } => {
                self.committee.insert(keyholder, member);
            }
            MarketEvent::DatasetsErased { registration, keyholder, ordinals } => {
                for ordinal in ordinals {
                    self.erased.entry((registration, ordinal)).or_default().insert(keyholder);
                }
            }
            // Honoured by `see_revocation`.
            MarketEvent::DatasetsRevoked { .. } => {}
        }
    }
}
