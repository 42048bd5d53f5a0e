//! An executor's process: sums what the scheduler gives it to do.

use crate::{aggregate::CohortSum, config::ExecutorConfig, scheduler::StartError, session::Storage};
use ballista_core::{config::TaskSchedulingPolicy, error::BallistaError, registry::BallistaFunctionRegistry};
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use locus_service::{Metrics, Readiness, Running, ServeError};
use std::{fs, sync::Arc};
use tokio_util::task::AbortOnDropHandle;

/// How often an executor says that it is alive.
const HEARTBEAT_S: u64 = 2;
/// How long partial sums stay here when the scheduler does not ask to remove them.
const PARTIAL_SUMS_KEPT_S: u64 = 3600;
/// How long a starting executor waits for its scheduler.
const SCHEDULER_WAIT_S: u16 = 60;

/// A running executor; stops when dropped.
pub(crate) struct ExecutorHandle {
    running: AbortOnDropHandle<Result<(), BallistaError>>,
}

impl Running for ExecutorHandle {
    async fn stopped(&mut self) -> Result<(), ServeError> {
        match (&mut self.running).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(ServeError::Stopped(error.to_string())),
            Err(_) => Err(ServeError::Stopped("the executor ended".to_owned())),
        }
    }

    async fn shutdown(self) {
        // It hears the same signal, and says good-bye to its scheduler.
        let _ = self.running.await;
    }

    fn readiness(&self) -> Readiness {
        Box::new(|| Ok(()))
    }
}

/// Starts an executor.
///
/// # Errors
/// When storage or the work folder cannot be used.
#[allow(clippy::unused_async, reason = "services are started so")]
pub(crate) async fn start_executor(config: ExecutorConfig, _: Metrics) -> Result<ExecutorHandle, StartError> {
    let storage = Storage::open(&config.storage)?;
    let work_dir = config.work_dir;
    fs::create_dir_all(&work_dir).map_err(|source| StartError::Folder { path: work_dir.clone(), source })?;
    let sum = Arc::new(CohortSum::udaf(Some(Arc::new(storage.selections()))));
    let mut functions = BallistaFunctionRegistry::default();
    functions.aggregate_functions.insert(sum.name().to_owned(), sum);
    let (folder, runtimes) = (work_dir.clone(), storage.clone());
    let defaults = ExecutorProcessConfig::default();
    let process = ExecutorProcessConfig {
        bind_host: config.bind.to_string(),
        external_host: Some(config.host),
        port: config.port,
        grpc_port: config.port.saturating_add(1),
        scheduler_host: config.scheduler_host,
        scheduler_port: config.scheduler_port,
        scheduler_connect_timeout_seconds: SCHEDULER_WAIT_S,
        vcores: config.processors.unwrap_or(defaults.vcores),
        work_dir: Some(work_dir.display().to_string()),
        task_scheduling_policy: TaskSchedulingPolicy::PullStaged,
        executor_heartbeat_interval_seconds: HEARTBEAT_S,
        job_data_ttl_seconds: PARTIAL_SUMS_KEPT_S,
        job_data_clean_up_interval_seconds: PARTIAL_SUMS_KEPT_S,
        override_function_registry: Some(Arc::new(functions)),
        override_runtime_producer: Some(Arc::new(move |_| runtimes.runtime(Some(&folder)))),
        ..defaults
    };
    let running = tokio::spawn(start_executor_process(Arc::new(process)));
    Ok(ExecutorHandle { running: AbortOnDropHandle::new(running) })
}
