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
    /// Answers a JSON-RPC request, or a batch of them, as a chain node does over HTTP: for whoever gives others access to
    /// the chain. Blocks while transactions run.
    pub fn answer(&self, body: &[u8]) -> Vec<u8> {
        let answered = match serde_json::from_slice(body) {
            Ok(Value::Array(requests)) if requests.len() > BATCH_REQUESTS_MAX => {
                failed(&Value::Null, &rpc::failure(-32600, BATCH_TOO_LARGE))
            }
            Ok(Value::Array(requests)) => requests.into_iter().map(|request| answer_value(self, request)).collect(),
            Ok(request) => answer_value(self, request),
            Err(error) => failed(&Value::Null, &rpc::failure(-32700, error.to_string())),
        };
        answered.to_string().into_bytes()
    }
}

fn answer_value(chain: &EmbeddedChain, mut request: Value) -> Value {
    let mut taken = |name| request.get_mut(name).map(Value::take).unwrap_or_default();
    let (id, params, method) = (taken("id"), taken("params"), taken("method"));
    let params = match params {
        Value::Array(params) => params,
        _ => Vec::new(),
    };
    match rpc::dispatch(chain, method.as_str().unwrap_or_default(), rpc::Params(params)) {
        Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
        Err(error) => failed(&id, &error),
    }
}

fn failed(id: &Value, error: &ErrorPayload) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": error})
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
