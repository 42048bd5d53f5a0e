//! The JSON-RPC methods.

use super::render;
use crate::chain::{BLOCK_GAS_MAX, Block, Chain, ChainError, EmbeddedChain, Message};
use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_json_rpc::ErrorPayload;
use alloy_primitives::{Address, B256, Bytes, TxKind, U64, U256};
use alloy_rpc_types_eth::{Filter, FilterBlockOption, Log, TransactionRequest};
use revm::context::result::ExecutionResult;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{borrow::Cow, sync::Arc};

/// Logs that one answer may hold; a caller that meets the limit asks for fewer blocks.
const LOGS_MAX: usize = 20_000;
/// Bytes of log data that one answer may hold.
const LOG_BYTES_MAX: usize = 8 << 20;
/// Blocks that one fee history may cover.
const FEE_BLOCKS_MAX: u64 = 1024;

/// Error codes of geth and EIP-1474.
const CODE_PARAMS: i64 = -32602;
const CODE_SERVER: i64 = -32000;
const CODE_LIMIT: i64 = -32005;
const CODE_REVERT: i64 = 3;

type Answer = Result<Value, ErrorPayload>;

/// The parameters of a call, by place.
pub(super) struct Params(pub(super) Vec<Value>);

impl Params {
    fn get<T: DeserializeOwned>(&mut self, place: usize) -> Result<T, ErrorPayload> {
        let value = self.0.get_mut(place).map(Value::take).unwrap_or(Value::Null);
        serde_json::from_value(value).map_err(|error| failure(CODE_PARAMS, format!("parameter {place}: {error}")))
    }

    fn get_or<T: DeserializeOwned>(&mut self, place: usize, default: T) -> Result<T, ErrorPayload> {
        match self.0.get(place) {
            None | Some(Value::Null) => Ok(default),
            Some(_) => self.get(place),
        }
    }
}

pub(super) fn failure(code: i64, message: impl Into<Cow<'static, str>>) -> ErrorPayload {
    ErrorPayload { code, message: message.into(), data: None }
}

fn refused(error: ChainError) -> ErrorPayload {
    match error {
        // The reason alone: clients know phrases such as "nonce too low".
        ChainError::InvalidTransaction { reason } => failure(CODE_SERVER, reason),
        other => failure(CODE_SERVER, other.to_string()),
    }
}

fn render(value: impl Serialize) -> Answer {
    serde_json::to_value(value).map_err(|error| failure(-32603, error.to_string()))
}

pub(super) fn dispatch(chain: &EmbeddedChain, method: &str, mut params: Params) -> Answer {
    match method {
        "eth_sendRawTransaction" => render(send_raw(chain, params.get(0)?)?),
        // As development nodes have it: an empty block.
        "evm_mine" => render(U64::from(chain.mine(&[]).map_err(refused)?.header.number)),
        "eth_sendRawTransactionSync" => {
            let hash = send_raw(chain, params.get(0)?)?;
            receipt(&*chain.read().map_err(refused)?, hash)
        }
        _ => read(&*chain.read().map_err(refused)?, method, params),
    }
}

fn read(chain: &Chain, method: &str, mut params: Params) -> Answer {
    match method {
        "eth_chainId" => render(U64::from(chain.chain_id())),
        "net_version" => render(chain.chain_id().to_string()),
        "web3_clientVersion" => render(concat!("locus-ledger/", env!("CARGO_PKG_VERSION"))),
        "eth_syncing" => Ok(Value::Bool(false)),
        "eth_blockNumber" => render(U64::from(chain.head().number)),
        "eth_gasPrice" | "eth_maxPriorityFeePerGas" => render(U64::ZERO),
        "eth_feeHistory" => fee_history(chain, params.get::<U64>(0)?.to::<u64>(), params.get_or(2, Vec::new())?),
        "eth_getTransactionCount" => {
            let account = chain.account(at_head(chain, &mut params, 1)?);
            render(U64::from(account.nonce))
        }
        "eth_getBalance" => render(chain.account(at_head(chain, &mut params, 1)?).balance),
        "eth_getCode" => render(chain.code(at_head(chain, &mut params, 1)?)),
        "eth_getStorageAt" => {
            let slot = params.get::<U256>(1)?;
            render(B256::from(chain.storage(at_head(chain, &mut params, 2)?, slot)))
        }
        "eth_call" => {
            check_head(chain, &mut params, 1)?;
            let result = chain.call(&message(params.get(0)?)).map_err(refused)?;
            render(succeed(result)?.output().cloned().unwrap_or_default())
        }
        "eth_estimateGas" => {
            check_head(chain, &mut params, 1)?;
            render(U64::from(estimate_gas(chain, message(params.get(0)?))?))
        }
        "eth_getTransactionReceipt" => receipt(chain, params.get(0)?),
        "eth_getTransactionByHash" => transaction(chain, params.get(0)?),
        "eth_getBlockByNumber" => {
            let number = resolve(chain, params.get(0)?);
            block(chain, number, params.get_or(1, false)?)
        }
        "eth_getBlockByHash" => {
            let number = chain.index().block_number(params.get(0)?);
            block(chain, number, params.get_or(1, false)?)
        }
        "eth_getLogs" => render(logs(chain, &params.get(0)?)?),
        other => Err(failure(-32601, format!("the embedded chain has no method {other}"))),
    }
}

fn send_raw(chain: &EmbeddedChain, raw: Bytes) -> Result<B256, ErrorPayload> {
    let known = chain.read().map_err(refused)?.index().tx_place(alloy_primitives::keccak256(&raw)).is_some();
    if known {
        return Err(failure(CODE_SERVER, "already known"));
    }
    let block = chain.mine(&[raw]).map_err(refused)?;
    let executed = block.txs.first().ok_or_else(|| failure(-32603, "the block is empty"))?;
    Ok(*executed.tx.tx_hash())
}

/// Number of the block that a tag or number names; the head is also safe and finalized.
fn resolve(chain: &Chain, block: BlockNumberOrTag) -> Option<u64> {
    match block {
        BlockNumberOrTag::Earliest => Some(0),
        BlockNumberOrTag::Number(number) => Some(number).filter(|&number| number <= chain.head().number),
        _ => Some(chain.head().number),
    }
}

/// Only the newest state is kept: refuses a call about an older one instead of answering wrongly.
fn check_head(chain: &Chain, params: &mut Params, place: usize) -> Result<(), ErrorPayload> {
    let number = match params.get_or(place, BlockId::latest())? {
        BlockId::Number(number) => resolve(chain, number),
        BlockId::Hash(hash) => chain.index().block_number(hash.block_hash),
    };
    if number == Some(chain.head().number) {
        return Ok(());
    }
    Err(failure(CODE_SERVER, "the state of this block is not kept: ask for the latest"))
}

fn at_head(chain: &Chain, params: &mut Params, place: usize) -> Result<Address, ErrorPayload> {
    check_head(chain, params, place)?;
    params.get(0)
}

fn message(request: TransactionRequest) -> Message {
    let to = match request.to {
        Some(TxKind::Call(to)) => Some(to),
        Some(TxKind::Create) | None => None,
    };
    Message {
        from: request.from.unwrap_or_default(),
        to,
        data: request.input.input().cloned().unwrap_or_default(),
        value: request.value.unwrap_or_default(),
        gas_limit: request.gas,
    }
}

fn succeed(result: ExecutionResult) -> Result<ExecutionResult, ErrorPayload> {
    match result {
        ExecutionResult::Success { .. } => Ok(result),
        ExecutionResult::Revert { output, .. } => {
            let data = serde_json::value::to_raw_value(&output).ok();
            Err(ErrorPayload { code: CODE_REVERT, message: "execution reverted".into(), data })
        }
        ExecutionResult::Halt { reason, .. } => Err(failure(CODE_SERVER, format!("execution halted: {reason:?}"))),
    }
}

/// The smallest gas limit, to within 1/16, with which the message succeeds. Gas spent alone is not
/// enough: calls keep 1/64 back at every depth, and refunds come only at the end.
fn estimate_gas(chain: &Chain, mut request: Message) -> Result<u64, ErrorPayload> {
    let mut high = request.gas_limit.unwrap_or(BLOCK_GAS_MAX).min(BLOCK_GAS_MAX);
    request.gas_limit = Some(high);
    let spent = succeed(chain.call(&request).map_err(refused)?)?.gas().total_gas_spent();
    let mut low = spent.saturating_sub(1);
    // Most messages succeed with the first guess, and almost all with twice that; a block's gas is far from either.
    let mut step = spent / 16 + 1;
    while low < high {
        let guess = low.saturating_add(step).min(low + (high - low).div_ceil(2));
        request.gas_limit = Some(guess);
        if chain.call(&request).is_ok_and(|result| result.is_success()) {
            high = guess;
        } else {
            low = guess;
            step = step.saturating_mul(2);
        }
        if high - low <= high / 16 + 1 {
            break;
        }
    }
    Ok(high)
}

fn fee_history(chain: &Chain, count: u64, percentiles: Vec<f64>) -> Answer {
    let count = count.clamp(1, FEE_BLOCKS_MAX).min(chain.head().number + 1);
    let places = usize::try_from(count).unwrap_or(1);
    Ok(json!({
        "oldestBlock": U64::from(chain.head().number + 1 - count),
        "baseFeePerGas": vec!["0x0"; places + 1],
        "gasUsedRatio": vec![0.0; places],
        "reward": vec![vec!["0x0"; percentiles.len()]; places],
    }))
}

fn load(chain: &Chain, number: u64) -> Result<Arc<Block>, ErrorPayload> {
    let block = chain.block(number).map_err(refused)?;
    block.ok_or_else(|| failure(CODE_SERVER, "block not found"))
}

fn block(chain: &Chain, number: Option<u64>, full: bool) -> Answer {
    match number {
        Some(number) => {
            let found = load(chain, number)?;
            render::block(&found, full)
        }
        None => Ok(Value::Null),
    }
}

fn receipt(chain: &Chain, hash: B256) -> Answer {
    match chain.index().tx_place(hash) {
        Some((number, place)) => render(render::receipt(&*load(chain, number)?, place)),
        None => Ok(Value::Null),
    }
}

fn transaction(chain: &Chain, hash: B256) -> Answer {
    match chain.index().tx_place(hash) {
        Some((number, place)) => render(render::transaction(&*load(chain, number)?, place)),
        None => Ok(Value::Null),
    }
}

fn logs(chain: &Chain, filter: &Filter) -> Result<Vec<Log>, ErrorPayload> {
    let head = chain.head().number;
    let (first, last) = match &filter.block_option {
        FilterBlockOption::AtBlockHash(hash) => {
            let number = chain.index().block_number(*hash);
            let number = number.ok_or_else(|| failure(CODE_SERVER, "unknown block"))?;
            (number, number)
        }
        FilterBlockOption::Range { from_block, to_block } => {
            let number = |tag: &Option<BlockNumberOrTag>| match tag {
                Some(BlockNumberOrTag::Number(number)) => *number,
                Some(tag) => resolve(chain, *tag).unwrap_or(head),
                None => head,
            };
            (number(from_block), number(to_block).min(head))
        }
    };
    let addresses: Vec<Address> = filter.address.iter().copied().collect();
    let topics: Vec<B256> = filter.topics[0].iter().copied().collect();
    let (mut found, mut bytes) = (Vec::new(), 0usize);
    for number in chain.index().blocks_with(first, last, &addresses, &topics) {
        for log in render::block_logs(&*load(chain, number)?) {
            if !filter.matches_address(log.inner.address) || !filter.matches_topics(log.inner.topics()) {
                continue;
            }
            bytes += log.inner.data.data.len();
            found.push(log);
            // One block is always answered, so that asking for fewer blocks leads on.
            if first < last && (found.len() > LOGS_MAX || bytes > LOG_BYTES_MAX) {
                return Err(failure(
                    CODE_LIMIT,
                    "query returns more logs than one answer may hold: ask for fewer blocks",
                ));
            }
        }
    }
    Ok(found)
}
