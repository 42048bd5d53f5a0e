//! Probes and metrics over HTTP, on an address of their own that only the operator reaches.

use crate::{Metrics, ServeError};
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use serde::Deserialize;
use std::{
    net::SocketAddr,
    sync::{Arc, RwLock},
};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The part of every service's configuration that is about being watched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ObserveConfig {
    /// Address of `/livez`, `/readyz` and `/metrics`; none without it.
    pub listen: Option<SocketAddr>,
    /// Whether to log JSON lines.
    pub log_json: bool,
    /// OpenTelemetry collector that traces are sent to (OTLP over gRPC), such as `http://127.0.0.1:4317`; none without it.
    pub otlp_endpoint: Option<String>,
}

/// Asks a service whether it can work now; the reason when it cannot.
pub type Readiness = Box<dyn Fn() -> Result<(), &'static str> + Send + Sync>;

/// Whether a service can work: not before it has started, nor after it was told to stop.
#[derive(Clone)]
pub struct ReadinessGate(Arc<RwLock<Readiness>>);

impl Default for ReadinessGate {
    fn default() -> Self {
        Self(Arc::new(RwLock::new(Box::new(|| Err("starting")))))
    }
}

impl ReadinessGate {
    /// From now on `readiness` decides.
    pub fn set(&self, readiness: Readiness) {
        *self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner) = readiness;
    }

    /// Whether it can work now.
    pub fn ask(&self) -> Result<(), &'static str> {
        (self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner))()
    }
}

/// A running listener; ends when dropped.
#[derive(Debug)]
pub struct Observer {
    address: SocketAddr,
    _stop: DropGuard,
}

impl Observer {
    /// Serves probes and metrics on `listen`.
    ///
    /// # Errors
    /// [`ServeError::Listen`] for an address that is taken.
    pub async fn start(listen: SocketAddr, metrics: Metrics, gate: ReadinessGate) -> Result<Self, ServeError> {
        let failed = |source| ServeError::Listen { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let routes = Router::new()
            .route("/livez", get(|| async { "ok\n" }))
            .route("/readyz", get(ready).with_state(gate))
            .route("/metrics", get(render).with_state(metrics));
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        tokio::spawn(async move { axum::serve(listener, routes).with_graceful_shutdown(stopped).await });
        Ok(Self { address, _stop: stop.drop_guard() })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn ready(State(gate): State<ReadinessGate>) -> (StatusCode, String) {
    match gate.ask() {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

async fn render(State(metrics): State<Metrics>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.render())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
    };

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("read");
        answer
    }

    #[tokio::test]
    async fn probes_follow_the_service_and_metrics_are_shown() {
        let gate = ReadinessGate::default();
        let metrics = Metrics::new("exchange");
        metrics.gauge("things_count", "Things.").set(3);
        let observer =
            Observer::start("127.0.0.1:0".parse().expect("an address"), metrics, gate.clone()).await.expect("free");
        let address = observer.address();
        assert!(get(address, "/livez").await.starts_with("HTTP/1.1 200"));
        let starting = get(address, "/readyz").await;
        assert!(starting.starts_with("HTTP/1.1 503") && starting.contains("starting"), "{starting}");
        gate.set(Box::new(|| Ok(())));
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        assert!(get(address, "/metrics").await.contains("locus_exchange_things_count 3"));
    }
}
