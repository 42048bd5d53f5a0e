//! Deploying a market.

use super::{Chain, LedgerError};
use crate::{
    bindings::registry,
    eip712::{Contracts, evm},
    types::CommitteeMember,
};
use alloy_primitives::{B256, Bytes, U256};
use alloy_sol_types::SolValue as _;
use locus_commitment::{Address, Digest32, NetworkId, field::FieldBytes};
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

/// A verifying key as a contract keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    /// -alpha, beta, -gamma, -delta, then one point for the constant and each public input.
    pub contract_bytes: Vec<u8>,
    /// Name of the key.
    pub id: Digest32,
    /// Whether its secrets are known; only test networks take such a key.
    pub development: bool,
}

/// What a market with proofs is deployed with beside its [`DeploymentConfig`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofDeployment {
    /// For statements that a batch of events moves a registry root.
    pub update_key: VerifierKey,
    /// For statements about the cohort of a shard.
    pub cohort_key: VerifierKey,
    /// Events of a batch, fixed by the circuit.
    pub batch_events: u32,
    /// Root of the registry tree without leaves.
    pub empty_root: FieldBytes,
    /// Longest that an operation may be missing from the root of a settlement, at most 30 days.
    pub root_age_max_s: u64,
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

/// Deploys all contracts of a market from the connection's account, which becomes its admin. Its
/// settlements need the keyholders' signatures only.
pub async fn deploy(chain: &Chain, config: &DeploymentConfig) -> Result<Contracts, LedgerError> {
    deploy_market(chain, config, None).await
}

/// As [`deploy`], for a market that settles on proven cohorts: its verifier is a cohort verifier.
pub async fn deploy_with_proofs(
    chain: &Chain,
    config: &DeploymentConfig,
    proofs: &ProofDeployment,
) -> Result<Contracts, LedgerError> {
    deploy_market(chain, config, Some(proofs)).await
}

async fn deploy_market(
    chain: &Chain,
    config: &DeploymentConfig,
    proofs: Option<&ProofDeployment>,
) -> Result<Contracts, LedgerError> {
    let admin = evm(chain.sender().ok_or(LedgerError::NoSender)?);
    let token = match config.token {
        Some(token) => token,
        None => chain.create(bytecode!("LocusToken")?, &admin.abi_encode()).await?,
    };
    let parameters = parameters_words(&config.parameters)?;
    let arguments = (admin, parameters).abi_encode_params();
    let registry = chain.create(bytecode!("DatasetRegistry")?, &arguments).await?;
    let offer_book = chain.create(bytecode!("OfferBook")?, &evm(registry).abi_encode()).await?;
    let verifier = match proofs {
        None => chain.create(bytecode!("CommitteeVerifier")?, &evm(registry).abi_encode()).await?,
        Some(proofs) => deploy_cohort_verifier(chain, offer_book, proofs).await?,
    };
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

/// Deploys keys, roots and the verifier over them.
async fn deploy_cohort_verifier(
    chain: &Chain,
    offer_book: Address,
    proofs: &ProofDeployment,
) -> Result<Address, LedgerError> {
    let update_proofs = deploy_key(chain, &proofs.update_key).await?;
    let cohort_proofs = deploy_key(chain, &proofs.cohort_key).await?;
    let (events, empty_root) = (U256::from(proofs.batch_events), U256::from_be_bytes(proofs.empty_root.0));
    let arguments = (evm(offer_book), evm(update_proofs), events, empty_root).abi_encode_params();
    let roots = chain.create(bytecode!("RegistryRoots")?, &arguments).await?;
    let arguments = (evm(roots), evm(cohort_proofs), U256::from(proofs.root_age_max_s)).abi_encode_params();
    chain.create(bytecode!("CohortVerifier")?, &arguments).await
}

async fn deploy_key(chain: &Chain, key: &VerifierKey) -> Result<Address, LedgerError> {
    let contract_bytes = Bytes::copy_from_slice(&key.contract_bytes);
    let arguments = (contract_bytes, B256::from(key.id.0), key.development).abi_encode_params();
    chain.create(bytecode!("Groth16Verifier")?, &arguments).await
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
