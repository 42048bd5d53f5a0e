//! Everything a keyholder keeps: one transactional database and the key that wraps its secrets.
//!
//! A commit is on disk before it returns, but for what can be had again after a crash: that is on disk with the
//! next one that is. Whatever must happen together (charging every member of
//! a cohort, storing the answer that the charge pays for) is one transaction.

mod answers;
mod attributes;
mod charges;
mod datasets;
mod exact;
mod payouts;
mod rekeyings;
mod succession;
#[cfg(test)]
mod tests;
mod vault;

pub(crate) use answers::{Payee, StoredAnswer};
pub(crate) use attributes::{AttributeAttempt, AttributeStage, PendingEntry};
pub(crate) use charges::{AnswerRecord, MemberCharge, Outcome, UseRecord};
pub(crate) use datasets::{DatasetKey, PendingDataset, seeds_of_secret};
pub(crate) use exact::{ExactAnswer, ExactPerson};
pub(crate) use payouts::PayoutTable;
pub(crate) use rekeyings::{
    AttributeRecord, MadeDataset, RekeyedAttributes, RekeyedDataset, RekeyingDraws, RekeyingResult,
};
pub(crate) use succession::{Given, Listed, Merged, Taken};

use crate::kek::{KeyEncryptionKey, KeyFileError};
use redb::{Database, Durability, ReadableDatabase as _, ReadableTable as _, TableDefinition, WriteTransaction};
use std::{
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};
use vault::WrappingKey;

/// Small facts by name.
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");

/// Memory for pages of the database; the library's own default grows to a gigabyte.
const CACHE_BYTES: usize = 8 << 20;

/// What can go wrong with a keyholder's storage.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The database refuses.
    #[error("keyholder database: {0}")]
    Database(Box<redb::Error>),
    /// A file beside the database cannot be used.
    #[error("cannot use {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// Bytes in the database are not what was written.
    #[error("keyholder database holds a damaged {0} record: restore it from a backup")]
    Damaged(&'static str),
    /// Seeds that should be there are not.
    #[error("no key seeds for dataset {0}: it was erased or never attested here")]
    SeedsMissing(locus_commitment::DatasetId),
    /// A commitment that belongs to another dataset.
    #[error("the {what} of dataset {dataset} is already in use by another dataset: encrypt it anew")]
    Duplicate {
        /// Which commitment.
        what: &'static str,
        /// The dataset that is refused.
        dataset: locus_commitment::DatasetId,
    },
    /// The randomness of an attempt at checking attributes was taken.
    #[error("attempt {attempt} at these attributes comes after attempt {last}: send them again with a larger number")]
    AttemptUsed {
        /// The attempt.
        attempt: u64,
        /// The largest one so far.
        last: u64,
    },
    /// An attempt at checking attributes is not the present one, or has not come this far.
    #[error("attempt {0} at these attributes is not under way here any more: send them again")]
    AttemptGone(u64),
    /// Other attributes are live.
    #[error("revision {revision} of the attributes does not follow the live revision {live}: sign a later one")]
    OldRevision {
        /// What was sent.
        revision: u32,
        /// What is live.
        live: u32,
    },
    /// Another exact answer came in between.
    #[error("another exact answer was given since the preparation: prepare again")]
    ExactHistoryMoved,
    /// The attempt at a filter was made before.
    #[error("attempt {0} at this filter was made already: prepare again")]
    EvaluationUsed(u64),
    /// An answer to a preparation that another one has replaced.
    #[error("the order was prepared anew meanwhile: prepare it again")]
    PreparedAnew,
    /// Something of a re-keying is not what it was.
    #[error("what is to be re-keyed has changed, or the re-keying is not under way here: start it again")]
    RekeyingChanged,
    /// A registration is between two generations of keys.
    #[error(
        "registration {0} is being re-keyed: try again when its new keys are final on the chain, or the deadline of the order has passed there"
    )]
    BeingRekeyed(u64),
    /// A privacy rule refuses.
    #[error(transparent)]
    Privacy(#[from] locus_privacy::PrivacyError),
    /// A key file cannot be used.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The system has no randomness.
    #[error("the operating system gives no random bytes: {0}")]
    Randomness(#[from] getrandom::Error),
}

locus_service::from_database_errors!(StoreError);

/// A keyholder's storage.
pub(crate) struct Store {
    database: Database,
    dir: PathBuf,
    wrapping_key: Mutex<WrappingKey>,
    /// Wraps the wrapping key.
    kek: Option<KeyEncryptionKey>,
}

impl Store {
    /// Opens the storage in `dir`, or starts an empty one. Its wrapping key is wrapped under `kek`.
    pub(crate) fn open_under(dir: &Path, kek: Option<KeyEncryptionKey>) -> Result<Self, StoreError> {
        std::fs::create_dir_all(dir).map_err(|source| StoreError::File { path: dir.to_owned(), source })?;
        let database = Database::builder().set_cache_size(CACHE_BYTES).create(dir.join("keyholder.redb"))?;
        Self::with_database(database, dir, kek)
    }

    /// The storage in `database`, with the wrapping key in `dir`.
    fn with_database(database: Database, dir: &Path, kek: Option<KeyEncryptionKey>) -> Result<Self, StoreError> {
        let epoch = {
            let transaction = database.begin_write()?;
            let epoch = {
                let mut meta = transaction.open_table(META)?;
                let stored = meta.get(vault::EPOCH)?.map(|value| value.value());
                match stored {
                    Some(epoch) => epoch,
                    None => {
                        vault::create_key(dir, 1, kek.as_ref())?;
                        meta.insert(vault::EPOCH, 1)?;
                        1
                    }
                }
            };
            create_tables(&transaction)?;
            transaction.commit()?;
            epoch
        };
        let wrapping_key = WrappingKey::load(dir, epoch, kek.as_ref())?;
        vault::remove_other_keys(dir, epoch)?;
        Ok(Self { database, dir: dir.to_owned(), wrapping_key: Mutex::new(wrapping_key), kek })
    }

    /// Opens the storage in `dir`, its wrapping key not wrapped itself.
    #[cfg(test)]
    pub(crate) fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_under(dir, None)
    }

    /// A transaction that need not be on disk when it ends. Whoever uses it says where what is lost comes from again.
    fn begin_repeatable_write(&self) -> Result<WriteTransaction, StoreError> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::None)?;
        Ok(transaction)
    }

    /// The key that secrets are wrapped under. Writers take it within their transaction, or two would wait for each other;
    /// readers before they begin theirs, or it would be a later key than the one that wrapped what they see.
    fn wrapping_key(&self) -> MutexGuard<'_, WrappingKey> {
        self.wrapping_key.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn meta(&self, name: &str) -> Result<Option<u64>, StoreError> {
        let table = self.database.begin_read()?.open_table(META)?;
        Ok(table.get(name)?.map(|value| value.value()))
    }
}

/// Creates every table, so that readers find them from the first moment.
fn create_tables(transaction: &WriteTransaction) -> Result<(), StoreError> {
    datasets::create_tables(transaction)?;
    charges::create_tables(transaction)?;
    answers::create_tables(transaction)?;
    exact::create_tables(transaction)?;
    payouts::create_tables(transaction)?;
    attributes::create_tables(transaction)?;
    rekeyings::create_tables(transaction)
}
