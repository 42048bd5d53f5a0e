//! What every call passes before a service sees it: its name, who may make it, how often, and what is
//! counted about it.

use crate::{
    access::{AccessTable, Caller, caller_of, decide},
    error::{ErrorCode, ServiceError, to_status},
    metrics::Metrics,
    rates::Rates,
    request_id::{REQUEST_ID_KEY, RequestId},
};
use http::{HeaderMap, Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::{
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};
use tonic::{
    Code, Status,
    body::Body,
    transport::server::{TcpConnectInfo, TlsConnectInfo},
};
use tower::{Layer, Service};
use tracing::Instrument as _;

/// Header with the code of a finished call.
const STATUS_HEADER: &str = "grpc-status";
/// Label of calls that no table lists: callers must not choose what is counted.
const OTHER_CALLS: &str = "other";

/// An address calls too often.
#[derive(Debug, thiserror::Error)]
#[error("too many calls from this address: wait {} ms and go on more slowly", wait.as_millis())]
struct TooOften {
    wait: Duration,
}

impl ServiceError for TooOften {
    fn code(&self) -> ErrorCode {
        ErrorCode::Busy
    }

    fn reason(&self) -> &'static str {
        "RATE_LIMITED"
    }
}

/// The guard of one server.
pub(crate) struct Guard {
    pub(crate) tables: Vec<AccessTable>,
    /// Of the certificates; `None` without TLS.
    pub(crate) trust_domain: Option<Arc<str>>,
    pub(crate) rates: Option<Rates>,
    pub(crate) metrics: Option<Metrics>,
}

impl Guard {
    /// Who calls, unless the call is refused.
    fn admit(&self, request: &Request<Body>) -> Result<Caller, Status> {
        let caller = caller_of(request.extensions(), self.trust_domain.as_ref());
        decide(&self.tables, request.uri().path(), caller).map_err(|refused| to_status(&refused))?;
        if matches!(caller, Caller::Service(_)) {
            return Ok(caller);
        }
        // Connections inside the process have no address.
        if let (Some(rates), Some(address)) = (&self.rates, address_of(request.extensions())) {
            rates.count(address).map_err(too_often)?;
        }
        Ok(caller)
    }

    /// The method's name when a table lists it.
    fn label(&self, path: &str) -> &'static str {
        let (service, method) = path.strip_prefix('/').and_then(|path| path.split_once('/')).unwrap_or_default();
        let table = self.tables.iter().find(|table| table.service == service);
        let listed = table.and_then(|table| table.methods.iter().find(|(name, _)| *name == method));
        listed.map_or(OTHER_CALLS, |(name, _)| *name)
    }
}

fn too_often(wait: Duration) -> Status {
    crate::error::to_status_after(&TooOften { wait }, wait)
}

fn address_of(extensions: &http::Extensions) -> Option<IpAddr> {
    let over_tls = extensions.get::<TlsConnectInfo<TcpConnectInfo>>().and_then(|info| info.get_ref().remote_addr());
    let plain = || extensions.get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
    over_tls.or_else(plain).map(|address| address.ip())
}

/// Puts a guard before a service.
#[derive(Clone)]
pub(crate) struct GuardLayer(pub(crate) Arc<Guard>);

impl<S> Layer<S> for GuardLayer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { guard: self.0.clone(), inner }
    }
}

/// A service behind a guard.
#[derive(Clone)]
pub(crate) struct Guarded<S> {
    guard: Arc<Guard>,
    inner: S,
}

impl<S> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let started = Instant::now();
        let method = self.guard.label(request.uri().path());
        let given = request.headers().get(REQUEST_ID_KEY).and_then(|value| RequestId::parse(value.as_bytes()));
        let id = given.unwrap_or_else(RequestId::fresh);
        let span = tracing::error_span!("call", method, request_id = id.as_str());
        let finish = Finish { metrics: self.guard.metrics.clone(), method, started, span: span.clone(), code: None };
        let header = http::HeaderValue::from_str(id.as_str());
        let admitted = span.in_scope(|| self.guard.admit(&request));
        let answer = match admitted {
            Ok(caller) => {
                request.extensions_mut().insert(caller);
                // The clone that was polled ready answers; the fresh one takes its place.
                let fresh = self.inner.clone();
                let mut ready = std::mem::replace(&mut self.inner, fresh);
                futures::future::Either::Left(id.scope(async move { ready.call(request).await }).instrument(span))
            }
            Err(status) => futures::future::Either::Right(std::future::ready(Ok(status.into_http()))),
        };
        Box::pin(async move {
            let mut response = answer.await?;
            if let Ok(header) = header {
                response.headers_mut().insert(REQUEST_ID_KEY, header);
            }
            let mut finish = finish;
            finish.code = code_of(response.headers());
            Ok(response.map(|inner| Body::new(Counted { inner, finish })))
        })
    }
}

fn code_of(headers: &HeaderMap) -> Option<Code> {
    let value = headers.get(STATUS_HEADER)?.to_str().ok()?;
    value.parse::<i32>().ok().map(Code::from_i32)
}

/// Reports a call when it is over: when its body has ended or nobody reads it any more.
struct Finish {
    metrics: Option<Metrics>,
    method: &'static str,
    started: Instant,
    span: tracing::Span,
    code: Option<Code>,
}

impl Drop for Finish {
    fn drop(&mut self) {
        let duration = self.started.elapsed();
        let code = self.code.unwrap_or(Code::Cancelled);
        if let Some(metrics) = &self.metrics {
            metrics.call(self.method, code, duration);
        }
        let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.span.in_scope(|| tracing::info!(?code, duration_ms, "call finished"));
    }
}

/// A response body that tells how its call ended.
struct Counted {
    inner: Body,
    finish: Finish,
}

impl HttpBody for Counted {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(code) = frame.trailers_ref().and_then(code_of)
        {
            self.finish.code = Some(code);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
