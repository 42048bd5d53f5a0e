//! One name for everything that a request causes, in every service's log.

use std::future::Future;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};
use tracing::Instrument as _;

/// Metadata key of the id.
pub const REQUEST_ID_KEY: &str = "x-request-id";
/// Longest id that is taken over from a caller.
const ID_CHARS_MAX: usize = 64;

tokio::task_local! {
    static CURRENT: RequestId;
}

/// An id of up to 64 letters, digits and hyphens. It says nothing about the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(MetadataValue<Ascii>);

impl RequestId {
    /// A fresh random id.
    pub fn fresh() -> Self {
        let mut bytes = [0u8; 16];
        // Without randomness the id is a constant one: calls go on, their logs are harder to tell apart.
        let _ = getrandom::fill(&mut bytes);
        Self::parse(hex::encode(bytes).as_bytes()).unwrap_or_else(|| Self(MetadataValue::from_static("unknown")))
    }

    /// The id in these bytes, unless they could disturb a log.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
        if bytes.is_empty() || bytes.len() > ID_CHARS_MAX || !bytes.iter().all(is_plain) {
            return None;
        }
        MetadataValue::try_from(bytes).ok().map(Self)
    }

    /// The id of the request that this task works on.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// Runs `work` as a part of this request.
    pub async fn scope<F: Future>(self, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }
}

/// Spawns work that goes on for the current request, under its id and in its span.
pub fn spawn_for_request<F>(work: F) -> tokio::task::JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    match RequestId::current() {
        Some(id) => tokio::spawn(id.scope(work).in_current_span()),
        None => tokio::spawn(work.in_current_span()),
    }
}

/// Passes the current request's id on to the service that is called.
#[derive(Debug, Clone, Copy, Default)]
pub struct PassRequestId;

impl Interceptor for PassRequestId {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(id) = RequestId::current() {
            request.metadata_mut().insert(REQUEST_ID_KEY, id.0);
        }
        Ok(request)
    }
}

/// A channel to another service whose calls carry the request's id.
pub type ServiceChannel = InterceptedService<Channel, PassRequestId>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_ids_are_taken_over() {
        assert!(RequestId::parse(b"3fa8-Z").is_some());
        for bad in [&b""[..], b"a b", b"a\nb", b"a=b", "\u{e9}".as_bytes(), &[b'a'; 65]] {
            assert!(RequestId::parse(bad).is_none(), "{bad:?}");
        }
        assert_ne!(RequestId::fresh(), RequestId::fresh());
    }

    #[tokio::test]
    async fn an_id_follows_its_request_into_spawned_work_and_calls() {
        let id = RequestId::parse(b"abc").expect("an id");
        let seen =
            id.clone().scope(async { spawn_for_request(async { RequestId::current() }).await.expect("it ends") });
        assert_eq!(seen.await, Some(id.clone()));
        assert_eq!(RequestId::current(), None);
        let request = id.scope(async { PassRequestId.call(Request::new(())) }).await.expect("passed");
        assert_eq!(request.metadata().get(REQUEST_ID_KEY).map(|value| value.as_bytes()), Some(&b"abc"[..]));
    }
}
