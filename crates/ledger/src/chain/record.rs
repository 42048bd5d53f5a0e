//! One block of the embedded chain and its byte encoding.

use super::ChainError;
use alloy_consensus::{
    Eip658Value, Header, Receipt, ReceiptEnvelope, ReceiptWithBloom, Transaction as _, TxEnvelope, proofs,
};
use alloy_eips::eip2718::{Decodable2718 as _, Encodable2718 as _};
use alloy_primitives::{Address, B256, Bloom, Bytes, Log, LogData, TxKind, logs_bloom};

/// Gas that one block, and so one transaction, may use. High enough for a registration of 4,096
/// datasets (about 0.3 billion), low enough to bound the time of one call to seconds.
pub(crate) const BLOCK_GAS_MAX: u64 = 1_000_000_000;

/// A transaction as it was executed.
#[derive(Debug, Clone)]
pub(crate) struct ExecutedTx {
    pub(crate) tx: TxEnvelope,
    pub(crate) from: Address,
    pub(crate) outcome: Outcome,
}

/// What executing a transaction did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) success: bool,
    pub(crate) gas_used: u64,
    pub(crate) created: Option<Address>,
    pub(crate) logs: Vec<Log>,
}

/// A block with its transactions and their receipts.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) header: Header,
    pub(crate) hash: B256,
    pub(crate) txs: Vec<ExecutedTx>,
}

impl Block {
    /// The block that these executed transactions make on top of `parent_hash`.
    pub(crate) fn seal(parent_hash: B256, number: u64, timestamp: u64, txs: Vec<ExecutedTx>) -> Self {
        let mut gas_used = 0u64;
        let mut bloom = Bloom::ZERO;
        let mut receipts = Vec::with_capacity(txs.len());
        for executed in &txs {
            gas_used = gas_used.saturating_add(executed.outcome.gas_used);
            let receipt = executed.receipt(gas_used);
            bloom |= receipt.logs_bloom;
            receipts.push(ReceiptEnvelope::from_typed(executed.tx.tx_type(), receipt));
        }
        let list: Vec<TxEnvelope> = txs.iter().map(|executed| executed.tx.clone()).collect();
        let header = Header {
            parent_hash,
            number,
            timestamp,
            gas_limit: BLOCK_GAS_MAX,
            gas_used,
            logs_bloom: bloom,
            transactions_root: proofs::calculate_transaction_root(&list),
            receipts_root: proofs::calculate_receipt_root(&receipts),
            base_fee_per_gas: Some(0),
            ..Default::default()
        };
        Self { hash: header.hash_slow(), header, txs }
    }

    /// The bytes kept in the journal.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        out.extend_from_slice(&self.header.timestamp.to_le_bytes());
        out.extend_from_slice(self.hash.as_slice());
        put_len(&mut out, self.txs.len());
        for executed in &self.txs {
            put_bytes(&mut out, &executed.tx.encoded_2718());
            out.extend_from_slice(executed.from.as_slice());
            executed.outcome.encode(&mut out);
        }
        out
    }

    /// Parses what [`encode`](Self::encode) wrote for block `number` on top of `parent_hash`, and
    /// checks that it hashes to what it says.
    pub(crate) fn decode(payload: &[u8], parent_hash: B256, number: u64) -> Result<Self, ChainError> {
        let block = Self::decode_unchecked(payload, parent_hash, number).ok_or(ChainError::Corrupt { number })?;
        let stated = payload.get(8..40).map(B256::from_slice);
        if stated != Some(block.hash) {
            return Err(ChainError::Corrupt { number });
        }
        Ok(block)
    }

    fn decode_unchecked(payload: &[u8], parent_hash: B256, number: u64) -> Option<Self> {
        let mut reader = Reader(payload);
        let timestamp = reader.u64()?;
        let _hash = reader.take(32)?;
        let count = reader.u32()?;
        let mut txs = Vec::new();
        for _ in 0..count {
            let tx = TxEnvelope::decode_2718_exact(reader.bytes()?).ok()?;
            let from = Address::from_slice(reader.take(20)?);
            txs.push(ExecutedTx { tx, from, outcome: Outcome::decode(&mut reader)? });
        }
        reader.0.is_empty().then(|| Self::seal(parent_hash, number, timestamp, txs))
    }
}

impl ExecutedTx {
    /// The receipt, when the block has used `cumulative_gas_used` up to and with this transaction.
    pub(crate) fn receipt(&self, cumulative_gas_used: u64) -> ReceiptWithBloom<Receipt> {
        let logs = self.outcome.logs.clone();
        let logs_bloom = logs_bloom(&logs);
        let status = Eip658Value::Eip658(self.outcome.success);
        ReceiptWithBloom { receipt: Receipt { status, cumulative_gas_used, logs }, logs_bloom }
    }

    /// The account or contract called, `None` for a deployment.
    pub(crate) fn to(&self) -> Option<Address> {
        match self.tx.kind() {
            TxKind::Call(to) => Some(to),
            TxKind::Create => None,
        }
    }
}

impl Outcome {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.success));
        out.extend_from_slice(&self.gas_used.to_le_bytes());
        out.push(u8::from(self.created.is_some()));
        out.extend_from_slice(self.created.unwrap_or_default().as_slice());
        put_len(out, self.logs.len());
        for log in &self.logs {
            out.extend_from_slice(log.address.as_slice());
            put_len(out, log.topics().len());
            for topic in log.topics() {
                out.extend_from_slice(topic.as_slice());
            }
            put_bytes(out, &log.data.data);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let success = reader.u8()? == 1;
        let gas_used = reader.u64()?;
        let has_created = reader.u8()? == 1;
        let address = Address::from_slice(reader.take(20)?);
        let count = reader.u32()?;
        let mut logs = Vec::new();
        for _ in 0..count {
            logs.push(decode_log(reader)?);
        }
        Some(Self { success, gas_used, created: has_created.then_some(address), logs })
    }
}

fn decode_log(reader: &mut Reader<'_>) -> Option<Log> {
    let address = Address::from_slice(reader.take(20)?);
    let topic_count = reader.u32().filter(|&count| count <= 4)?;
    let mut topics = Vec::with_capacity(4);
    for _ in 0..topic_count {
        topics.push(B256::from_slice(reader.take(32)?));
    }
    let data = Bytes::copy_from_slice(reader.bytes()?);
    Some(Log { address, data: LogData::new(topics, data)? })
}

/// A cursor over bytes that may be anything.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(len)?;
        self.0 = tail;
        Some(head)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.take(1).and_then(|bytes| bytes.first().copied())
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.u32()?).ok()?;
        self.take(len)
    }
}

/// Lengths are far below `u32::MAX`: a block holds at most [`BLOCK_GAS_MAX`] gas, and every byte of
/// input or log costs at least 4 gas.
fn put_len(out: &mut Vec<u8>, len: usize) {
    out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_len(out, bytes.len());
    out.extend_from_slice(bytes);
}
