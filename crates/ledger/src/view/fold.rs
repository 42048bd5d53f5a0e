//! Following the chain and folding events in.

use super::{
    BlockRef, ChainView, EVENT_PAGE_BLOCKS, EventSource, LocatedEvent, MarketEvent, OrderRecord, OrderState,
    PanelRecord, RegistrationRecord, ViewError,
};
use crate::types::{DatasetKeys, Offer, OrderId, RegistrationId};
use locus_privacy::REKEYINGS_MAX;
use std::sync::Arc;

impl ChainView {
    /// Reads everything new: grants up to the finalized block, revocations up to the head. Returns
    /// whether anything was folded in.
    ///
    /// # Errors
    /// A source error may leave finalized pages folded in; the next call goes on from there. With
    /// any other error the view keeps the last state that was sound, and every further call fails
    /// until the chain node shows a chain that continues it.
    pub async fn poll<S: EventSource>(&mut self, source: &S) -> Result<bool, ViewError<S::Error>> {
        let finalized = source.finalized().await.map_err(ViewError::Source)?;
        self.check_continuity(source, finalized).await?;
        let mut next = match self.finalized {
            Some(seen) => seen.number.saturating_add(1),
            None => source.first_block().await.map_err(ViewError::Source)?,
        };
        let mut changed = false;
        while next <= finalized.number {
            let (last, events) = read_page(source, next, finalized.number).await.map_err(ViewError::Source)?;
            let end = if last == finalized.number {
                finalized
            } else {
                source.block(last).await.map_err(ViewError::Source)?
            };
            changed |= self.fold_page(next, last, events)?;
            self.finalized = Some(end);
            next = last.saturating_add(1);
        }
        if self.finalized.is_none() {
            self.finalized = Some(finalized);
        }
        Ok(changed | self.look_ahead(source, next).await?)
    }

    /// Looks at blocks that are not final yet, for revocations only.
    async fn look_ahead<S: EventSource>(&mut self, source: &S, from: u64) -> Result<bool, ViewError<S::Error>> {
        let head = source.head().await.map_err(ViewError::Source)?;
        let mut changed = false;
        let mut next = from;
        while next <= head.number {
            let (last, events) = read_page(source, next, head.number).await.map_err(ViewError::Source)?;
            for event in &events {
                changed |= self.see_revocation(event);
            }
            next = last.saturating_add(1);
        }
        Ok(changed)
    }

    /// Folds in the final events of the blocks `first` to `last`: all of them, or only the
    /// revocations among them when one does not follow from those before. Then the whole page is
    /// read again, so that nothing is missed that was left out before the fault showed.
    fn fold_page<E: std::error::Error>(
        &mut self,
        first: u64,
        last: u64,
        mut events: Vec<LocatedEvent>,
    ) -> Result<bool, ViewError<E>> {
        let changed = events.iter().fold(false, |changed, event| self.see_revocation(event) | changed);
        events.sort_by_key(place);
        events.dedup();
        let mut next = self.clone();
        let mut before = None;
        let is_empty = events.is_empty();
        for event in events {
            let (block, place) = (event.block, place(&event));
            let inconsistent = |reason| ViewError::Inconsistent { block, reason };
            if block < first || block > last {
                return Err(inconsistent("it holds an event that was not asked for"));
            }
            if before.replace(place) == Some(place) {
                return Err(inconsistent("two events are in one place"));
            }
            next.apply(event).map_err(inconsistent)?;
        }
        *self = next;
        Ok(changed | !is_empty)
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
                let mut insert = |ordinal: &u32| self.revoked.insert((*registration, *ordinal)).is_none();
                ordinals.iter().fold(false, |new, ordinal| insert(ordinal) | new)
            }
            MarketEvent::OfferWithdrawn { registration, nonce } => {
                let seen = self.withdrawn.entry(*registration).or_insert(0);
                let new = nonce > seen;
                *seen = (*seen).max(*nonce);
                new
            }
            _ => false,
        }
    }

    /// Folds in a final event, or says why the contracts cannot have emitted it after the others.
    fn apply(&mut self, located: LocatedEvent) -> Result<(), &'static str> {
        let block = located.block;
        match located.event {
            MarketEvent::PanelPublished { panel, name, variant_count, complete_calls } => {
                self.panels.entry(panel).or_insert(PanelRecord { name, variant_count, complete_calls });
            }
            registered @ MarketEvent::DatasetsRegistered { .. } => self.register(block, registered)?,
            MarketEvent::DatasetsRekeyed { registration, generation, keys } => {
                self.rekey(block, registration, generation, &keys)?;
            }
            MarketEvent::OfferPosted { offer } => {
                let (registration, nonce) = (offer.registration, offer.nonce);
                self.decide_offer(block, registration, nonce, Some(offer))?;
            }
            MarketEvent::OfferWithdrawn { registration, nonce } => {
                self.decide_offer(block, registration, nonce, None)?;
            }
            MarketEvent::OrderOpened { order_id, order } => {
                let record = OrderRecord { order, block, time_unix_s: located.time_unix_s, state: OrderState::Open };
                if self.orders.insert(order_id, Arc::new(record)).is_some() {
                    return Err("an order is opened twice");
                }
            }
            MarketEvent::OrderSettled { settlement } => {
                if settlement.payout_sequence != self.settlements.len() as u64 + 1 {
                    return Err("the numbers of settlements have a gap");
                }
                self.close_order(&settlement.order, OrderState::Settled(settlement))?;
                self.settlements.push_back(settlement);
            }
            MarketEvent::OrderRefunded { order_id } => self.close_order(&order_id, OrderState::Refunded)?,
            MarketEvent::PayoutClaimed { account, amount } => {
                let claimed = self.claimed.entry(account).or_insert(0);
                *claimed = claimed.checked_add(amount).ok_or("more was claimed than there can be tokens")?;
            }
            MarketEvent::AccreditorChanged { account, listed } => {
                self.accreditors.insert(account, listed);
            }
            MarketEvent::ResearcherChanged { account, listed } => {
                self.researchers.entry(account).or_default().push((block, listed));
            }
            MarketEvent::KeyholderChanged { keyholder, member } => {
                self.committee.insert(keyholder, member);
                self.committee_epoch += 1;
            }
            MarketEvent::DatasetsErased { registration, keyholder, ordinals } => {
                self.check_ordinals(registration, &ordinals)?;
                for ordinal in ordinals {
                    self.erased.entry((registration, ordinal)).or_default().insert(keyholder);
                }
            }
            // Honoured by `see_revocation`, whether final or not.
            MarketEvent::DatasetsRevoked { registration, ordinals } => self.check_ordinals(registration, &ordinals)?,
        }
        Ok(())
    }

    fn register(&mut self, block: u64, event: MarketEvent) -> Result<(), &'static str> {
        let MarketEvent::DatasetsRegistered {
            registration,
            registrant,
            panel,
            version,
            first_slot,
            accreditor,
            leaves,
        } = event
        else {
            return Ok(());
        };
        let slots = self.slots.entry(panel).or_insert(0);
        if registration.0 != self.registrations.len() as u64 + 1 || first_slot != *slots {
            return Err("the numbers of registrations or their slots have a gap");
        }
        *slots += leaves.len() as u64;
        let record = RegistrationRecord {
            id: registration,
            registrant,
            panel,
            version,
            first_slot,
            accreditor,
            block,
            leaves: leaves.into(),
            replaced: Vec::new(),
            offers: Vec::new(),
        };
        self.registrations.insert(registration, Arc::new(record));
        self.by_panel.entry(panel).or_default().push_back(registration);
        Ok(())
    }

    fn rekey(
        &mut self,
        block: u64,
        registration: RegistrationId,
        generation: u8,
        keys: &[Option<DatasetKeys>],
    ) -> Result<(), &'static str> {
        let record = self.registrations.get_mut(&registration).ok_or("a re-keying names an unknown registration")?;
        if generation > REKEYINGS_MAX || Some(generation) != record.generation().checked_add(1) {
            return Err("the numbers of a registration's re-keyings have a gap");
        }
        if keys.len() != record.leaves.len() {
            return Err("a re-keying has not one entry for each dataset");
        }
        let is_live = |ordinal: u32| !self.revoked.contains(&(registration, ordinal));
        if (0u32..).zip(keys).any(|(ordinal, keys)| keys.is_none() && is_live(ordinal)) {
            return Err("a re-keying leaves out a dataset that was never revoked");
        }
        Arc::make_mut(record).rekey(block, keys);
        self.rekeyings.push_back((registration, generation));
        Ok(())
    }

    fn decide_offer(
        &mut self,
        block: u64,
        registration: RegistrationId,
        nonce: u64,
        offer: Option<Offer>,
    ) -> Result<(), &'static str> {
        let record = self.registrations.get_mut(&registration).ok_or("an offer names an unknown registration")?;
        if nonce != record.next_offer_nonce() {
            return Err("the numbers of a registration's offers have a gap");
        }
        Arc::make_mut(record).offers.push((block, offer));
        Ok(())
    }

    fn close_order(&mut self, order: &OrderId, state: OrderState) -> Result<(), &'static str> {
        let record = self.orders.get_mut(order).ok_or("an order is closed that was never opened")?;
        if record.state != OrderState::Open {
            return Err("an order is closed twice");
        }
        Arc::make_mut(record).state = state;
        Ok(())
    }

    fn check_ordinals(&self, registration: RegistrationId, ordinals: &[u32]) -> Result<(), &'static str> {
        let count = self.registration(registration).map_or(0, |record| record.leaves.len() as u64);
        let known = ordinals.iter().all(|ordinal| u64::from(*ordinal) < count);
        if known { Ok(()) } else { Err("an event names an unknown dataset") }
    }
}

/// Where an event happened.
fn place(event: &LocatedEvent) -> (u64, u64) {
    (event.block, event.log_index)
}

/// All market events of these blocks (both ends included), in the order of the chain.
///
/// # Errors
/// Those of the source.
pub async fn read_events<S: EventSource>(source: &S, first: u64, last: u64) -> Result<Vec<LocatedEvent>, S::Error> {
    let mut all = Vec::new();
    let mut next = first;
    while next <= last {
        let (end, events) = read_page(source, next, last).await?;
        all.extend(events);
        next = end.saturating_add(1);
    }
    all.sort_by_key(place);
    Ok(all)
}

/// Reads events from block `first` on: of at most a page, up to `last`, and of fewer blocks when the
/// source says that there are too many. Returns the last block read.
async fn read_page<S: EventSource>(source: &S, first: u64, last: u64) -> Result<(u64, Vec<LocatedEvent>), S::Error> {
    let mut end = last.min(first.saturating_add(EVENT_PAGE_BLOCKS - 1));
    loop {
        match source.events(first, end).await {
            Ok(events) => return Ok((end, events)),
            Err(error) if end > first && source.is_too_many(&error) => end = first + (end - first) / 2,
            Err(error) => return Err(error),
        }
    }
}
