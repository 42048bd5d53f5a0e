//! Who has earned how much, as of the last settlement that this keyholder knows.
//!
//! Every settlement on the chain carries the Merkle root of everybody's cumulative earnings. The
//! payees of an answer given here are stored with it. Of a settlement that was made without this
//! keyholder only the root is known; the table behind it comes from anybody who has it, and is
//! believed when it gives that root.

use crate::{
    error::KeyholderError,
    keyholder::Keyholder,
    store::{Payee, PayoutTable, StoreError, StoredAnswer},
};
use locus_commitment::Address;
use locus_ledger::Settlement;
use locus_wire::{convert::parse_earnings, pb::exchange::Earning};
use std::collections::{BTreeMap, BTreeSet};

#[cfg(test)]
mod tests;

/// A table that is being taken in and was not held against the chain yet.
pub(crate) struct Import {
    settlement: Settlement,
    /// Nobody else can have earned anything; it bounds what a sender can make this keyholder hold.
    registrants: BTreeSet<Address>,
    table: PayoutTable,
}

impl Keyholder {
    /// Brings the table up to the last final settlement, as far as this keyholder knows the payees.
    pub(crate) fn follow_settlements(&self) -> Result<(), KeyholderError> {
        let mut table = self.store().payout_table()?;
        let view = self.view();
        for settlement in view.settlements_from(table.sequence.saturating_add(1)) {
            let sequence = settlement.payout_sequence;
            let Some(stored) = self.store().answer(&settlement.order.0)? else {
                return Err(KeyholderError::PayoutsMissing { sequence, known: table.sequence });
            };
            let next = table.with(&payees_of(&stored)?).ok_or(StoreError::Damaged("answer"))?;
            if next.root() != settlement.payout_root {
                // Two others settled the order on another cohort than this keyholder had committed to.
                tracing::warn!(order = %settlement.order, sequence, "the payees known here are not those on the chain");
                return Err(KeyholderError::PayoutsMissing { sequence, known: table.sequence });
            }
            self.store().put_payout_table(&next)?;
            table = next;
        }
        Ok(())
    }

    /// Begins to take in the table as of settlement `sequence`; `None` when it is known here.
    ///
    /// # Errors
    /// [`KeyholderError::NotFinal`] while the settlement is not final on this keyholder's chain.
    pub(crate) async fn begin_import(&self, sequence: u64) -> Result<Option<Import>, KeyholderError> {
        self.poll_chain().await?;
        if self.store().payout_table()?.sequence >= sequence {
            return Ok(None);
        }
        let view = self.view();
        let settlement = view.settlements_from(sequence).next().copied();
        let settlement = settlement.ok_or(KeyholderError::NotFinal("the settlement"))?;
        let registrants = view.registrations().map(|registration| registration.registrant).collect();
        let table = PayoutTable { sequence, earned: BTreeMap::new() };
        Ok(Some(Import { settlement, registrants, table }))
    }

    /// Makes an imported table this keyholder's own when the chain has its root. Returns the last
    /// settlement whose payees are known then.
    pub(crate) fn finish_import(&self, import: Import) -> Result<u64, KeyholderError> {
        let Import { settlement, table, .. } = import;
        let refused = KeyholderError::PayoutRoot(table.sequence);
        if table.root() != settlement.payout_root {
            return Err(refused);
        }
        // Earnings only grow. The root is checked, so this cannot fail while one signer is honest.
        let known = self.store().payout_table()?;
        let shrinks = |(account, earned): (&Address, &u128)| table.earned.get(account).unwrap_or(&0) < earned;
        if known.earned.iter().any(shrinks) {
            return Err(refused);
        }
        self.store().put_payout_table(&table)?;
        tracing::info!(sequence = table.sequence, accounts = table.earned.len(), "table of earnings imported");
        match self.follow_settlements() {
            Ok(()) | Err(KeyholderError::PayoutsMissing { .. }) => Ok(self.store().payout_table()?.sequence),
            Err(error) => Err(error),
        }
    }
}

impl Import {
    /// Takes in the next accounts, ascending.
    pub(crate) fn take(&mut self, page: &[Earning]) -> Result<(), KeyholderError> {
        let last = self.table.earned.last_key_value().map(|(account, _)| *account);
        for earning in parse_earnings(page, last)? {
            if !self.registrants.contains(&earning.account) {
                return Err(KeyholderError::PayoutRoot(self.table.sequence));
            }
            self.table.earned.insert(earning.account, earning.cumulative.0);
        }
        Ok(())
    }
}

/// Who is paid how much when the order of a stored answer is settled.
pub(crate) fn payees_of(stored: &StoredAnswer) -> Result<BTreeMap<Address, u128>, KeyholderError> {
    let parse = |payee: &Payee| -> Option<(Address, u128)> {
        Some((Address(payee.account.as_ref().try_into().ok()?), payee.amount.parse().ok()?))
    };
    let payees: Option<BTreeMap<_, _>> = stored.payees.iter().map(parse).collect();
    payees.ok_or(KeyholderError::Store(StoreError::Damaged("answer")))
}
