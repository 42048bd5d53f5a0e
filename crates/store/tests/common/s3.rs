//! An S3 server in this process, reached over TCP, with faults that tests switch on. Signatures, requests and
//! responses are checked and written by `s3s`; objects are kept in memory.

#[path = "s3/objects.rs"]
mod objects;

pub(crate) use objects::Objects;

use hyper::{Request, Response, StatusCode, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use locus_store::{Store, open_store};
use s3s::{Body, HttpError, auth::SimpleAuth, service::S3ServiceBuilder};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::{net::TcpListener, runtime::Runtime};

const ACCESS_KEY: &str = "LOCUSTEST";
const SECRET_KEY: &str = "of-no-account";
/// The one bucket of the server.
pub(crate) const BUCKET: &str = "genomes";

/// What the server does besides its work.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// One request in so many is refused with 503 SlowDown; 0 refuses none.
    pub(crate) slow_down_every: AtomicU64,
    requests: AtomicU64,
    refused: AtomicU64,
    pieces: AtomicU64,
}

impl Faults {
    /// Requests refused so far.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::SeqCst)
    }

    /// Pieces of multipart uploads received so far.
    pub(crate) fn pieces(&self) -> u64 {
        self.pieces.load(Ordering::SeqCst)
    }

    fn refuses_this(&self) -> bool {
        let number = self.requests.fetch_add(1, Ordering::SeqCst) + 1;
        let every = self.slow_down_every.load(Ordering::SeqCst);
        every != 0 && number.is_multiple_of(every)
    }
}

/// A running server of a bucket; stops when dropped.
pub(crate) struct S3Server {
    address: SocketAddr,
    /// What it keeps.
    pub(crate) objects: Objects,
    /// What it does besides.
    pub(crate) faults: Arc<Faults>,
    // With threads of its own, so that it serves tests with and without a runtime.
    runtime: Option<Runtime>,
}

impl S3Server {
    /// Serves an empty bucket on a free port.
    pub(crate) fn empty() -> Self {
        Self::start(Objects::default(), "127.0.0.1:0".parse().expect("an address"))
    }

    /// Serves a bucket at an address.
    pub(crate) fn start(objects: Objects, address: SocketAddr) -> Self {
        let mut builder = S3ServiceBuilder::new(objects.clone());
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = builder.build();
        let faults = Arc::new(Faults::default());
        let runtime = Runtime::new().expect("a runtime");
        let listener = std::net::TcpListener::bind(address).expect("a port");
        let address = listener.local_addr().expect("an address");
        listener.set_nonblocking(true).expect("a listener for many");
        let shared = faults.clone();
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).expect("a listener");
            while let Ok((socket, _)) = listener.accept().await {
                let (service, faults) = (service.clone(), shared.clone());
                let handle = service_fn(move |request| answer(service.clone(), faults.clone(), request));
                let connection = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                tokio::spawn(async move { connection.serve_connection(TokioIo::new(socket), handle).await });
            }
        });
        Self { address, objects, faults, runtime: Some(runtime) }
    }

    /// Where it listens, to start it there again.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Options with which a store is opened on it.
    pub(crate) fn options(&self) -> BTreeMap<String, String> {
        let endpoint = format!("http://{}", self.address);
        let options = [
            ("endpoint", endpoint.as_str()),
            ("region", "us-east-1"),
            ("access_key_id", ACCESS_KEY),
            ("secret_access_key", SECRET_KEY),
            ("allow_http", "true"),
        ];
        options.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    }

    /// A store below `prefix`, opened as a service opens it.
    pub(crate) fn store(&self, prefix: &str) -> Store {
        open_store(&format!("s3://{BUCKET}/{prefix}"), self.options()).expect("the address is understood")
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        // Not waited for: a test's own runtime may be the one that drops it.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn answer(
    service: s3s::service::S3Service,
    faults: Arc<Faults>,
    request: Request<Incoming>,
) -> Result<Response<Body>, HttpError> {
    if faults.refuses_this() {
        faults.refused.fetch_add(1, Ordering::SeqCst);
        return Ok(slow_down());
    }
    if request.uri().query().is_some_and(|query| query.contains("partNumber=")) {
        faults.pieces.fetch_add(1, Ordering::SeqCst);
    }
    service.call(request.map(Body::from)).await
}

/// The response of S3 to a client that asks too much.
fn slow_down() -> Response<Body> {
    let text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>SlowDown</Code></Error>";
    let mut response = Response::new(Body::from(text.to_owned()));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}
