//! Blocks, receipts, transactions and logs as JSON-RPC shows them.

use super::rpc::failure;
use crate::chain::Block;
use alloy_consensus::{
    Eip658Value, Receipt, ReceiptEnvelope, ReceiptWithBloom, Transaction as _, TxEnvelope, transaction::Recovered,
};
use alloy_json_rpc::ErrorPayload;
use alloy_rpc_types_eth::{Header, Log, Transaction, TransactionReceipt};
use serde_json::{Value, json};

/// The block; with whole transactions when `full`, else with their hashes.
pub(super) fn block(block: &Block, full: bool) -> Result<Value, ErrorPayload> {
    let internal = |error: serde_json::Error| failure(-32603, error.to_string());
    let mut value = serde_json::to_value(Header::new(block.header.clone())).map_err(internal)?;
    let transactions = if full {
        let count = u32::try_from(block.txs.len()).unwrap_or(u32::MAX);
        let all: Vec<_> = (0..count).filter_map(|place| transaction(block, place)).collect();
        serde_json::to_value(all).map_err(internal)?
    } else {
        json!(block.txs.iter().map(|executed| *executed.tx.tx_hash()).collect::<Vec<_>>())
    };
    if let Some(fields) = value.as_object_mut() {
        fields.insert("transactions".into(), transactions);
        fields.insert("uncles".into(), json!([]));
    }
    Ok(value)
}

/// The transaction at `place`, if the block has so many.
pub(super) fn transaction(block: &Block, place: u32) -> Option<Transaction<TxEnvelope>> {
    let executed = block.txs.get(usize::try_from(place).ok()?)?;
    Some(Transaction {
        inner: Recovered::new_unchecked(executed.tx.clone(), executed.from),
        block_hash: Some(block.hash),
        block_number: Some(block.header.number),
        transaction_index: Some(u64::from(place)),
        effective_gas_price: Some(executed.tx.effective_gas_price(Some(0))),
        block_timestamp: Some(block.header.timestamp),
    })
}

/// The receipt of the transaction at `place`, if the block has so many.
pub(super) fn receipt(block: &Block, place: u32) -> Option<TransactionReceipt> {
    let index = usize::try_from(place).ok()?;
    let executed = block.txs.get(index)?;
    let gas_used = block.txs.iter().take(index + 1).map(|executed| executed.outcome.gas_used);
    let logs = block_logs(block).filter(|log| log.transaction_index == Some(u64::from(place))).collect();
    let receipt =
        Receipt { status: Eip658Value::Eip658(executed.outcome.success), cumulative_gas_used: gas_used.sum(), logs };
    let logs_bloom = alloy_primitives::logs_bloom(&executed.outcome.logs);
    Some(TransactionReceipt {
        inner: ReceiptEnvelope::from_typed(executed.tx.tx_type(), ReceiptWithBloom { receipt, logs_bloom }),
        transaction_hash: *executed.tx.tx_hash(),
        transaction_index: Some(u64::from(place)),
        block_hash: Some(block.hash),
        block_number: Some(block.header.number),
        gas_used: executed.outcome.gas_used,
        effective_gas_price: executed.tx.effective_gas_price(Some(0)),
        blob_gas_used: None,
        blob_gas_price: None,
        from: executed.from,
        to: executed.to(),
        contract_address: executed.outcome.created,
    })
}

/// All logs of a block in order, numbered through the block.
pub(super) fn block_logs(block: &Block) -> impl Iterator<Item = Log> {
    let of_txs = (0u64..)
        .zip(&block.txs)
        .flat_map(|(tx, executed)| executed.outcome.logs.iter().map(move |log| (tx, *executed.tx.tx_hash(), log)));
    (0u64..).zip(of_txs).map(|(log_index, (tx, hash, log))| Log {
        inner: log.clone(),
        block_hash: Some(block.hash),
        block_number: Some(block.header.number),
        block_timestamp: Some(block.header.timestamp),
        transaction_hash: Some(hash),
        transaction_index: Some(tx),
        log_index: Some(log_index),
        removed: false,
    })
}
