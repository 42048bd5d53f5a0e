//! Who has earned how much: the table behind the payout root on the chain.
//!
//! A new version of the table is stored before its root is submitted, and becomes the current one
//! when the chain shows that root. So a crash between the two heals itself, and a settlement that a
//! reorganisation takes back is taken back here as well. See clauses 4 to 6 of the specification.

mod version;

pub(crate) use version::{Version, VersionKey};

use locus_commitment::{Address, Digest32};
use locus_ledger::{Amount, OrderId, PayoutTree};
use redb::{Database, Durability, ReadableDatabase as _, ReadableTable as _, TableDefinition, WriteTransaction};
use std::{
    collections::BTreeMap,
    ops::Bound,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

/// Cumulative base units by account: the current version of the table.
const EARNINGS: TableDefinition<&[u8; 20], u128> = TableDefinition::new("earnings");
/// What changed, by the version that it leads to.
const VERSIONS: TableDefinition<&[u8; VersionKey::BYTES], &[u8]> = TableDefinition::new("versions");
/// The current version, under the only key.
const CURRENT: TableDefinition<(), &[u8; VersionKey::BYTES]> = TableDefinition::new("current");

/// Versions kept behind the current one: four times the deepest reorganisation (64 blocks, at most
/// one settlement each) that services must survive.
const HISTORY_MAX: u64 = 256;

/// Memory for pages of the database; the library's own default grows to a gigabyte.
const CACHE_BYTES: usize = 4 << 20;

/// What can go wrong with the payout table.
#[derive(Debug, thiserror::Error)]
pub enum PayoutError {
    /// The database refuses.
    #[error("payout database: {0}")]
    Database(Box<redb::Error>),
    /// Bytes in the database are not what was written.
    #[error("the payout database holds a damaged record: restore it from a backup")]
    Damaged,
    /// The chain is at a version that was never stored here.
    #[error(
        "the chain is at payout sequence {sequence} with root {root}, which this table never had: have the missing settlements presented again in order, or restore a newer backup of the exchange's data"
    )]
    UnknownVersion {
        /// Sequence on the chain.
        sequence: u64,
        /// Root on the chain.
        root: Digest32,
    },
    /// Earnings of one account past the largest amount.
    #[error("the earnings of {0} exceed what an amount can hold")]
    Overflow(Address),
}

locus_service::from_database_errors!(PayoutError);

/// Part of the table of one version.
#[derive(Debug)]
pub(crate) struct EarningsPage {
    pub(crate) version: VersionKey,
    /// Ascending by account.
    pub(crate) earnings: Vec<(Address, Amount)>,
    pub(crate) is_last: bool,
}

/// The payout table of one market.
pub(crate) struct PayoutBook {
    database: Database,
    /// The tree of the version it belongs to; building one hashes every account.
    tree: Mutex<Option<(VersionKey, Arc<PayoutTree>)>>,
}

impl PayoutBook {
    /// Opens the table kept in `file`, or starts an empty one.
    pub(crate) fn open(file: &Path) -> Result<Self, PayoutError> {
        let database = Database::builder().set_cache_size(CACHE_BYTES).create(file)?;
        let write = database.begin_write()?;
        {
            write.open_table(EARNINGS)?;
            write.open_table(VERSIONS)?;
            let mut current = write.open_table(CURRENT)?;
            if current.get(())?.is_none() {
                current.insert((), &VersionKey::EMPTY.to_bytes())?;
            }
        }
        write.commit()?;
        Ok(Self { database, tree: Mutex::new(None) })
    }

    /// The current version.
    pub(crate) fn current(&self) -> Result<VersionKey, PayoutError> {
        let read = self.database.begin_read()?;
        let current = read.open_table(CURRENT)?.get(())?.ok_or(PayoutError::Damaged)?;
        Ok(VersionKey::from_bytes(current.value()))
    }

    /// Everything that an account has earned.
    pub(crate) fn earned(&self, account: Address) -> Result<Amount, PayoutError> {
        let read = self.database.begin_read()?;
        let earned = read.open_table(EARNINGS)?.get(&account.0)?.map_or(0, |earned| earned.value());
        Ok(Amount(earned))
    }

    /// At most `limit` accounts that earned something, after `after`, with the version that they are
    /// of and whether no more follow.
    pub(crate) fn page(&self, after: Option<Address>, limit: usize) -> Result<EarningsPage, PayoutError> {
        let read = self.database.begin_read()?;
        let current = read.open_table(CURRENT)?.get(())?.ok_or(PayoutError::Damaged)?;
        let mut page =
            EarningsPage { version: VersionKey::from_bytes(current.value()), earnings: Vec::new(), is_last: true };
        let table = read.open_table(EARNINGS)?;
        let start = after.map_or(Bound::Unbounded, |account| Bound::Excluded(account.0));
        for entry in table.range::<&[u8; 20]>((start.as_ref(), Bound::Unbounded))? {
            let (account, earned) = entry?;
            // What a reorganisation took back leaves a zero.
            if earned.value() == 0 {
                continue;
            }
            if page.earnings.len() == limit {
                page.is_last = false;
                break;
            }
            page.earnings.push((Address(*account.value()), Amount(earned.value())));
        }
        Ok(page)
    }

    /// The current version as a tree to prove from.
    pub(crate) fn tree(&self) -> Result<Arc<PayoutTree>, PayoutError> {
        let mut cached = self.tree.lock().unwrap_or_else(PoisonError::into_inner);
        let read = self.database.begin_read()?;
        let current = read.open_table(CURRENT)?.get(())?.ok_or(PayoutError::Damaged)?;
        let current = VersionKey::from_bytes(current.value());
        if let Some((version, tree)) = cached.as_ref()
            && *version == current
        {
            return Ok(tree.clone());
        }
        let mut earnings = BTreeMap::new();
        for entry in read.open_table(EARNINGS)?.iter()? {
            let (account, earned) = entry?;
            earnings.insert(Address(*account.value()), Amount(earned.value()));
        }
        let tree = Arc::new(PayoutTree::build(earnings));
        *cached = Some((current, tree.clone()));
        Ok(tree)
    }

    /// The version that follows the current one when `order` pays `payees`. Nothing is stored.
    pub(crate) fn next(&self, order: OrderId, payees: &BTreeMap<Address, Amount>) -> Result<Version, PayoutError> {
        let parent = self.current()?;
        let mut earnings = self.tree()?.earnings().clone();
        for (&account, &amount) in payees {
            let earned = earnings.entry(account).or_insert(Amount::ZERO);
            *earned = earned.checked_add(amount).ok_or(PayoutError::Overflow(account))?;
        }
        let root = PayoutTree::build(earnings).root();
        let key = VersionKey { sequence: parent.sequence.saturating_add(1), root };
        Ok(Version { key, parent_root: parent.root, order, payees: payees.clone() })
    }

    /// Whether the current version, or one that it follows from, is `target` and was made by `order`.
    pub(crate) fn includes(&self, target: VersionKey, order: OrderId) -> Result<bool, PayoutError> {
        let read = self.database.begin_read()?;
        let versions = read.open_table(VERSIONS)?;
        let mut key = self.current()?;
        while key.sequence >= target.sequence {
            let Some(encoded) = versions.get(&key.to_bytes())? else { return Ok(false) };
            let version = Version::decode(key, encoded.value()).ok_or(PayoutError::Damaged)?;
            if key == target {
                return Ok(version.order == order);
            }
            let Some(parent) = version.parent() else { return Ok(false) };
            key = parent;
        }
        Ok(false)
    }

    /// Stores a version durably, so that [`move_to`](Self::move_to) can reach it.
    pub(crate) fn stage(&self, version: &Version) -> Result<(), PayoutError> {
        let write = self.database.begin_write()?;
        write.open_table(VERSIONS)?.insert(&version.key.to_bytes(), version.encode().as_slice())?;
        write.commit()?;
        Ok(())
    }

    /// Makes `target`, which the chain shows, the current version, forwards or backwards. Returns
    /// whether anything changed. A crash may undo that; the versions that lead there are on disk.
    ///
    /// # Errors
    /// [`PayoutError::UnknownVersion`] when a version on the way was never stored; nothing changes.
    pub(crate) fn move_to(&self, target: VersionKey) -> Result<bool, PayoutError> {
        if self.current()? == target {
            return Ok(false);
        }
        let mut write = self.database.begin_write()?;
        write.set_durability(Durability::None)?;
        let (undone, done) = path(&write, target)?;
        {
            let mut earnings = write.open_table(EARNINGS)?;
            for version in &undone {
                for (account, amount) in &version.payees {
                    let earned = earnings.get(&account.0)?.map_or(0, |earned| earned.value());
                    let before = earned.checked_sub(amount.0).ok_or(PayoutError::Damaged)?;
                    earnings.insert(&account.0, before)?;
                }
            }
            for version in done.iter().rev() {
                for (account, amount) in &version.payees {
                    let earned = earnings.get(&account.0)?.map_or(0, |earned| earned.value());
                    let after = earned.checked_add(amount.0).ok_or(PayoutError::Overflow(*account))?;
                    earnings.insert(&account.0, after)?;
                }
            }
            write.open_table(CURRENT)?.insert((), &target.to_bytes())?;
            forget_before(&write, target.sequence.saturating_sub(HISTORY_MAX))?;
        }
        write.commit()?;
        Ok(true)
    }
}

/// What to undo from the current version and then to do, both newest first, to arrive at `target`.
fn path(write: &WriteTransaction, target: VersionKey) -> Result<(Vec<Version>, Vec<Version>), PayoutError> {
    let versions = write.open_table(VERSIONS)?;
    let unknown = || PayoutError::UnknownVersion { sequence: target.sequence, root: target.root };
    let load = |key: VersionKey| -> Result<Version, PayoutError> {
        let encoded = versions.get(&key.to_bytes())?.ok_or_else(unknown)?;
        Version::decode(key, encoded.value()).ok_or(PayoutError::Damaged)
    };
    let current = write.open_table(CURRENT)?.get(())?.ok_or(PayoutError::Damaged)?.value().to_owned();
    let (mut old, mut new) = (VersionKey::from_bytes(&current), target);
    let (mut undone, mut done) = (Vec::new(), Vec::new());
    while old != new {
        if new.sequence >= old.sequence {
            let version = load(new)?;
            new = version.parent().ok_or_else(unknown)?;
            done.push(version);
        } else {
            let version = load(old)?;
            old = version.parent().ok_or_else(unknown)?;
            undone.push(version);
        }
    }
    Ok((undone, done))
}

fn forget_before(write: &WriteTransaction, sequence: u64) -> Result<(), PayoutError> {
    let first_kept = VersionKey { sequence, root: Digest32([0; 32]) }.to_bytes();
    let mut versions = write.open_table(VERSIONS)?;
    versions.retain_in::<&[u8; VersionKey::BYTES], _>(..&first_kept, |_, _| false)?;
    Ok(())
}

#[cfg(test)]
mod tests;
