//! The chains that the tests run on.

use locus_commitment::Address;
use locus_ledger::{AccountKey, Chain, ChainConfig, Clock, EmbeddedChain};
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    sync::Arc,
};

pub(crate) const CHAIN_ID: u64 = 31_337;
/// Every chain starts on day 20,833.
pub(crate) const START_UNIX_S: u64 = 1_800_000_000;
/// Names the Anvil program to use.
const ANVIL_VARIABLE: &str = "LOCUS_ANVIL";
/// Whether a missing Anvil is a failure.
const REQUIRED_VARIABLE: &str = "LOCUS_ANVIL_REQUIRED";

/// A clock that stands still: every block has the first one's time.
#[derive(Debug)]
struct StoppedClock;

impl Clock for StoppedClock {
    fn unix_s(&self) -> u64 {
        START_UNIX_S
    }
}

/// A chain under test.
pub(crate) enum Backend {
    Embedded(EmbeddedChain),
    Anvil(Anvil),
}

/// A running Anvil; ends with this value.
pub(crate) struct Anvil {
    process: Child,
    address: String,
}

impl Drop for Anvil {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to do.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Backend {
    pub(crate) fn embedded() -> Self {
        Self::Embedded(EmbeddedChain::in_memory(&ChainConfig::new(CHAIN_ID), Arc::new(StoppedClock)))
    }

    /// A fresh Anvil whose blocks are final after two epochs, or `None` when the environment names none.
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
        Some(Self::Anvil(Anvil { process, address }))
    }

    /// A connection that sends from `key`, whose fees are paid for.
    pub(crate) fn connect(&self, key: &AccountKey) -> Chain {
        match self {
            Self::Embedded(chain) => Chain::embedded(chain.clone(), Some(key)),
            Self::Anvil(anvil) => {
                anvil.call("anvil_setBalance", &format!("[\"{}\", \"0x8ac7230489e80000\"]", key.address()));
                Chain::http(&format!("http://{}", anvil.address), Some(key)).expect("the address is a url")
            }
        }
    }

    /// Replaces the last `depth` blocks by empty ones.
    pub(crate) fn reorganise(&self, depth: u64) {
        match self {
            Self::Embedded(_) => panic!("the embedded chain has no reorganisations"),
            Self::Anvil(anvil) => anvil.call("anvil_reorg", &format!("[{depth}, []]")),
        }
    }
}

impl Anvil {
    /// Calls a method of Anvil's own.
    fn call(&self, method: &str, params: &str) {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
        let mut stream = TcpStream::connect(&self.address).expect("Anvil listens");
        let head = format!("POST / HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.address);
        let rest = format!("content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all((head + &rest).as_bytes()).expect("Anvil reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("Anvil answers");
        assert!(answer.contains("\"result\""), "Anvil refuses {method}: {answer}");
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
