//! What the calls of an aggregator share.

use crate::{answers::Answers, config::Limits, error::AggregatorError, prove::Prover};
use futures::future::join_all;
use locus_cohort::{
    self as cohort, DISCLOSURE_BYTES_MAX, DisclosureBook, Eligible, ExclusionReason, OfferedDisclosure, Requirements,
};
use locus_engine::Engine;
use locus_genomics::{PanelDigest, VARIANTS_PER_PANEL_BLOCK};
use locus_ledger::{ChainView, Ledger, OrderId, PanelRecord, ViewFollower};
use locus_privacy::NetworkParameters;
use locus_service::blocking;
use locus_service::{Clock, SeenRequests, ServiceChannel};
use locus_store::{PanelShape, PanelStore, Store};
use locus_wire::pb::{
    exchange::exchange_service_client::ExchangeServiceClient,
    keyholder::keyholder_service_client::KeyholderServiceClient,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// A client of one keyholder; clones share the connection.
pub(crate) type KeyholderClient = KeyholderServiceClient<ServiceChannel>;
/// A client of the exchange; clones share the connection.
pub(crate) type ExchangeClient = ExchangeServiceClient<ServiceChannel>;

/// Requests that may wait until their order is final, or is found to be nobody's.
const WAITING_MAX: u32 = 256;
/// Orders that may wait for a place among those that are answered.
const ANSWERS_WAITING_MAX: u32 = 256;
/// Answers whose shares are kept and whose settlement waits for its turn, or is under way; each holds its cohort.
const SETTLING_MAX: usize = 4;
/// Openings of cohorts that may run at the same time, also while their readers are slow: each has the sums of 64 columns, 4 MiB.
const OPENINGS_MAX: u32 = 16;
/// Openings that may wait for one of these places.
const OPENINGS_WAITING_MAX: u32 = 64;
/// Quotes that may wait to be computed; one that waits holds its request only.
const QUOTES_WAITING_MAX: u32 = 1_024;
/// Documents of offers that are fetched and verified together.
const DISCLOSURES_AT_ONCE: usize = 64;

/// State of an aggregator.
pub(crate) struct Aggregator {
    pub(crate) ledger: Ledger,
    pub(crate) view: ViewFollower,
    pub(crate) parameters: NetworkParameters,
    pub(crate) engine: Engine,
    pub(crate) answers: Answers,
    /// Signed requests that were taken.
    pub(crate) requests: SeenRequests,
    pub(crate) limits: Limits,
    pub(crate) clock: Clock,
    pub(crate) keyholders: [KeyholderClient; 3],
    pub(crate) exchange: ExchangeClient,
    /// In a market that settles on proven cohorts.
    pub(crate) prover: Option<Prover>,
    /// The documents of offers that were verified here.
    pub(crate) disclosures: Arc<DisclosureBook>,
    /// Held while a settlement is signed and submitted: each builds on the one before.
    pub(crate) settling: tokio::sync::Mutex<()>,
    store: Store,
    /// One handle per panel, so that all readers share the newest manifest seen.
    panel_stores: Mutex<BTreeMap<PanelDigest, PanelStore>>,
    answering: Places,
    settling_places: Semaphore,
    opening: Places,
    quoting: Places,
    waiting: Arc<Semaphore>,
    /// Orders that are being answered.
    turns: Arc<Mutex<BTreeSet<OrderId>>>,
}

/// What an aggregator is made of.
pub(crate) struct Parts {
    pub(crate) ledger: Ledger,
    pub(crate) view: ViewFollower,
    pub(crate) parameters: NetworkParameters,
    pub(crate) answers: Answers,
    pub(crate) engine: Engine,
    pub(crate) requests: SeenRequests,
    pub(crate) limits: Limits,
    pub(crate) clock: Clock,
    pub(crate) keyholders: [KeyholderClient; 3],
    pub(crate) exchange: ExchangeClient,
    pub(crate) prover: Option<Prover>,
    pub(crate) disclosures: DisclosureBook,
    pub(crate) store: Store,
}

/// Calls that may run at the same time, and those that wait for it, first come first served.
struct Places {
    running: Arc<Semaphore>,
    waiting: Semaphore,
    /// Running and waiting together.
    calls_max: u32,
}

impl Places {
    fn new(running_max: u32, waiting_max: u32) -> Self {
        let waiting = Semaphore::new(waiting_max as usize);
        let calls_max = running_max.saturating_add(waiting_max);
        Self { running: Arc::new(Semaphore::new(running_max as usize)), waiting, calls_max }
    }

    /// A place, after those who came before; refused when too many wait already.
    async fn take(&self) -> Result<OwnedSemaphorePermit, AggregatorError> {
        let busy = || AggregatorError::Busy(self.calls_max);
        if let Ok(permit) = self.running.clone().try_acquire_owned() {
            return Ok(permit);
        }
        let _waits = self.waiting.try_acquire().map_err(|_| busy())?;
        self.running.clone().acquire_owned().await.map_err(|_| busy())
    }
}

/// An order that no other call answers meanwhile.
pub(crate) struct Turn {
    turns: Arc<Mutex<BTreeSet<OrderId>>>,
    order: OrderId,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.order);
    }
}

impl Aggregator {
    pub(crate) fn new(parts: Parts) -> Self {
        let limits = parts.limits;
        Self {
            ledger: parts.ledger,
            view: parts.view,
            parameters: parts.parameters,
            engine: parts.engine,
            answers: parts.answers,
            requests: parts.requests,
            limits,
            clock: parts.clock,
            keyholders: parts.keyholders,
            exchange: parts.exchange,
            prover: parts.prover,
            disclosures: Arc::new(parts.disclosures),
            settling: tokio::sync::Mutex::new(()),
            store: parts.store,
            panel_stores: Mutex::default(),
            answering: Places::new(limits.answers_max, ANSWERS_WAITING_MAX),
            settling_places: Semaphore::new(SETTLING_MAX),
            opening: Places::new(OPENINGS_MAX, OPENINGS_WAITING_MAX),
            quoting: Places::new(limits.quotes_max, QUOTES_WAITING_MAX),
            waiting: Arc::new(Semaphore::new(WAITING_MAX as usize)),
            turns: Arc::default(),
        }
    }

    /// The market in a view of the chain.
    pub(crate) fn market<'a>(&'a self, view: &'a ChainView) -> cohort::Market<'a> {
        cohort::Market { view, parameters: &self.parameters, settles_on_cohorts: self.prover.is_some() }
    }

    /// Slots of eligible datasets that have not disclosed what is required, as far as could be verified here, and why.
    pub(crate) async fn undisclosed(
        &self,
        view: &Arc<ChainView>,
        eligible: &Eligible,
        requirements: &Requirements,
    ) -> BTreeMap<u64, ExclusionReason> {
        let fetch = async |offered: OfferedDisclosure| {
            let (registration, digest) = (offered.registration.0, offered.digest);
            (offered, self.store.disclosure(registration, digest, DISCLOSURE_BYTES_MAX as u64).await)
        };
        for some in self.disclosures.unread(eligible).chunks(DISCLOSURES_AT_ONCE) {
            let fetched = join_all(some.iter().copied().map(fetch)).await;
            let (book, view, network) = (self.disclosures.clone(), view.clone(), self.ledger.contracts().network);
            blocking(move || {
                for (offered, document) in fetched {
                    match document {
                        Ok(Some(bytes)) => book.read(network, &view, &offered, &bytes),
                        Ok(None) => {}
                        Err(error) => tracing::warn!(disclosure = %offered.digest, %error, "not read"),
                    }
                }
            })
            .await;
        }
        self.disclosures.left_out(eligible, requirements)
    }

    /// The ciphertexts of a panel.
    pub(crate) fn panel_store(&self, panel: PanelDigest, shape: PanelShape) -> PanelStore {
        let mut stores = self.panel_stores.lock().unwrap_or_else(PoisonError::into_inner);
        stores.entry(panel).or_insert_with(|| self.store.panel(panel, shape)).clone()
    }

    /// A place among the orders that may be answered at the same time.
    pub(crate) async fn answer_permit(&self) -> Result<OwnedSemaphorePermit, AggregatorError> {
        self.answering.take().await
    }

    /// A place among the answers that wait for their settlement: who has it needs none among those that are computed.
    pub(crate) async fn settling_permit(&self) -> Result<SemaphorePermit<'_>, AggregatorError> {
        let closed = |_| AggregatorError::Busy(self.answering.calls_max);
        self.settling_places.acquire().await.map_err(closed)
    }

    /// A place among the openings of cohorts.
    pub(crate) async fn opening_permit(&self) -> Result<OwnedSemaphorePermit, AggregatorError> {
        self.opening.take().await
    }

    /// A place among the quotes that may be computed at the same time.
    pub(crate) async fn quote_permit(&self) -> Result<OwnedSemaphorePermit, AggregatorError> {
        self.quoting.take().await
    }

    /// A place among the requests that wait until their order is final.
    pub(crate) fn waiting_permit(&self) -> Result<OwnedSemaphorePermit, AggregatorError> {
        let permit = self.waiting.clone().try_acquire_owned();
        permit.map_err(|_| AggregatorError::Busy(WAITING_MAX))
    }

    /// Longest wait until a reader has room for one more event.
    pub(crate) fn reader_patience(&self) -> Duration {
        Duration::from_secs(self.limits.release_wait_s)
    }

    /// The right to answer `order`, for one call at a time.
    pub(crate) fn take_turn(&self, order: OrderId) -> Result<Turn, AggregatorError> {
        let is_free = self.turns.lock().unwrap_or_else(PoisonError::into_inner).insert(order);
        if is_free { Ok(Turn { turns: self.turns.clone(), order }) } else { Err(AggregatorError::InProgress(order)) }
    }
}

/// A panel as the chain has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PublishedPanel {
    pub(crate) digest: PanelDigest,
    pub(crate) variant_count: u32,
    /// Of its ciphertexts.
    pub(crate) shape: PanelShape,
}

impl PublishedPanel {
    /// The panel `digest` in `view`.
    pub(crate) fn find(view: &ChainView, digest: PanelDigest) -> Result<Self, AggregatorError> {
        let record = view.panel(&digest).ok_or(AggregatorError::UnknownPanel(digest))?;
        let &PanelRecord { variant_count, complete_calls, .. } = record;
        let shape = PanelShape::try_new(variant_count.div_ceil(VARIANTS_PER_PANEL_BLOCK), complete_calls)?;
        Ok(Self { digest, variant_count, shape })
    }

    /// What plans need of it.
    pub(crate) fn for_plan(&self) -> cohort::PanelShape {
        cohort::PanelShape { digest: self.digest, complete_calls: self.shape.complete_calls() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[tokio::test]
    async fn calls_wait_for_a_place_in_turn_and_too_many_are_refused() {
        let places = Places::new(1, 2);
        let running = places.take().await.expect("a free place");
        let mut first = Box::pin(places.take());
        let mut second = Box::pin(places.take());
        assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
        assert!(matches!(places.take().await, Err(AggregatorError::Busy(3))));
        // One that gives up makes room for another.
        drop(second);
        let mut third = Box::pin(places.take());
        assert!((&mut third).now_or_never().is_none());
        drop(running);
        let running = (&mut first).now_or_never().expect("its turn").expect("a place");
        assert!((&mut third).now_or_never().is_none(), "one at a time");
        drop(running);
        assert!((&mut third).now_or_never().expect("its turn").is_ok());
    }
}
