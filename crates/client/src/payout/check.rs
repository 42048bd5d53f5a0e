//! Checking a market's payouts: every settlement for itself, then all of them together.

use super::{CheckedPayouts, PayoutError, PayoutRecord, replay::Moment, replay::replay, trace::trace};
use locus_cohort::{Cohort, Eligible, Market, eligible_for_any_blocks, settlement_signing_hash};
use locus_commitment::Address;
use locus_ledger::{
    Amount, CohortEvidence, Contracts, MarketEvent, OrderRecord, PayoutTree, Settlement, ShownSettlement, order_id,
    recover,
};
use locus_proofs::registry::PRICE_UNIT;
use std::collections::{BTreeMap, BTreeSet};

/// Keyholders that must have signed a settlement.
const SIGNATURES_MIN: usize = 2;

/// A settlement with what can be said of whom it paid.
pub(super) struct Settled {
    pub(super) settlement: Settlement,
    /// Those of its cohort, where the chain alone tells who that was.
    pub(super) payees: Option<BTreeMap<Address, Amount>>,
    /// What everybody could earn who could answer.
    pub(super) most: BTreeMap<Address, Amount>,
}

/// Checks all payouts of the market with these contracts.
///
/// # Errors
/// [`PayoutError`] with the first thing that does not fit.
pub async fn check_payouts(record: &PayoutRecord, contracts: &Contracts) -> Result<CheckedPayouts, PayoutError> {
    check_orders(record)?;
    let (moments, view) = replay(&record.events).await?;
    let settlement_count = moments.len() as u64;
    if record.sequence != settlement_count || record.settlements.len() as u64 != settlement_count {
        return Err(PayoutError::Contradiction { sequence: record.sequence, what: "the number" });
    }
    if record.table.sequence != settlement_count {
        return Err(PayoutError::OtherSequence { table: record.table.sequence, chain: settlement_count });
    }
    let mut settled = Vec::with_capacity(moments.len());
    for (moment, shown) in moments.iter().zip(&record.settlements) {
        settled.push(check_settlement(record, contracts, moment, shown)?);
    }
    let tree = PayoutTree::build(record.table.earned.clone());
    let on_chain = settled.last().map_or_else(|| PayoutTree::build(BTreeMap::new()).root(), last_root);
    if on_chain != record.root {
        return Err(PayoutError::Contradiction { sequence: settlement_count, what: "the root" });
    }
    if tree.root() != record.root {
        return Err(PayoutError::OtherRoot { sequence: settlement_count, root: record.root });
    }
    let claimed: BTreeMap<Address, Amount> =
        record.events.iter().filter_map(claimant).map(|account| (account, Amount(view.claimed(&account)))).collect();
    let (settled_total, claimed_total) = check_totals(record, &settled, &tree, &claimed)?;
    check_bounds(&settled, tree.earnings())?;
    let settlements = trace(settled, tree.earnings())?;
    Ok(CheckedPayouts { settlements, tree, claimed, settled_total, claimed_total })
}

fn last_root(settled: &Settled) -> locus_commitment::Digest32 {
    settled.settlement.payout_root
}

fn claimant(event: &locus_ledger::LocatedEvent) -> Option<Address> {
    match event.event {
        MarketEvent::PayoutClaimed { account, .. } => Some(account),
        _ => None,
    }
}

/// Orders are named after what they say.
fn check_orders(record: &PayoutRecord) -> Result<(), PayoutError> {
    for event in &record.events {
        if let MarketEvent::OrderOpened { order_id: name, order } = &event.event
            && order_id(order) != *name
        {
            return Err(PayoutError::OtherOrder(*name));
        }
    }
    Ok(())
}

fn check_settlement(
    record: &PayoutRecord,
    contracts: &Contracts,
    moment: &Moment,
    shown: &ShownSettlement,
) -> Result<Settled, PayoutError> {
    let order = moment.settled.order(&moment.order).ok_or(PayoutError::OtherOrder(moment.order))?;
    let locus_ledger::OrderState::Settled(settlement) = order.state else {
        return Err(PayoutError::OtherOrder(moment.order));
    };
    let sequence = settlement.payout_sequence;
    if shown.settlement != settlement {
        return Err(PayoutError::Contradiction { sequence, what: "the words" });
    }
    if settlement.price > order.order.max_price {
        return Err(PayoutError::AboveMaximum(sequence));
    }
    let evidence = shown.cohort.map(|(choice, cohort)| {
        let researcher_accredited = moment.settled.is_accredited_researcher(&order.order.researcher, order.block);
        CohortEvidence { choice, researcher_accredited, cohort }
    });
    if let Some(CohortEvidence { cohort, .. }) = &evidence {
        let price = cohort.total_price_units.checked_mul(PRICE_UNIT).map(Amount);
        if (cohort.size, price) != (u64::from(settlement.cohort_size), Some(settlement.price)) {
            return Err(PayoutError::OtherSums(sequence));
        }
    }
    check_signatures(contracts, moment, shown, order, evidence.as_ref())?;
    let market =
        Market { view: &moment.settled, parameters: &record.parameters, settles_on_cohorts: record.settles_on_cohorts };
    let eligible = eligible_for_any_blocks(&market, &order.order, order.block, order.time_unix_s);
    let most = most_of(&eligible, &settlement)?;
    let payees = payees_of(&eligible, moment, order.block, &settlement)?;
    Ok(Settled { settlement, payees, most })
}

/// Signatures by at least two members of the committee of that time.
fn check_signatures(
    contracts: &Contracts,
    moment: &Moment,
    shown: &ShownSettlement,
    order: &OrderRecord,
    evidence: Option<&CohortEvidence>,
) -> Result<(), PayoutError> {
    let sequence = shown.settlement.payout_sequence;
    let digest = settlement_signing_hash(contracts, &shown.settlement, &order.order, evidence)
        .ok_or(PayoutError::OtherOrder(moment.order))?;
    let is_valid = |(keyholder, signature): &(u8, Vec<u8>)| {
        let signer = moment.settled.keyholder(*keyholder).map(|member| member.signer);
        recover(&digest, signature).is_ok_and(|recovered| Some(recovered) == signer)
    };
    let signatures = &shown.signatures.0;
    let signers: BTreeSet<u8> =
        signatures.iter().filter(|signed| is_valid(signed)).map(|(keyholder, _)| *keyholder).collect();
    // The contract takes no settlement with an invalid signature, however many others are valid.
    if signers.len() < SIGNATURES_MIN || signers.len() < signatures.len() {
        return Err(PayoutError::TooFewSignatures { sequence, valid: signers.len() });
    }
    Ok(())
}

/// Who is paid, when the cohort is everybody who could answer but those who had left by the order's block, or by that
/// of the settlement. `None` when keyholders left out others, of whom only they know.
fn payees_of(
    eligible: &Eligible,
    moment: &Moment,
    pinned_block: u64,
    settlement: &Settlement,
) -> Result<Option<BTreeMap<Address, Amount>>, PayoutError> {
    for view in [&moment.settled, &moment.opened] {
        let Ok(cohort) = Cohort::try_new(eligible, &eligible.revoked_slots(view, pinned_block)) else { continue };
        if cohort.digest().0 != settlement.cohort_digest {
            continue;
        }
        let (size, asked) = (cohort.size(), cohort.price());
        if (size, asked) != (settlement.cohort_size, settlement.price) {
            let (sequence, price) = (settlement.payout_sequence, settlement.price);
            return Err(PayoutError::OtherPrice { sequence, price, asked, size });
        }
        return Ok(Some(cohort.payees()));
    }
    Ok(None)
}

/// What everybody could earn who could answer: more than that no cohort pays.
fn most_of(eligible: &Eligible, settlement: &Settlement) -> Result<BTreeMap<Address, Amount>, PayoutError> {
    let mut most = BTreeMap::new();
    for member in &eligible.members {
        add(&mut most, member.registrant, member.price)?;
    }
    let total = sum(most.values())?;
    if u64::from(settlement.cohort_size) > eligible.members.len() as u64 || settlement.price > total {
        return Err(PayoutError::MoreThanOffered(settlement.payout_sequence));
    }
    Ok(most)
}

/// All earnings are all prices, nobody was paid more than they earned, and the escrow holds the rest.
fn check_totals(
    record: &PayoutRecord,
    settled: &[Settled],
    tree: &PayoutTree,
    claimed: &BTreeMap<Address, Amount>,
) -> Result<(Amount, Amount), PayoutError> {
    let prices: Vec<Amount> = settled.iter().map(|settled| settled.settlement.price).collect();
    let settled = sum(&prices)?;
    let earned = tree.total().ok_or(PayoutError::Overflow)?;
    if earned != settled {
        return Err(PayoutError::OtherTotal { earned, settled });
    }
    for (account, paid) in claimed {
        if tree.earnings().get(account).is_none_or(|earned| paid > earned) {
            return Err(PayoutError::Overpaid(*account));
        }
    }
    let claimed = sum(claimed.values())?;
    let owed = settled.checked_sub(claimed).ok_or(PayoutError::Overflow)?;
    if record.held < owed {
        return Err(PayoutError::Insolvent { held: record.held, owed });
    }
    Ok((settled, claimed))
}

/// Everybody earned what the known cohorts paid them, and no more on top than the other settlements can have paid.
fn check_bounds(settled: &[Settled], earnings: &BTreeMap<Address, Amount>) -> Result<(), PayoutError> {
    let (mut least, mut more) = (BTreeMap::new(), BTreeMap::new());
    for settled in settled {
        match &settled.payees {
            Some(payees) => payees.iter().try_for_each(|(account, amount)| add(&mut least, *account, *amount))?,
            None => settled
                .most
                .iter()
                .try_for_each(|(account, amount)| add(&mut more, *account, (*amount).min(settled.settlement.price)))?,
        }
    }
    let accounts: BTreeSet<&Address> = earnings.keys().chain(least.keys()).collect();
    for account in accounts {
        let of = |table: &BTreeMap<Address, Amount>| table.get(account).copied().unwrap_or(Amount::ZERO);
        let (earned, least) = (of(earnings), of(&least));
        let most = least.checked_add(of(&more)).ok_or(PayoutError::Overflow)?;
        if earned < least || earned > most {
            return Err(PayoutError::OtherEarnings { account: *account, earned, least, most });
        }
    }
    Ok(())
}

pub(super) fn add(table: &mut BTreeMap<Address, Amount>, account: Address, amount: Amount) -> Result<(), PayoutError> {
    let entry = table.entry(account).or_insert(Amount::ZERO);
    *entry = entry.checked_add(amount).ok_or(PayoutError::Overflow)?;
    Ok(())
}

fn sum<'a>(amounts: impl IntoIterator<Item = &'a Amount>) -> Result<Amount, PayoutError> {
    let total = amounts.into_iter().try_fold(Amount::ZERO, |total, amount| total.checked_add(*amount));
    total.ok_or(PayoutError::Overflow)
}
