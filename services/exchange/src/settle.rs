//! Settling orders and paying out.

use crate::{
    error::ExchangeError,
    exchange::Exchange,
    payouts::{EarningsPage, PayoutBook, PayoutError, VersionKey},
};
use locus_cohort::settlement_signing_hash;
use locus_commitment::Address;
use locus_ledger::{
    Amount, CohortEvidence, Ledger, LedgerError, Order, OrderState, PayoutTree, ProvenRegistry, Settlement,
    SettlementSignatures, recover,
};
use locus_service::blocking;
use locus_wire::convert::{EARNINGS_PAGE_MAX, FieldError, SettlementSignature};
use std::{collections::BTreeMap, sync::Arc};

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

/// What a claim paid.
pub(crate) struct Claimed {
    pub(crate) paid: Amount,
    /// `None` when nothing was left to pay.
    pub(crate) transaction: Option<[u8; 32]>,
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
        let book = self.inner().book.clone();
        let moved = blocking(move || book.move_to(target)).await?;
        if moved {
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
        let (order, signatures) = self.check_signatures(settlement, signatures, evidence).await?;
        let _one_at_a_time = self.inner().settling.lock().await;
        let target = VersionKey { sequence: settlement.payout_sequence, root: settlement.payout_root };
        let followed = self.follow_payouts().await;
        if self.is_settled(settlement).await? {
            return match followed {
                Ok(_) => Ok(None),
                // Somebody else settled it; with the payees the table can follow.
                Err(ExchangeError::Payouts(PayoutError::UnknownVersion { .. })) => {
                    self.stage(settlement, target, payees).await?;
                    self.follow_payouts().await.map(|_| None)
                }
                Err(error) => Err(error),
            };
        }
        followed?;
        let (book, order_id) = (self.inner().book.clone(), settlement.order);
        if blocking(move || book.includes(target, order_id)).await? {
            // Settled in a block that is not final yet.
            return Ok(None);
        }
        self.stage(settlement, target, payees).await?;
        let transaction = match evidence {
            None => self.ledger().settle_order(settlement, &signatures).await?,
            Some(CohortEvidence { choice, cohort, .. }) => {
                let proven = ProvenRegistry::open(self.ledger().clone()).await?;
                proven.settle_on_cohort(settlement, &order, choice, cohort, &signatures).await?
            }
        };
        if let Err(error) = self.follow_payouts().await {
            // The settlement stands; the next use of the table follows.
            tracing::warn!(%error, "payout table does not follow yet");
        }
        Ok(Some(transaction.0))
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
        let view = self.refreshed().await?;
        match view.order(&settlement.order).map(|record| record.state) {
            None => Err(ExchangeError::UnknownOrder(settlement.order)),
            Some(OrderState::Settled(settled)) if settled == *settlement => Ok(true),
            Some(OrderState::Settled(_)) => Err(ExchangeError::SettledOtherwise(settlement.order)),
            // A refunded order is refused by the contract, with its own words.
            Some(OrderState::Open | OrderState::Refunded) => Ok(false),
        }
    }

    /// Stores the version that the settlement leads to, after checking that it does.
    async fn stage(
        &self,
        settlement: &Settlement,
        target: VersionKey,
        payees: BTreeMap<Address, Amount>,
    ) -> Result<(), ExchangeError> {
        let (book, order) = (self.inner().book.clone(), settlement.order);
        let staged = blocking(move || stage(&book, order, target, &payees)).await;
        if staged.is_ok() {
            tracing::info!(order = %settlement.order, sequence = target.sequence, "payout version stored");
        }
        staged
    }

    /// Balance, earnings and claims of an account.
    pub(crate) async fn account(&self, account: Address) -> Result<AccountState, ExchangeError> {
        self.follow_payouts().await?;
        let book = self.inner().book.clone();
        Ok(AccountState {
            balance: self.ledger().balance(account).await?,
            earned: blocking(move || book.earned(account)).await?,
            claimed: self.ledger().claimed(account).await?,
            permit_nonce: self.ledger().permit_nonce(account).await?,
        })
    }

    /// A page of the table behind the newest payout root.
    pub(crate) async fn earnings(&self, after: Option<Address>) -> Result<EarningsPage, ExchangeError> {
        self.follow_payouts().await?;
        let book = self.inner().book.clone();
        Ok(blocking(move || book.page(after, EARNINGS_PAGE_MAX)).await?)
    }

    /// Pays an account everything that it has earned and was not paid yet.
    pub(crate) async fn claim(&self, account: Address) -> Result<Claimed, ExchangeError> {
        // The table must not move between the proof and the payment.
        let _no_settlement = self.inner().settling.lock().await;
        self.follow_payouts().await?;
        let nothing = Claimed { paid: Amount::ZERO, transaction: None };
        let book = self.inner().book.clone();
        let tree: Arc<PayoutTree> = blocking(move || book.tree()).await?;
        let Some(proof) = tree.proof(account) else { return Ok(nothing) };
        let before = self.ledger().claimed(account).await?;
        let Some(paid) = proof.cumulative.checked_sub(before).filter(|paid| *paid > Amount::ZERO) else {
            return Ok(nothing);
        };
        match self.ledger().claim_payout(&proof).await {
            Ok(transaction) => Ok(Claimed { paid, transaction: Some(transaction.0) }),
            // Somebody else had it paid in between.
            Err(error) if error.refusal() == Some("QueryEscrowNothingToClaim") => Ok(nothing),
            Err(error) => Err(error.into()),
        }
    }
}

fn stage(
    book: &PayoutBook,
    order: locus_ledger::OrderId,
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
