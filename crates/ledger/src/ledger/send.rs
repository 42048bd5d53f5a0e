//! Sending a transaction and learning what became of it.
//!
//! A transaction is signed once. Whatever happens afterwards, only those same bytes are offered to
//! the chain again, and a nonce is used once, so a transaction never runs twice.

use super::{Chain, LedgerError, POLL_INTERVAL, Sender};
use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope, TxLegacy};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{B256, Bytes, TxKind};
use alloy_provider::Provider as _;
use alloy_rpc_types_eth::{BlockNumberOrTag, TransactionReceipt, TransactionRequest};
use alloy_signer::SignerSync as _;
use alloy_transport::{TransportError, TransportResult};
use locus_commitment::Digest32;
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// How long one answer of a chain node may take.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);
/// How long a transaction may take to be included.
const RECEIPT_DEADLINE: Duration = Duration::from_secs(120);
/// A transaction that is not included by then is offered again: nodes forget what they hold.
const OFFER_AGAIN_AFTER: Duration = Duration::from_secs(15);
/// Longest pause between looks for a receipt.
const POLL_INTERVAL_MAX: Duration = Duration::from_secs(2);
/// EIP-7825: most gas that one transaction may have on Ethereum.
const TRANSACTION_GAS_MAX: u64 = 1 << 24;

/// Tries to get a nonce that nobody else has used.
const NONCE_ATTEMPTS_MAX: u32 = 3;

/// A transaction that was offered to the chain.
struct Sent {
    hash: B256,
    raw: Bytes,
    _nonce: OutstandingNonce,
}

/// The nonces of one account that are sent and whose outcome is not known yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Outstanding(Arc<Mutex<BTreeSet<u64>>>);

/// Keeps a nonce outstanding while it lives.
struct OutstandingNonce {
    of: Outstanding,
    nonce: u64,
}

impl Outstanding {
    fn nonces(&self) -> std::sync::MutexGuard<'_, BTreeSet<u64>> {
        // A set of numbers is sound whenever its lock is free.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The nonce after the last outstanding one; 0 when there is none.
    fn next(&self) -> u64 {
        self.nonces().last().map_or(0, |last| last.saturating_add(1))
    }

    fn add(&self, nonce: u64) -> OutstandingNonce {
        self.nonces().insert(nonce);
        OutstandingNonce { of: self.clone(), nonce }
    }
}

impl Drop for OutstandingNonce {
    fn drop(&mut self) {
        self.of.nonces().remove(&self.nonce);
    }
}

/// What one unit of gas may cost, in wei.
#[derive(Clone, Copy)]
enum Fees {
    Dynamic { max_fee: u128, priority_fee: u128 },
    Legacy { gas_price: u128 },
}

impl Chain {
    /// Waits for a node's answer, but not for ever.
    pub(super) async fn ask<T>(&self, answer: impl Future<Output = TransportResult<T>>) -> Result<T, LedgerError> {
        match tokio::time::timeout(ANSWER_DEADLINE, answer).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(LedgerError::TooSlow),
        }
    }

    /// Sends a transaction and waits until it is included.
    ///
    /// # Errors
    /// [`LedgerError::Refused`] and [`LedgerError::Reverted`] when a contract refuses: nothing changed.
    /// [`LedgerError::Unrecorded`] when whoever is told of it fails: nothing was sent.
    /// [`LedgerError::NoReceipt`] when the outcome stays unknown.
    pub(super) async fn send(&self, request: TransactionRequest) -> Result<TransactionReceipt, LedgerError> {
        let sender = self.sender.as_ref().ok_or(LedgerError::NoSender)?;
        let request = request.from(sender.address());
        // The estimate runs the transaction, so what a contract refuses is not even sent.
        let estimate = self.ask(self.provider.estimate_gas(request.clone()).into_future()).await?;
        let fees = self.fees().await?;
        let sent = self.broadcast(sender, &request, gas_limit(estimate), fees).await?;
        let Some(receipt) = self.wait_for(&sent).await else {
            return Err(LedgerError::NoReceipt { transaction: Digest32(sent.hash.0) });
        };
        if receipt.status() { Ok(receipt) } else { Err(self.why_reverted(request, &receipt).await) }
    }

    /// Signs the transaction with the next nonce and offers it to the chain.
    async fn broadcast(
        &self,
        sender: &Sender,
        request: &TransactionRequest,
        gas_limit: u64,
        fees: Fees,
    ) -> Result<Sent, LedgerError> {
        let chain_id = self.chain_id().await?;
        let _turn = sender.turn.lock().await;
        let mut attempts = 0;
        loop {
            let counted = self.provider.get_transaction_count(sender.address()).pending();
            // A node may not count yet what was sent a moment ago.
            let nonce = sender.outstanding.next().max(self.ask(counted.into_future()).await?);
            let (hash, raw) = sign(sender, request, chain_id, nonce, gas_limit, fees)?;
            if let Some(tell) = &sender.before_sending {
                tell(&Digest32(hash.0)).map_err(LedgerError::Unrecorded)?;
            }
            let sent = Sent { hash, raw, _nonce: sender.outstanding.add(nonce) };
            attempts += 1;
            match self.ask(self.provider.send_raw_transaction(&sent.raw)).await {
                // Another process sends from this account, so this transaction can never be included.
                Err(LedgerError::Transport(error))
                    if says(&error, "nonce too low") && attempts < NONCE_ATTEMPTS_MAX => {}
                Err(LedgerError::Transport(error)) if is_refusal(&error) => return Err(LedgerError::Transport(error)),
                // Whatever else happened, it may have reached the chain: the receipt will tell.
                _ => return Ok(sent),
            }
        }
    }

    /// The receipt, or `None` when none was seen in time.
    async fn wait_for(&self, sent: &Sent) -> Option<TransactionReceipt> {
        let started = Instant::now();
        let mut offered = started;
        let mut pause = POLL_INTERVAL;
        loop {
            match self.ask(self.provider.get_transaction_receipt(sent.hash).into_future()).await {
                Ok(Some(receipt)) => return Some(receipt),
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, transaction = %sent.hash, "no answer about a receipt"),
            }
            if started.elapsed() >= RECEIPT_DEADLINE {
                return None;
            }
            if offered.elapsed() >= OFFER_AGAIN_AFTER {
                // Refused as known, or as used up once it is included: both are harmless.
                let _ = self.ask(self.provider.send_raw_transaction(&sent.raw)).await;
                offered = Instant::now();
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(POLL_INTERVAL_MAX);
        }
    }

    async fn fees(&self) -> Result<Fees, LedgerError> {
        let latest = self.ask(self.provider.get_block_by_number(BlockNumberOrTag::Latest).into_future()).await?;
        match latest.ok_or(LedgerError::UnexpectedAnswer)?.header.base_fee_per_gas {
            // Gas is free on the embedded chain and on many consortium chains.
            Some(0) => Ok(Fees::Dynamic { max_fee: 0, priority_fee: 0 }),
            Some(_) => {
                let fees = self.ask(self.provider.estimate_eip1559_fees()).await?;
                Ok(Fees::Dynamic { max_fee: fees.max_fee_per_gas, priority_fee: fees.max_priority_fee_per_gas })
            }
            None => Ok(Fees::Legacy { gas_price: self.ask(self.provider.get_gas_price().into_future()).await? }),
        }
    }

    /// Why an included transaction changed nothing: another one came first. Runs it again to learn
    /// the contract's words.
    async fn why_reverted(&self, request: TransactionRequest, receipt: &TransactionReceipt) -> LedgerError {
        match self.ask(self.provider.call(request).into_future()).await {
            Err(refused @ LedgerError::Refused { .. }) => refused,
            _ => LedgerError::Reverted(Digest32(receipt.transaction_hash.0)),
        }
    }
}

/// A fifth more than the estimate, because other transactions may come first; but not so much that
/// Ethereum refuses the transaction.
fn gas_limit(estimate: u64) -> u64 {
    let roomy = estimate.saturating_add(estimate / 5);
    if estimate <= TRANSACTION_GAS_MAX { roomy.min(TRANSACTION_GAS_MAX) } else { roomy }
}

/// Whether a node has refused a transaction for good. A node that has it already, or has included it
/// already, also answers with an error.
fn is_refusal(error: &TransportError) -> bool {
    error.as_error_resp().is_some() && !says(error, "already known") && !says(error, "already imported")
}

/// Whether a node answers with an error of these words.
fn says(error: &TransportError, words: &str) -> bool {
    error.as_error_resp().is_some_and(|response| response.message.to_lowercase().contains(words))
}

fn sign(
    sender: &Sender,
    request: &TransactionRequest,
    chain_id: u64,
    nonce: u64,
    gas_limit: u64,
    fees: Fees,
) -> Result<(B256, Bytes), LedgerError> {
    let to = request.to.unwrap_or(TxKind::Create);
    let input = request.input.input().cloned().unwrap_or_default();
    let value = request.value.unwrap_or_default();
    match fees {
        Fees::Dynamic { max_fee, priority_fee } => finish(
            sender,
            TxEip1559 {
                chain_id,
                nonce,
                gas_limit,
                max_fee_per_gas: max_fee,
                max_priority_fee_per_gas: priority_fee,
                to,
                value,
                access_list: Default::default(),
                input,
            },
        ),
        Fees::Legacy { gas_price } => {
            finish(sender, TxLegacy { chain_id: Some(chain_id), nonce, gas_price, gas_limit, to, value, input })
        }
    }
}

fn finish<T>(sender: &Sender, transaction: T) -> Result<(B256, Bytes), LedgerError>
where
    T: SignableTransaction<alloy_primitives::Signature>,
    TxEnvelope: From<alloy_consensus::Signed<T>>,
{
    let signature = sender.key.sign_hash_sync(&transaction.signature_hash()).map_err(|_| LedgerError::Sign)?;
    let envelope = TxEnvelope::from(transaction.into_signed(signature));
    Ok((*envelope.tx_hash(), envelope.encoded_2718().into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        account::AccountKey,
        chain::{ChainConfig, EmbeddedChain},
        clock::SystemClock,
    };
    use alloy_network::TransactionBuilder as _;

    #[tokio::test]
    async fn a_transaction_is_sent_after_it_was_told_of_and_not_at_all_when_that_fails() {
        let key = AccountKey::from_bytes(&[1; 32]).expect("a key");
        let embedded = EmbeddedChain::in_memory(&ChainConfig::new(31_337), Arc::new(SystemClock));
        let chain = Chain::embedded(embedded.clone(), Some(&key));
        let request = || TransactionRequest::default().with_to([9; 20].into());
        let refusing = chain.clone().before_sending(Arc::new(|_| Err("the disk is full".into())));
        let refused = refusing.send(request()).await;
        assert!(matches!(refused, Err(LedgerError::Unrecorded(_))), "{refused:?}");
        assert_eq!(embedded.head_number(), 0);

        let told = Arc::new(Mutex::new(Vec::new()));
        let (seen, head) = (told.clone(), embedded.clone());
        let telling = chain.before_sending(Arc::new(move |transaction| {
            seen.lock().expect("sound").push((*transaction, head.head_number()));
            Ok(())
        }));
        let receipt = telling.send(request()).await.expect("sent");
        assert_eq!(*told.lock().expect("sound"), [(Digest32(receipt.transaction_hash.0), 0)]);
        assert_eq!(embedded.head_number(), 1);
    }

    #[test]
    fn a_nonce_is_taken_until_its_outcome_is_known() {
        let outstanding = Outstanding::default();
        assert_eq!(outstanding.next(), 0);
        let (first, second) = (outstanding.add(7), outstanding.add(8));
        assert_eq!(outstanding.next(), 9);
        drop(first);
        assert_eq!(outstanding.next(), 9);
        drop(second);
        assert_eq!(outstanding.next(), 0, "the node's count decides again");
    }

    #[test]
    fn the_gas_limit_leaves_room_but_stays_below_the_cap_of_ethereum() {
        assert_eq!(gas_limit(100_000), 120_000);
        assert_eq!(gas_limit(TRANSACTION_GAS_MAX - 1), TRANSACTION_GAS_MAX);
        // What needs more than the cap can only run where there is none.
        assert_eq!(gas_limit(300_000_000), 360_000_000);
    }
}
