//! Running transactions on the EVM state.

use super::{
    ChainError,
    record::{BLOCK_GAS_MAX, ExecutedTx, Outcome},
};
use alloy_consensus::{Transaction as _, TxEnvelope, TxType, transaction::SignerRecoverable as _};
use alloy_eips::eip2718::Decodable2718 as _;
use alloy_primitives::{Address, Bytes, TxKind, U256};
use revm::{
    Context, DatabaseCommit as _, ExecuteEvm as _, MainBuilder as _, MainContext as _,
    context::{BlockEnv, TxEnv, result::ExecutionResult},
    database::{CacheDB, EmptyDB, WrapDatabaseRef},
    handler::{MainnetContext, MainnetEvm},
    primitives::hardfork::SpecId,
    state::EvmState,
};

/// All accounts, code and storage.
pub(crate) type State = CacheDB<EmptyDB>;
type View<'a> = WrapDatabaseRef<&'a State>;

/// Largest encoded transaction accepted; the largest legitimate one, a registration of 4,096
/// datasets, has about 1.3 MB.
const TX_BYTES_MAX: usize = 8 << 20;

/// The chain, place and time that a transaction runs in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) chain_id: u64,
    pub(crate) number: u64,
    pub(crate) timestamp: u64,
}

/// A message that is run without being recorded.
#[derive(Debug, Clone, Default)]
pub(crate) struct Message {
    pub(crate) from: Address,
    pub(crate) to: Option<Address>,
    pub(crate) data: Bytes,
    pub(crate) value: U256,
    pub(crate) gas_limit: Option<u64>,
}

/// A transaction whose signature is checked.
#[derive(Debug, Clone)]
pub(crate) struct SignedTx {
    pub(crate) tx: TxEnvelope,
    pub(crate) from: Address,
}

impl SignedTx {
    /// Parses a raw transaction for this chain and recovers its sender.
    pub(crate) fn parse(raw: &[u8], chain_id: u64) -> Result<Self, ChainError> {
        if raw.len() > TX_BYTES_MAX {
            return Err(ChainError::BlockTooLarge { bytes: raw.len() });
        }
        let invalid = |reason: &dyn std::fmt::Display| ChainError::InvalidTransaction { reason: reason.to_string() };
        let tx = TxEnvelope::decode_2718_exact(raw).map_err(|error| invalid(&error))?;
        if !matches!(tx.tx_type(), TxType::Legacy | TxType::Eip2930 | TxType::Eip1559) {
            return Err(invalid(&"transaction type not supported: use legacy, eip-2930 or eip-1559"));
        }
        if tx.chain_id() != Some(chain_id) {
            return Err(invalid(&format_args!("invalid chain id: sign for chain {chain_id}")));
        }
        let from = tx.recover_signer().map_err(|error| invalid(&error))?;
        Ok(Self { tx, from })
    }

    fn env(&self) -> TxEnv {
        TxEnv::builder()
            .tx_type(Some(u8::from(self.tx.tx_type())))
            .caller(self.from)
            .kind(self.tx.kind())
            .data(self.tx.input().clone())
            .value(self.tx.value())
            .nonce(self.tx.nonce())
            .gas_limit(self.tx.gas_limit())
            .gas_price(self.tx.max_fee_per_gas())
            .gas_priority_fee(self.tx.max_priority_fee_per_gas())
            .access_list(self.tx.access_list().cloned().unwrap_or_default())
            .chain_id(self.tx.chain_id())
            .build_fill()
    }
}

/// Runs the transactions of one block. Nothing is changed until the returned state is
/// [committed](commit); one transaction that may not be included fails all.
pub(crate) fn run_block(
    state: &State,
    place: Place,
    txs: Vec<SignedTx>,
) -> Result<(Vec<ExecutedTx>, EvmState), ChainError> {
    let invalid = |reason: String| ChainError::InvalidTransaction { reason };
    let gas: u128 = txs.iter().map(|signed| u128::from(signed.tx.gas_limit())).sum();
    if gas > u128::from(BLOCK_GAS_MAX) {
        return Err(invalid(format!("exceeds block gas limit of {BLOCK_GAS_MAX}")));
    }
    let ran = evm(state, place)
        .transact_many_finalize(txs.iter().map(SignedTx::env))
        .map_err(|error| invalid(error.to_string()))?;
    let executed = txs
        .into_iter()
        .zip(ran.result)
        .map(|(signed, result)| ExecutedTx { tx: signed.tx, from: signed.from, outcome: outcome(result) })
        .collect();
    Ok((executed, ran.state))
}

/// Makes the changes of a block part of the state.
pub(crate) fn commit(state: &mut State, changes: EvmState) {
    state.commit(changes);
}

/// Runs a message and forgets its effects.
pub(crate) fn run_message(
    state: &State,
    place: Place,
    nonce: u64,
    message: &Message,
) -> Result<ExecutionResult, ChainError> {
    let env = TxEnv::builder()
        .caller(message.from)
        .kind(message.to.map_or(TxKind::Create, TxKind::Call))
        .data(message.data.clone())
        .value(message.value)
        .nonce(nonce)
        .gas_limit(message.gas_limit.unwrap_or(BLOCK_GAS_MAX).min(BLOCK_GAS_MAX))
        .gas_price(0)
        .chain_id(Some(place.chain_id))
        .build_fill();
    let ran = evm(state, place)
        .transact(env)
        .map_err(|error| ChainError::InvalidTransaction { reason: error.to_string() })?;
    Ok(ran.result)
}

fn evm(state: &State, place: Place) -> MainnetEvm<MainnetContext<View<'_>>> {
    let block = BlockEnv {
        number: U256::from(place.number),
        timestamp: U256::from(place.timestamp),
        gas_limit: BLOCK_GAS_MAX,
        basefee: 0,
        ..Default::default()
    };
    Context::mainnet()
        .with_db(WrapDatabaseRef(state))
        .with_block(block)
        .modify_cfg_chained(|config| {
            // The gas table belongs to the rules: setting the rules alone would keep an older table.
            *config = config.clone().with_chain_id(place.chain_id).with_spec_and_mainnet_gas_params(SpecId::OSAKA);
            // EIP-7825 caps a transaction at 2^24 gas, below what a biobank's registration needs.
            config.tx_gas_limit_cap = Some(u64::MAX);
        })
        .build_mainnet()
}

fn outcome(result: ExecutionResult) -> Outcome {
    let (success, created, gas_used) = (result.is_success(), result.created_address(), result.tx_gas_used());
    let logs = if success { result.into_logs() } else { Vec::new() };
    Outcome { success, gas_used, created, logs }
}
