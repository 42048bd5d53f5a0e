//! Starting a keyholder.

use crate::{
    access::ACCESS,
    config::KeyholderConfig,
    grpc,
    kek::{KeyEncryptionKey, KeyFileError, read_key, write_key},
    keyholder::{Inner, Keyholder, OWN_NOISE_KEY, system_rng},
    store::{Store as KeyholderStore, StoreError},
};
use locus_cohort::DisclosureBook;
use locus_ledger::{AccountError, AccountKey, Chain, Contracts, DeploymentFile, Ledger, LedgerError, ViewFollower};
use locus_proofs::{
    NetworkKeys, ProofsError, Statement, disclosure::DisclosureVerifier, encryption::EncryptionVerifier,
};
use locus_service::{
    AuditError, AuditLog, Clock, Connector, Front, FrontError, Listen, Metrics, Readiness, Role, Running, SeenError,
    SeenRequests, ServeError, ServerHandle,
};
use locus_sharing::{KeyholderIndex, NoiseKey, SharingError, seal::SealingPrivateKey};
use locus_store::{Store, open_store};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tonic::service::Routes;
use zeroize::Zeroizing;

/// How often the chain is looked at without being asked.
const CHAIN_PERIOD: Duration = Duration::from_secs(1);
const SIGNER_FILE: &str = "committee.key";
const SEALING_FILE: &str = "sealing.key";
/// Record of the signed requests that were taken.
const REQUESTS_FILE: &str = "requests.redb";
/// Hash-chained record of what this keyholder did.
pub(crate) const AUDIT_FILE: &str = "audit.log";

/// Why a keyholder does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file cannot be read or written.
    #[error("cannot use {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// A key file cannot be used.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The keys are not there.
    #[error("{path} is missing: make this keyholder's keys with `locus-keyholder init`, or restore them from a copy")]
    NoKeys {
        /// The file.
        path: PathBuf,
    },
    /// The keys are not those of the market's keyholder.
    #[error(
        "the keys in {path} are not those of the market's keyholder {index}: correct index and data_dir, or restore the folder from a copy"
    )]
    OtherKeys {
        /// The folder.
        path: PathBuf,
        /// 1, 2 or 3.
        index: u8,
    },
    /// The storage cannot be opened.
    #[error("{0}")]
    Store(String),
    /// The ciphertexts cannot be reached.
    #[error(transparent)]
    Objects(#[from] locus_store::StoreError),
    /// The record of signed requests cannot be opened.
    #[error(transparent)]
    Requests(#[from] SeenError),
    /// The audit log cannot be opened or was changed.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The deployment file cannot be read.
    #[error("{path} does not describe a deployment: {reason}")]
    Deployment {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The index is not 1, 2 or 3.
    #[error(transparent)]
    Index(#[from] SharingError),
    /// The signing key is not usable.
    #[error(transparent)]
    Key(#[from] AccountError),
    /// The key to check proofs with cannot be used.
    #[error(transparent)]
    ProofKey(#[from] ProofsError),
    /// The chain cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// It may not meet its callers as configured.
    #[error(transparent)]
    Front(#[from] FrontError),
    /// The server does not start.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.to_string())
    }
}

/// The two long-term keys of a keyholder.
pub struct KeyholderKeys {
    /// Signs as a committee member.
    pub signer: AccountKey,
    /// Opens what is sealed to this keyholder.
    pub sealing: SealingPrivateKey,
}

impl KeyholderKeys {
    /// Loads the keys in `dir`, which must be there.
    ///
    /// # Errors
    /// [`StartError::NoKeys`] or [`StartError::KeyFile`].
    pub fn load(dir: &Path, kek: Option<&KeyEncryptionKey>) -> Result<Self, StartError> {
        for path in [dir.join(SIGNER_FILE), dir.join(SEALING_FILE)] {
            if !path.exists() {
                return Err(StartError::NoKeys { path });
            }
        }
        Self::load_or_create_under(dir, kek)
    }

    /// Loads the keys in `dir`, or makes them there (mode 0600), not wrapped.
    pub fn load_or_create(dir: &Path) -> Result<Self, StartError> {
        Self::load_or_create_under(dir, None)
    }

    /// Loads the keys in `dir`, or makes them there (mode 0600), wrapped under `kek`.
    ///
    /// # Errors
    /// [`StartError::KeyFile`] for a file that `kek` does not open.
    pub fn load_or_create_under(dir: &Path, kek: Option<&KeyEncryptionKey>) -> Result<Self, StartError> {
        fs::create_dir_all(dir).map_err(|source| StartError::File { path: dir.to_owned(), source })?;
        let signer =
            load_or_create_key(&dir.join(SIGNER_FILE), kek, || *AccountKey::generate(&mut system_rng()).to_bytes())?;
        let sealing = load_or_create_key(&dir.join(SEALING_FILE), kek, || {
            let mut seed = [0; 32];
            rand_core::Rng::fill_bytes(&mut system_rng(), &mut seed);
            seed
        })?;
        Ok(Self { signer: AccountKey::from_bytes(&signer)?, sealing: SealingPrivateKey::from_seed(&sealing) })
    }
}

fn load_or_create_key(
    path: &Path,
    kek: Option<&KeyEncryptionKey>,
    make: impl FnOnce() -> [u8; 32],
) -> Result<Zeroizing<[u8; 32]>, StartError> {
    if let Some(key) = read_key(path, kek)? {
        return Ok(key);
    }
    let key = Zeroizing::new(make());
    write_key(path, &key, kek)?;
    Ok(key)
}

/// What a keyholder is started with.
pub struct KeyholderDeps {
    /// 1, 2 or 3.
    pub index: KeyholderIndex,
    /// Its keys.
    pub keys: KeyholderKeys,
    /// Folder of its database.
    pub data_dir: PathBuf,
    /// Wraps the database's wrapping key.
    pub kek: Option<KeyEncryptionKey>,
    /// Folder with the keys that proofs are checked with; test networks have development keys without it.
    pub proof_keys_dir: Option<PathBuf>,
    /// Its own connection to the chain.
    pub chain: Chain,
    /// The market.
    pub contracts: Contracts,
    /// Where the market's ciphertexts are; without it no filtered question is answered.
    pub objects: Option<Store>,
    /// Where time comes from.
    pub clock: Clock,
}

/// Builds a keyholder; [`PreparedKeyholder::serve`] starts it.
pub async fn prepare(deps: KeyholderDeps) -> Result<PreparedKeyholder, StartError> {
    let ledger = Ledger::open(deps.chain, deps.contracts).await?;
    let parameters = ledger.parameters().await?;
    let proof_keys = NetworkKeys::new(deps.proof_keys_dir.as_deref(), parameters.values().test_network);
    let encryption_key = proof_keys.circuit_key(Statement::Encryption)?;
    let disclosure_key = proof_keys.circuit_key(Statement::Disclosure)?;
    let view = ViewFollower::start(ledger.clone(), CHAIN_PERIOD);
    let store = KeyholderStore::open_under(&deps.data_dir, deps.kek)?;
    if store.noise_key(OWN_NOISE_KEY)?.is_none() {
        store.put_noise_key(OWN_NOISE_KEY, NoiseKey::generate(&mut system_rng()).as_bytes())?;
    }
    let audit = AuditLog::open(&deps.data_dir.join(AUDIT_FILE), deps.clock.clone())?;
    let requests = SeenRequests::open(&deps.data_dir.join(REQUESTS_FILE))?;
    tracing::info!(keyholder = deps.index.get(), datasets = store.dataset_count()?, "keyholder storage opened");
    let keyholder = Keyholder::new(Inner {
        index: deps.index,
        contracts: deps.contracts,
        parameters,
        signer: deps.keys.signer,
        sealing: deps.keys.sealing,
        store,
        requests,
        audit,
        settles_on_cohorts: ledger.settles_on_cohorts().await?,
        rekeyings_seen: Default::default(),
        ledger,
        view,
        objects: deps.objects,
        clock: deps.clock,
        encryption_verifier: encryption_key.map(|key| EncryptionVerifier::new(key.verifying_key)),
        disclosures: Arc::new(DisclosureBook::new(
            disclosure_key.map(|key| DisclosureVerifier::new(key.verifying_key)),
        )),
    });
    Ok(PreparedKeyholder(keyholder))
}

/// A keyholder that does not serve yet.
pub struct PreparedKeyholder(Keyholder);

/// A running keyholder; stops when dropped.
pub struct KeyholderHandle {
    server: ServerHandle,
    noise_keys: tokio::task::JoinHandle<()>,
    rekeyings: tokio::task::JoinHandle<()>,
    keyholder: Keyholder,
}

impl std::fmt::Debug for KeyholderHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyholderHandle of {} at {:?}", self.keyholder.index(), self.server)
    }
}

impl PreparedKeyholder {
    /// Serves, and shares noise keys with `peers` once they can be reached.
    pub async fn serve(
        self,
        listen: Listen,
        peers: impl FnOnce() -> BTreeMap<KeyholderIndex, Connector>,
        reflection: bool,
    ) -> Result<KeyholderHandle, StartError> {
        self.serve_on(listen, peers, &Front::local(reflection)).await
    }

    /// As [`serve`](Self::serve), behind a front.
    pub async fn serve_on(
        self,
        listen: Listen,
        peers: impl FnOnce() -> BTreeMap<KeyholderIndex, Connector>,
        front: &Front,
    ) -> Result<KeyholderHandle, StartError> {
        if let Some(metrics) = front.metrics() {
            self.0.show_on(metrics);
        }
        let routes = Routes::new(grpc::service(self.0.clone()));
        let server = front.serve(routes, &[ACCESS], listen, locus_wire::DESCRIPTOR_SET).await?;
        let noise_keys = tokio::spawn(self.0.clone().share_noise_keys(peers()));
        let rekeyings = tokio::spawn(self.0.clone().follow_rekeyings());
        Ok(KeyholderHandle { server, noise_keys, rekeyings, keyholder: self.0 })
    }
}

impl KeyholderHandle {
    /// How others reach this keyholder.
    pub fn connector(&self) -> Connector {
        self.server.connector()
    }

    /// Stops accepting calls and waits for running ones.
    pub async fn shutdown(self) {
        self.noise_keys.abort();
        self.rekeyings.abort();
        self.server.shutdown().await;
    }

    /// Completes when the server has stopped by itself.
    pub async fn stopped(&mut self) -> Result<(), ServeError> {
        self.server.stopped().await
    }
}

impl Running for KeyholderHandle {
    async fn stopped(&mut self) -> Result<(), ServeError> {
        Self::stopped(self).await
    }

    async fn shutdown(self) {
        Self::shutdown(self).await;
    }

    fn readiness(&self) -> Readiness {
        let keyholder = self.keyholder.clone();
        Box::new(move || keyholder.check_ready())
    }
}

/// Starts a keyholder from its configuration.
///
/// # Errors
/// [`StartError::NoKeys`] before `init`; [`StartError::OtherKeys`] when the market's keyholder has others.
pub async fn start(config: KeyholderConfig, metrics: Metrics) -> Result<KeyholderHandle, StartError> {
    let index = KeyholderIndex::try_new(config.index)?;
    let role = Role::Keyholder(index.get());
    let front = config.front.open(role, config.listen, metrics)?.with_reflection(config.reflection);
    let contracts = read_deployment(&config.deployment_file)?;
    let kek = config.kek_file.as_deref().map(KeyEncryptionKey::read).transpose()?;
    let objects = config.store_url.as_deref().map(|url| open_store(url, config.store_options.clone()));
    let deps = KeyholderDeps {
        index,
        keys: KeyholderKeys::load(&config.data_dir, kek.as_ref())?,
        data_dir: config.data_dir.clone(),
        kek,
        proof_keys_dir: config.proof_keys_dir.clone(),
        chain: Chain::http(&config.chain_url, None)?,
        contracts,
        objects: objects.transpose()?,
        clock: Clock::system(),
    };
    let mut peers = BTreeMap::new();
    for (number, url) in config.peers {
        let peer = KeyholderIndex::try_new(number.parse().unwrap_or(0))?;
        peers.insert(peer, front.connector(&url, Role::Keyholder(peer.get()))?);
    }
    let prepared = prepare(deps).await?;
    if let Err(error) = prepared.0.poll_chain().await {
        tracing::warn!(%error, "the chain is read later");
    }
    if prepared.0.is_someone_else() {
        return Err(StartError::OtherKeys { path: config.data_dir, index: index.get() });
    }
    prepared.serve_on(Listen::Tcp(config.listen), || peers, &front).await
}

pub(crate) fn read_deployment(path: &Path) -> Result<Contracts, StartError> {
    let text = fs::read_to_string(path).map_err(|source| StartError::File { path: path.to_owned(), source })?;
    let refused = |reason: String| StartError::Deployment { path: path.to_owned(), reason };
    let file: DeploymentFile = serde_json::from_str(&text).map_err(|error| refused(error.to_string()))?;
    Contracts::try_from(&file).map_err(|error| refused(error.to_string()))
}
