//! Starting an exchange.

use crate::{
    access::ACCESS,
    config::ExchangeConfig,
    exchange::{Exchange, Inner},
    grpc,
    payouts::{PayoutBook, PayoutError},
    record,
};
use locus_ledger::{Chain, Contracts, DeploymentFile, KeyFileError, Ledger, LedgerError, ViewFollower, read_key_file};
use locus_service::{
    AuditError, AuditLog, Clock, Connector, Front, FrontError, Listen, Metrics, Readiness, Role, Running, ServeError,
    ServerHandle,
};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::Mutex;
use tonic::service::Routes;

/// File of the payout table in the data folder.
const PAYOUTS_FILE: &str = "payouts.redb";
/// Hash-chained record of the transactions sent.
const AUDIT_FILE: &str = "audit.log";

/// Why an exchange does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file cannot be read or a folder not made.
    #[error("cannot use {path}: {source}", path = path.display())]
    File {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The sender's key is not usable.
    #[error(transparent)]
    SenderKey(#[from] KeyFileError),
    /// The contracts file does not name a market.
    #[error("{path} does not name a market's contracts: {reason}", path = path.display())]
    Contracts {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The audit log cannot be opened or was changed.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The chain cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The payout table cannot be opened.
    #[error(transparent)]
    Payouts(#[from] PayoutError),
    /// It may not meet its callers as configured.
    #[error(transparent)]
    Front(#[from] FrontError),
    /// The server does not start.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// What an exchange is started with.
#[derive(Debug)]
pub struct ExchangeDeps {
    /// Its own connection to the chain, with the account that sends transactions.
    pub chain: Chain,
    /// The market.
    pub contracts: Contracts,
    /// Folder of the payout table.
    pub data_dir: PathBuf,
    /// Where time comes from.
    pub clock: Clock,
    /// How often the chain is looked at without being asked.
    pub poll_period: Duration,
}

/// A running exchange; stops when dropped.
#[derive(Debug)]
pub struct ExchangeHandle {
    server: ServerHandle,
    view: ViewFollower,
}

impl ExchangeHandle {
    /// How others reach the exchange.
    pub fn connector(&self) -> Connector {
        self.server.connector()
    }

    /// Stops accepting calls and waits for running ones.
    pub async fn shutdown(self) {
        self.server.shutdown().await;
    }

    /// Completes when the server has stopped by itself.
    ///
    /// # Errors
    /// [`ServeError::Transport`] with the cause.
    pub async fn stopped(&mut self) -> Result<(), ServeError> {
        self.server.stopped().await
    }
}

impl Running for ExchangeHandle {
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

/// Starts an exchange inside this process, where every caller is trusted.
///
/// # Errors
/// As [`start_on`].
pub async fn start_with(deps: ExchangeDeps, listen: Listen, reflection: bool) -> Result<ExchangeHandle, StartError> {
    start_on(deps, listen, &Front::local(reflection)).await
}

/// Starts an exchange.
///
/// # Errors
/// [`StartError::Ledger`] when the chain is another one or has no such market,
/// [`StartError::Payouts`] when another process has the payout table open.
pub async fn start_on(deps: ExchangeDeps, listen: Listen, front: &Front) -> Result<ExchangeHandle, StartError> {
    let data_dir = deps.data_dir;
    fs::create_dir_all(&data_dir).map_err(|source| StartError::File { path: data_dir.clone(), source })?;
    let book = Arc::new(PayoutBook::open(&data_dir.join(PAYOUTS_FILE))?);
    let audit = AuditLog::open(&data_dir.join(AUDIT_FILE), deps.clock.clone())?;
    let ledger = Ledger::open(deps.chain.before_sending(record::in_log(audit.clone())), deps.contracts).await?;
    let exchange = Exchange::new(Inner {
        parameters: ledger.parameters().await?,
        token_name: ledger.token_name().await?,
        settles_on_cohorts: ledger.settles_on_cohorts().await?,
        view: ViewFollower::start(ledger.clone(), deps.poll_period),
        ledger,
        book,
        clock: deps.clock,
        audit,
        settling: Mutex::new(()),
        claims: Default::default(),
    });
    if let Err(error) = exchange.follow_payouts().await {
        // Everything but settlements, claims and the list of earnings works without the table.
        tracing::error!(%error, "payout table is not at the chain's version");
    }
    let view = exchange.inner().view.clone();
    if let Some(metrics) = front.metrics() {
        let followed = view.clone();
        metrics.reading("chain_final_block_number", "Newest block of the chain that is final here.", move || {
            followed.snapshot().finalized().map_or(0, |block| block.number)
        });
    }
    let routes = Routes::new(grpc::service(exchange));
    let server = front.serve(routes, &[ACCESS], listen, locus_wire::DESCRIPTOR_SET).await?;
    Ok(ExchangeHandle { server, view })
}

/// Starts an exchange from its configuration.
///
/// # Errors
/// As [`start_on`], and [`StartError::SenderKey`] or [`StartError::Contracts`] for the files named.
pub async fn start(config: ExchangeConfig, metrics: Metrics) -> Result<ExchangeHandle, StartError> {
    let front = config.front.open(Role::Exchange, config.listen, metrics)?.with_reflection(config.reflection);
    let sender = read_key_file(&config.sender_key_file)?;
    let deps = ExchangeDeps {
        chain: Chain::http(&config.chain_url, Some(&sender))?,
        contracts: read_deployment(&config.deployment_file)?,
        data_dir: config.data_dir,
        clock: Clock::system(),
        poll_period: Duration::from_millis(config.poll_ms.max(1)),
    };
    start_on(deps, Listen::Tcp(config.listen), &front).await
}

pub(crate) fn read_deployment(path: &Path) -> Result<Contracts, StartError> {
    let text = fs::read_to_string(path).map_err(|source| StartError::File { path: path.to_path_buf(), source })?;
    let refused = |reason: String| StartError::Contracts { path: path.to_path_buf(), reason };
    let file: DeploymentFile = serde_json::from_str(&text).map_err(|error| refused(error.to_string()))?;
    Contracts::try_from(&file).map_err(|error| refused(error.to_string()))
}
