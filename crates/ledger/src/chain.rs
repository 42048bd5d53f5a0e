//! The embedded chain: an EVM in this process with a durable journal.
//!
//! One signed transaction makes one block. A block is on disk before anyone hears of it, so head and
//! finalized block are the same and there are no reorganisations. See SPEC section 1.

mod execute;
mod index;
mod journal;
mod record;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use execute::Message;
pub(crate) use record::{BLOCK_GAS_MAX, Block};

use crate::clock::Clock;
use alloy_consensus::Header;
use alloy_primitives::{Address as EvmAddress, B256, Bytes, U256, keccak256};
use execute::{Place, SignedTx, State};
use index::Index;
use journal::{Journal, Span};
use locus_commitment::Address;
use revm::{DatabaseRef as _, context::result::ExecutionResult, state::AccountInfo};
use std::{
    collections::{BTreeMap, VecDeque},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard},
};
use tokio::sync::watch;

/// Blocks that BLOCKHASH can see.
const BLOCK_HASHES_KEPT: u64 = 256;
/// Decoded blocks kept for the readers that follow the head.
const RECENT_BLOCKS_MAX: usize = 32;
/// Decoded blocks above this encoded size are not kept.
const RECENT_BLOCK_BYTES_MAX: u32 = 64 << 10;

/// What is wrong with an embedded chain, or with what was asked of it.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// Reading or writing the journal failed.
    #[error("the chain journal {path} cannot be read or written", path = path.display())]
    Io {
        /// The journal.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process has the journal open.
    #[error("the chain journal {path} is in use by another process: stop it first", path = path.display())]
    Locked {
        /// The journal.
        path: PathBuf,
    },
    /// The file is not a chain journal of this format, or its first bytes are damaged.
    #[error("the file is not a chain journal of this version, or its head is damaged: restore it from a copy")]
    NotAJournal,
    /// The journal belongs to a chain with another id or other first balances.
    #[error("the chain journal was made with another chain id or other first balances: use those, or another folder")]
    OtherChain,
    /// A block in the journal is damaged.
    #[error("block {number} of the chain journal is damaged: restore the file from a copy, nothing was changed")]
    Corrupt {
        /// The block.
        number: u64,
    },
    /// Running a block of the journal again gave something else.
    #[error(
        "block {number} of the chain journal does not follow from the blocks before it: restore the file from a copy"
    )]
    Diverged {
        /// The block.
        number: u64,
    },
    /// An earlier write failed, so the journal has to be opened again before anything is added.
    #[error("an earlier write to the chain journal failed: restart, so that the journal is checked")]
    Halted,
    /// A transaction or block is larger than any legitimate one.
    #[error("the transaction has {bytes} bytes, more than the chain accepts: split the batch")]
    BlockTooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The transaction may not be part of a block; nothing happened.
    #[error("the transaction cannot be included: {reason}")]
    InvalidTransaction {
        /// What the rules of the chain say.
        reason: String,
    },
}

/// What fixes the first block of an embedded chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainConfig {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// First balances in wei. Gas is free on an embedded chain, so none are needed.
    pub balances_wei: BTreeMap<Address, u128>,
}

impl ChainConfig {
    /// A chain with this id on which nobody holds any native currency.
    pub fn new(chain_id: u64) -> Self {
        Self { chain_id, balances_wei: BTreeMap::new() }
    }
}

/// An embedded chain. Clones are handles to the same chain; the journal is closed and unlocked when
/// the last one is dropped.
#[derive(Clone)]
pub struct EmbeddedChain(Arc<RwLock<Chain>>);

impl std::fmt::Debug for EmbeddedChain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EmbeddedChain(..)")
    }
}

impl EmbeddedChain {
    /// Opens the chain kept in the file `journal`, or starts one. Every block is run again and must
    /// give the bytes that were recorded. An unfinished last record, which nobody was told of, is
    /// dropped.
    ///
    /// # Errors
    /// [`ChainError::Locked`], [`ChainError::OtherChain`], and for a damaged file
    /// [`ChainError::NotAJournal`], [`ChainError::Corrupt`] or [`ChainError::Diverged`].
    pub fn open(journal: &Path, config: &ChainConfig, clock: Arc<dyn Clock>) -> Result<Self, ChainError> {
        Chain::open(journal, config, clock).map(|chain| Self(Arc::new(RwLock::new(chain))))
    }

    /// Starts a chain that is gone when the last handle is dropped.
    pub fn in_memory(config: &ChainConfig, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(RwLock::new(Chain::start(config, clock))))
    }

    /// Drops this handle, and completes when the last handle is dropped and the journal unlocked.
    pub async fn closed(self) {
        let Ok(mut open) = self.read().map(|chain| chain.open.subscribe()) else { return };
        drop(self);
        // Nothing is ever sent: this ends when the sender is dropped.
        while open.changed().await.is_ok() {}
    }

    /// The chain's EIP-155 id.
    pub fn chain_id(&self) -> u64 {
        self.0.read().unwrap_or_else(PoisonError::into_inner).chain_id
    }

    /// Number of the newest block.
    pub fn head_number(&self) -> u64 {
        self.0.read().unwrap_or_else(PoisonError::into_inner).head().number
    }

    /// The chain for reading; refused when a writer panicked half way.
    pub(crate) fn read(&self) -> Result<RwLockReadGuard<'_, Chain>, ChainError> {
        self.0.read().map_err(|_| ChainError::Halted)
    }

    /// Makes the next block of these raw transactions.
    pub(crate) fn mine(&self, raw: &[Bytes]) -> Result<Arc<Block>, ChainError> {
        // Signatures are checked before the lock: they take longer than running the transactions.
        let chain_id = self.read()?.chain_id;
        let signed = raw.iter().map(|raw| SignedTx::parse(raw, chain_id)).collect::<Result<Vec<_>, _>>()?;
        self.0.write().map_err(|_| ChainError::Halted)?.mine(signed)
    }
}

/// Hash, time and journal place of a block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockMeta {
    pub(crate) number: u64,
    pub(crate) hash: B256,
    pub(crate) timestamp: u64,
    span: Option<Span>,
}

/// The chain behind its handles.
pub(crate) struct Chain {
    chain_id: u64,
    clock: Arc<dyn Clock>,
    genesis: Arc<Block>,
    state: State,
    /// Never empty: the first is the genesis block.
    metas: Vec<BlockMeta>,
    index: Index,
    journal: Journal,
    recent: Mutex<VecDeque<Arc<Block>>>,
    /// Dropped last, which tells those who wait that the journal is unlocked.
    open: watch::Sender<()>,
}

impl Chain {
    fn start(config: &ChainConfig, clock: Arc<dyn Clock>) -> Self {
        let mut state = State::new(Default::default());
        let mut allocation = Vec::new();
        for (address, &balance_wei) in &config.balances_wei {
            allocation.extend_from_slice(&address.0);
            allocation.extend_from_slice(&balance_wei.to_be_bytes());
            let info = AccountInfo { balance: U256::from(balance_wei), ..Default::default() };
            state.insert_account_info(EvmAddress::from(address.0), info);
        }
        // The extra data tie the first hash to the first balances and the chain id.
        let mut extra_data = config.chain_id.to_be_bytes().to_vec();
        extra_data.extend_from_slice(&keccak256(&allocation)[..24]);
        let header = Header {
            gas_limit: BLOCK_GAS_MAX,
            base_fee_per_gas: Some(0),
            extra_data: extra_data.into(),
            ..Default::default()
        };
        let hash = header.hash_slow();
        state.cache.block_hashes.insert(U256::ZERO, hash);
        let mut index = Index::default();
        let genesis = Block { header, hash, txs: Vec::new() };
        index.insert(&genesis);
        Self {
            chain_id: config.chain_id,
            clock,
            genesis: Arc::new(genesis),
            state,
            metas: vec![BlockMeta { number: 0, hash, timestamp: 0, span: None }],
            index,
            journal: Journal::in_memory(),
            recent: Mutex::default(),
            open: watch::Sender::new(()),
        }
    }

    fn open(path: &Path, config: &ChainConfig, clock: Arc<dyn Clock>) -> Result<Self, ChainError> {
        let mut chain = Self::start(config, clock);
        let genesis_hash = chain.genesis.hash;
        let journal = Journal::open(path, config.chain_id, genesis_hash, |number, span, payload| {
            chain.replay(number, span, payload)
        })?;
        chain.journal = journal;
        Ok(chain)
    }

    fn replay(&mut self, number: u64, span: Span, payload: &[u8]) -> Result<(), ChainError> {
        let recorded = Block::decode(payload, self.head().hash, number)?;
        let timestamp = recorded.header.timestamp;
        if timestamp < self.head().timestamp {
            return Err(ChainError::Diverged { number });
        }
        let signed = recorded
            .txs
            .iter()
            .map(|executed| {
                let raw = alloy_eips::eip2718::Encodable2718::encoded_2718(&executed.tx);
                SignedTx::parse(&raw, self.chain_id)
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| ChainError::Diverged { number })?;
        let (block, changes) = self.run(signed, timestamp).map_err(|_| ChainError::Diverged { number })?;
        if block.encode() != payload {
            return Err(ChainError::Diverged { number });
        }
        self.adopt(block, span, changes);
        Ok(())
    }

    fn mine(&mut self, signed: Vec<SignedTx>) -> Result<Arc<Block>, ChainError> {
        let (block, changes) = self.run(signed, self.now())?;
        let span = self.journal.append(block.header.number, &block.encode())?;
        Ok(self.adopt(block, span, changes))
    }

    /// Runs transactions as the next block without keeping anything.
    fn run(&self, signed: Vec<SignedTx>, timestamp: u64) -> Result<(Block, revm::state::EvmState), ChainError> {
        let parent = self.head();
        let place = Place { chain_id: self.chain_id, number: parent.number + 1, timestamp };
        let (txs, changes) = execute::run_block(&self.state, place, signed)?;
        Ok((Block::seal(parent.hash, place.number, timestamp, txs), changes))
    }

    /// Makes a block that is in the journal the head.
    fn adopt(&mut self, block: Block, span: Span, changes: revm::state::EvmState) -> Arc<Block> {
        let number = block.header.number;
        execute::commit(&mut self.state, changes);
        self.state.cache.block_hashes.insert(U256::from(number), block.hash);
        if let Some(old) = number.checked_sub(BLOCK_HASHES_KEPT) {
            self.state.cache.block_hashes.remove(&U256::from(old));
        }
        self.index.insert(&block);
        let timestamp = block.header.timestamp;
        self.metas.push(BlockMeta { number, hash: block.hash, timestamp, span: Some(span) });
        let block = Arc::new(block);
        self.remember(span, &block);
        block
    }

    fn remember(&self, span: Span, block: &Arc<Block>) {
        if span.len() > RECENT_BLOCK_BYTES_MAX {
            return;
        }
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == RECENT_BLOCKS_MAX {
            recent.pop_front();
        }
        recent.push_back(block.clone());
    }

    /// Block time if a block were made now: the clock's, but never before the head's.
    fn now(&self) -> u64 {
        self.clock.unix_s().max(self.head().timestamp)
    }

    pub(crate) fn chain_id(&self) -> u64 {
        self.chain_id
    }

    pub(crate) fn head(&self) -> BlockMeta {
        // `metas` starts with the genesis block and only grows.
        self.metas[self.metas.len() - 1]
    }

    /// The block with this number, read back from the journal if need be.
    pub(crate) fn block(&self, number: u64) -> Result<Option<Arc<Block>>, ChainError> {
        let place = usize::try_from(number).ok();
        let Some(meta) = place.and_then(|place| self.metas.get(place)).copied() else { return Ok(None) };
        let Some(span) = meta.span else { return Ok(Some(self.genesis.clone())) };
        let kept = {
            let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
            recent.iter().find(|block| block.hash == meta.hash).cloned()
        };
        if kept.is_some() {
            return Ok(kept);
        }
        let parent_hash =
            place.and_then(|place| self.metas.get(place.checked_sub(1)?)).map_or(B256::ZERO, |meta| meta.hash);
        let block = Block::decode(&self.journal.read(span)?, parent_hash, number)?;
        if block.hash != meta.hash {
            return Err(ChainError::Corrupt { number });
        }
        Ok(Some(Arc::new(block)))
    }

    pub(crate) fn index(&self) -> &Index {
        &self.index
    }

    /// Balance, nonce and code hash; those of a new account when there is none.
    pub(crate) fn account(&self, address: EvmAddress) -> AccountInfo {
        self.state.basic_ref(address).ok().flatten().unwrap_or_default()
    }

    pub(crate) fn code(&self, address: EvmAddress) -> Bytes {
        let hash = self.account(address).code_hash;
        self.state.code_by_hash_ref(hash).map(|code| code.original_bytes()).unwrap_or_default()
    }

    pub(crate) fn storage(&self, address: EvmAddress, slot: U256) -> U256 {
        self.state.storage_ref(address, slot).unwrap_or_default()
    }

    /// Runs a message at the present time on the newest state and forgets its effects.
    pub(crate) fn call(&self, message: &Message) -> Result<ExecutionResult, ChainError> {
        let place = Place { chain_id: self.chain_id, number: self.head().number + 1, timestamp: self.now() };
        execute::run_message(&self.state, place, self.account(message.from).nonce, message)
    }
}
