//! Checking payouts from public data: the chain, read from a node that the verifier chose, and the table of earnings,
//! which anybody may hand over because the chain has its root. Clause 20.

mod check;
mod error;
mod replay;
mod trace;

pub use check::check_payouts;
pub use error::PayoutError;

use crate::{
    error::ClientError,
    service::{Services, name, retrying},
};
use bytes::Bytes;
use locus_commitment::{Address, Digest32};
use locus_ledger::{
    Amount, EventSource as _, Ledger, LocatedEvent, OrderId, PayoutProof, PayoutTree, Settlement, ShownSettlement,
    read_events,
};
use locus_privacy::NetworkParameters;
use locus_wire::{
    convert::parse_earnings,
    pb::exchange::{ListEarningsRequest, ListEarningsResponse},
};
use std::collections::BTreeMap;

/// Most accounts of a table of earnings.
const ACCOUNTS_MAX: usize = 1 << 24;

/// What everybody has earned, as of a settlement: the exchange's word until it is held against the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EarningsTable {
    /// Number of the settlement.
    pub sequence: u64,
    /// Cumulative earnings.
    pub earned: BTreeMap<Address, Amount>,
}

/// What payouts are checked from.
#[derive(Debug, Clone)]
pub struct PayoutRecord {
    /// The market's rules.
    pub parameters: NetworkParameters,
    /// Whether orders settle on proven cohorts.
    pub settles_on_cohorts: bool,
    /// All events of the market's contracts.
    pub events: Vec<LocatedEvent>,
    /// What the transactions show that settled orders, in their order.
    pub settlements: Vec<ShownSettlement>,
    /// The root that the escrow pays by.
    pub root: Digest32,
    /// Number of the last settlement, as the escrow has it.
    pub sequence: u64,
    /// Tokens that the escrow holds.
    pub held: Amount,
    /// What everybody has earned.
    pub table: EarningsTable,
}

impl PayoutRecord {
    /// Reads the chain up to its head, and the table of earnings from the exchange.
    ///
    /// # Errors
    /// [`ClientError::Ledger`] when the chain node fails, [`ClientError::Call`] when the exchange does.
    pub async fn read(ledger: &Ledger, services: &Services) -> Result<Self, ClientError> {
        let table = fetch_earnings(services).await?;
        // Before the events: what is claimed or settled while they are read leaves the escrow with enough.
        let held = ledger.balance(ledger.contracts().escrow).await?;
        let settles_on_cohorts = ledger.settles_on_cohorts().await?;
        let (first, last) = (ledger.first_block().await?, ledger.head().await?.number);
        Ok(Self {
            parameters: ledger.parameters().await?,
            settles_on_cohorts,
            events: read_events(ledger, first, last).await?,
            settlements: ledger.shown_settlements(first, last, settles_on_cohorts).await?,
            root: ledger.payout_root().await?,
            sequence: ledger.payout_sequence().await?,
            held,
            table,
        })
    }
}

/// The table of earnings that the exchange publishes.
///
/// # Errors
/// [`ClientError::Call`]; [`ClientError::Malformed`]; [`PayoutError::TableChanged`] when an order settled meanwhile.
pub async fn fetch_earnings(services: &Services) -> Result<EarningsTable, ClientError> {
    let mut page = earnings_page(services, Bytes::new()).await?;
    let mut table = EarningsTable { sequence: page.payout_sequence, earned: BTreeMap::new() };
    loop {
        if page.payout_sequence != table.sequence || table.earned.len() > ACCOUNTS_MAX {
            return Err(PayoutError::TableChanged.into());
        }
        let last = table.earned.last_key_value().map(|(account, _)| *account);
        let earnings = parse_earnings(&page.earnings, last)
            .map_err(|error| ClientError::Malformed { service: name::EXCHANGE, error })?;
        table.earned.extend(earnings.iter().map(|earning| (earning.account, earning.cumulative)));
        match earnings.last().filter(|_| !page.is_last) {
            None => return Ok(table),
            Some(last) => page = earnings_page(services, last.account.0.to_vec().into()).await?,
        }
    }
}

async fn earnings_page(services: &Services, after_account: Bytes) -> Result<ListEarningsResponse, ClientError> {
    let call = || {
        let (mut exchange, after_account) = (services.exchange.clone(), after_account.clone());
        async move { exchange.list_earnings(ListEarningsRequest { after_account }).await }
    };
    Ok(retrying(name::EXCHANGE, call).await?)
}

/// Where it is known from whom a settlement paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayeesFrom {
    /// From the offers of everybody in the cohort whose digest keyholders signed.
    Cohort,
    /// From the roots before and after: nobody else can have been paid, whoever the cohort was.
    Roots,
}

/// A settlement that fits the chain, the signatures and the roots.
#[derive(Debug, Clone)]
pub struct CheckedSettlement {
    /// The settlement.
    pub settlement: Settlement,
    /// Whom it paid how much. `None` where public data do not say: some who could answer were left out, and another
    /// settlement like that is between the roots that are known.
    pub payees: Option<(PayeesFrom, BTreeMap<Address, Amount>)>,
}

/// All payouts of a market, checked.
#[derive(Debug, Clone)]
pub struct CheckedPayouts {
    settlements: Vec<CheckedSettlement>,
    tree: PayoutTree,
    claimed: BTreeMap<Address, Amount>,
    settled_total: Amount,
    claimed_total: Amount,
}

/// What an account is owed.
#[derive(Debug, Clone)]
pub struct AccountPayout {
    /// Everything it has earned.
    pub earned: Amount,
    /// What it was paid.
    pub claimed: Amount,
    /// What the escrow pays it by; `None` for an account that earned nothing.
    pub proof: Option<PayoutProof>,
    /// The settlements that are known to have paid it: number, order and amount.
    pub payments: Vec<(u64, OrderId, Amount)>,
}

impl AccountPayout {
    /// Earned and not paid out yet.
    pub fn claimable(&self) -> Amount {
        self.earned.checked_sub(self.claimed).unwrap_or(Amount::ZERO)
    }
}

impl CheckedPayouts {
    /// Every settlement, in order.
    pub fn settlements(&self) -> &[CheckedSettlement] {
        &self.settlements
    }

    /// The settlement of an order.
    pub fn settlement_of(&self, order: OrderId) -> Option<&CheckedSettlement> {
        self.settlements.iter().find(|checked| checked.settlement.order == order)
    }

    /// The root that the escrow pays by.
    pub fn root(&self) -> Digest32 {
        self.tree.root()
    }

    /// Accounts that earned something.
    pub fn account_count(&self) -> usize {
        self.tree.earnings().len()
    }

    /// The prices of all settlements together, which is what all accounts have earned.
    pub fn settled_total(&self) -> Amount {
        self.settled_total
    }

    /// What was paid out.
    pub fn claimed_total(&self) -> Amount {
        self.claimed_total
    }

    /// What an account is owed.
    pub fn account(&self, account: Address) -> AccountPayout {
        let paid = |checked: &CheckedSettlement| {
            let (_, payees) = checked.payees.as_ref()?;
            Some((checked.settlement.payout_sequence, checked.settlement.order, *payees.get(&account)?))
        };
        AccountPayout {
            earned: self.tree.earnings().get(&account).copied().unwrap_or(Amount::ZERO),
            claimed: self.claimed.get(&account).copied().unwrap_or(Amount::ZERO),
            proof: self.tree.proof(account),
            payments: self.settlements.iter().filter_map(paid).collect(),
        }
    }
}
