//! Following the roots: forwards from nothing over the settlements whose payees are known, and backwards from the table.

use super::{
    CheckedSettlement, PayeesFrom, PayoutError,
    check::{Settled, add},
};
use locus_commitment::Address;
use locus_ledger::{Amount, PayoutTree, Settlement};
use std::collections::BTreeMap;

type Table = BTreeMap<Address, Amount>;

/// Checks every root that can be computed. Where one settlement alone is between two such roots, it paid the difference.
pub(super) fn trace(settled: Vec<Settled>, earnings: &Table) -> Result<Vec<CheckedSettlement>, PayoutError> {
    let (mut before, mut next) = (Table::new(), 0);
    while let Some((settlement, payees)) = settled.get(next).and_then(known) {
        payees.iter().try_for_each(|(account, amount)| add(&mut before, *account, *amount))?;
        check_root(settlement, &before)?;
        next += 1;
    }
    let (mut after, mut end) = (earnings.clone(), settled.len());
    while end > next {
        let Some(last) = settled.get(end - 1) else { break };
        check_root(&last.settlement, &after)?;
        let Some((settlement, payees)) = known(last) else { break };
        after = difference(&after, payees).ok_or_else(|| other_root(settlement))?;
        end -= 1;
    }
    let mut checked: Vec<CheckedSettlement> = settled.iter().map(of_cohort).collect();
    if next + 1 == end
        && let (Some(open), Some(alone)) = (checked.get_mut(next), settled.get(next))
    {
        let payees = difference(&after, &before).ok_or_else(|| other_root(&alone.settlement))?;
        let exceeds = |(account, amount): (&Address, &Amount)| alone.most.get(account).is_none_or(|most| amount > most);
        let total = payees.values().try_fold(Amount::ZERO, |total, amount| total.checked_add(*amount));
        if total != Some(alone.settlement.price) || payees.iter().any(exceeds) {
            return Err(PayoutError::MoreThanOffered(alone.settlement.payout_sequence));
        }
        open.payees = Some((PayeesFrom::Roots, payees));
    }
    Ok(checked)
}

fn of_cohort(settled: &Settled) -> CheckedSettlement {
    let payees = settled.payees.clone().map(|payees| (PayeesFrom::Cohort, payees));
    CheckedSettlement { settlement: settled.settlement, payees }
}

fn known(settled: &Settled) -> Option<(&Settlement, &Table)> {
    Some((&settled.settlement, settled.payees.as_ref()?))
}

fn check_root(settlement: &Settlement, earnings: &Table) -> Result<(), PayoutError> {
    if PayoutTree::build(earnings.clone()).root() == settlement.payout_root {
        return Ok(());
    }
    Err(other_root(settlement))
}

fn other_root(settlement: &Settlement) -> PayoutError {
    PayoutError::OtherRoot { sequence: settlement.payout_sequence, root: settlement.payout_root }
}

/// What `left` has more than `right`; `None` when it has less of something.
fn difference(left: &Table, right: &Table) -> Option<Table> {
    let of = |table: &Table, account: &Address| table.get(account).copied().unwrap_or(Amount::ZERO);
    if right.iter().any(|(account, amount)| of(left, account) < *amount) {
        return None;
    }
    let rest = |(account, amount): (&Address, &Amount)| {
        let rest = amount.checked_sub(of(right, account));
        rest.map(|rest| (*account, rest))
    };
    let differences: Option<Table> = left.iter().map(rest).collect();
    differences.map(|table| table.into_iter().filter(|(_, amount)| *amount > Amount::ZERO).collect())
}
