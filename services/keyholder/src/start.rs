//! Starting a keyholder.

use crate::{
    config::KeyholderConfig,
    grpc,
    keyholder::{Inner, Keyholder, system_rng},
    store::{Store, StoreError},
};
use locus_ledger::{AccountError, AccountKey, Chain, Contracts, DeploymentFile, Ledger, LedgerError, ViewFollower};
use locus_service::{Clock, Connector, Listen, ServeError, ServerHandle, ServerOptions, serve};
use locus_sharing::{KeyholderIndex, SharingError, seal::SealingPrivateKey};
use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};
use tonic::service::Routes;
use zeroize::Zeroizing;

/// How often the chain is looked at without being asked.
const CHAIN_PERIOD: Duration = Duration::from_secs(1);
const SIGNER_FILE: &str = "committee.key";
const SEALING_FILE: &str = "sealing.key";

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
    /// A key file is damaged.
    #[error("{path} is not a key file of 32 bytes: restore it from a backup")]
    KeyFile {
        /// The file.
        path: PathBuf,
    },
    /// The storage cannot be opened.
    #[error("{0}")]
    Store(String),
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
    /// The chain cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
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
    /// Loads the keys in `dir`, or makes them there (mode 0600).
    pub fn load_or_create(dir: &Path) -> Result<Self, StartError> {
        fs::create_dir_all(dir).map_err(|source| StartError::File { path: dir.to_owned(), source })?;
        let signer =
            load_or_create_key(&dir.join(SIGNER_FILE), || *AccountKey::generate(&mut system_rng()).to_bytes())?;
        let sealing = load_or_create_key(&dir.join(SEALING_FILE), || {
            let mut seed = [0; 32];
            rand_core::Rng::fill_bytes(&mut system_rng(), &mut seed);
            seed
        })?;
        Ok(Self { signer: AccountKey::from_bytes(&signer)?, sealing: SealingPrivateKey::from_seed(&sealing) })
    }
}

fn load_or_create_key(path: &Path, make: impl FnOnce() -> [u8; 32]) -> Result<Zeroizing<[u8; 32]>, StartError> {
    let failed = |source| StartError::File { path: path.to_owned(), source };
    match fs::read(path) {
        Ok(bytes) => {
            let bytes = Zeroizing::new(bytes);
            let key = <[u8; 32]>::try_from(bytes.as_slice());
            key.map(Zeroizing::new).map_err(|_| StartError::KeyFile { path: path.to_owned() })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let key = Zeroizing::new(make());
            let partial = path.with_extension("partial");
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&partial)
                .map_err(failed)?;
            file.write_all(&*key).and_then(|()| file.sync_all()).map_err(failed)?;
            fs::rename(&partial, path).map_err(failed)?;
            Ok(key)
        }
        Err(error) => Err(failed(error)),
    }
}

/// What a keyholder is started with.
pub struct KeyholderDeps {
    /// 1, 2 or 3.
    pub index: KeyholderIndex,
    /// Its keys.
    pub keys: KeyholderKeys,
    /// Folder of its database.
    pub data_dir: PathBuf,
    /// Its own connection to the chain.
    pub chain: Chain,
    /// The market.
    pub contracts: Contracts,
    /// Where time comes from.
    pub clock: Clock,
}

/// Builds a keyholder; [`PreparedKeyholder::serve`] starts it.
pub async fn prepare(deps: KeyholderDeps) -> Result<PreparedKeyholder, StartError> {
    let ledger = Ledger::open(deps.chain, deps.contracts).await?;
    let parameters = ledger.parameters().await?;
    let view = ViewFollower::start(ledger.clone(), CHAIN_PERIOD);
    let store = Store::open(&deps.data_dir)?;
    tracing::info!(keyholder = deps.index.get(), datasets = store.dataset_count()?, "keyholder storage opened");
    let keyholder = Keyholder::new(Inner {
        index: deps.index,
        contracts: deps.contracts,
        parameters,
        signer: deps.keys.signer,
        sealing: deps.keys.sealing,
        store,
        ledger,
        view,
        clock: deps.clock,
    });
    Ok(PreparedKeyholder(keyholder))
}

/// A keyholder that does not serve yet.
pub struct PreparedKeyholder(Keyholder);

/// A running keyholder; stops when dropped.
#[derive(Debug)]
pub struct KeyholderHandle {
    server: ServerHandle,
    noise_keys: tokio::task::JoinHandle<()>,
}

impl PreparedKeyholder {
    /// Serves, and shares noise keys with `peers` once they can be reached.
    pub async fn serve(
        self,
        listen: Listen,
        peers: impl FnOnce() -> BTreeMap<KeyholderIndex, Connector>,
        reflection: bool,
    ) -> Result<KeyholderHandle, StartError> {
        let routes = Routes::new(grpc::service(self.0.clone()));
        let options = ServerOptions { reflection: reflection.then_some(locus_wire::DESCRIPTOR_SET) };
        let server = serve(routes, listen, options).await?;
        let noise_keys = tokio::spawn(self.0.share_noise_keys(peers()));
        Ok(KeyholderHandle { server, noise_keys })
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
        self.server.shutdown().await;
    }

    /// Completes when the server has stopped by itself.
    pub async fn stopped(&mut self) -> Result<(), ServeError> {
        self.server.stopped().await
    }
}

/// Starts a keyholder from its configuration file's values.
pub async fn start(config: KeyholderConfig) -> Result<KeyholderHandle, StartError> {
    let index = KeyholderIndex::try_new(config.index)?;
    let contracts = read_deployment(&config.deployment_file)?;
    let deps = KeyholderDeps {
        index,
        keys: KeyholderKeys::load_or_create(&config.data_dir)?,
        data_dir: config.data_dir,
        chain: Chain::http(&config.chain_url, None)?,
        contracts,
        clock: Clock::system(),
    };
    let mut peers = BTreeMap::new();
    for (number, url) in config.peers {
        let peer = KeyholderIndex::try_new(number.parse().unwrap_or(0))?;
        peers.insert(peer, Connector::Url(url));
    }
    prepare(deps).await?.serve(Listen::Tcp(config.listen), || peers, config.reflection).await
}

fn read_deployment(path: &Path) -> Result<Contracts, StartError> {
    let text = fs::read_to_string(path).map_err(|source| StartError::File { path: path.to_owned(), source })?;
    let refused = |reason: String| StartError::Deployment { path: path.to_owned(), reason };
    let file: DeploymentFile = serde_json::from_str(&text).map_err(|error| refused(error.to_string()))?;
    Contracts::try_from(&file).map_err(|error| refused(error.to_string()))
}
