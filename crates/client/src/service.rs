//! The services as the client calls them.

use locus_wire::pb::{
    archive::archive_service_client::ArchiveServiceClient, exchange::exchange_service_client::ExchangeServiceClient,
    keyholder::keyholder_service_client::KeyholderServiceClient, query::query_service_client::QueryServiceClient,
};
use std::time::Duration;
use tonic::{Code, Status, transport::Channel};

/// Largest message accepted from a service.
const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// How often a call is tried again, and with which pauses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Most tries.
    attempts_max: u32,
    /// Pause before the second try; doubled for every further one.
    pause_min: Duration,
    /// Longest pause.
    pause_max: Duration,
}

/// For calls that failed on their way.
pub(crate) const RETRY: Patience =
    Patience { attempts_max: 4, pause_min: Duration::from_millis(100), pause_max: Duration::from_secs(1) };
/// For things that become final on the chain by themselves: seven growing pauses, then one every 4
/// seconds for half an hour; the slowest chain in use takes about a quarter.
pub(crate) const FINALITY: Patience =
    Patience { attempts_max: 460, pause_min: Duration::from_millis(50), pause_max: Duration::from_secs(4) };

/// For one service to see what another has put on the chain: about a quarter of a minute.
pub(crate) const SIGHT: Patience =
    Patience { attempts_max: 20, pause_min: Duration::from_millis(50), pause_max: Duration::from_secs(1) };

impl Patience {
    /// Waits before try number `attempt` + 1; false when there is none.
    pub(crate) async fn pause_after(&self, attempt: u32) -> bool {
        if attempt >= self.attempts_max {
            return false;
        }
        let factor = 1u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
        tokio::time::sleep(self.pause_min.saturating_mul(factor).min(self.pause_max)).await;
        true
    }
}

/// A call that a service refused or that did not reach it.
#[derive(Debug, thiserror::Error)]
#[error("{service}: {message}{advice}")]
pub struct CallError {
    /// The service.
    pub service: &'static str,
    /// Its gRPC code.
    pub code: Code,
    /// What it says.
    pub message: String,
    /// What to do; begins with a separator when there is any.
    advice: &'static str,
}

impl CallError {
    /// The error of a status that `service` answered with.
    pub fn new(service: &'static str, status: &Status) -> Self {
        let advice = match status.code() {
            Code::Unavailable => " (cannot be reached: is it running, and is the address right?)",
            Code::DeadlineExceeded | Code::Cancelled => " (took too long: run the same command again)",
            Code::Aborted => " (run the same command again)",
            Code::ResourceExhausted => " (busy or too much at once: wait a little and try again)",
            Code::Unimplemented => {
                " (the service does not know this call: client and service are of different versions)"
            }
            _ => "",
        };
        Self { service, code: status.code(), message: status.message().to_owned(), advice }
    }

    /// Whether the service had too much to do: nothing happened, and the same call may be made again later.
    pub fn is_busy(&self) -> bool {
        self.code == Code::ResourceExhausted
    }

    /// Whether the same call may be made again.
    pub fn is_retriable(&self) -> bool {
        is_retriable(self.code)
    }
}

fn is_retriable(code: Code) -> bool {
    matches!(code, Code::Unavailable | Code::DeadlineExceeded | Code::Aborted | Code::ResourceExhausted)
}

/// Connections to all services.
#[derive(Debug, Clone)]
pub struct Services {
    /// Keeps the encrypted genomes.
    pub archive: ArchiveServiceClient<Channel>,
    /// Talks to the chain.
    pub exchange: ExchangeServiceClient<Channel>,
    /// Answers questions.
    pub query: QueryServiceClient<Channel>,
    /// Keyholders 1, 2 and 3; needed for statements only.
    pub keyholders: [KeyholderServiceClient<Channel>; 3],
}

/// The channels behind [`Services`].
#[derive(Debug, Clone)]
pub struct ServiceChannels {
    /// To the archive.
    pub archive: Channel,
    /// To the exchange.
    pub exchange: Channel,
    /// To the aggregator, which serves questions.
    pub aggregator: Channel,
    /// To keyholders 1, 2 and 3.
    pub keyholders: [Channel; 3],
}

impl Services {
    /// Clients over these channels, which need not be connected yet.
    pub fn new(channels: ServiceChannels) -> Self {
        let keyholder = |channel| {
            KeyholderServiceClient::new(channel)
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX)
        };
        Self {
            archive: ArchiveServiceClient::new(channels.archive)
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
            exchange: ExchangeServiceClient::new(channels.exchange)
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
            query: QueryServiceClient::new(channels.aggregator)
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
            keyholders: channels.keyholders.map(keyholder),
        }
    }
}

/// Names of the services in messages.
pub(crate) mod name {
    pub(crate) const ARCHIVE: &str = "archive";
    pub(crate) const EXCHANGE: &str = "exchange";
    pub(crate) const QUERY: &str = "query service";
    pub(crate) const KEYHOLDERS: [&str; 3] = ["keyholder 1", "keyholder 2", "keyholder 3"];
}

/// Makes an idempotent call, again while its code allows, at most four times.
pub(crate) async fn retrying<T, F>(service: &'static str, call: impl FnMut() -> F) -> Result<T, CallError>
where
    F: Future<Output = Result<tonic::Response<T>, Status>>,
{
    insist(service, RETRY, is_retriable, call).await
}

/// Makes a call whose subject is on its way to becoming final: `NOT_FOUND` means not yet. Gives up
/// after half an hour, and like [`retrying`] when the service cannot be reached.
pub(crate) async fn until_final<T, F>(service: &'static str, mut call: impl FnMut() -> F) -> Result<T, CallError>
where
    F: Future<Output = Result<tonic::Response<T>, Status>>,
{
    let mut attempt = 1;
    loop {
        match retrying(service, &mut call).await {
            Err(error) if error.code == Code::NotFound && FINALITY.pause_after(attempt).await => attempt += 1,
            ended => return ended,
        }
    }
}

async fn insist<T, F>(
    service: &'static str,
    patience: Patience,
    may_pass: impl Fn(Code) -> bool,
    mut call: impl FnMut() -> F,
) -> Result<T, CallError>
where
    F: Future<Output = Result<tonic::Response<T>, Status>>,
{
    let mut attempt = 1;
    loop {
        let status = match call().await {
            Ok(response) => return Ok(response.into_inner()),
            Err(status) => status,
        };
        if !may_pass(status.code()) || !patience.pause_after(attempt).await {
            return Err(CallError::new(service, &status));
        }
        tracing::debug!(service, attempt, code = ?status.code(), "call failed, trying again");
        attempt += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tonic::Response;

    const AT_ONCE: Patience = Patience { attempts_max: 4, pause_min: Duration::ZERO, pause_max: Duration::ZERO };

    async fn tried(code: Code, failures: u32) -> (Result<u32, Code>, u32) {
        let calls = AtomicU32::new(0);
        let result = insist("x", AT_ONCE, is_retriable, || {
            let call = calls.fetch_add(1, Ordering::SeqCst);
            async move { if call < failures { Err(Status::new(code, "no")) } else { Ok(Response::new(call)) } }
        });
        let result = result.await.map_err(|error| error.code);
        (result, calls.load(Ordering::SeqCst))
    }

    #[tokio::test]
    async fn only_retriable_codes_are_tried_again_and_not_for_ever() {
        assert_eq!(tried(Code::Unavailable, 2).await, (Ok(2), 3));
        assert_eq!(tried(Code::Aborted, 1).await, (Ok(1), 2));
        assert_eq!(tried(Code::Unavailable, 99).await, (Err(Code::Unavailable), 4));
        for code in
            [Code::FailedPrecondition, Code::InvalidArgument, Code::AlreadyExists, Code::NotFound, Code::Internal]
        {
            assert_eq!(tried(code, 99).await, (Err(code), 1));
        }
    }

    #[test]
    fn waiting_for_finality_lasts_about_half_an_hour() {
        let pause = |attempt: u32| {
            let factor = 1u32.checked_shl(attempt - 1).unwrap_or(u32::MAX);
            FINALITY.pause_min.saturating_mul(factor).min(FINALITY.pause_max)
        };
        let total: Duration = (1..FINALITY.attempts_max).map(pause).sum();
        assert!((1790..1830).contains(&total.as_secs()), "{total:?}");
    }

    #[test]
    fn unreachable_services_are_named_with_advice() {
        let error = CallError::new("archive", &Status::unavailable("connection refused"));
        let text = error.to_string();
        assert!(text.starts_with("archive: connection refused") && text.contains("is it running"), "{text}");
        let refused = CallError::new("exchange", &Status::failed_precondition("the offer is expired"));
        assert_eq!(refused.to_string(), "exchange: the offer is expired");
    }
}
