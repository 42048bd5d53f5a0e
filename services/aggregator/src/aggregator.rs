//! The aggregator: its view of the chain, its store and its peers.

use crate::{error::AggregatorError, kept::KeptAnswers};
use locus_cohort::PanelShape;
use locus_commitment::{DatasetBodyDigest, NetworkId};
use locus_engine::{Engine, RegisteredBodies};
use locus_genomics::{PanelDigest, VARIANTS_PER_PANEL_BLOCK};
use locus_ledger::{ChainView, Contracts, OrderId, RegistrationId, ViewFollower};
use locus_privacy::NetworkParameters;
use locus_service::{Clock, Connector};
use locus_store::Store;
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex as StdMutex, PoisonError},
};
use tokio::sync::{Mutex, Semaphore};

/// Questions that are answered at the same time.
pub(crate) const ANSWERS_MAX: usize = 8;

/// Handle to an aggregator; clones share everything.
#[derive(Clone)]
pub(crate) struct Aggregator(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) contracts: Contracts,
    pub(crate) parameters: NetworkParameters,
    pub(crate) view: ViewFollower,
    pub(crate) store: Store,
    pub(crate) engine: Engine,
    pub(crate) keyholders: [Connector; 3],
    pub(crate) exchange: Connector,
    pub(crate) kept: KeptAnswers,
    pub(crate) answers: Semaphore,
    pub(crate) in_flight: StdMutex<BTreeSet<OrderId>>,
    /// Held from the release of an answer to its settlement.
    pub(crate) settling: Mutex<()>,
    pub(crate) clock: Clock,
}

impl Aggregator {
    pub(crate) fn network(&self) -> NetworkId {
        self.0.contracts.network
    }

    pub(crate) fn parameters(&self) -> &NetworkParameters {
        &self.0.parameters
    }

    pub(crate) fn now_unix_s(&self) -> u64 {
        self.0.clock.now_unix_s()
    }

    /// The chain as it is now.
    pub(crate) async fn refreshed_view(&self) -> Result<Arc<ChainView>, AggregatorError> {
        Ok(self.0.view.refreshed().await?)
    }

    /// Marks an order as being answered, until the guard is dropped.
    pub(crate) fn take_order(&self, order: OrderId) -> Result<InFlight, AggregatorError> {
        let mut in_flight = self.0.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        if !in_flight.insert(order) {
            return Err(AggregatorError::InFlight);
        }
        Ok(InFlight { aggregator: self.clone(), order })
    }
}

/// An order that is being answered.
pub(crate) struct InFlight {
    aggregator: Aggregator,
    order: OrderId,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut in_flight = self.aggregator.0.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        in_flight.remove(&self.order);
    }
}

/// Shape of a published panel.
pub(crate) struct PublishedPanel {
    pub(crate) shape: PanelShape,
    pub(crate) variant_count: u32,
}

impl PublishedPanel {
    pub(crate) fn find(view: &ChainView, panel: PanelDigest) -> Result<Self, AggregatorError> {
        let record = view.panel(&panel).ok_or(AggregatorError::NotFinal("the panel"))?;
        let shape = PanelShape { digest: panel, complete_calls: record.complete_calls };
        Ok(Self { shape, variant_count: record.variant_count })
    }

    pub(crate) fn block_count(&self) -> u32 {
        self.variant_count.div_ceil(VARIANTS_PER_PANEL_BLOCK)
    }
}

/// H(b) of every slot of a panel, from the chain.
pub(crate) struct BodiesOnChain {
    view: Arc<ChainView>,
    /// First slot and number of each registration, ascending.
    registrations: Vec<(u64, RegistrationId)>,
}

impl BodiesOnChain {
    pub(crate) fn of_panel(view: Arc<ChainView>, panel: &PanelDigest) -> Self {
        let registrations =
            view.registrations_on(panel, u64::MAX).map(|record| (record.first_slot, record.id)).collect();
        Self { view, registrations }
    }
}

impl RegisteredBodies for BodiesOnChain {
    fn body_digest(&self, slot: u32) -> Option<DatasetBodyDigest> {
        let slot = u64::from(slot);
        let after = self.registrations.partition_point(|(first, _)| *first <= slot);
        let (first, id) = self.registrations.get(after.checked_sub(1)?)?;
        let place = usize::try_from(slot - first).ok()?;
        Some(self.view.registration(*id)?.leaves.get(place)?.commitments.bodies)
    }
}
