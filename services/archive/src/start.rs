//! Starting an archive.

use crate::{
    access::ACCESS,
    archive::{Archive, KeyholderClient, Parts},
    background,
    config::{ArchiveConfig, Limits},
    error::ArchiveError,
    grpc,
    panels::Panels,
    schemas::Schemas,
    staged::StagedBatches,
    upload,
};
use locus_ledger::{Chain, Contracts, DeploymentFile, Ledger, LedgerError, ViewFollower};
use locus_proofs::{
    NetworkKeys, ProofsError, Statement, disclosure::DisclosureVerifier, encryption::EncryptionVerifier,
};
use locus_service::{
    Clock, Connector, Front, FrontError, Listen, MESSAGE_BYTES_MAX, Metrics, Readiness, Role, Running, ServeError,
    ServerHandle, connect_service,
};
use locus_store::{Store, StoreError, open_store};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::service::Routes;

/// How often the chain is looked at without being asked.
const CHAIN_PERIOD: Duration = Duration::from_secs(1);
const DATABASE_FILE: &str = "archive.redb";
const SCRATCH_FOLDER: &str = "scratch";

/// Why an archive does not start.
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
    State(#[from] ArchiveError),
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

/// What an archive is started with.
#[derive(Debug)]
pub struct ArchiveDeps {
    /// Where ciphertexts and panels are kept.
    pub store: Store,
    /// Folder of its own database and scratch files.
    pub data_dir: PathBuf,
    /// Its own connection to the chain; it only reads.
    pub chain: Chain,
    /// The market.
    pub contracts: Contracts,
    /// How to reach keyholders 1, 2 and 3. They need not be up yet.
    pub keyholders: [Connector; 3],
    /// Folder with the keys that proofs are checked with; test networks have development keys without it.
    pub proof_keys_dir: Option<PathBuf>,
    /// Limits.
    pub limits: Limits,
    /// Where time comes from.
    pub clock: Clock,
}

/// A running archive; stops when dropped.
#[derive(Debug)]
pub struct ArchiveHandle {
    server: ServerHandle,
    view: ViewFollower,
    /// Ends the background tasks when dropped.
    stop: DropGuard,
    tasks: Vec<JoinHandle<()>>,
}

impl ArchiveHandle {
    /// How others reach this archive.
    pub fn connector(&self) -> Connector {
        self.server.connector()
    }

    /// Stops accepting calls and waits for running ones, then for what runs in the background.
    pub async fn shutdown(self) {
        let Self { server, view: _, stop, tasks } = self;
        server.shutdown().await;
        drop(stop);
        for task in tasks {
            // A task that panicked has ended too.
            let _ = task.await;
        }
    }

    /// Completes when the server has stopped by itself.
    pub async fn stopped(&mut self) -> Result<(), ServeError> {
        self.server.stopped().await
    }
}

impl Running for ArchiveHandle {
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

/// Starts an archive inside this process, where every caller is trusted.
pub async fn start_with(deps: ArchiveDeps, listen: Listen, reflection: bool) -> Result<ArchiveHandle, StartError> {
    start_on(deps, listen, &Front::local(reflection)).await
}

/// Starts an archive: takes up the state of an earlier run, follows the chain, serves.
pub async fn start_on(deps: ArchiveDeps, listen: Listen, front: &Front) -> Result<ArchiveHandle, StartError> {
    let archive = Arc::new(build(deps).await?);
    let stop = CancellationToken::new();
    let tasks = vec![
        tokio::spawn(background::follow_chain(archive.clone(), stop.clone())),
        tokio::spawn(background::keep_house(archive.clone(), stop.clone())),
    ];
    let view = archive.view.clone();
    if let Some(metrics) = front.metrics() {
        let followed = view.clone();
        metrics.reading("chain_final_block_number", "Newest block of the chain that is final here.", move || {
            followed.snapshot().finalized().map_or(0, |block| block.number)
        });
    }
    let routes = Routes::new(grpc::service(archive));
    let server = front.serve(routes, &[ACCESS], listen, locus_wire::DESCRIPTOR_SET).await?;
    Ok(ArchiveHandle { server, view, stop: stop.drop_guard(), tasks })
}

/// Builds an archive and removes what an earlier run was cut off from removing.
pub(crate) async fn build(deps: ArchiveDeps) -> Result<Archive, StartError> {
    let scratch = deps.data_dir.join(SCRATCH_FOLDER);
    fs::create_dir_all(&scratch).map_err(|source| StartError::File { path: scratch.clone(), source })?;
    let ledger = Ledger::open(deps.chain, deps.contracts).await?;
    let is_test_network = ledger.parameters().await?.values().test_network;
    let proof_keys = NetworkKeys::new(deps.proof_keys_dir.as_deref(), is_test_network);
    let encryption_key = proof_keys.circuit_key(Statement::Encryption)?;
    let disclosure_key = proof_keys.circuit_key(Statement::Disclosure)?;
    let batches = StagedBatches::open(&deps.data_dir.join(DATABASE_FILE))?;
    let archive = Archive::new(Parts {
        view: ViewFollower::start(ledger.clone(), CHAIN_PERIOD),
        settles_on_cohorts: ledger.settles_on_cohorts().await?,
        ledger,
        panels: Panels::open(deps.store.clone(), &deps.limits).await?,
        schemas: Schemas::open(batches.database())?,
        batches,
        limits: deps.limits,
        clock: deps.clock,
        scratch,
        encryption_verifier: encryption_key.map(|key| Arc::new(EncryptionVerifier::new(key.verifying_key))),
        disclosure_verifier: disclosure_key.map(|key| Arc::new(DisclosureVerifier::new(key.verifying_key))),
        store: deps.store,
        keyholders: keyholder_clients(&deps.keyholders)?,
    });
    upload::discard_debris(&archive).await?;
    Ok(archive)
}

fn keyholder_clients(connectors: &[Connector; 3]) -> Result<[KeyholderClient; 3], ServeError> {
    let client = |connector: &Connector| -> Result<KeyholderClient, ServeError> {
        let client = KeyholderClient::new(connect_service(connector)?);
        Ok(client.max_decoding_message_size(MESSAGE_BYTES_MAX).max_encoding_message_size(MESSAGE_BYTES_MAX))
    };
    let [first, second, third] = connectors;
    Ok([client(first)?, client(second)?, client(third)?])
}

/// Starts an archive from its configuration.
pub async fn start(config: ArchiveConfig, metrics: Metrics) -> Result<ArchiveHandle, StartError> {
    let front = config.front.open(Role::Archive, config.listen, metrics)?.with_reflection(config.reflection);
    let [first, second, third] = &config.keyholders;
    let keyholders = [
        front.connector(first, Role::Keyholder(1))?,
        front.connector(second, Role::Keyholder(2))?,
        front.connector(third, Role::Keyholder(3))?,
    ];
    let deps = ArchiveDeps {
        store: open_store(&config.store_url, config.store_options)?,
        data_dir: config.data_dir,
        chain: Chain::http(&config.chain_url, None)?,
        contracts: read_deployment(&config.deployment_file)?,
        keyholders,
        proof_keys_dir: config.proof_keys_dir,
        limits: config.limits,
        clock: Clock::system(),
    };
    start_on(deps, Listen::Tcp(config.listen), &front).await
}

pub(crate) fn read_deployment(path: &Path) -> Result<Contracts, StartError> {
    let text = fs::read_to_string(path).map_err(|source| StartError::File { path: path.to_owned(), source })?;
    let refused = |reason: String| StartError::Deployment { path: path.to_owned(), reason };
    let file: DeploymentFile = serde_json::from_str(&text).map_err(|error| refused(error.to_string()))?;
    Contracts::try_from(&file).map_err(|error| refused(error.to_string()))
}
