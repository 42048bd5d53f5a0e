//! Starting a gRPC server and connecting to one, over TCP, over TLS or inside the process.

use crate::{
    accept::{Incoming, accept_plain, accept_tls},
    guard::{Guard, GuardLayer},
    request_id::{PassRequestId, ServiceChannel},
    tls::{Tls, client_config},
};
use futures::StreamExt as _;
use hyper_util::rt::TokioIo;
use rustls::client::danger::ServerCertVerifier;
use std::{fmt, future::Future, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream},
    net::TcpListener,
    sync::mpsc,
    task::JoinHandle,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    service::Routes,
    transport::{self, Channel, Endpoint, Server, server::Connected},
};
use tower::layer::util::{Identity, Stack};

/// Largest message accepted; generated servers and clients are set to it.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Longest a single call may take.
pub const CALL_DEADLINE: Duration = Duration::from_secs(600);
/// How long a shutdown waits for running calls.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);
/// Longest that connecting over TCP may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// How often a connection is asked whether its caller is still there, and how long the answer may take: a machine that vanished
/// closes no connection, and its calls would stay open.
const KEEPALIVE: Keepalive = Keepalive { period: Duration::from_secs(30), wait: Duration::from_secs(20) };
/// Calls that one connection may have open.
const CONCURRENT_CALLS_MAX: usize = 64;
/// Connections inside the process that may wait to be accepted.
const PENDING_CONNECTIONS_MAX: usize = 64;
/// Buffer of a connection inside the process, in bytes.
const DUPLEX_BYTES: usize = 1 << 20;

/// Why a server does not start or a connection fails.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Address as given.
        address: SocketAddr,
        /// Cause.
        source: io::Error,
    },
    /// Nobody answers at the address.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// Address as given.
        address: String,
        /// Cause.
        source: tonic::transport::Error,
    },
    /// Reflection data are broken.
    #[error("descriptor set is not valid: {0}")]
    Descriptors(#[from] tonic_reflection::server::Error),
    /// The service stopped on its own.
    #[error("the service stopped: {0}")]
    Stopped(String),
    /// The server stopped on its own.
    #[error("server failed: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// Where a server listens.
#[derive(Debug)]
pub enum Listen {
    /// A TCP address; port 0 picks a free one.
    Tcp(SocketAddr),
    /// Only connections made through [`ServerHandle::connector`].
    InProcess,
}

/// Options of [`serve`].
#[derive(Debug, Default)]
pub struct ServerOptions {
    /// Encoded descriptor set to serve by reflection; `None` leaves reflection off.
    pub reflection: Option<&'static [u8]>,
}

/// How to reach a server.
#[derive(Debug, Clone)]
pub enum Connector {
    /// A URL such as `http://127.0.0.1:7001`, without TLS.
    Url(String),
    /// A URL such as `https://keyholder-1.example.org:7011`.
    Tls(TlsConnector),
    /// A server in this process.
    InProcess(mpsc::Sender<DuplexStream>),
}

/// A server reached over TLS.
#[derive(Clone)]
pub struct TlsConnector {
    pub(crate) url: String,
    /// The own certificate, for calls that only services may make.
    pub(crate) identity: Option<transport::Identity>,
    /// Decides about the server's certificate; `None` trusts whom the machine trusts.
    pub(crate) verifier: Option<Arc<dyn ServerCertVerifier>>,
}

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlsConnector to {}", self.url)
    }
}

/// A running server; stops when dropped.
#[derive(Debug)]
pub struct ServerHandle {
    connector: Connector,
    address: Option<SocketAddr>,
    stop: CancellationToken,
    task: Option<JoinHandle<Result<(), ServeError>>>,
}

impl ServerHandle {
    /// How clients reach the server.
    pub fn connector(&self) -> Connector {
        self.connector.clone()
    }

    /// The TCP address, when it listens on one.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Stops accepting calls and waits for running ones, at most [`SHUTDOWN_GRACE`].
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take()
            && tokio::time::timeout(SHUTDOWN_GRACE, task).await.is_err()
        {
            tracing::warn!("calls still running at the end of the grace period were cut off");
        }
    }

    /// Completes when the server has stopped by itself.
    pub async fn stopped(&mut self) -> Result<(), ServeError> {
        match self.task.as_mut() {
            Some(task) => task.await.unwrap_or(Ok(())),
            None => Ok(()),
        }
    }
}

impl Drop for ServerHandle {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Serves `routes`, with the health service and, when asked for, reflection. Every caller is trusted.
pub async fn serve(routes: Routes, listen: Listen, options: ServerOptions) -> Result<ServerHandle, ServeError> {
    let guard = Guard { tables: Vec::new(), trust_domain: None, rates: None, metrics: None };
    serve_guarded(routes, listen, options.reflection, guard, None).await
}

/// Serves `routes` behind a guard, with the health service, and reflection when `descriptors` are given.
pub(crate) async fn serve_guarded(
    routes: Routes,
    listen: Listen,
    descriptors: Option<&'static [u8]>,
    guard: Guard,
    tls: Option<&Tls>,
) -> Result<ServerHandle, ServeError> {
    let routes = with_standard_services(routes, descriptors).await?;
    let stop = CancellationToken::new();
    let router = server(guard, KEEPALIVE).add_routes(routes);
    let stopped = stop.clone().cancelled_owned();
    let address = match listen {
        Listen::InProcess => {
            let (sender, receiver) = mpsc::channel(PENDING_CONNECTIONS_MAX);
            let incoming = ReceiverStream::new(receiver).map(Ok::<_, io::Error>);
            let task = spawn(router.serve_with_incoming_shutdown(incoming, stopped));
            return Ok(ServerHandle { connector: Connector::InProcess(sender), address: None, stop, task: Some(task) });
        }
        Listen::Tcp(address) => address,
    };
    let listener = TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, source })?;
    let bound = listener.local_addr().map_err(|source| ServeError::Listen { address, source })?;
    let (task, scheme) = match tls {
        None => {
            let incoming = stream(accept_plain(listener, stop.clone()));
            (spawn(router.serve_with_incoming_shutdown(incoming, stopped)), "http")
        }
        Some(tls) => {
            let incoming = stream(accept_tls(listener, tls.server(), stop.clone()));
            (spawn(router.serve_with_incoming_shutdown(incoming, stopped)), "https")
        }
    };
    let connector = Connector::Url(format!("{scheme}://{bound}"));
    Ok(ServerHandle { connector, address: Some(bound), stop, task: Some(task) })
}

/// How a server finds out that a caller vanished (HTTP/2 pings).
#[derive(Debug, Clone, Copy)]
struct Keepalive {
    period: Duration,
    wait: Duration,
}

/// A server behind a guard, with the limits on its connections.
fn server(guard: Guard, keepalive: Keepalive) -> Server<Stack<GuardLayer, Identity>> {
    Server::builder()
        .timeout(CALL_DEADLINE)
        .concurrency_limit_per_connection(CONCURRENT_CALLS_MAX)
        .http2_keepalive_interval(Some(keepalive.period))
        .http2_keepalive_timeout(Some(keepalive.wait))
        .layer(GuardLayer(Arc::new(guard)))
}

async fn with_standard_services(
    routes: Routes,
    descriptors: Option<&'static [u8]>,
) -> Result<Routes, tonic_reflection::server::Error> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_service_status("", tonic_health::ServingStatus::Serving).await;
    let routes = routes.add_service(health_service);
    let Some(descriptors) = descriptors else { return Ok(routes) };
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(descriptors)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    Ok(routes.add_service(reflection))
}

fn stream<Io>(incoming: Incoming<Io>) -> ReceiverStream<io::Result<crate::accept::Connection<Io>>>
where
    Io: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    ReceiverStream::new(incoming)
}

fn spawn(
    server: impl Future<Output = Result<(), tonic::transport::Error>> + Send + 'static,
) -> JoinHandle<Result<(), ServeError>> {
    tokio::spawn(async move { server.await.map_err(ServeError::from) })
}

/// Connects to a server.
pub async fn connect(connector: &Connector) -> Result<Channel, ServeError> {
    let failed = |source| ServeError::Connect { address: connector.to_string(), source };
    let endpoint = endpoint_of(connector)?;
    match connector {
        Connector::Url(_) | Connector::Tls(_) => endpoint.connect().await.map_err(failed),
        Connector::InProcess(sender) => endpoint.connect_with_connector(dial(sender)).await.map_err(failed),
    }
}

/// A channel to a server that need not be up yet: it connects at its first call, and again at the
/// first call after a connection was lost.
pub fn connect_lazy(connector: &Connector) -> Result<Channel, ServeError> {
    let endpoint = endpoint_of(connector)?;
    Ok(match connector {
        Connector::Url(_) | Connector::Tls(_) => endpoint.connect_lazy(),
        Connector::InProcess(sender) => endpoint.connect_with_connector_lazy(dial(sender)),
    })
}

/// As [`connect_lazy`], for calls that a service makes for a request: they carry its id.
pub fn connect_service(connector: &Connector) -> Result<ServiceChannel, ServeError> {
    Ok(ServiceChannel::new(connect_lazy(connector)?, PassRequestId))
}

impl fmt::Display for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) | Self::Tls(TlsConnector { url, .. }) => f.write_str(url),
            Self::InProcess(_) => f.write_str("this process"),
        }
    }
}

fn endpoint_of(connector: &Connector) -> Result<Endpoint, ServeError> {
    let failed = |source| ServeError::Connect { address: connector.to_string(), source };
    let endpoint = match connector {
        Connector::InProcess(_) => return Ok(Endpoint::from_static("http://in-process").timeout(CALL_DEADLINE)),
        Connector::Url(url) => Endpoint::from_shared(url.clone()).map_err(failed)?,
        Connector::Tls(tls) => {
            let endpoint = Endpoint::from_shared(tls.url.clone()).map_err(failed)?;
            let config = client_config(tls.identity.as_ref());
            match &tls.verifier {
                Some(verifier) => endpoint.tls_config_with_verifier(config, verifier.clone()).map_err(failed)?,
                None => endpoint.tls_config(config.with_native_roots()).map_err(failed)?,
            }
        }
    };
    Ok(endpoint.timeout(CALL_DEADLINE).connect_timeout(CONNECT_DEADLINE))
}

/// Opens connections to a server in this process.
fn dial(
    sender: &mpsc::Sender<DuplexStream>,
) -> impl tower::Service<http::Uri, Response = TokioIo<DuplexStream>, Error = io::Error, Future: Send> + Send + 'static
{
    let sender = sender.clone();
    tower::service_fn(move |_: http::Uri| {
        let sender = sender.clone();
        async move {
            let (client, server) = tokio::io::duplex(DUPLEX_BYTES);
            match sender.send(server).await {
                Ok(()) => Ok(TokioIo::new(client)),
                Err(_) => Err(io::Error::from(io::ErrorKind::ConnectionRefused)),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// What an HTTP/2 client begins with, and its settings, of which there are none.
    const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    const PING: u8 = 6;
    const ACKNOWLEDGED: u8 = 1;

    /// The next ping's eight bytes; `None` when the server closes the connection.
    async fn next_ping(connection: &mut DuplexStream) -> Option<[u8; 8]> {
        loop {
            let mut head = [0; 9];
            connection.read_exact(&mut head).await.ok()?;
            let mut payload = vec![0; usize::from(head[2]) + (usize::from(head[1]) << 8)];
            connection.read_exact(&mut payload).await.ok()?;
            if head[3] == PING {
                return payload.try_into().ok();
            }
        }
    }

    #[tokio::test]
    async fn a_connection_is_closed_once_its_caller_answers_no_more() {
        let guard = Guard { tables: Vec::new(), trust_domain: None, rates: None, metrics: None };
        let keepalive = Keepalive { period: Duration::from_millis(1), wait: Duration::from_secs(2) };
        let (mut caller, served) = tokio::io::duplex(DUPLEX_BYTES);
        let incoming = futures::stream::iter([Ok::<_, io::Error>(served)]);
        let _server = spawn(server(guard, keepalive).add_routes(Routes::default()).serve_with_incoming(incoming));
        caller.write_all(HELLO).await.expect("it listens");
        // Control: as long as the caller answers, the connection stays.
        for _ in 0..3 {
            let asked = tokio::time::timeout(Duration::from_secs(60), next_ping(&mut caller)).await;
            let ping = asked.expect("it asks").expect("it stays");
            let answer = [&[0, 0, 8, PING, ACKNOWLEDGED, 0, 0, 0, 0], &ping[..]].concat();
            caller.write_all(&answer).await.expect("it listens");
        }
        next_ping(&mut caller).await.expect("it asks");
        assert_eq!(next_ping(&mut caller).await, None);
    }
}
