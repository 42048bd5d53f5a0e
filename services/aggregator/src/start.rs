//! Starting an aggregator.

use crate::{
    aggregator::{ANSWERS_MAX, Aggregator, Inner},
    config::AggregatorConfig,
    grpc,
    kept::KeptAnswers,
};
use locus_engine::Engine;
use locus_ledger::{Chain, Contracts, DeploymentFile, Ledger, LedgerError, ViewFollower};
use locus_service::{Clock, Connector, Listen, ServeError, ServerHandle, ServerOptions, serve};
use locus_store::{Store, StoreError, open_store};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::{Mutex, Semaphore};
use tonic::service::Routes;

/// How often the chain is looked at without being asked.
const CHAIN_PERIOD: Duration = Duration::from_secs(1);

/// Why an aggregator does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder of kept answers cannot be used.
    #[error("cannot use {path}: {source}")]
    File {
        /// The folder.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// The deployment file cannot be read.
    #[error("{path} does not describe a deployment: {reason}")]
    Deployment {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The chain cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The server does not start.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// What an aggregator is started with.
pub struct AggregatorDeps {
    /// Folder of kept answers.
    pub data_dir: PathBuf,
    /// Where the ciphertexts are.
    pub store: Store,
    /// Its connection to the chain.
    pub chain: Chain,
    /// The market.
    pub contracts: Contracts,
    /// How to reach keyholders 1, 2 and 3.
    pub keyholders: [Connector; 3],
    /// How to reach the exchange.
    pub exchange: Connector,
    /// Where time comes from.
    pub clock: Clock,
}

/// Builds the aggregator's routes, to be served alone or beside other services.
pub async fn prepare(deps: AggregatorDeps) -> Result<Routes, StartError> {
    let ledger = Ledger::open(deps.chain, deps.contracts).await?;
    let parameters = ledger.parameters().await?;
    let failed = |source| StartError::File { path: deps.data_dir.clone(), source };
    let kept = KeptAnswers::open(&deps.data_dir).map_err(failed)?;
    let aggregator = Aggregator(Arc::new(Inner {
        contracts: deps.contracts,
        parameters,
        view: ViewFollower::start(ledger, CHAIN_PERIOD),
        store: deps.store,
        engine: Engine::default(),
        keyholders: deps.keyholders,
        exchange: deps.exchange,
        kept,
        answers: Semaphore::new(ANSWERS_MAX),
        in_flight: Default::default(),
        settling: Mutex::new(()),
        clock: deps.clock,
    }));
    Ok(Routes::new(grpc::service(aggregator)))
}

/// Starts an aggregator from its configuration file's values.
pub async fn start(config: AggregatorConfig) -> Result<ServerHandle, StartError> {
    let deps = AggregatorDeps {
        data_dir: config.data_dir,
        store: open_store(&config.store_url, config.store_options)?,
        chain: Chain::http(&config.chain_url, None)?,
        contracts: read_deployment(&config.deployment_file)?,
        keyholders: config.keyholders.map(Connector::Url),
        exchange: Connector::Url(config.exchange),
        clock: Clock::system(),
    };
    let options = ServerOptions { reflection: config.reflection.then_some(locus_wire::DESCRIPTOR_SET) };
    Ok(serve(prepare(deps).await?, Listen::Tcp(config.listen), options).await?)
}

fn read_deployment(path: &Path) -> Result<Contracts, StartError> {
    let text = std::fs::read_to_string(path).map_err(|source| StartError::File { path: path.to_owned(), source })?;
    let refused = |reason: String| StartError::Deployment { path: path.to_owned(), reason };
    let file: DeploymentFile = serde_json::from_str(&text).map_err(|error| refused(error.to_string()))?;
    Contracts::try_from(&file).map_err(|error| refused(error.to_string()))
}
