//! What the chain says about the market: a deterministic fold over contract events.
//!
//! Two clocks run here. *Grants* (registrations, re-keyings, offers, orders, settlements, lists, keys) act only
//! once their block is finalized, so no reorganisation can take them back after they were relied on.
//! *Revocations* act at first sight anywhere up to the head and for ever, even when the block that
//! carried them is reorganised away: a contributor who withdraws is never overruled by the chain.

mod fold;
mod follow;
mod registration;
#[cfg(test)]
mod script;
#[cfg(test)]
mod tests;

pub use fold::read_events;
pub use follow::{ViewFollower, ViewUnavailable};
pub use registration::RegistrationRecord;

use crate::types::{CommitteeMember, DatasetKeys, DatasetLeaf, Offer, Order, OrderId, RegistrationId, Settlement};
use imbl::{OrdMap, OrdSet, Vector};
use locus_commitment::{Address, Digest32};
use locus_genomics::PanelDigest;
use std::{collections::BTreeSet, sync::Arc};

/// Blocks read in one request for events.
pub const EVENT_PAGE_BLOCKS: u64 = 2_000;

/// A block as a source of events names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockRef {
    /// Height.
    pub number: u64,
    /// Hash.
    pub hash: Digest32,
}

/// An event of the market's contracts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MarketEvent {
    /// A panel's digest was published.
    PanelPublished {
        /// The panel.
        panel: PanelDigest,
        /// Its name.
        name: String,
        /// Its number of variants.
        variant_count: u32,
        /// Whether it declares complete calls.
        complete_calls: bool,
    },
    /// A batch was registered.
    DatasetsRegistered {
        /// Its number.
        registration: RegistrationId,
        /// Who owns it.
        registrant: Address,
        /// Its panel.
        panel: PanelDigest,
        /// Version of its datasets.
        version: u32,
        /// Registry slot of its first dataset on the panel.
        first_slot: u64,
        /// Who vouches for it.
        accreditor: Option<Address>,
        /// Its datasets, by ordinal.
        leaves: Vec<DatasetLeaf>,
    },
    /// All datasets of a registration got new keys.
    DatasetsRekeyed {
        /// The registration.
        registration: RegistrationId,
        /// Number of its re-keyings with this one.
        generation: u8,
        /// The new keys by ordinal; `None` for a revoked dataset that was left as it is.
        keys: Vec<Option<DatasetKeys>>,
    },
    /// Datasets were revoked.
    DatasetsRevoked {
        /// The registration.
        registration: RegistrationId,
        /// Which of its datasets.
        ordinals: Vec<u32>,
    },
    /// A keyholder destroyed key seeds.
    DatasetsErased {
        /// The registration.
        registration: RegistrationId,
        /// Which keyholder, 1 to 3.
        keyholder: u8,
        /// Which datasets.
        ordinals: Vec<u32>,
    },
    /// An offer replaced the registration's previous one.
    OfferPosted {
        /// The offer.
        offer: Offer,
    },
    /// The registration is no longer on offer.
    OfferWithdrawn {
        /// The registration.
        registration: RegistrationId,
        /// Offers up to and with this nonce are void.
        nonce: u64,
    },
    /// An order was opened and its escrow taken.
    OrderOpened {
        /// Its name.
        order_id: OrderId,
        /// The order.
        order: Order,
    },
    /// An order was settled.
    OrderSettled {
        /// On these terms.
        settlement: Settlement,
    },
    /// An order's escrow was returned.
    OrderRefunded {
        /// The order.
        order_id: OrderId,
    },
    /// An account was paid.
    PayoutClaimed {
        /// The account.
        account: Address,
        /// Base units paid by this claim.
        amount: u128,
    },
    /// An accreditor was listed or removed.
    AccreditorChanged {
        /// The account.
        account: Address,
        /// Whether it is listed now.
        listed: bool,
    },
    /// A researcher was accredited or removed.
    ResearcherChanged {
        /// The account.
        account: Address,
        /// Whether it is listed now.
        listed: bool,
    },
    /// A committee member was set.
    KeyholderChanged {
        /// 1 to 3.
        keyholder: u8,
        /// The member.
        member: CommitteeMember,
    },
}

/// An event and where it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocatedEvent {
    /// Block number.
    pub block: u64,
    /// Time of the block.
    pub time_unix_s: u64,
    /// Place within the block.
    pub log_index: u64,
    /// The event.
    pub event: MarketEvent,
}

/// Where events come from: a chain, or a script in tests.
pub trait EventSource {
    /// Why events cannot be read.
    type Error: std::error::Error + Send + Sync + 'static;

    /// The newest block.
    fn head(&self) -> impl Future<Output = Result<BlockRef, Self::Error>> + Send;
    /// The newest block that cannot be reorganised away.
    fn finalized(&self) -> impl Future<Output = Result<BlockRef, Self::Error>> + Send;
    /// The canonical block at this height.
    fn block(&self, number: u64) -> impl Future<Output = Result<BlockRef, Self::Error>> + Send;
    /// All market events in these blocks (both ends included), in order.
    fn events(&self, from: u64, to: u64) -> impl Future<Output = Result<Vec<LocatedEvent>, Self::Error>> + Send;

    /// A block before which there are no market events.
    fn first_block(&self) -> impl Future<Output = Result<u64, Self::Error>> + Send {
        async { Ok(0) }
    }

    /// Whether the failure says that fewer blocks must be asked for at once.
    fn is_too_many(&self, _error: &Self::Error) -> bool {
        false
    }
}

/// Why a view stops following its chain.
#[derive(Debug, thiserror::Error)]
pub enum ViewError<E: std::error::Error + 'static> {
    /// Events cannot be read; try again.
    #[error("the chain cannot be read: {0}")]
    Source(#[source] E),
    /// A block that was final has another hash now.
    #[error("finalized block {number} changed its hash: the chain node is not trustworthy, connect to another")]
    FinalizedChanged {
        /// The block.
        number: u64,
    },
    /// The finalized block went back.
    #[error("finalized block went back from {seen} to {now}: the chain node is behind or on another fork")]
    FinalizedWentBack {
        /// Highest seen.
        seen: u64,
        /// What the node says now.
        now: u64,
    },
    /// Events contradict what the contracts promise: the node left some out, or made some up.
    #[error("the events of block {block} do not follow from those before: {reason}; connect to another chain node")]
    Inconsistent {
        /// The block.
        block: u64,
        /// What is missing or impossible.
        reason: &'static str,
    },
}

/// A published panel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PanelRecord {
    /// Name given by the publisher.
    pub name: String,
    /// Variants.
    pub variant_count: u32,
    /// Whether it declares complete calls.
    pub complete_calls: bool,
}

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderState {
    /// Funded, not settled.
    Open,
    /// Settled on these terms.
    Settled(Settlement),
    /// Escrow returned.
    Refunded,
}

/// An order on the chain.
#[derive(Debug, Clone)]
pub struct OrderRecord {
    /// The order.
    pub order: Order,
    /// Block that opened it: cohorts are resolved as of this block.
    pub block: u64,
    /// Time of that block.
    pub time_unix_s: u64,
    /// Where it stands.
    pub state: OrderState,
}

/// The market as far as the chain is final, plus every revocation ever seen.
///
/// A clone shares its parts with the original, and a change copies only the path to what changed:
/// taking a snapshot costs the same however much is registered.
#[derive(Debug, Clone, Default)]
pub struct ChainView {
    finalized: Option<BlockRef>,
    panels: OrdMap<PanelDigest, PanelRecord>,
    registrations: OrdMap<RegistrationId, Arc<RegistrationRecord>>,
    by_panel: OrdMap<PanelDigest, Vector<RegistrationId>>,
    orders: OrdMap<OrderId, Arc<OrderRecord>>,
    settlements: Vector<Settlement>,
    /// Re-keyings: registration and resulting generation.
    rekeyings: Vector<(RegistrationId, u8)>,
    claimed: OrdMap<Address, u128>,
    accreditors: OrdMap<Address, bool>,
    researchers: OrdMap<Address, Vec<(u64, bool)>>,
    committee: OrdMap<u8, CommitteeMember>,
    /// Members that were ever set: each begins an epoch.
    committee_epoch: u64,
    erased: OrdMap<(RegistrationId, u32), BTreeSet<u8>>,
    revoked: OrdSet<(RegistrationId, u32)>,
    /// Highest nonce up to which a registration's offers were ever seen withdrawn.
    withdrawn: OrdMap<RegistrationId, u64>,
    /// Registry slots taken on each panel.
    slots: OrdMap<PanelDigest, u64>,
}

impl ChainView {
    /// The last finalized block folded in.
    pub fn finalized(&self) -> Option<BlockRef> {
        self.finalized
    }

    /// A published panel.
    pub fn panel(&self, panel: &PanelDigest) -> Option<&PanelRecord> {
        self.panels.get(panel)
    }

    /// All published panels.
    pub fn panels(&self) -> impl Iterator<Item = (&PanelDigest, &PanelRecord)> {
        self.panels.iter()
    }

    /// A registration.
    pub fn registration(&self, id: RegistrationId) -> Option<&RegistrationRecord> {
        self.registrations.get(&id).map(Arc::as_ref)
    }

    /// Number of registrations, which is the number of the last one.
    pub fn registration_count(&self) -> u64 {
        self.registrations.len() as u64
    }

    /// All registrations in order.
    pub fn registrations(&self) -> impl Iterator<Item = &RegistrationRecord> {
        self.registrations.values().map(Arc::as_ref)
    }

    /// Registrations on a panel that were made up to and including `block`, in slot order.
    pub fn registrations_on(&self, panel: &PanelDigest, block: u64) -> impl Iterator<Item = &RegistrationRecord> {
        self.by_panel
            .get(panel)
            .into_iter()
            .flatten()
            .filter_map(|id| self.registration(*id))
            .filter(move |registration| registration.block <= block)
    }

    /// Whether a dataset was ever seen revoked.
    pub fn is_revoked(&self, registration: RegistrationId, ordinal: u32) -> bool {
        self.revoked.contains(&(registration, ordinal))
    }

    /// Revoked datasets of a registration.
    pub fn revoked_of(&self, registration: RegistrationId) -> impl Iterator<Item = u32> {
        self.revoked.range((registration, 0)..=(registration, u32::MAX)).map(|(_, ordinal)| *ordinal)
    }

    /// Whether the offer in force at `block` was ever seen withdrawn, even in a block that was
    /// reorganised away since. A newer offer is not touched by the withdrawal of an older one.
    pub fn is_withdrawn_since(&self, registration: RegistrationId, block: u64) -> bool {
        let Some(&withdrawn) = self.withdrawn.get(&registration) else { return false };
        let offer = self.registration(registration).and_then(|record| record.offer_as_of(block));
        offer.is_some_and(|offer| offer.nonce <= withdrawn)
    }

    /// Keyholders that have recorded the erasure of a dataset.
    pub fn erased_by(&self, registration: RegistrationId, ordinal: u32) -> impl Iterator<Item = u8> {
        self.erased.get(&(registration, ordinal)).into_iter().flatten().copied()
    }

    /// An order.
    pub fn order(&self, id: &OrderId) -> Option<&OrderRecord> {
        self.orders.get(id).map(Arc::as_ref)
    }

    /// All orders.
    pub fn orders(&self) -> impl Iterator<Item = (&OrderId, &OrderRecord)> {
        self.orders.iter().map(|(id, record)| (id, record.as_ref()))
    }

    /// Number of settlements, which is the sequence number of the last one.
    pub fn settlement_count(&self) -> u64 {
        self.settlements.len() as u64
    }

    /// Settlements with sequence numbers from `first` (1 is the first ever) on, in order.
    pub fn settlements_from(&self, first: u64) -> impl Iterator<Item = &Settlement> {
        from_number(&self.settlements, first)
    }

    /// Number of re-keyings of all registrations.
    pub fn rekeying_count(&self) -> u64 {
        self.rekeyings.len() as u64
    }

    /// Re-keyings from number `first` (1 is the first ever) on, in the order of the chain: the registration and the
    /// generation that resulted.
    pub fn rekeyings_from(&self, first: u64) -> impl Iterator<Item = (RegistrationId, u8)> {
        from_number(&self.rekeyings, first).copied()
    }

    /// Base units that an account has claimed.
    pub fn claimed(&self, account: &Address) -> u128 {
        self.claimed.get(account).copied().unwrap_or(0)
    }

    /// Whether an accreditor is listed.
    pub fn is_accreditor(&self, account: &Address) -> bool {
        self.accreditors.get(account).copied().unwrap_or(false)
    }

    /// Whether a researcher was accredited at the end of `block`.
    pub fn is_accredited_researcher(&self, account: &Address, block: u64) -> bool {
        let Some(changes) = self.researchers.get(account) else { return false };
        let end = changes.partition_point(|(changed, _)| *changed <= block);
        end.checked_sub(1).and_then(|last| changes.get(last)).is_some_and(|(_, listed)| *listed)
    }

    /// The committee's epoch. What an earlier committee signed, and is not on the chain as far as it is final, never
    /// will be.
    pub fn committee_epoch(&self) -> u64 {
        self.committee_epoch
    }

    /// A member of the committee, 1 to 3.
    pub fn keyholder(&self, keyholder: u8) -> Option<&CommitteeMember> {
        self.committee.get(&keyholder)
    }
}

/// The entries from number `first` on, where 1 is the first.
fn from_number<T: Clone>(entries: &Vector<T>, first: u64) -> impl Iterator<Item = &T> {
    let skipped = usize::try_from(first.saturating_sub(1)).unwrap_or(usize::MAX).min(entries.len());
    entries.focus().narrow(skipped..).into_iter()
}
