//! The client of the market's contracts. One client serves the embedded chain and any EVM chain
//! behind JSON-RPC; only the transport differs.

mod calls;
mod deploy;
mod error;
mod source;

pub use calls::{PermitSignature, RegisteredBatch, SettlementSignatures};
pub use deploy::{DeploymentConfig, deploy};
pub use error::LedgerError;

use crate::{
    account::AccountKey,
    bindings,
    chain::EmbeddedChain,
    eip712::{Contracts, evm},
    embedded::EmbeddedTransport,
};
use alloy_network::{EthereumWallet, TransactionBuilder as _};
use alloy_primitives::{Address as EvmAddress, Bytes};
use alloy_provider::{DynProvider, Provider as _, ProviderBuilder};
use alloy_rpc_client::RpcClient;
use alloy_rpc_types_eth::{TransactionReceipt, TransactionRequest};
use alloy_sol_types::SolCall;
use locus_commitment::{Address, Digest32};
use std::{sync::Arc, time::Duration};
use tokio::sync::Mutex;

/// How long a transaction may take to be included.
const RECEIPT_DEADLINE: Duration = Duration::from_secs(120);
/// Pause between looks for a receipt on remote chains.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A connection to a chain, optionally with an account that sends transactions.
#[derive(Clone)]
pub struct Chain {
    provider: DynProvider,
    sender: Option<Address>,
    /// One transaction at a time, so that nonces cannot race inside a process.
    sending: Arc<Mutex<()>>,
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Chain {{ sender: {:?} }}", self.sender)
    }
}

impl Chain {
    /// Connects to an embedded chain.
    pub fn embedded(chain: EmbeddedChain, sender: Option<&AccountKey>) -> Self {
        Self::over(RpcClient::new(EmbeddedTransport(chain), true), sender)
    }

    /// Connects to a chain node over HTTP.
    pub fn http(url: &str, sender: Option<&AccountKey>) -> Result<Self, LedgerError> {
        let url = url.parse().map_err(|_| LedgerError::BadUrl(url.to_owned()))?;
        Ok(Self::over(RpcClient::new_http(url), sender))
    }

    fn over(client: RpcClient, sender: Option<&AccountKey>) -> Self {
        client.set_poll_interval(POLL_INTERVAL);
        let provider = match sender {
            Some(key) => {
                let wallet = EthereumWallet::from(key.signer().clone());
                ProviderBuilder::new().wallet(wallet).connect_client(client).erased()
            }
            None => ProviderBuilder::new().connect_client(client).erased(),
        };
        Self { provider, sender: sender.map(AccountKey::address), sending: Arc::new(Mutex::new(())) }
    }

    /// The chain's EIP-155 id.
    pub async fn chain_id(&self) -> Result<u64, LedgerError> {
        Ok(self.provider.get_chain_id().await?)
    }

    async fn send(&self, request: TransactionRequest) -> Result<TransactionReceipt, LedgerError> {
        let sender = self.sender.ok_or(LedgerError::NoSender)?;
        let _one_at_a_time = self.sending.lock().await;
        let pending = self.provider.send_transaction(request.with_from(evm(sender))).await?;
        let receipt = pending.with_timeout(Some(RECEIPT_DEADLINE)).get_receipt().await?;
        if receipt.status() { Ok(receipt) } else { Err(LedgerError::Reverted(Digest32(receipt.transaction_hash.0))) }
    }

    async fn execute<C: SolCall>(&self, to: Address, call: &C) -> Result<TransactionReceipt, LedgerError> {
        let request = TransactionRequest::default().with_to(evm(to)).with_input(call.abi_encode());
        self.send(request).await
    }

    async fn read<C: SolCall>(&self, to: Address, call: &C) -> Result<C::Return, LedgerError> {
        let request = TransactionRequest::default().with_to(evm(to)).with_input(call.abi_encode());
        let output = self.provider.call(request).await?;
        C::abi_decode_returns(&output).map_err(|_| LedgerError::UnexpectedAnswer)
    }

    async fn create(&self, bytecode: Bytes, arguments: &[u8]) -> Result<Address, LedgerError> {
        let code: Vec<u8> = [bytecode.as_ref(), arguments].concat();
        let receipt = self.send(TransactionRequest::default().with_deploy_code(code)).await?;
        let address: EvmAddress = receipt.contract_address.ok_or(LedgerError::UnexpectedAnswer)?;
        Ok(crate::eip712::own(address))
    }
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
        self.chain.sender
    }

    async fn read_registry<C: SolCall>(&self, call: &C) -> Result<C::Return, LedgerError> {
        self.chain.read(self.contracts.network.registry, call).await
    }
}
