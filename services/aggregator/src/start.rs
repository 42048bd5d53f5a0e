//! Starting an aggregator.

use crate::{
    access::ACCESS,
    aggregator::{Aggregator, ExchangeClient, KeyholderClient, Parts},
    answers::Answers,
    cluster::{Cluster, ClusterConfig},
    config::{AggregatorConfig, Limits},
    error::AggregatorError,
    forget::forget_old_orders,
    grpc,
    prove::{Prover, ProverKeys},
    tags,
};
use locus_cohort::DisclosureBook;
use locus_engine::Engine;
use locus_ledger::{Chain, Contracts, DeploymentFile, KeyFileError, Ledger, LedgerError, ViewFollower, read_key_file};
use locus_proofs::{NetworkKeys, ProofsError, Statement, disclosure::DisclosureVerifier};
use locus_prover::ProverError;
use locus_service::{
    Clock, Connector, Front, FrontError, Listen, MESSAGE_BYTES_MAX, Metrics, Readiness, Role, Running, SeenError,
    SeenRequests, ServeError, ServerHandle, blocking, connect_service,
};
use locus_store::{Store, StoreError, open_store};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tonic::service::Routes;

/// How often the chain is looked at without being asked.
const CHAIN_PERIOD: Duration = Duration::from_secs(1);
/// How often it is looked whether operations wait for a registry root.
const ROOT_PERIOD: Duration = Duration::from_secs(10);
/// Parts from which on the sums of cohorts are kept: the stored sums of fewer are read in a few milliseconds.
const COHORT_PARTS_MIN: usize = 16;
const DATABASE_FILE: &str = "aggregator.redb";
const KEYS_FOLDER: &str = "proof-keys";
const TAGS_FILE: &str = "tags.redb";
/// Record of the signed requests that were taken.
const REQUESTS_FILE: &str = "requests.redb";

/// Why an aggregator does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file or folder cannot be used.
    #[error("cannot use {path}: {source}", path = path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// The deployment file cannot be read.
    #[error("{path} does not describe a deployment: {reason}", path = path.display())]
    Deployment {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The state of an earlier run cannot be taken up.
    #[error(transparent)]
    State(#[from] AggregatorError),
    /// The key of the account that sends proofs is not usable.
    #[error(transparent)]
    SenderKey(#[from] KeyFileError),
    /// The keys to prove with cannot be used or made.
    #[error("proving keys: {0}")]
    ProvingKeys(#[from] ProverError),
    /// The key to check disclosures with cannot be used.
    #[error(transparent)]
    ProofKey(#[from] ProofsError),
    /// Nobody pays for proofs.
    #[error(
        "this market settles on proven cohorts: name the key of the account that sends proofs with sender_key_file"
    )]
    NoSender,
    /// Nothing to prove with.
    #[error("this market settles on proven cohorts: name a folder of proving keys with proving_keys_dir")]
    NoProver,
    /// The record of signed requests cannot be opened.
    #[error(transparent)]
    Requests(#[from] SeenError),
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

/// What an aggregator is started with.
#[derive(Debug)]
pub struct AggregatorDeps {
    /// Where the archive keeps ciphertexts; the aggregator only reads.
    pub store: Store,
    /// Folder of its own database.
    pub data_dir: PathBuf,
    /// Its own connection to the chain. It only reads, except in a market that settles on proven cohorts, where the
    /// account of the connection pays for sending proofs.
    pub chain: Chain,
    /// Needed in a market that settles on proven cohorts.
    pub prover: Option<ProverKeys>,
    /// Folder with the keys that disclosures are checked with; test networks have development keys without it.
    pub proof_keys_dir: Option<PathBuf>,
    /// The market.
    pub contracts: Contracts,
    /// How to reach keyholders 1, 2 and 3. They need not be up yet.
    pub keyholders: [Connector; 3],
    /// How to reach the exchange. It need not be up yet.
    pub exchange: Connector,
    /// How to reach a cluster for large sums, and when it is used; without it all are computed here.
    pub cluster: Option<(Connector, ClusterConfig)>,
    /// Limits.
    pub limits: Limits,
    /// Where time comes from.
    pub clock: Clock,
}

/// A running aggregator; stops when dropped.
#[derive(Debug)]
pub struct AggregatorHandle {
    server: ServerHandle,
    view: ViewFollower,
    forgetting: tokio::task::JoinHandle<()>,
    proving: Option<tokio::task::JoinHandle<()>>,
}

impl AggregatorHandle {
    /// How others reach this aggregator.
    pub fn connector(&self) -> Connector {
        self.server.connector()
    }

    /// Stops accepting calls and waits for running ones.
    pub async fn shutdown(self) {
        self.forgetting.abort();
        if let Some(proving) = &self.proving {
            proving.abort();
        }
        self.server.shutdown().await;
    }

    /// Completes when the server has stopped by itself.
    pub async fn stopped(&mut self) -> Result<(), ServeError> {
        self.server.stopped().await
    }
}

impl Running for AggregatorHandle {
    async fn stopped(&mut self) -> Result<(), ServeError> {
        Self::stopped(self).await
    }

    async fn shutdown(self) {
        Self::shutdown(self).await;
    }

    fn readiness(&self) -> Readiness {
        let view = self.view.clone();
        Box::new(move || view.snapshot().finalized().map(drop).ok_or("the chain was not read yet"))
    }
}

/// Starts an aggregator inside this process, where every caller is trusted.
pub async fn start_with(
    deps: AggregatorDeps,
    listen: Listen,
    reflection: bool,
) -> Result<AggregatorHandle, StartError> {
    start_on(deps, listen, &Front::local(reflection)).await
}

/// Starts an aggregator.
pub async fn start_on(deps: AggregatorDeps, listen: Listen, front: &Front) -> Result<AggregatorHandle, StartError> {
    let data_dir = deps.data_dir;
    fs::create_dir_all(&data_dir).map_err(|source| StartError::File { path: data_dir.clone(), source })?;
    let ledger = Ledger::open(deps.chain, deps.contracts).await?;
    let [first, second, third] = &deps.keyholders;
    let exchange = ExchangeClient::new(connect_service(&deps.exchange)?)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let prover = match (ledger.settles_on_cohorts().await?, deps.prover) {
        (true, None) => return Err(StartError::NoProver),
        (true, Some(keys)) => Some(Prover::open(ledger.clone(), keys, data_dir.clone()).await?),
        (false, _) => None,
    };
    let parameters = ledger.parameters().await?;
    let proof_keys = NetworkKeys::new(deps.proof_keys_dir.as_deref(), parameters.values().test_network);
    let disclosure_key = proof_keys.circuit_key(Statement::Disclosure)?;
    let (tags, cohort_sums) = tags::open(&data_dir.join(TAGS_FILE))?;
    let engine = Engine::new(tags).with_cohort_sums(cohort_sums, COHORT_PARTS_MIN);
    let engine = with_cluster(engine, deps.cluster)?;
    let aggregator = Arc::new(Aggregator::new(Parts {
        parameters,
        view: ViewFollower::start(ledger.clone(), CHAIN_PERIOD),
        ledger,
        answers: Answers::open(&data_dir.join(DATABASE_FILE))?,
        engine,
        requests: SeenRequests::open(&data_dir.join(REQUESTS_FILE))?,
        limits: deps.limits,
        clock: deps.clock,
        keyholders: [keyholder_client(first)?, keyholder_client(second)?, keyholder_client(third)?],
        exchange,
        prover,
        disclosures: DisclosureBook::new(disclosure_key.map(|key| DisclosureVerifier::new(key.verifying_key))),
        store: deps.store,
    }));
    let proving = aggregator.prover.is_some().then(|| tokio::spawn(follow_registry(aggregator.clone())));
    let forgetting = tokio::spawn(forget_old_orders(aggregator.clone()));
    let view = aggregator.view.clone();
    if let Some(metrics) = front.metrics() {
        let followed = view.clone();
        metrics.reading("chain_final_block_number", "Newest block of the chain that is final here.", move || {
            followed.snapshot().finalized().map_or(0, |block| block.number)
        });
    }
    let routes = Routes::new(grpc::service(aggregator));
    let server = front.serve(routes, &[ACCESS], listen, locus_wire::DESCRIPTOR_SET).await?;
    Ok(AggregatorHandle { server, view, forgetting, proving })
}

/// The engine, with a cluster for large sums if there is one.
fn with_cluster(engine: Engine, cluster: Option<(Connector, ClusterConfig)>) -> Result<Engine, ServeError> {
    let Some((connector, config)) = cluster else { return Ok(engine) };
    let cluster = Cluster::connect(&connector, Duration::from_secs(config.wait_s))?;
    Ok(engine.with_summer(Arc::new(cluster), config.bodies_min))
}

fn keyholder_client(connector: &Connector) -> Result<KeyholderClient, ServeError> {
    let client = KeyholderClient::new(connect_service(connector)?);
    Ok(client.max_decoding_message_size(MESSAGE_BYTES_MAX).max_encoding_message_size(MESSAGE_BYTES_MAX))
}

/// Moves registry roots while nobody asks, so that the first order finds little left to do.
async fn follow_registry(aggregator: Arc<Aggregator>) {
    let mut ticks = tokio::time::interval(ROOT_PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(prover) = &aggregator.prover else { return };
        if let Err(error) = prover.follow(&aggregator).await {
            tracing::warn!(%error, "registry roots are not moved");
        }
    }
}

/// Starts an aggregator from its configuration.
pub async fn start(config: AggregatorConfig, metrics: Metrics) -> Result<AggregatorHandle, StartError> {
    let front = config.front.open(Role::Aggregator, config.listen, metrics)?.with_reflection(config.reflection);
    let [first, second, third] = &config.keyholders;
    let keyholders = [
        front.connector(first, Role::Keyholder(1))?,
        front.connector(second, Role::Keyholder(2))?,
        front.connector(third, Role::Keyholder(3))?,
    ];
    let exchange = front.connector(&config.exchange, Role::Exchange)?;
    let cluster = config.cluster.clone();
    let cluster = cluster.map(|cluster| Ok((front.connector(&cluster.url, Role::Engine)?, cluster)));
    let contracts = read_deployment(&config.deployment_file)?;
    let sender = config.sender_key_file.as_deref().map(read_key_file).transpose()?;
    let chain = Chain::http(&config.chain_url, sender.as_ref())?;
    let deps = AggregatorDeps {
        store: open_store(&config.store_url, config.store_options.clone())?,
        prover: prover_keys(&config, &chain, contracts).await?,
        proof_keys_dir: config.proof_keys_dir,
        data_dir: config.data_dir,
        chain,
        contracts,
        keyholders,
        exchange,
        cluster: cluster.transpose().map_err(|error: FrontError| error)?,
        limits: config.limits,
        clock: Clock::system(),
    };
    start_on(deps, Listen::Tcp(config.listen), &front).await
}

/// The keys to prove with, in a market that settles on proven cohorts.
async fn prover_keys(
    config: &AggregatorConfig,
    chain: &Chain,
    contracts: Contracts,
) -> Result<Option<ProverKeys>, StartError> {
    let ledger = Ledger::open(chain.clone(), contracts).await?;
    if !ledger.settles_on_cohorts().await? {
        return Ok(None);
    }
    let is_test_network = ledger.parameters().await?.values().test_network;
    let folder = config.proving_keys_dir.clone();
    let folder = folder.or_else(|| is_test_network.then(|| config.data_dir.join(KEYS_FOLDER)));
    let Some(folder) = folder else { return Err(StartError::NoProver) };
    if config.sender_key_file.is_none() {
        return Err(StartError::NoSender);
    }
    let note = |stage| tracing::info!(?stage, "making a proving key of the test network");
    Ok(Some(blocking(move || ProverKeys::load(&folder, is_test_network, note)).await?))
}

pub(crate) fn read_deployment(path: &Path) -> Result<Contracts, StartError> {
    let text = fs::read_to_string(path).map_err(|source| StartError::File { path: path.to_owned(), source })?;
    let refused = |reason: String| StartError::Deployment { path: path.to_owned(), reason };
    let file: DeploymentFile = serde_json::from_str(&text).map_err(|error| refused(error.to_string()))?;
    Contracts::try_from(&file).map_err(|error| refused(error.to_string()))
}
