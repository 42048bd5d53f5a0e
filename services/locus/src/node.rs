//! All services of a market in one process over one data folder.
//!
//! The data folder holds:
//!
//! | path | what |
//! |---|---|
//! | `lock` | locked while a process uses the folder |
//! | `operator.key` | the account that deploys the contracts and sends transactions, mode 0600 |
//! | `chain.journal` | the embedded chain |
//! | `deployment.json` | the contracts; written when the deployment is complete, in one step |
//! | `keyholder-1` to `-3` | keys, database and wrapping key of each keyholder |
//! | `archive`, `exchange`, `aggregator` | their databases |
//! | `objects` | the object store, unless another one is configured |
//!
//! Each service has its own folder, its own connection to the chain and its own view of it, and is
//! reached over gRPC only, inside the process or over TCP: the composition shares nothing that
//! separate processes would not share, except that whoever runs it is all parties at once. A market
//! whose keyholders do not collude runs them apart.

mod deployment;
mod folder;
mod gateway;

pub(crate) use deployment::ROOT_AGE_MAX_S;
pub use folder::FolderError;

use crate::node::deployment::Deployed;
use locus_aggregator::{AggregatorDeps, AggregatorHandle, ProverKeys};
use locus_archive::{ArchiveDeps, ArchiveHandle};
use locus_commitment::Address;
use locus_exchange::{ExchangeDeps, ExchangeHandle};
use locus_keyholder::{KeyholderDeps, KeyholderHandle};
use locus_ledger::{Chain, ChainConfig, ChainError, Contracts, EmbeddedChain, LedgerError};
use locus_privacy::NetworkParameterValues;
use locus_service::{Clock, Connector, Listen, ServeError, ServerHandle, ServerOptions, serve};
use locus_sharing::KeyholderIndex;
use locus_store::{Store, StoreError, open_store};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// EIP-155 id of the embedded chain: the one that development chains use.
pub const CHAIN_ID: u64 = 31_337;
/// How often the exchange looks at the chain without being asked.
const CHAIN_PERIOD: Duration = Duration::from_secs(1);
/// Longest wait for what still reads the chain when everything else has stopped.
const CLOSE_DEADLINE: Duration = Duration::from_secs(5);
const JOURNAL_FILE: &str = "chain.journal";
const OBJECTS_FOLDER: &str = "objects";

/// Why a market does not start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The data folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The embedded chain cannot be used.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The contracts cannot be deployed or read.
    #[error("the contracts of {data_dir} cannot be used: {source}", data_dir = data_dir.display())]
    Ledger {
        /// The data folder.
        data_dir: PathBuf,
        /// Why.
        source: LedgerError,
    },
    /// The market's events cannot be read.
    #[error("the chain in {data_dir} cannot be followed: {reason}", data_dir = data_dir.display())]
    View {
        /// The data folder.
        data_dir: PathBuf,
        /// Why.
        reason: String,
    },
    /// The keys of a keyholder are not those that the market knows.
    #[error("the keys in {folder} are not those of the market's keyholder {index}: restore that folder from a copy", folder = folder.display())]
    OtherKeys {
        /// 1, 2 or 3.
        index: u8,
        /// Its folder.
        folder: PathBuf,
    },
    /// The object store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The market in the data folder settles in the other way.
    #[error(
        "the market in {data_dir} was deployed {how}: start it {how} again, or choose another --data-dir",
        data_dir = data_dir.display(),
        how = if *.on_cohorts { "with --proven-cohorts" } else { "without --proven-cohorts" }
    )]
    OtherSettlement {
        /// The data folder.
        data_dir: PathBuf,
        /// Whether it settles on proven cohorts.
        on_cohorts: bool,
    },
    /// A keyholder does not start.
    #[error("keyholder {index}: {source}")]
    Keyholder {
        /// 1, 2 or 3.
        index: u8,
        /// Why.
        source: Box<locus_keyholder::StartError>,
    },
    /// The exchange does not start.
    #[error("exchange: {0}")]
    Exchange(Box<locus_exchange::StartError>),
    /// The archive does not start.
    #[error("archive: {0}")]
    Archive(Box<locus_archive::StartError>),
    /// The aggregator does not start.
    #[error("aggregator: {0}")]
    Aggregator(Box<locus_aggregator::StartError>),
    /// A port cannot be served or reached.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// An account listed on the market under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The account.
    pub account: Address,
    /// Its name for people.
    pub name: String,
}

/// TCP addresses of a market; port 0 picks a free one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeAddresses {
    /// Of archive, exchange and query service together.
    pub market: SocketAddr,
    /// Of keyholders 1, 2 and 3.
    pub keyholders: [SocketAddr; 3],
}

/// What a market is started with.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// The data folder; made when it is not there.
    pub data_dir: PathBuf,
    /// Where ciphertexts are kept; `None` is a folder in the data folder.
    pub store_url: Option<String>,
    /// Options of the object store's back end.
    pub store_options: BTreeMap<String, String>,
    /// TCP addresses; `None` serves inside the process only.
    pub listen: Option<NodeAddresses>,
    /// Accounts that may vouch for datasets; those not listed yet are listed at the start.
    pub accreditors: Vec<Listed>,
    /// Accounts that may buy in the vetted tier; those not listed yet are listed at the start.
    pub researchers: Vec<Listed>,
    /// Privacy rules, fixed by the first start in a data folder.
    pub parameters: NetworkParameterValues,
    /// Whether to describe the services by gRPC reflection.
    pub reflection: bool,
    /// Keys of the circuits when orders settle on proven cohorts, which the first start in a data folder fixes.
    pub prover: Option<ProverKeys>,
    /// The time of all services and of the chain.
    pub clock: Clock,
}

impl NodeConfig {
    /// A test network with the standard privacy rules, served inside the process only.
    pub fn new(data_dir: &Path) -> Self {
        Self {
            data_dir: data_dir.to_path_buf(),
            store_url: None,
            store_options: BTreeMap::new(),
            listen: None,
            accreditors: Vec::new(),
            researchers: Vec::new(),
            parameters: NetworkParameterValues { test_network: true, ..NetworkParameterValues::default() },
            reflection: false,
            prover: None,
            clock: Clock::system(),
        }
    }
}

/// A service's clock as that of the chain.
struct ChainClock(Clock);

impl locus_ledger::Clock for ChainClock {
    fn unix_s(&self) -> u64 {
        self.0.now_unix_s()
    }
}

/// How the services of a node are reached.
#[derive(Debug, Clone)]
pub struct Connectors {
    /// The archive.
    pub archive: Connector,
    /// The exchange.
    pub exchange: Connector,
    /// The aggregator, which serves questions.
    pub aggregator: Connector,
    /// Keyholders 1, 2 and 3.
    pub keyholders: [Connector; 3],
}

/// A running market; stops when dropped.
#[derive(Debug)]
pub struct Node {
    gateway: Option<ServerHandle>,
    aggregator: AggregatorHandle,
    archive: ArchiveHandle,
    exchange: ExchangeHandle,
    keyholders: [KeyholderHandle; 3],
    connectors: Connectors,
    chain: EmbeddedChain,
    contracts: Contracts,
    store: Store,
    keyholder_folders: [PathBuf; 3],
    // Unlocked last.
    _lock: folder::FolderLock,
}

impl Node {
    /// Starts a market: the first start in a data folder deploys the contracts, later ones go on
    /// where the last one stopped, however it stopped.
    ///
    /// # Errors
    /// [`NodeError::Folder`] when another process uses the folder, and for every part that does not
    /// start.
    pub async fn start(config: NodeConfig) -> Result<Self, NodeError> {
        let data_dir = config.data_dir.clone();
        let lock = folder::FolderLock::take(&data_dir)?;
        let journal = data_dir.join(JOURNAL_FILE);
        let chain =
            EmbeddedChain::open(&journal, &ChainConfig::new(CHAIN_ID), Arc::new(ChainClock(config.clock.clone())))?;
        let operator = folder::operator_key(&data_dir)?;
        let sender = Chain::embedded(chain.clone(), Some(&operator));
        let Deployed { contracts, keys } = deployment::load_or_deploy(&config, &sender).await?;
        let store = open_objects(&config)?;
        let folders = KeyholderIndex::ALL.map(|index| deployment::keyholder_folder(&data_dir, index));
        let keyholders = start_keyholders(&chain, contracts, keys, &folders, &config, &store).await?;
        let keyholder_connectors = keyholders.each_ref().map(KeyholderHandle::connector);

        let exchange_deps = ExchangeDeps {
            chain: sender.clone(),
            contracts,
            data_dir: data_dir.join("exchange"),
            clock: config.clock.clone(),
            poll_period: CHAIN_PERIOD,
        };
        let exchange = locus_exchange::start_with(exchange_deps, Listen::InProcess, false)
            .await
            .map_err(|error| NodeError::Exchange(Box::new(error)))?;
        let archive_deps = ArchiveDeps {
            store: store.clone(),
            data_dir: data_dir.join("archive"),
            chain: Chain::embedded(chain.clone(), None),
            contracts,
            keyholders: keyholder_connectors.clone(),
            proof_keys_dir: None,
            limits: locus_archive::Limits::default(),
            clock: config.clock.clone(),
        };
        let archive = locus_archive::start_with(archive_deps, Listen::InProcess, false)
            .await
            .map_err(|error| NodeError::Archive(Box::new(error)))?;
        let aggregator_deps = AggregatorDeps {
            store: store.clone(),
            data_dir: data_dir.join("aggregator"),
            chain: sender.clone(),
            prover: config.prover.clone(),
            proof_keys_dir: None,
            contracts,
            keyholders: keyholder_connectors.clone(),
            exchange: exchange.connector(),
            cluster: None,
            limits: locus_aggregator::Limits::default(),
            clock: config.clock.clone(),
        };
        let aggregator = locus_aggregator::start_with(aggregator_deps, Listen::InProcess, false)
            .await
            .map_err(|error| NodeError::Aggregator(Box::new(error)))?;
        let connectors = Connectors {
            archive: archive.connector(),
            exchange: exchange.connector(),
            aggregator: aggregator.connector(),
            keyholders: keyholder_connectors,
        };
        let gateway = start_gateway(&connectors, &config).await?;
        Ok(Self {
            gateway,
            aggregator,
            archive,
            exchange,
            keyholders,
            connectors,
            chain,
            contracts,
            store,
            keyholder_folders: folders,
            _lock: lock,
        })
    }

    /// How the services are reached inside the process.
    pub fn connectors(&self) -> &Connectors {
        &self.connectors
    }

    /// The embedded chain.
    pub fn chain(&self) -> &EmbeddedChain {
        &self.chain
    }

    /// The contracts.
    pub fn contracts(&self) -> &Contracts {
        &self.contracts
    }

    /// The object store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Folders of keyholders 1, 2 and 3.
    pub fn keyholder_folders(&self) -> &[PathBuf; 3] {
        &self.keyholder_folders
    }

    /// Address of archive, exchange and query service, as a URL, when served over TCP.
    pub fn market_url(&self) -> Option<String> {
        self.gateway.as_ref().and_then(ServerHandle::address).map(|address| format!("http://{address}"))
    }

    /// Addresses of keyholders 1, 2 and 3 as URLs, when served over TCP.
    pub fn keyholder_urls(&self) -> Option<[String; 3]> {
        let url = |connector: &Connector| match connector {
            Connector::Url(url) => Some(url.clone()),
            Connector::Tls(_) | Connector::InProcess(_) => None,
        };
        let [first, second, third] = &self.connectors.keyholders;
        Some([url(first)?, url(second)?, url(third)?])
    }

    /// Completes when one of the servers has stopped by itself, which none should.
    ///
    /// # Errors
    /// Why it stopped.
    pub async fn stopped(&mut self) -> Result<(), NodeError> {
        let [first, second, third] = &mut self.keyholders;
        let gateway = async {
            match self.gateway.as_mut() {
                Some(gateway) => gateway.stopped().await,
                None => std::future::pending().await,
            }
        };
        let stopped = tokio::select! {
            stopped = gateway => stopped,
            stopped = self.aggregator.stopped() => stopped,
            stopped = self.archive.stopped() => stopped,
            stopped = self.exchange.stopped() => stopped,
            stopped = first.stopped() => stopped,
            stopped = second.stopped() => stopped,
            stopped = third.stopped() => stopped,
        };
        Ok(stopped?)
    }

    /// Stops accepting calls, waits for running ones, and stops the services that others depend on
    /// last.
    pub async fn shutdown(self) {
        if let Some(gateway) = self.gateway {
            gateway.shutdown().await;
        }
        self.aggregator.shutdown().await;
        self.archive.shutdown().await;
        self.exchange.shutdown().await;
        for keyholder in self.keyholders {
            keyholder.shutdown().await;
        }
        // What follows the chain in the background ends a little later than the servers.
        if tokio::time::timeout(CLOSE_DEADLINE, self.chain.closed()).await.is_err() {
            tracing::warn!("the chain is still in use; another start has to wait until this process has ended");
        }
    }
}

fn open_objects(config: &NodeConfig) -> Result<Store, NodeError> {
    let store = match &config.store_url {
        Some(url) => open_store(url, config.store_options.clone())?,
        None => {
            let folder = config.data_dir.join(OBJECTS_FOLDER);
            open_store(&folder.to_string_lossy(), config.store_options.clone())?
        }
    };
    Ok(store)
}

/// Starts the keyholders, the third first: the holder who sends a noise key has the lower number.
async fn start_keyholders(
    chain: &EmbeddedChain,
    contracts: Contracts,
    keys: [locus_keyholder::KeyholderKeys; 3],
    folders: &[PathBuf; 3],
    config: &NodeConfig,
    store: &Store,
) -> Result<[KeyholderHandle; 3], NodeError> {
    let [first_keys, second_keys, third_keys] = keys;
    let [first, second, third] = KeyholderIndex::ALL;
    let mut peers = BTreeMap::new();
    let mut start = async |index: KeyholderIndex, keys| {
        let deps = KeyholderDeps {
            index,
            keys,
            data_dir: folders[index.position()].clone(),
            kek: None,
            proof_keys_dir: None,
            chain: Chain::embedded(chain.clone(), None),
            contracts,
            objects: Some(store.clone()),
            clock: config.clock.clone(),
        };
        let listen = config.listen.map(|listen| listen.keyholders);
        let listen = listen.map_or(Listen::InProcess, |addresses| Listen::Tcp(addresses[index.position()]));
        let failed = |error| NodeError::Keyholder { index: index.get(), source: Box::new(error) };
        let prepared = locus_keyholder::prepare(deps).await.map_err(failed)?;
        let handle = prepared.serve(listen, || peers.clone(), config.reflection).await.map_err(failed)?;
        peers.insert(index, handle.connector());
        Ok::<_, NodeError>(handle)
    };
    let third = start(third, third_keys).await?;
    let second = start(second, second_keys).await?;
    let first = start(first, first_keys).await?;
    Ok([first, second, third])
}

async fn start_gateway(connectors: &Connectors, config: &NodeConfig) -> Result<Option<ServerHandle>, NodeError> {
    let Some(listen) = config.listen else { return Ok(None) };
    let routes = gateway::routes(connectors)?;
    let options = ServerOptions { reflection: config.reflection.then_some(locus_wire::DESCRIPTOR_SET) };
    Ok(Some(serve(routes, Listen::Tcp(listen.market), options).await?))
}

#[cfg(test)]
mod tests;
