//! The chains that the suite runs on.

use locus_commitment::Address;
use locus_ledger::{AccountKey, Chain, ChainConfig, Clock, EmbeddedChain};
use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Both chains have the id that Anvil has by default, so that contracts get equal addresses.
pub(crate) const CHAIN_ID: u64 = 31_337;
/// Time at which every chain starts.
pub(crate) const START_UNIX_S: u64 = 1_900_000_000;
/// Names the Anvil program to use.
const ANVIL_VARIABLE: &str = "LOCUS_ANVIL";

/// Whether a missing Anvil is a failure.
const REQUIRED_VARIABLE: &str = "LOCUS_ANVIL_REQUIRED";

/// A clock that a test moves.
#[derive(Debug)]
pub(crate) struct ManualClock(AtomicU64);

impl Clock for ManualClock {
    fn unix_s(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// A chain under test.
pub(crate) enum Backend {
    /// The embedded chain.
    Embedded { chain: EmbeddedChain, clock: Arc<ManualClock> },
    /// Anvil over HTTP.
    Anvil(Anvil),
}

/// A running Anvil; ends with this value.
pub(crate) struct Anvil {
    process: Child,
    url: String,
    /// Seconds by which the chain's time was moved.
    moved_s: AtomicU64,
}

impl Drop for Anvil {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to do.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Backend {
    /// A fresh embedded chain in memory.
    pub(crate) fn embedded() -> Self {
        Self::embedded_from(START_UNIX_S)
    }

    /// A fresh embedded chain in memory that starts at another time.
    pub(crate) fn embedded_from(start_unix_s: u64) -> Self {
        let clock = Arc::new(ManualClock(AtomicU64::new(start_unix_s)));
        let chain = EmbeddedChain::in_memory(&ChainConfig::new(CHAIN_ID), clock.clone());
        Self::Embedded { chain, clock }
    }

    /// The embedded chain whose journal is `path`, fresh or as it was left.
    pub(crate) fn embedded_at(path: &Path) -> Self {
        let clock = Arc::new(ManualClock(AtomicU64::new(START_UNIX_S)));
        let chain = EmbeddedChain::open(path, &ChainConfig::new(CHAIN_ID), clock.clone()).expect("the journal opens");
        Self::Embedded { chain, clock }
    }

    /// A fresh Anvil, or `None` when the environment names none. A block is final when `lag` epochs
    /// of `epoch_blocks` blocks follow it (Anvil: two).
    pub(crate) fn anvil(epoch_blocks: u64) -> Option<Self> {
        let Some(program) = std::env::var_os(ANVIL_VARIABLE) else {
            assert!(
                std::env::var_os(REQUIRED_VARIABLE).is_none(),
                "{REQUIRED_VARIABLE} is set, but {ANVIL_VARIABLE} does not name an Anvil program"
            );
            eprintln!("not run on Anvil: {ANVIL_VARIABLE} does not name an Anvil program");
            return None;
        };
        let mut process = Command::new(&program)
            .args(["--port", "0", "--host", "127.0.0.1", "--accounts", "1"])
            .args(["--timestamp", &START_UNIX_S.to_string(), "--slots-in-an-epoch", &epoch_blocks.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{ANVIL_VARIABLE} names {program:?}, which does not start: {error}"));
        let output = process.stdout.take().expect("standard output is piped");
        let mut lines = BufReader::new(output).lines();
        let address = lines
            .find_map(|line| line.ok()?.strip_prefix("Listening on ").map(str::to_owned))
            .unwrap_or_else(|| panic!("{program:?} ended without listening"));
        // Anvil writes on; nobody may leave the pipe full.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self::Anvil(Anvil { process, url: format!("http://{address}"), moved_s: AtomicU64::new(0) }))
    }

    /// A connection that sends from `key`, whose fees are paid for.
    pub(crate) async fn connect(&self, key: &AccountKey) -> Chain {
        match self {
            Self::Embedded { chain, .. } => Chain::embedded(chain.clone(), Some(key)),
            Self::Anvil(anvil) => {
                let ten_ether = "0x8ac7230489e80000";
                anvil.call("anvil_setBalance", json!([key.address().to_string(), ten_ether])).await;
                Chain::http(&anvil.url, Some(key)).expect("the address is a url")
            }
        }
    }

    /// The time that the next block would have, at least.
    pub(crate) fn now_unix_s(&self) -> u64 {
        match self {
            Self::Embedded { clock, .. } => clock.unix_s(),
            Self::Anvil(anvil) => START_UNIX_S + anvil.moved_s.load(Ordering::SeqCst),
        }
    }

    /// Lets time pass.
    pub(crate) async fn advance_s(&self, seconds: u64) {
        match self {
            Self::Embedded { clock, .. } => {
                clock.0.fetch_add(seconds, Ordering::SeqCst);
            }
            Self::Anvil(anvil) => {
                anvil.call("evm_increaseTime", json!([seconds])).await;
                anvil.call("anvil_mine", json!(["0x1"])).await;
                anvil.moved_s.fetch_add(seconds, Ordering::SeqCst);
            }
        }
    }

    /// Makes everything so far final.
    pub(crate) async fn finalize(&self) {
        if let Self::Anvil(anvil) = self {
            anvil.mine(3).await;
        }
    }

    /// Whether the chain is Anvil.
    pub(crate) fn as_anvil(&self) -> Option<&Anvil> {
        match self {
            Self::Embedded { .. } => None,
            Self::Anvil(anvil) => Some(anvil),
        }
    }
}

impl Anvil {
    /// Mines empty blocks.
    pub(crate) async fn mine(&self, blocks: u64) {
        self.call("anvil_mine", json!([format!("{blocks:#x}")])).await;
    }

    /// Replaces the last `depth` blocks by empty ones.
    pub(crate) async fn reorganise(&self, depth: u64) {
        self.call("anvil_reorg", json!([depth, []])).await;
    }

    /// Calls a method of Anvil's own.
    pub(crate) async fn call(&self, method: &'static str, params: Value) -> Value {
        let client = alloy_rpc_client::RpcClient::new_http(self.url.parse().expect("the address is a url"));
        client.request(method, params).await.unwrap_or_else(|error| panic!("Anvil refuses {method}: {error}"))
    }
}

/// The deterministic key number `index`.
pub(crate) fn key(index: u8) -> AccountKey {
    AccountKey::from_bytes(&[index; 32]).expect("small constants are keys")
}

/// The account of key number `index`.
pub(crate) fn account(index: u8) -> Address {
    key(index).address()
}
