//! The cumulative payout table: what every account has earned up to the last settlement.

use super::{META, Store, StoreError};
use locus_commitment::{Address, Digest32};
use locus_ledger::{Amount, PayoutTree};
use redb::{ReadableDatabase as _, ReadableTable as _, TableDefinition, WriteTransaction};
use std::collections::BTreeMap;

/// Account to cumulative base units.
const PAYOUTS: TableDefinition<&[u8; 20], u128> = TableDefinition::new("payouts");
/// Name of the table's sequence number in the meta table.
const SEQUENCE: &str = "payout_sequence";

pub(super) fn create_tables(transaction: &WriteTransaction) -> Result<(), StoreError> {
    transaction.open_table(PAYOUTS)?;
    Ok(())
}

/// Cumulative earnings after the settlement with number `sequence`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PayoutTable {
    /// Number of the last settlement included; 0 before the first.
    pub(crate) sequence: u64,
    /// Base units by account.
    pub(crate) earned: BTreeMap<Address, u128>,
}

impl PayoutTable {
    /// The table after one more settlement, or `None` when an amount overflows.
    pub(crate) fn with(&self, payees: &BTreeMap<Address, u128>) -> Option<Self> {
        let mut next = self.clone();
        next.sequence = next.sequence.checked_add(1)?;
        for (account, amount) in payees {
            let earned = next.earned.entry(*account).or_insert(0);
            *earned = earned.checked_add(*amount)?;
        }
        Some(next)
    }

    /// Its payout root, as the chain has it after the settlement.
    pub(crate) fn root(&self) -> Digest32 {
        let earned = self.earned.iter().map(|(account, amount)| (*account, Amount(*amount)));
        PayoutTree::build(earned.collect()).root()
    }
}

impl Store {
    /// The current table.
    pub(crate) fn payout_table(&self) -> Result<PayoutTable, StoreError> {
        let sequence = self.meta(SEQUENCE)?.unwrap_or(0);
        let table = self.database.begin_read()?.open_table(PAYOUTS)?;
        let mut earned = BTreeMap::new();
        for entry in table.iter()? {
            let (account, amount) = entry?;
            earned.insert(Address(*account.value()), amount.value());
        }
        Ok(PayoutTable { sequence, earned })
    }

    /// Replaces the table by a later one.
    ///
    /// A crash may undo this. Chain and answers lead from the earlier table to the later one again, or the aggregator
    /// brings that.
    pub(crate) fn put_payout_table(&self, next: &PayoutTable) -> Result<(), StoreError> {
        let transaction = self.begin_repeatable_write()?;
        {
            let mut meta = transaction.open_table(META)?;
            let current = meta.get(SEQUENCE)?.map_or(0, |value| value.value());
            if next.sequence <= current {
                return Ok(());
            }
            meta.insert(SEQUENCE, next.sequence)?;
            let mut table = transaction.open_table(PAYOUTS)?;
            for (account, amount) in &next.earned {
                table.insert(&account.0, *amount)?;
            }
        }
        transaction.commit()?;
        Ok(())
    }
}
