//! A service as a process of its own: its command line, its signals and its end.

use crate::{
    ConfigError, Findings, Metrics, ObserveConfig, Observer, Readiness, ReadinessGate, ServeError, TelemetryError,
    init_service_telemetry, read_config,
};
use clap::Args;
use serde::de::DeserializeOwned;
use std::{
    future::Future,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};
use tokio::signal::unix::{SignalKind, signal};

/// Exit code of a configuration that cannot be used.
const EXIT_CONFIG: u8 = 2;

/// Arguments of every service.
#[derive(Debug, Clone, Args)]
pub struct ServiceArgs {
    /// Configuration file (TOML); LOCUS_<SERVICE>_<KEY> in the environment overrides a key, `__` stands for a dot
    #[arg(value_name = "CONFIG")]
    pub config: PathBuf,
    /// Check configuration, keys, folders, addresses and certificates, say what is wrong, and start nothing
    #[arg(long)]
    pub check_config: bool,
}

/// The configuration of a service.
pub trait ServiceConfig: DeserializeOwned {
    /// The service's name: a lower-case word.
    const SERVICE: &'static str;
    /// Keys whose values are lists.
    const LISTS: &'static [&'static str] = &[];

    /// How it is watched.
    fn observe(&self) -> &ObserveConfig;

    /// Notes what is wrong with it.
    fn check(&self, findings: &mut Findings);
}

/// A running service.
pub trait Running: Send {
    /// Completes when it has stopped by itself, which it should not.
    fn stopped(&mut self) -> impl Future<Output = Result<(), ServeError>> + Send;

    /// Stops accepting calls and waits for running ones.
    fn shutdown(self) -> impl Future<Output = ()> + Send;

    /// Whether it can work now.
    fn readiness(&self) -> Readiness;
}

/// Why a service's process ends before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The system refuses.
    #[error("the process cannot be set up: {0}")]
    System(#[from] io::Error),
    /// A port cannot be served.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// Traces cannot be sent.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The service does not start.
    #[error("{0}")]
    Start(String),
}

/// Runs a service until it is told to end by SIGTERM or SIGINT, or checks its configuration.
pub fn run_service<C, R, E, F>(args: &ServiceArgs, start: impl FnOnce(C, Metrics) -> F) -> ExitCode
where
    C: ServiceConfig,
    R: Running,
    E: std::error::Error,
    F: Future<Output = Result<R, E>>,
{
    let config: C = match load(&args.config) {
        Ok(config) => config,
        Err(error) => return complain(C::SERVICE, &error, EXIT_CONFIG),
    };
    if args.check_config {
        return check(&args.config, &config);
    }
    match protect_memory().and_then(|()| runtime()) {
        Ok(runtime) => match runtime.block_on(serve_until_told(config, start)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => complain(C::SERVICE, &error, 1),
        },
        Err(error) => complain(C::SERVICE, &error, 1),
    }
}

fn load<C: ServiceConfig>(path: &Path) -> Result<C, ConfigError> {
    read_config(C::SERVICE, path, C::LISTS)
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

/// Key seeds are in this process's memory: it leaves no core dump, and no other process of its user may look
/// into it.
///
/// # Errors
/// What the system says.
pub fn protect_memory() -> io::Result<()> {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Says what is wrong with a configuration; the exit code says whether it can be used.
fn check<C: ServiceConfig>(path: &Path, config: &C) -> ExitCode {
    let mut findings = Findings::new();
    config.check(&mut findings);
    if let Some(listen) = config.observe().listen {
        findings.free_address("observe.listen", listen);
    }
    if let Some(endpoint) = &config.observe().otlp_endpoint {
        findings.url("observe.otlp_endpoint", endpoint, &["http"]);
    }
    let mut text = String::new();
    for problem in findings.problems() {
        text.push_str(problem);
        text.push('\n');
    }
    if findings.problems().is_empty() {
        text = format!("{} can be used\n", path.display());
    }
    // Nothing can be done about a closed standard output.
    let _ = io::stdout().lock().write_all(text.as_bytes());
    if findings.problems().is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_CONFIG) }
}

fn complain(service: &str, error: &dyn std::error::Error, code: u8) -> ExitCode {
    // Nothing can be done about a closed standard error.
    let _ = writeln!(io::stderr().lock(), "locus-{service}: {error}");
    ExitCode::from(code)
}

async fn serve_until_told<C, R, E, F>(config: C, start: impl FnOnce(C, Metrics) -> F) -> Result<(), ProcessError>
where
    C: ServiceConfig,
    R: Running,
    E: std::error::Error,
    F: Future<Output = Result<R, E>>,
{
    // From here on a signal ends the process in order, also while it is starting.
    let observe = config.observe();
    let _telemetry = init_service_telemetry(C::SERVICE, observe.log_json, observe.otlp_endpoint.as_deref())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let metrics = Metrics::new(C::SERVICE);
    let gate = ReadinessGate::default();
    let _observer = match config.observe().listen {
        Some(listen) => Some(Observer::start(listen, metrics.clone(), gate.clone()).await?),
        None => None,
    };
    let mut running = tokio::select! {
        started = start(config, metrics) => started.map_err(|error| ProcessError::Start(error.to_string()))?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    gate.set(running.readiness());
    tracing::info!(service = C::SERVICE, "started");
    tokio::select! {
        stopped = running.stopped() => return Ok(stopped?),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!(service = C::SERVICE, "stopping");
    gate.set(Box::new(|| Err("stopping")));
    running.shutdown().await;
    Ok(())
}
