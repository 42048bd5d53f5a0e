//! The client of the market's contracts. One client serves the embedded chain and any EVM chain
//! behind JSON-RPC; only the transport differs.

mod deploy;
mod error;
mod market;
mod proven;
mod registry;
mod send;
mod settled;
mod source;
mod token;
mod words;

pub use deploy::{DeploymentConfig, ProofDeployment, VerifierKey, deploy, deploy_with_proofs};
pub use error::LedgerError;
pub use market::{OrderStatus, PermitSignature, SettlementSignatures};
pub use proven::ProvenRegistry;
pub use registry::{RegisteredBatch, RegistrationSummary};
pub use settled::ShownSettlement;
pub use token::TokenFacts;

use crate::{
    account::AccountKey,
    bindings,
    chain::EmbeddedChain,
    eip712::{Contracts, evm, own},
    embedded::EmbeddedTransport,
};
use alloy_network::TransactionBuilder as _;
use alloy_primitives::{Address as EvmAddress, B256, Bytes};
use alloy_provider::{DynProvider, Provider as _, ProviderBuilder};
use alloy_rpc_client::RpcClient;
use alloy_rpc_types_eth::{TransactionReceipt, TransactionRequest};
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::SolCall;
use locus_commitment::{Address, Digest32};
use std::{sync::Arc, time::Duration};
use tokio::sync::Mutex;

/// Shortest pause between looks for a receipt on remote chains.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A connection to a chain, optionally with an account that sends transactions. Clones share the
/// account's place in the order of transactions, so use clones and not several connections of one
/// account.
#[derive(Clone)]
pub struct Chain {
    provider: DynProvider,
    sender: Option<Sender>,
}

/// Is told of every transaction before it is sent; when it fails, nothing is sent.
pub type BeforeSending = Arc<dyn Fn(&Digest32) -> Result<(), Box<dyn std::error::Error + Send + Sync>> + Send + Sync>;

/// The account that sends.
#[derive(Clone)]
struct Sender {
    key: PrivateKeySigner,
    before_sending: Option<BeforeSending>,
    /// Held while a transaction gets its nonce, so that nonces cannot race inside a process.
    turn: Arc<Mutex<()>>,
    /// Nonces sent whose outcome is not known yet.
    outstanding: send::Outstanding,
}

impl Sender {
    fn address(&self) -> EvmAddress {
        self.key.address()
    }
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Chain {{ sender: {:?} }}", self.sender.as_ref().map(Sender::address))
    }
}

impl Chain {
    /// Connects to an embedded chain.
    pub fn embedded(chain: EmbeddedChain, sender: Option<&AccountKey>) -> Self {
        Self::over(RpcClient::new(EmbeddedTransport(chain), true), sender)
    }

    /// Connects to a chain node over HTTP, or HTTPS with the authorities that this machine trusts.
    ///
    /// # Errors
    /// [`LedgerError::BadUrl`] for anything else than such a URL.
    pub fn http(url: &str, sender: Option<&AccountKey>) -> Result<Self, LedgerError> {
        let parsed: Option<url::Url> = url.parse().ok();
        let node = parsed.filter(|node| matches!(node.scheme(), "http" | "https"));
        let node = node.ok_or_else(|| LedgerError::BadUrl(url.to_owned()))?;
        Ok(Self::over(RpcClient::new_http(node), sender))
    }

    /// This connection, which tells of every transaction before it is sent.
    #[must_use]
    pub fn before_sending(mut self, tell: BeforeSending) -> Self {
        if let Some(sender) = &mut self.sender {
            sender.before_sending = Some(tell);
        }
        self
    }

    fn over(client: RpcClient, sender: Option<&AccountKey>) -> Self {
        let provider = ProviderBuilder::new().disable_recommended_fillers().connect_client(client).erased();
        let sender = sender.map(|key| Sender {
            key: key.signer().clone(),
            before_sending: None,
            turn: Arc::default(),
            outstanding: Default::default(),
        });
        Self { provider, sender }
    }

    /// The chain's EIP-155 id.
    pub async fn chain_id(&self) -> Result<u64, LedgerError> {
        self.ask(self.provider.get_chain_id().into_future()).await
    }

    /// The account that sends transactions.
    pub fn sender(&self) -> Option<Address> {
        self.sender.as_ref().map(|sender| own(sender.address()))
    }

    async fn execute<C: SolCall>(&self, to: Address, call: &C) -> Result<TransactionReceipt, LedgerError> {
        let request = TransactionRequest::default().with_to(evm(to)).with_input(call.abi_encode());
        self.send(request).await
    }

    async fn read<C: SolCall>(&self, to: Address, call: &C) -> Result<C::Return, LedgerError> {
        let request = TransactionRequest::default().with_to(evm(to)).with_input(call.abi_encode());
        let output = self.ask(self.provider.call(request).into_future()).await?;
        C::abi_decode_returns(&output).map_err(|_| LedgerError::UnexpectedAnswer)
    }

    async fn create(&self, bytecode: Bytes, arguments: &[u8]) -> Result<Address, LedgerError> {
        let code: Vec<u8> = [bytecode.as_ref(), arguments].concat();
        let receipt = self.send(TransactionRequest::default().with_deploy_code(code)).await?;
        let address: EvmAddress = receipt.contract_address.ok_or(LedgerError::UnexpectedAnswer)?;
        Ok(own(address))
    }
}

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionOutcome {
    /// Block that includes it; a reorganisation may still take it back.
    pub block: u64,
    /// Whether it did what it says; otherwise it changed nothing.
    pub succeeded: bool,
    /// Gas that it used.
    pub gas_used: u64,
}

/// The contracts of one market on a chain.
#[derive(Debug, Clone)]
pub struct Ledger {
    chain: Chain,
    contracts: Contracts,
}

impl Ledger {
    /// The market with these contracts; fails when the chain is another one or has no registry there.
    pub async fn open(chain: Chain, contracts: Contracts) -> Result<Self, LedgerError> {
        let chain_id = chain.chain_id().await?;
        if chain_id != contracts.network.chain_id {
            return Err(LedgerError::OtherChain { expected: contracts.network.chain_id, found: chain_id });
        }
        let ledger = Self { chain, contracts };
        ledger.read_registry(&bindings::registry::DatasetRegistry::committeeEpochCall {}).await?;
        Ok(ledger)
    }

    /// The contracts.
    pub fn contracts(&self) -> &Contracts {
        &self.contracts
    }

    /// The account that sends transactions.
    pub fn sender(&self) -> Option<Address> {
        self.chain.sender()
    }

    /// What became of a transaction; `None` while it is not included.
    pub async fn transaction_outcome(&self, transaction: &Digest32) -> Result<Option<TransactionOutcome>, LedgerError> {
        let hash = B256::from(transaction.0);
        let receipt = self.chain.ask(self.chain.provider.get_transaction_receipt(hash).into_future()).await?;
        let Some(receipt) = receipt else { return Ok(None) };
        Ok(Some(TransactionOutcome {
            block: receipt.block_number.ok_or(LedgerError::UnexpectedAnswer)?,
            succeeded: receipt.status(),
            gas_used: receipt.gas_used,
        }))
    }

    async fn read_registry<C: SolCall>(&self, call: &C) -> Result<C::Return, LedgerError> {
        self.chain.read(self.contracts.network.registry, call).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io::Read as _, net::TcpListener};

    /// First byte of a TLS connection: a handshake.
    const TLS_HANDSHAKE: u8 = 22;

    /// What a client that is given an address with this scheme says first.
    async fn first_byte(scheme: &str) -> u8 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let hearing = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a caller");
            let mut first = [0];
            stream.read_exact(&mut first).expect("a byte");
            first[0]
        });
        let chain = Chain::http(&format!("{scheme}://{address}"), None).expect("an address");
        assert!(chain.chain_id().await.is_err(), "nobody answers");
        hearing.join().expect("heard")
    }

    #[tokio::test]
    async fn a_node_is_spoken_to_in_tls_exactly_when_its_address_says_so() {
        assert_eq!(first_byte("https").await, TLS_HANDSHAKE);
        assert_eq!(first_byte("http").await, b'P', "of POST");
    }

    #[test]
    fn the_address_of_a_node_is_a_web_address() {
        for good in ["http://127.0.0.1:8545", "https://chain.example.org", "https://chain.example.org:8545/key"] {
            assert!(Chain::http(good, None).is_ok(), "{good}");
        }
        for bad in ["", "127.0.0.1:8545", "chain.example.org", "ws://127.0.0.1:8545", "file:///chain", "https://"] {
            assert!(matches!(Chain::http(bad, None), Err(LedgerError::BadUrl(url)) if url == bad), "{bad}");
        }
    }
}
