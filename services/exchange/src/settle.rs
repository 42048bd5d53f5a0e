//! Settling orders, and the payout table that settlements make.

use crate::{
    error::ExchangeError,
    exchange::{Exchange, NOT_OPEN},
    payouts::{EarningsPage, PayoutBook, PayoutError, VersionKey},
};
use locus_cohort::settlement_signing_hash;
use locus_commitment::{Address, Digest32};
use locus_ledger::{
    Amount, ChainView, CohortEvidence, Ledger, LedgerError, MarketEvent, Order, OrderId, OrderState, OrderStatus,
    ProvenRegistry, Settlement, SettlementSignatures, recover,
};
use locus_service::blocking;
use locus_wire::convert::{EARNINGS_PAGE_MAX, FieldError, SettlementSignature};
use std::collections::BTreeMap;

/// Keyholders that must have signed.
const SIGNATURES_MIN: usize = 2;
/// How often the payout state is read until two reads agree.
const READS_MAX: u32 = 8;

/// What an account has and had.
pub(crate) struct AccountState {
    pub(crate) balance: Amount,
    pub(crate) earned: Amount,
    pub(crate) claimed: Amount,
    pub(crate) permit_nonce: u64,
}

/// Sequence and root of the payout table on the chain, from one moment.
async fn payout_state(ledger: &Ledger) -> Result<VersionKey, ExchangeError> {
    let mut sequence = ledger.payout_sequence().await?;
    for _ in 0..READS_MAX {
        let root = ledger.payout_root().await?;
        let again = ledger.payout_sequence().await?;
        if again == sequence {
            return Ok(VersionKey { sequence, root });
        }
        sequence = again;
    }
    // Settlements come faster than they can be read; the caller tries again.
    Err(ExchangeError::Ledger(LedgerError::UnexpectedAnswer))
}

impl Exchange {
    /// Moves the payout table to what the chain shows.
    pub(crate) async fn follow_payouts(&self) -> Result<VersionKey, ExchangeError> {
        let target = payout_state(self.ledger()).await?;
        if self.move_to(target).await? {
            tracing::info!(sequence = target.sequence, root = %target.root, "payout table follows the chain");
        }
        Ok(target)
    }

    /// Settles an order; returns the transaction, or `None` when it was settled so before.
    pub(crate) async fn settle(
        &self,
        settlement: &Settlement,
        signatures: &[SettlementSignature],
        evidence: Option<&CohortEvidence>,
        payees: BTreeMap<Address, Amount>,
    ) -> Result<Option<[u8; 32]>, ExchangeError> {
        if evidence.is_some() != self.inner().settles_on_cohorts {
            let reason = "a market settles on proven cohorts always or never: see its description";
            return Err(FieldError::refused("cohort", reason).into());
        }
        let _one_at_a_time = self.inner().settling.lock().await;
        let followed = self.follow_payouts().await;
        if self.is_settled(settlement).await? {
            return match followed {
                Ok(_) => Ok(None),
                // Somebody else settled it, or the table was restored: with the payees it can follow.
                Err(ExchangeError::Payouts(PayoutError::UnknownVersion { .. })) => {
                    self.adopt(settlement, payees).await.map(|()| None)
                }
                Err(error) => Err(error),
            };
        }
        let (order, signatures) = self.check_signatures(settlement, signatures, evidence).await?;
        followed?;
        if self.includes(settlement).await? {
            // Settled in a block that is not final yet.
            return Ok(None);
        }
        self.stage(settlement, payees).await?;
        let transaction = match self.submit(settlement, &order, evidence, &signatures).await {
            Ok(transaction) => Some(transaction.0),
            Err(error) if error.refusal() == Some(NOT_OPEN) => {
                self.check_settled_lately(settlement, error).await?;
                None
            }
            Err(error) => return Err(error.into()),
        };
        if let Err(error) = self.follow_payouts().await {
            // The settlement stands; the next use of the table follows.
            tracing::warn!(%error, "payout table does not follow yet");
        }
        Ok(transaction)
    }

    async fn submit(
        &self,
        settlement: &Settlement,
        order: &Order,
        evidence: Option<&CohortEvidence>,
        signatures: &SettlementSignatures,
    ) -> Result<Digest32, LedgerError> {
        match evidence {
            None => self.ledger().settle_order(settlement, signatures).await,
            Some(CohortEvidence { choice, cohort, .. }) => {
                let proven = ProvenRegistry::open(self.ledger().clone()).await?;
                proven.settle_on_cohort(settlement, order, choice, cohort, signatures).await
            }
        }
    }

    /// Fails unless the order, which the contract refuses with `refusal` as not open, is settled on exactly these terms,
    /// maybe in a block that is not final yet.
    async fn check_settled_lately(&self, settlement: &Settlement, refusal: LedgerError) -> Result<(), ExchangeError> {
        let order = settlement.order;
        match self.ledger().order_status(order).await? {
            OrderStatus::Refunded => return Err(ExchangeError::OrderRefunded(order)),
            OrderStatus::Unknown | OrderStatus::Open => return Err(refusal.into()),
            OrderStatus::Settled => {}
        }
        let view = self.refreshed().await?;
        if is_settled(&view, settlement)? {
            return Ok(());
        }
        let same = MarketEvent::OrderSettled { settlement: *settlement };
        if self.events_after(&view).await?.contains(&same) {
            Ok(())
        } else {
            Err(ExchangeError::SettledOtherwise(order))
        }
    }

    /// Takes a settlement that is final on the chain into a table that lacks it. The table comes as far as the chain when
    /// all that it lacks have been taken in, in order.
    async fn adopt(&self, settlement: &Settlement, payees: BTreeMap<Address, Amount>) -> Result<(), ExchangeError> {
        if self.includes(settlement).await? {
            return Ok(());
        }
        let sequence = settlement.payout_sequence;
        let before =
            version_before(&*self.refreshed().await?, sequence).ok_or(ExchangeError::EarlierMissing(sequence))?;
        match self.move_to(before).await {
            Err(PayoutError::UnknownVersion { .. }) => return Err(ExchangeError::EarlierMissing(sequence)),
            moved => moved?,
        };
        self.stage(settlement, payees).await?;
        match self.follow_payouts().await {
            Err(ExchangeError::Payouts(error @ PayoutError::UnknownVersion { .. })) => {
                tracing::warn!(%error, sequence, "the payout table took in a settlement and lacks later ones");
                self.move_to(version_of(settlement)).await?;
                Ok(())
            }
            followed => followed.map(drop),
        }
    }

    async fn move_to(&self, version: VersionKey) -> Result<bool, PayoutError> {
        let book = self.inner().book.clone();
        blocking(move || book.move_to(version)).await
    }

    /// Whether the table has this settlement, or one of the same order with the same payees.
    async fn includes(&self, settlement: &Settlement) -> Result<bool, PayoutError> {
        let (book, version, order) = (self.inner().book.clone(), version_of(settlement), settlement.order);
        blocking(move || book.includes(version, order)).await
    }

    /// The order, and the valid ones of the signatures, at least two. A signature that is not its
    /// keyholder's counts for nothing, and the contract never sees it.
    async fn check_signatures(
        &self,
        settlement: &Settlement,
        signatures: &[SettlementSignature],
        evidence: Option<&CohortEvidence>,
    ) -> Result<(Order, SettlementSignatures), ExchangeError> {
        let view = self.refreshed().await?;
        let order = view.order(&settlement.order).ok_or(ExchangeError::UnknownOrder(settlement.order))?.order;
        let hash = settlement_signing_hash(self.ledger().contracts(), settlement, &order, evidence);
        let hash = hash.ok_or_else(|| FieldError::refused("order", "its purpose does not exist"))?;
        let is_valid = |signed: &&SettlementSignature| {
            let member = view.keyholder(signed.keyholder);
            member.is_some_and(|member| recover(&hash, &signed.signature) == Ok(member.signer))
        };
        let valid: Vec<_> =
            signatures.iter().filter(is_valid).map(|signed| (signed.keyholder, signed.signature.clone())).collect();
        if valid.len() < SIGNATURES_MIN {
            return Err(ExchangeError::TooFewSignatures { valid: valid.len() });
        }
        Ok((order, SettlementSignatures(valid)))
    }

    /// Whether the order is settled on exactly these terms.
    async fn is_settled(&self, settlement: &Settlement) -> Result<bool, ExchangeError> {
        is_settled(&*self.refreshed().await?, settlement)
    }

    /// Stores the version that the settlement leads to, after checking that it does.
    async fn stage(&self, settlement: &Settlement, payees: BTreeMap<Address, Amount>) -> Result<(), ExchangeError> {
        let (book, order, target) = (self.inner().book.clone(), settlement.order, version_of(settlement));
        let staged = blocking(move || stage(&book, order, target, &payees)).await;
        if staged.is_ok() {
            tracing::info!(order = %settlement.order, sequence = target.sequence, "payout version stored");
        }
        staged
    }

    /// Balance, earnings and claims of an account. Earnings may be too low while the table lacks settlements.
    pub(crate) async fn account(&self, account: Address) -> Result<AccountState, ExchangeError> {
        if let Err(error) = self.follow_payouts().await {
            // Whoever orders needs balance and permit nonce, whatever became of the table.
            tracing::warn!(%error, "earnings are told from an older payout table");
        }
        let book = self.inner().book.clone();
        let claimed = self.ledger().claimed(account).await?;
        Ok(AccountState {
            balance: self.ledger().balance(account).await?,
            // What was claimed had been earned.
            earned: blocking(move || book.earned(account)).await?.max(claimed),
            claimed,
            permit_nonce: self.ledger().permit_nonce(account).await?,
        })
    }

    /// A page of the table behind the newest payout root.
    pub(crate) async fn earnings(&self, after: Option<Address>) -> Result<EarningsPage, ExchangeError> {
        self.follow_payouts().await?;
        let book = self.inner().book.clone();
        Ok(blocking(move || book.page(after, EARNINGS_PAGE_MAX)).await?)
    }
}

/// Whether an order is settled on exactly these terms, as far as the chain is final.
fn is_settled(view: &ChainView, settlement: &Settlement) -> Result<bool, ExchangeError> {
    match view.order(&settlement.order).map(|record| record.state) {
        None => Err(ExchangeError::UnknownOrder(settlement.order)),
        Some(OrderState::Settled(settled)) if settled == *settlement => Ok(true),
        Some(OrderState::Settled(_)) => Err(ExchangeError::SettledOtherwise(settlement.order)),
        // A refunded order is refused by the contract.
        Some(OrderState::Open | OrderState::Refunded) => Ok(false),
    }
}

/// The version of the table that a settlement leads to.
fn version_of(settlement: &Settlement) -> VersionKey {
    VersionKey { sequence: settlement.payout_sequence, root: settlement.payout_root }
}

/// The version before the settlement number `sequence`, as the chain has it.
fn version_before(view: &ChainView, sequence: u64) -> Option<VersionKey> {
    match sequence.checked_sub(1)? {
        0 => Some(VersionKey::EMPTY),
        before => view.settlements_from(before).next().map(version_of),
    }
}

fn stage(
    book: &PayoutBook,
    order: OrderId,
    target: VersionKey,
    payees: &BTreeMap<Address, Amount>,
) -> Result<(), ExchangeError> {
    let version = book.next(order, payees)?;
    if version.key.sequence != target.sequence {
        return Err(ExchangeError::PayoutSequence { got: target.sequence, next: version.key.sequence });
    }
    if version.key.root != target.root {
        return Err(ExchangeError::PayoutRoot);
    }
    Ok(book.stage(&version)?)
}
