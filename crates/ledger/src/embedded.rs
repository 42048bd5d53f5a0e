//! The embedded chain as an alloy transport: JSON-RPC without a socket, so that one client serves
//! the embedded chain and every other EVM chain.

mod render;
mod rpc;
#[cfg(test)]
mod tests;

use crate::chain::EmbeddedChain;
use alloy_json_rpc::{ErrorPayload, RequestPacket, Response, ResponsePacket, ResponsePayload, SerializedRequest};
use alloy_transport::{TransportError, TransportErrorKind, TransportFut};
use serde_json::{
    Value, json,
    value::{RawValue, to_raw_value},
};
use std::task::{Context, Poll};

/// Requests that one batch may have.
const BATCH_REQUESTS_MAX: usize = 256;
const BATCH_TOO_LARGE: &str = "the batch has too many requests: split it";

/// Answers JSON-RPC requests from an [`EmbeddedChain`].
#[derive(Debug, Clone)]
pub(crate) struct EmbeddedTransport(pub(crate) EmbeddedChain);

impl tower::Service<RequestPacket> for EmbeddedTransport {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        let chain = self.0.clone();
        Box::pin(async move {
            // Recovering a signature, running a contract and syncing the journal all take longer
            // than an asynchronous task may.
            tokio::task::spawn_blocking(move || answer_packet(&chain, packet)).await.map_err(TransportErrorKind::custom)
        })
    }
}

impl EmbeddedChain {
    /// Answers one JSON-RPC call as a chain node does: for whoever gives others access to the chain. Blocks while
    /// transactions run.
    ///
    /// # Errors
    /// The error object that a node would answer with.
    pub fn answer(&self, method: &str, params: Vec<Value>) -> Result<Value, Value> {
        rpc::dispatch(self, method, rpc::Params(params)).map_err(|error| json!(error))
    }
}

fn answer_packet(chain: &EmbeddedChain, packet: RequestPacket) -> ResponsePacket {
    match packet {
        RequestPacket::Single(request) => ResponsePacket::Single(answer(chain, &request)),
        RequestPacket::Batch(requests) if requests.len() > BATCH_REQUESTS_MAX => {
            let refusal = |request: SerializedRequest| Response {
                id: request.id().clone(),
                payload: ResponsePayload::Failure(rpc::failure(-32600, BATCH_TOO_LARGE)),
            };
            ResponsePacket::Batch(requests.into_iter().map(refusal).collect())
        }
        RequestPacket::Batch(requests) => {
            ResponsePacket::Batch(requests.iter().map(|request| answer(chain, request)).collect())
        }
    }
}

fn answer(chain: &EmbeddedChain, request: &SerializedRequest) -> Response {
    let payload = match call(chain, request.method(), request.params()) {
        Ok(result) => ResponsePayload::Success(result),
        Err(error) => ResponsePayload::Failure(error),
    };
    Response { id: request.id().clone(), payload }
}

/// Answers one call; `params` is any JSON text.
fn call(chain: &EmbeddedChain, method: &str, params: Option<&RawValue>) -> Result<Box<RawValue>, ErrorPayload> {
    let params: Vec<Value> = match params {
        Some(raw) => serde_json::from_str(raw.get()).map_err(|error| rpc::failure(-32602, error.to_string()))?,
        None => Vec::new(),
    };
    let result = rpc::dispatch(chain, method, rpc::Params(params))?;
    to_raw_value(&result).map_err(|error| rpc::failure(-32603, error.to_string()))
}
