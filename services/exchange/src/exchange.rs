//! The exchange: a ledger client that sends, a view of the chain, and the payout table.

use crate::{claims::Claims, error::ExchangeError, payouts::PayoutBook};
use locus_commitment::Address;
use locus_genomics::PanelDigest;
use locus_ledger::{
    Amount, ChainView, EventSource as _, Ledger, MarketEvent, Offer, Order, OrderId, OrderRecord, OrderStatus,
    PermitSignature, RegistrationId, ViewFollower, order_id, read_events,
};
use locus_privacy::NetworkParameters;
use locus_service::{AuditLog, Clock};
use locus_wire::convert::{FieldError, NetworkInfo};
use std::sync::Arc;
use tokio::sync::Mutex;

/// Most base units that one call mints on a test network: a million tokens.
const MINT_MAX: Amount = Amount(1_000_000 * 10u128.pow(18));

/// The contract's word for an order that is settled, refunded or was never opened.
pub(crate) const NOT_OPEN: &str = "QueryEscrowNotOpen";

/// Handle to the exchange; clones share everything.
#[derive(Clone)]
pub(crate) struct Exchange(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) ledger: Ledger,
    pub(crate) view: ViewFollower,
    pub(crate) parameters: NetworkParameters,
    pub(crate) token_name: String,
    pub(crate) settles_on_cohorts: bool,
    pub(crate) book: Arc<PayoutBook>,
    pub(crate) clock: Clock,
    /// Transactions sent.
    pub(crate) audit: AuditLog,
    /// Held from building a payout version until it is settled, so that versions follow each other.
    pub(crate) settling: Mutex<()>,
    pub(crate) claims: Claims,
}

impl Exchange {
    pub(crate) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.0.ledger
    }

    /// The chain as it is now.
    pub(crate) async fn refreshed(&self) -> Result<Arc<ChainView>, ExchangeError> {
        Ok(self.0.view.refreshed().await?)
    }

    /// What happened in the blocks after those that are final in `view`; a reorganisation may take it back.
    pub(crate) async fn events_after(&self, view: &ChainView) -> Result<Vec<MarketEvent>, ExchangeError> {
        let first = view.finalized().map_or(0, |block| block.number.saturating_add(1));
        let head = self.ledger().head().await?.number;
        let events = read_events(self.ledger(), first, head).await?;
        Ok(events.into_iter().map(|located| located.event).collect())
    }

    pub(crate) fn now_unix_s(&self) -> u64 {
        self.0.clock.now_unix_s()
    }

    /// Contracts, rules and committee.
    pub(crate) async fn network(&self) -> Result<NetworkInfo, ExchangeError> {
        let view = self.refreshed().await?;
        let member = |index| view.keyholder(index).cloned().ok_or(ExchangeError::CommitteeIncomplete);
        Ok(NetworkInfo {
            contracts: *self.0.ledger.contracts(),
            parameters: self.0.parameters,
            committee: [member(1)?, member(2)?, member(3)?],
            committee_epoch: self.0.ledger.committee_epoch().await?,
            token_name: self.0.token_name.clone(),
            settles_on_cohorts: self.0.settles_on_cohorts,
        })
    }

    /// Publishes a panel; returns the transaction.
    pub(crate) async fn publish_panel(
        &self,
        panel: PanelDigest,
        name: &str,
        variant_count: u32,
        complete_calls: bool,
    ) -> Result<[u8; 32], ExchangeError> {
        Ok(self.0.ledger.publish_panel(panel, name, variant_count, complete_calls).await?.0)
    }

    /// Posts an offer; returns the transaction.
    pub(crate) async fn post_offer(&self, offer: &Offer, signature: &[u8]) -> Result<[u8; 32], ExchangeError> {
        Ok(self.0.ledger.post_offer(offer, signature).await?.0)
    }

    /// Withdraws an offer; returns the transaction.
    pub(crate) async fn withdraw_offer(
        &self,
        registration: RegistrationId,
        nonce: u64,
        signature: &[u8],
    ) -> Result<[u8; 32], ExchangeError> {
        Ok(self.0.ledger.withdraw_offer(registration, nonce, signature).await?.0)
    }

    /// Opens an order; returns its name, the transaction and its block.
    pub(crate) async fn open_order(
        &self,
        order: &Order,
        signature: &[u8],
        permit: Option<&PermitSignature>,
    ) -> Result<(OrderId, [u8; 32], u64), ExchangeError> {
        let (transaction, block) = self.0.ledger.open_order(order, signature, permit).await?;
        Ok((order_id(order), transaction.0, block))
    }

    /// Returns an order's escrow; returns the transaction, or nothing when the escrow went back before.
    pub(crate) async fn refund_order(&self, order: OrderId) -> Result<Option<[u8; 32]>, ExchangeError> {
        let error = match self.0.ledger.refund_order(order).await {
            Ok(transaction) => return Ok(Some(transaction.0)),
            Err(error) if error.refusal() == Some(NOT_OPEN) => error,
            Err(error) => return Err(error.into()),
        };
        match self.0.ledger.order_status(order).await? {
            OrderStatus::Refunded => Ok(None),
            OrderStatus::Settled => Err(ExchangeError::OrderSettled(order)),
            OrderStatus::Unknown | OrderStatus::Open => Err(error.into()),
        }
    }

    /// An order as the chain has it.
    pub(crate) async fn order(&self, id: OrderId) -> Result<OrderRecord, ExchangeError> {
        let view = self.refreshed().await?;
        view.order(&id).cloned().ok_or(ExchangeError::UnknownOrder(id))
    }

    /// Mints test tokens, at most a million; returns the transaction.
    pub(crate) async fn mint(&self, account: Address, amount: Amount) -> Result<[u8; 32], ExchangeError> {
        if !self.0.parameters.values().test_network {
            return Err(ExchangeError::NotATestNetwork);
        }
        if amount > MINT_MAX {
            let reason = "a call mints at most a million tokens: ask for less, or in several calls";
            return Err(FieldError::refused("amount", reason).into());
        }
        Ok(self.0.ledger.mint(account, amount).await?.0)
    }
}
