//! The scheduler's process: Ballista's scheduler for the executors, and the gateway for the aggregator.

use crate::{
    config::SchedulerConfig,
    error::ClusterError,
    gateway::{self, ACCESS, Gateway},
    session::Storage,
    table::BodiesCodec,
};
use ballista_core::{config::TaskSchedulingPolicy, error::BallistaError};
use ballista_scheduler::{
    cluster::BallistaCluster,
    config::{SchedulerConfig as BallistaConfig, TaskDistributionPolicy},
    scheduler_process::{create_scheduler, start_grpc_service_with_listener},
    scheduler_server::SchedulerServer,
};
use datafusion::prelude::SessionConfig;
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use locus_service::{FrontError, Listen, Metrics, Readiness, Role, Running, ServeError, ServerHandle};
use locus_store::StoreError;
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;
use tonic::service::Routes;

/// Without a sign of life for so long, an executor is lost and its work is done by others.
const EXECUTOR_TIMEOUT_S: u64 = 10;
/// How often that is looked at.
const EXECUTOR_CHECK_S: u64 = 2;
/// How long partial sums stay after their question.
const PARTIAL_SUMS_KEPT_S: u64 = 60;

/// Why a process of a cluster does not start.
#[derive(Debug, Error)]
pub(crate) enum StartError {
    /// Storage cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The scratch storage cannot be used.
    #[error("{0}")]
    Scratch(String),
    /// The scheduler cannot listen for executors.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Cause.
        source: std::io::Error,
    },
    /// A folder cannot be made.
    #[error("cannot use {path}: {source}", path = path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// Ballista does not start.
    #[error("the engine does not start: {0}")]
    Engine(#[from] BallistaError),
    /// It may not meet its callers as configured.
    #[error(transparent)]
    Front(#[from] FrontError),
    /// The server does not start.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

impl From<ClusterError> for StartError {
    fn from(error: ClusterError) -> Self {
        Self::Scratch(error.to_string())
    }
}

type Scheduler = SchedulerServer<LogicalPlanNode, PhysicalPlanNode>;

/// A running scheduler; stops when dropped.
pub(crate) struct SchedulerHandle {
    server: ServerHandle,
    scheduler: Scheduler,
    serving: AbortOnDropHandle<Result<(), BallistaError>>,
}

impl Running for SchedulerHandle {
    async fn stopped(&mut self) -> Result<(), ServeError> {
        tokio::select! {
            stopped = self.server.stopped() => stopped,
            stopped = &mut self.serving => Err(ServeError::Stopped(match stopped {
                Ok(Err(error)) => error.to_string(),
                _ => "the engine's server ended".to_owned(),
            })),
        }
    }

    async fn shutdown(self) {
        self.server.shutdown().await;
    }

    fn readiness(&self) -> Readiness {
        let scheduler = self.scheduler.clone();
        Box::new(move || if scheduler.is_ready() { Ok(()) } else { Err("no executor is there") })
    }
}

/// Starts a scheduler.
///
/// # Errors
/// When storage cannot be used, or an address is taken.
pub(crate) async fn start_scheduler(config: SchedulerConfig, metrics: Metrics) -> Result<SchedulerHandle, StartError> {
    let front = config.front.open(Role::Engine, config.listen, metrics)?;
    let storage = Storage::open(&config.storage)?;
    let selections = storage.selections();
    selections.clear().await?;
    let address = config.cluster_listen;
    let listener = TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })?;
    let address = listener.local_addr().map_err(|source| StartError::Listen { address, source })?;
    let scheduler =
        create_scheduler(cluster(&storage, address, config.tasks), Arc::new(ballista(&storage, address))).await?;
    let serving = tokio::spawn(start_grpc_service_with_listener(listener, scheduler.clone()));
    let serving = AbortOnDropHandle::new(serving);
    let gateway = Gateway {
        storage,
        selections,
        scheduler_url: format!("http://{}", reachable(address)),
        tasks: config.tasks,
        query_max: Duration::from_secs(config.query_s_max),
    };
    let routes = Routes::new(gateway::service(gateway));
    let server = front.serve(routes, &[ACCESS], Listen::Tcp(config.listen), locus_wire::DESCRIPTOR_SET).await?;
    Ok(SchedulerHandle { server, scheduler, serving })
}

/// The address at which a process reaches itself.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    address
}

fn cluster(storage: &Storage, address: SocketAddr, tasks: usize) -> BallistaCluster {
    let (sessions, configs) = (storage.clone(), storage.clone());
    let session = move |config: SessionConfig| sessions.session(config);
    BallistaCluster::new_memory(address.to_string(), Arc::new(session), Arc::new(move || configs.session_config(tasks)))
}

/// Executors pull their work: when one is lost while others push, its question hangs.
fn ballista(storage: &Storage, address: SocketAddr) -> BallistaConfig {
    BallistaConfig {
        bind_host: address.ip().to_string(),
        bind_port: address.port(),
        external_host: address.ip().to_string(),
        scheduling_policy: TaskSchedulingPolicy::PullStaged,
        task_distribution: TaskDistributionPolicy::RoundRobin,
        executor_timeout_seconds: EXECUTOR_TIMEOUT_S,
        expire_dead_executor_interval_seconds: EXECUTOR_CHECK_S,
        no_executors_grace_period_seconds: EXECUTOR_TIMEOUT_S,
        finished_job_data_clean_up_interval_seconds: PARTIAL_SUMS_KEPT_S,
        override_logical_codec: Some(Arc::new(BodiesCodec::new(&storage.bodies))),
        ..BallistaConfig::default()
    }
}
