//! A keyholder is replaced: the other two hand over what it held (SPEC, clauses 28 to 34).

mod file;
#[cfg(test)]
mod tests;

pub(crate) use file::{Kind, Record};

use crate::{
    config::KeyholderConfig,
    identity::{IdentityError, KeyholderIdentity},
    kek::KeyEncryptionKey,
    start::{AUDIT_FILE, KeyholderKeys, StartError, read_deployment},
    store::{Given, Listed, Merged, Store, StoreError, Taken},
};
use file::{HandOverReader, HandOverWriter, Header, read_header};
use locus_commitment::{Address, DatasetContext, DatasetId, NetworkId};
use locus_ledger::{AccountKey, Chain, ChainView, CommitteeMember, Ledger, RegistrationId, ViewFollower};
use locus_service::{AuditLog, Clock};
use locus_sharing::{KeyholderIndex, seal::SealingPublicKey};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, BufWriter, Read, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// The chain is read once, not followed.
const CHAIN_PERIOD: Duration = Duration::from_secs(3600);

/// Why nothing is handed over, or nothing taken over.
#[derive(Debug, thiserror::Error)]
pub enum SuccessionError {
    /// Configuration, keys or chain cannot be used.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The public file cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A file cannot be read or written.
    #[error("cannot use {path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// Reading or writing fails in the middle.
    #[error("the hand-over cannot be read or written: {0}")]
    Io(#[from] io::Error),
    /// The storage fails.
    #[error("{0}")]
    Store(String),
    /// The database refuses.
    #[error("keyholder database: {0}")]
    Database(Box<redb::Error>),
    /// The service has the storage open.
    #[error("this keyholder runs: stop it, and start it again afterwards")]
    Running,
    /// The chain cannot be read.
    #[error("the chain cannot be read: {0}")]
    Chain(String),
    /// A keyholder is no successor of itself.
    #[error("keyholder {0} hands over to another keyholder's successor, not to its own")]
    Itself(u8),
    /// The chain has no such keys.
    #[error(
        "the chain has other keys for keyholder {0}: compare the public file with its operator, and have the admin put it into the registry"
    )]
    NotOnChain(u8),
    /// The storage is in use already.
    #[error(
        "{path} has the storage of a keyholder already: take over before the first start; if it was only started by mistake, \
         remove keyholder.redb and wrapping-key.* there, and keep the keys",
        path = path.display()
    )]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// Not one file of each of the others.
    #[error("the files are of keyholders {0} and {1}: one of each of the other two is needed")]
    Givers(u8, u8),
    /// Something else than a hand-over.
    #[error("not a hand-over: give the file that `locus-keyholder hand-over` wrote")]
    NotAHandOver,
    /// A hand-over of another market or to somebody else.
    #[error(
        "the file is of keyholder {giver} for keyholder {successor} with signer {signer}: ask for one made for this market and these keys"
    )]
    OtherHeader {
        /// Who made it.
        giver: u8,
        /// For whom.
        successor: u8,
        /// Whose keys.
        signer: Address,
    },
    /// Sealed to another key, or changed.
    #[error(
        "the file does not open with this keyholder's key: it was changed, or made for other keys; ask for it again"
    )]
    NotForThis,
    /// The giver did not sign it.
    #[error("the file is not signed by the keyholder that it names: ask for it again")]
    Signature,
    /// It is not what was written.
    #[error("the file is damaged ({0}): ask for it again")]
    Damaged(&'static str),
    /// Seeds that are not those of a dataset.
    #[error(
        "the seeds of dataset {0} do not open its commitment on the chain: one of the two files is false, nothing was taken over"
    )]
    FalseSeeds(DatasetId),
}

locus_service::from_database_errors!(SuccessionError);

impl From<StoreError> for SuccessionError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Database(cause) if matches!(*cause, redb::Error::DatabaseAlreadyOpen) => Self::Running,
            error => Self::Store(error.to_string()),
        }
    }
}

/// Writes what this stopped keyholder hands over to the successor that `public` describes. Returns what to tell
/// the operator.
///
/// # Errors
/// [`SuccessionError`]; no file is left then.
pub async fn hand_over(config: &KeyholderConfig, public: &Path, out: &Path) -> Result<String, SuccessionError> {
    let party = Party::open(config).await?;
    let text = fs::read_to_string(public).map_err(|source| file_error(public, source))?;
    let successor = KeyholderIdentity::parse(&text)?;
    if successor.index == party.index {
        return Err(SuccessionError::Itself(party.index.get()));
    }
    party.check_on_chain(successor.index, &successor.committee_member())?;
    let header = party.header(party.index, successor.index, successor.signer);
    let recipient = SealingPublicKey::parse(&successor.hpke_public_key).map_err(|_| SuccessionError::NotForThis)?;
    let storage = Storage::open(config)?;
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(out);
    let created = created.map_err(|source| file_error(out, source))?;
    storage.record("handed_over", &[("successor", &successor.signer)])?;
    let given = party.write(&storage.store, &header, recipient, created).inspect_err(|_| {
        // What is left is of no use to anybody.
        let _ = fs::remove_file(out);
    })?;
    Ok(format!(
        "keyholder {} handed over {} datasets, attributes of {} and the accounts of {} people to keyholder {} ({})\n\
         file: {} (only that keyholder can read it; destroy it when it has taken over)",
        party.index,
        given.datasets,
        given.attributes,
        given.people,
        successor.index,
        successor.signer,
        out.display()
    ))
}

/// Takes over what the other two keyholders handed over to this one, which has not started yet. Returns what to
/// tell the operator.
///
/// # Errors
/// [`SuccessionError`]; the storage is then still empty.
pub async fn take_over(config: &KeyholderConfig, files: [&Path; 2]) -> Result<String, SuccessionError> {
    let party = Party::open(config).await?;
    let own = KeyholderIdentity::of(party.index, &party.keys);
    party.check_on_chain(party.index, &own.committee_member())?;
    let storage = Storage::open(config)?;
    if !storage.store.is_unused()? {
        return Err(SuccessionError::NotEmpty { path: config.data_dir.clone() });
    }
    let [first, second] = files.map(|path| party.reader(path, own.signer));
    let taken = take(&storage.store, party.index, listed(&party.view, party.network()), [first?, second?])?;
    storage.record("taken_over", &[("datasets", &taken.datasets), ("missing", &taken.missing)])?;
    Ok(told(&party, &taken))
}

fn told(party: &Party, taken: &Taken) -> String {
    let Taken { datasets, missing, attributes, people } = taken;
    let mut text = format!(
        "keyholder {} has taken over {datasets} datasets, attributes of {attributes} and the accounts of {people} people\n\
         start it, and destroy both files",
        party.index
    );
    if *missing > 0 {
        text.push_str(&format!("\n{missing} datasets were in one file only, erased at the other, and were left out"));
    }
    text
}

/// What a keyholder that does not run has written.
struct Storage {
    store: Store,
    audit: AuditLog,
}

impl Storage {
    fn open(config: &KeyholderConfig) -> Result<Self, SuccessionError> {
        let store = Store::open_under(&config.data_dir, kek_of(config)?)?;
        let audit = AuditLog::open(&config.data_dir.join(AUDIT_FILE), Clock::system()).map_err(StartError::from)?;
        Ok(Self { store, audit })
    }

    fn record(&self, event: &str, facts: &[(&str, &dyn std::fmt::Display)]) -> Result<(), SuccessionError> {
        Ok(self.audit.append(event, facts).map_err(StartError::from)?)
    }
}

fn kek_of(config: &KeyholderConfig) -> Result<Option<KeyEncryptionKey>, SuccessionError> {
    Ok(config.kek_file.as_deref().map(KeyEncryptionKey::read).transpose().map_err(StartError::from)?)
}

/// Who a keyholder is, and what its chain says.
struct Party {
    index: KeyholderIndex,
    keys: KeyholderKeys,
    ledger: Ledger,
    view: Arc<ChainView>,
}

impl Party {
    async fn open(config: &KeyholderConfig) -> Result<Self, SuccessionError> {
        let index = KeyholderIndex::try_new(config.index).map_err(StartError::from)?;
        let keys = KeyholderKeys::load(&config.data_dir, kek_of(config)?.as_ref())?;
        let chain = Chain::http(&config.chain_url, None).map_err(StartError::from)?;
        let ledger = Ledger::open(chain, read_deployment(&config.deployment_file)?).await.map_err(StartError::from)?;
        let follower = ViewFollower::start(ledger.clone(), CHAIN_PERIOD);
        let view = follower.refreshed().await.map_err(|error| SuccessionError::Chain(error.to_string()))?;
        Ok(Self { index, keys, ledger, view })
    }

    fn network(&self) -> NetworkId {
        self.ledger.contracts().network
    }

    fn header(&self, giver: KeyholderIndex, successor: KeyholderIndex, successor_signer: Address) -> Header {
        Header { network: self.network(), giver, successor, successor_signer }
    }

    fn check_on_chain(&self, index: KeyholderIndex, member: &CommitteeMember) -> Result<(), SuccessionError> {
        match self.view.keyholder(index.get()) {
            Some(known) if known == member => Ok(()),
            _ => Err(SuccessionError::NotOnChain(index.get())),
        }
    }

    fn write(
        &self,
        store: &Store,
        header: &Header,
        recipient: SealingPublicKey,
        created: File,
    ) -> Result<Given, SuccessionError> {
        let datasets = listed(&self.view, self.network());
        let out = BufWriter::new(created);
        let (written, given) = give(store, datasets, header, recipient, &self.keys.signer, out)?;
        written.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        Ok(given)
    }

    fn reader(&self, path: &Path, own_signer: Address) -> Result<(KeyholderIndex, FileReader), SuccessionError> {
        let open = || File::open(path).map(BufReader::new).map_err(|source| file_error(path, source));
        let giver = read_header(&mut open()?)?.giver;
        let expected = self.header(giver, self.index, own_signer);
        let signer = self.view.keyholder(giver.get()).map(|member| member.signer);
        let signer = signer.ok_or(SuccessionError::NotOnChain(giver.get()))?;
        Ok((giver, HandOverReader::open(open()?, &expected, self.keys.sealing.clone(), signer)?))
    }
}

type FileReader = HandOverReader<BufReader<File>>;

/// Writes what `store` has for the successor in `header`.
fn give<W: Write>(
    store: &Store,
    datasets: impl Iterator<Item = Listed> + Clone,
    header: &Header,
    recipient: SealingPublicKey,
    signer: &AccountKey,
    out: W,
) -> Result<(W, Given), SuccessionError> {
    let mut writer = HandOverWriter::begin(out, header, recipient)?;
    let share = header.common_share()?;
    let given = store.hand_over(header.giver, share, datasets, &mut |record| Ok(writer.push(record)?))?;
    Ok((writer.finish(signer)?, given))
}

/// Takes over into `store` what both other keyholders gave.
fn take<R: Read>(
    store: &Store,
    own: KeyholderIndex,
    datasets: impl Iterator<Item = Listed> + Clone,
    mut readers: [(KeyholderIndex, HandOverReader<R>); 2],
) -> Result<Taken, SuccessionError> {
    readers.sort_by_key(|(giver, _)| *giver);
    let [(first, mut left), (second, mut right)] = readers;
    let others: Vec<KeyholderIndex> = KeyholderIndex::ALL.into_iter().filter(|index| *index != own).collect();
    if others != [first, second] {
        return Err(SuccessionError::Givers(first.get(), second.get()));
    }
    let merged = Merged::new([first, second], [Box::new(move || left.next()), Box::new(move || right.next())]);
    store.take_over(own, datasets, merged)
}

/// Every registered dataset, by registration and ordinal.
fn listed(view: &ChainView, network: NetworkId) -> impl Iterator<Item = Listed> + Clone {
    let registrations = (1..=view.registration_count()).filter_map(move |id| view.registration(RegistrationId(id)));
    registrations.flat_map(move |registration| {
        (0u32..).zip(registration.leaves.iter()).map(move |(ordinal, leaf)| Listed {
            registration: registration.id,
            ordinal,
            is_revoked: view.is_revoked(registration.id, ordinal),
            commitments: leaf.commitments,
            context: DatasetContext {
                network,
                registrant: registration.registrant,
                dataset: leaf.dataset,
                panel: registration.panel,
                version: registration.key_version(),
            },
        })
    })
}

fn file_error(path: &Path, source: io::Error) -> SuccessionError {
    SuccessionError::File { path: path.to_owned(), source }
}
