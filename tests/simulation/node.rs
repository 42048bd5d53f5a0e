//! A chain node that changes its mind: the newest blocks are taken back at times, and what was in them is included
//! again, later and in other blocks. It executes with the embedded chain and is asked over HTTP, as any node is.

use crate::random::Random;
use anyhow::{Context as _, Result, ensure};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Bytes, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use locus_ledger::{ChainConfig, EmbeddedChain};
use locus_service::Clock;
use serde_json::{Value, json};
use std::{
    convert::Infallible,
    fs,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Blocks that may be taken back: those after the final one.
pub(crate) const REORG_MAX: u64 = 64;
/// How often the node makes blocks.
const TICK: Duration = Duration::from_millis(15);
/// Blocks it makes while something is not final.
const BLOCKS_A_TICK: u64 = 4;
/// Ticks for which what was taken back waits, at most.
const HELD_TICKS_MAX: u64 = 8;
/// Bytes of a journal before its first record, and of a record around its payload.
const JOURNAL_HEAD: usize = 8 + 4 + 8 + 32 + 8;
const RECORD_HEAD: usize = 4 + 8 + 8;
const RECORD_TAIL: usize = 32 + 8;
/// Where the transaction of a block lies in a payload: after time, hash and their number.
const TRANSACTION_AT: usize = 8 + 32 + 4;

/// A block that can be made again.
#[derive(Clone)]
struct Made {
    time_unix_s: u64,
    /// In hexadecimal; `None` in an empty block.
    transaction: Option<String>,
}

/// The time of blocks: the market's, or that of a block that is made again.
struct BlockClock {
    market: Clock,
    /// 0 when none is made again.
    again_unix_s: AtomicU64,
}

impl locus_ledger::Clock for BlockClock {
    fn unix_s(&self) -> u64 {
        match self.again_unix_s.load(Ordering::SeqCst) {
            0 => self.market.now_unix_s(),
            again => again,
        }
    }
}

struct State {
    clock: Arc<BlockClock>,
    chain: EmbeddedChain,
    /// From block 1 on.
    made: Vec<Made>,
    finalized: u64,
    /// What was taken back, oldest first.
    held: Vec<String>,
    held_ticks: u64,
    random: Random,
}

/// The node; it stops when dropped.
pub(crate) struct Node {
    state: Arc<Mutex<State>>,
    url: String,
    _stop: DropGuard,
}

impl Node {
    /// A node that has the blocks of an embedded chain's journal, all final. Must be called where a runtime runs.
    pub(crate) async fn start(journal: &Path, market: Clock, random: Random) -> Result<Self> {
        let made = read_journal(&fs::read(journal)?)?;
        let clock = Arc::new(BlockClock { market, again_unix_s: AtomicU64::new(0) });
        let chain = chain_of(&clock, &made)?;
        let finalized = chain.head_number();
        let state = State { clock, chain, made, finalized, held: Vec::new(), held_ticks: 0, random };
        let state = Arc::new(Mutex::new(state));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(serve(listener, state.clone())));
        tokio::spawn(stop.clone().run_until_cancelled_owned(make_blocks(state.clone())));
        Ok(Self { state, url, _stop: stop.drop_guard() })
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Takes back the newest `depth` blocks, as far as they are not final. Returns how many transactions that were
    /// included are not any more.
    pub(crate) fn reorganise(&self, depth: u64) -> Result<usize> {
        lock(&self.state).reorganise(depth)
    }

    /// Whether everything that was sent is included and final.
    pub(crate) fn is_settled(&self) -> bool {
        let state = lock(&self.state);
        state.held.is_empty() && !state.is_waiting()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// Whether a transaction is included and not final.
    fn is_waiting(&self) -> bool {
        let finalized = usize::try_from(self.finalized).unwrap_or(usize::MAX);
        self.made.iter().skip(finalized).any(|block| block.transaction.is_some())
    }

    fn reorganise(&mut self, depth: u64) -> Result<usize> {
        let kept = self.chain.head_number().saturating_sub(depth.min(REORG_MAX)).max(self.finalized);
        let taken_back = self.made.split_off(usize::try_from(kept)?);
        let mut held: Vec<String> = taken_back.into_iter().filter_map(|block| block.transaction).collect();
        let count = held.len();
        held.append(&mut self.held);
        self.held = held;
        self.held_ticks = self.random.below(HELD_TICKS_MAX);
        self.chain = chain_of(&self.clock, &self.made)?;
        // Even what follows in the same second is another block now.
        self.make(None);
        Ok(count)
    }

    /// Makes a block; the chain's answer to a transaction, which may be that it makes none.
    fn make(&mut self, transaction: Option<String>) -> Value {
        let before = self.chain.head_number();
        let answered = match &transaction {
            Some(raw) => ask(&self.chain, "eth_sendRawTransaction", json!([raw])),
            None => ask(&self.chain, "evm_mine", json!([])),
        };
        if self.chain.head_number() > before {
            let time_unix_s = locus_ledger::Clock::unix_s(&*self.clock);
            let time_unix_s = time_unix_s.max(self.made.last().map_or(0, |block| block.time_unix_s));
            self.made.push(Made { time_unix_s, transaction });
        }
        answered
    }

    fn include_held(&mut self) {
        for raw in std::mem::take(&mut self.held) {
            self.make(Some(raw));
        }
    }

    fn tick(&mut self) {
        match self.held_ticks.checked_sub(1) {
            Some(left) => self.held_ticks = left,
            None => self.include_held(),
        }
        if self.is_waiting() {
            (0..BLOCKS_A_TICK).for_each(|_| drop(self.make(None)));
            self.finalized = self.finalized.max(self.chain.head_number().saturating_sub(REORG_MAX));
        }
    }

    fn answer(&mut self, mut request: Value) -> Value {
        match request["method"].as_str() {
            Some("eth_getBlockByNumber") if matches!(request["params"][0].as_str(), Some("finalized" | "safe")) => {
                request["params"][0] = json!(format!("0x{:x}", self.finalized));
            }
            // What waits is included before anything that follows it.
            Some("eth_getTransactionCount") if request["params"][1] == "pending" => self.include_held(),
            Some("eth_sendRawTransaction") => {
                self.include_held();
                let raw = request["params"][0].as_str().unwrap_or_default().to_owned();
                let mut answered = self.make(Some(raw));
                answered["id"] = request["id"].take();
                return answered;
            }
            _ => {}
        }
        let method = request["method"].as_str().unwrap_or_default().to_owned();
        let mut answered = ask(&self.chain, &method, request["params"].take());
        answered["id"] = request["id"].take();
        answered
    }
}

/// A chain of these blocks.
fn chain_of(clock: &Arc<BlockClock>, made: &[Made]) -> Result<EmbeddedChain> {
    let chain = EmbeddedChain::in_memory(&ChainConfig::new(locus::node::CHAIN_ID), clock.clone());
    for (place, block) in made.iter().enumerate() {
        clock.again_unix_s.store(block.time_unix_s, Ordering::SeqCst);
        match &block.transaction {
            Some(raw) => ask(&chain, "eth_sendRawTransaction", json!([raw])),
            None => ask(&chain, "evm_mine", json!([])),
        };
        ensure!(usize::try_from(chain.head_number())? == place + 1, "block {} cannot be made again", place + 1);
    }
    clock.again_unix_s.store(0, Ordering::SeqCst);
    Ok(chain)
}

fn ask(chain: &EmbeddedChain, method: &str, params: Value) -> Value {
    let params = match params {
        Value::Array(params) => params,
        _ => Vec::new(),
    };
    match chain.answer(method, params) {
        Ok(result) => json!({"jsonrpc": "2.0", "result": result}),
        Err(error) => json!({"jsonrpc": "2.0", "error": error}),
    }
}

/// The blocks of a journal (specification of the ledger, clause 9).
fn read_journal(bytes: &[u8]) -> Result<Vec<Made>> {
    let mut rest = bytes.get(JOURNAL_HEAD..).context("a journal's head")?;
    let mut made = Vec::new();
    while let Some((length, _)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_le_bytes(*length))?;
        let payload = rest.get(RECORD_HEAD..RECORD_HEAD + length).context("a payload")?;
        let time = payload.first_chunk::<8>().context("a time")?;
        let transaction = payload.get(TRANSACTION_AT..).context("a count")?;
        let transaction = match transaction.split_first_chunk::<4>() {
            Some((length, bytes)) => {
                let length = usize::try_from(u32::from_le_bytes(*length))?;
                let raw = bytes.get(..length).context("a transaction")?;
                Some(raw.iter().fold("0x".to_owned(), |text, byte| format!("{text}{byte:02x}")))
            }
            None => None,
        };
        made.push(Made { time_unix_s: u64::from_le_bytes(*time), transaction });
        rest = &rest[RECORD_HEAD + length + RECORD_TAIL..];
    }
    Ok(made)
}

async fn make_blocks(state: Arc<Mutex<State>>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        lock(&state).tick();
    }
}

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>) {
    while let Ok((socket, _)) = listener.accept().await {
        let state = state.clone();
        let handle = service_fn(move |request| answer(state.clone(), request));
        let connection = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
        tokio::spawn(async move {
            // A connection that breaks is the client's to mend.
            let _ = connection.serve_connection(TokioIo::new(socket), handle).await;
        });
    }
}

async fn answer(state: Arc<Mutex<State>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = match request.into_body().collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => Bytes::new(),
    };
    let answered = match serde_json::from_slice(&body).unwrap_or(Value::Null) {
        Value::Array(requests) => {
            let mut state = lock(&state);
            Value::Array(requests.into_iter().map(|request| state.answer(request)).collect())
        }
        request => lock(&state).answer(request),
    };
    Ok(Response::new(Full::new(answered.to_string().into())))
}
