//! What does not fit in a market's payouts.

use locus_commitment::{Address, Digest32};
use locus_ledger::{Amount, OrderId, ViewError};
use std::convert::Infallible;

/// Why payouts are not believed. Numbers are those of settlements.
#[derive(Debug, thiserror::Error)]
pub enum PayoutError {
    /// Events do not follow from each other.
    #[error(transparent)]
    Chain(#[from] ViewError<Infallible>),
    /// The table is of another moment.
    #[error("an order was settled while this was read: try again")]
    TableChanged,
    /// The table is of another settlement than the chain's last.
    #[error(
        "the exchange's table is of settlement {table}, the chain is at {chain}: try again, and report it if it stays"
    )]
    OtherSequence {
        /// The table's.
        table: u64,
        /// The chain's.
        chain: u64,
    },
    /// The node shows other settlements in one place than in another.
    #[error("the chain node shows {what} of settlement {sequence} in two ways: connect to another")]
    Contradiction {
        /// The settlement.
        sequence: u64,
        /// What differs.
        what: &'static str,
    },
    /// An order that is not what its name says.
    #[error("what the chain node says of order {0} is not what it was named after: connect to another node")]
    OtherOrder(OrderId),
    /// Too few keyholders signed.
    #[error("settlement {sequence} has the signatures of {valid} keyholders, two are needed")]
    TooFewSignatures {
        /// The settlement.
        sequence: u64,
        /// Valid ones.
        valid: usize,
    },
    /// The sums of the proven cohort are not those of the settlement.
    #[error("settlement {0} states another size or price than the proven cohort that it rests on")]
    OtherSums(u64),
    /// The price is not what the cohort asked.
    #[error("settlement {sequence} costs {price}, its cohort of {size} people asked {asked}")]
    OtherPrice {
        /// The settlement.
        sequence: u64,
        /// What was paid.
        price: Amount,
        /// What the offers ask.
        asked: Amount,
        /// People in the cohort.
        size: u32,
    },
    /// More than everybody who could answer asked together, or more people.
    #[error("settlement {0} counts or pays more people than could answer")]
    MoreThanOffered(u64),
    /// A price above the most that the order pays.
    #[error("settlement {0} costs more than its order pays at most")]
    AboveMaximum(u64),
    /// A root is not that of the earnings.
    #[error("the earnings after settlement {sequence} do not have the root {root} that is on the chain")]
    OtherRoot {
        /// The settlement.
        sequence: u64,
        /// On the chain.
        root: Digest32,
    },
    /// Earnings are more or less than settlements paid.
    #[error("all accounts together earned {earned}, the settlements paid {settled}")]
    OtherTotal {
        /// In the table.
        earned: Amount,
        /// In the settlements.
        settled: Amount,
    },
    /// An account's earnings are not what its settlements paid.
    #[error("{account} earned {earned}, its datasets in the settled orders earn {least} to {most}")]
    OtherEarnings {
        /// The account.
        account: Address,
        /// In the table.
        earned: Amount,
        /// By the settlements whose payees are known.
        least: Amount,
        /// With everything that the others can have paid it.
        most: Amount,
    },
    /// An account was paid more than it earned.
    #[error("{0} was paid more than it earned")]
    Overpaid(Address),
    /// The escrow cannot pay everybody.
    #[error("the escrow holds {held}, it owes {owed}")]
    Insolvent {
        /// Tokens held.
        held: Amount,
        /// Settled and not claimed.
        owed: Amount,
    },
    /// Sums past the largest amount.
    #[error("amounts add up to more than there can be tokens")]
    Overflow,
}
