//! Deploying a market.

use super::{Chain, LedgerError};
use crate::{
    bindings::registry,
    eip712::{Contracts, evm},
    types::CommitteeMember,
};
use alloy_primitives::Bytes;
use alloy_sol_types::SolValue as _;
use locus_commitment::{Address, NetworkId};
use locus_privacy::NetworkParameterValues;
use serde::Deserialize;

/// What a market is deployed with.
#[derive(Debug, Clone)]
pub struct DeploymentConfig {
    /// Rules, fixed for ever.
    pub parameters: NetworkParameterValues,
    /// The three keyholders.
    pub committee: [CommitteeMember; 3],
    /// Accreditors listed from the start: account and name.
    pub accreditors: Vec<(Address, String)>,
    /// Accredited researchers listed from the start: account and name.
    pub researchers: Vec<(Address, String)>,
    /// An existing token with permit; `None` deploys the test token.
    pub token: Option<Address>,
}

#[derive(Deserialize)]
struct Artifact {
    bytecode: Bytes,
}

macro_rules! bytecode {
    ($name:literal) => {
        bytecode_of(include_str!(concat!("../../contracts/artifacts/", $name, ".json")))
    };
}

fn bytecode_of(artifact: &str) -> Result<Bytes, LedgerError> {
    let artifact: Artifact = serde_json::from_str(artifact).map_err(|_| LedgerError::Value("a committed artifact"))?;
    Ok(artifact.bytecode)
}

/// Deploys all contracts of a market from the connection's account, which becomes its admin.
pub async fn deploy(chain: &Chain, config: &DeploymentConfig) -> Result<Contracts, LedgerError> {
    let admin = evm(chain.sender().ok_or(LedgerError::NoSender)?);
    let token = match config.token {
        Some(token) => token,
        None => chain.create(bytecode!("LocusToken")?, &admin.abi_encode()).await?,
    };
    let parameters = parameters_words(&config.parameters)?;
    let arguments = (admin, parameters).abi_encode_params();
    let registry = chain.create(bytecode!("DatasetRegistry")?, &arguments).await?;
    let offer_book = chain.create(bytecode!("OfferBook")?, &evm(registry).abi_encode()).await?;
    let verifier = chain.create(bytecode!("CommitteeVerifier")?, &evm(registry).abi_encode()).await?;
    let arguments = (evm(token), evm(registry), evm(verifier)).abi_encode_params();
    let escrow = chain.create(bytecode!("QueryEscrow")?, &arguments).await?;
    for (index, member) in (1u8..).zip(&config.committee) {
        let call = registry::DatasetRegistry::setKeyholderCall {
            index,
            signer: evm(member.signer),
            hpkePublicKey: member.hpke_public_key.clone().into(),
        };
        chain.execute(registry, &call).await?;
    }
    for (account, name) in &config.accreditors {
        let call =
            registry::DatasetRegistry::setAccreditorCall { account: evm(*account), listed: true, name: name.clone() };
        chain.execute(registry, &call).await?;
    }
    for (account, name) in &config.researchers {
        let call =
            registry::DatasetRegistry::setResearcherCall { account: evm(*account), listed: true, name: name.clone() };
        chain.execute(registry, &call).await?;
    }
    let chain_id = chain.chain_id().await?;
    Ok(Contracts { network: NetworkId { chain_id, registry }, token, offer_book, escrow, verifier })
}

fn parameters_words(
    values: &NetworkParameterValues,
) -> Result<registry::IDatasetRegistry::NetworkParameters, LedgerError> {
    let order_lifetime_max = u32::try_from(values.order_lifetime_max_s);
    Ok(registry::IDatasetRegistry::NetworkParameters {
        cohortSizeMin: values.cohort_size_min,
        exactBatchMin: values.exact_batch_min,
        exactChangeMin: values.exact_change_min,
        rhoOpenQueryMax: values.rho_query_max.as_nano(),
        rhoOpenYearMax: values.rho_year_max.as_nano(),
        rhoOpenLifetimeMax: values.rho_lifetime_max.as_nano(),
        vettedFactor: values.vetted_factor,
        floodingSigmaLog2: values.flooding_sigma_log2,
        orderLifetimeMax: order_lifetime_max.map_err(|_| LedgerError::Value("order lifetime"))?,
        testNetwork: values.test_network,
    })
}
