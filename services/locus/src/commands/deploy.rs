//! `locus deploy`.
//!
//! A network for real use gets no test token, no rule below the standard, and a committee whose members
//! proved that they have their keys. Everything is checked before the first transaction is paid for.

use crate::{
    cli::DeployArgs,
    context::{Context, write_in_one_step},
    error::CommandError,
    node::ROOT_AGE_MAX_S,
    progress::Bars,
    proving::market_keys,
};
use locus_commitment::Address;
use locus_keyholder::KeyholderIdentity;
use locus_ledger::{
    Chain, Contracts, DeploymentConfig, DeploymentFile, EventSource as _, KeyFileError, Ledger, LedgerError,
    ProofDeployment, deploy, deploy_with_proofs, read_key_file,
};
use locus_privacy::{NetworkParameterValues, NetworkParameters};
use std::{collections::BTreeMap, fs, path::Path, time::Duration};

/// How often the chain is asked how far it is final.
const FINALITY_PAUSE: Duration = Duration::from_millis(500);

/// Why nothing was deployed.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// The address book would be overwritten.
    #[error("{0} exists: a market is described there; name another file with --out")]
    Exists(String),
    /// A public file of a keyholder is wrong.
    #[error("{path}: {source}")]
    Identity {
        /// The file.
        path: String,
        /// What is wrong.
        source: locus_keyholder::IdentityError,
    },
    /// The files are not of the three keyholders.
    #[error("--keyholder names {0}: name the public files of keyholders 1, 2 and 3, with different keys")]
    Committee(String),
    /// The rules are less strict than the standard.
    #[error("{0}; a less strict network needs --test-network")]
    Rules(#[from] locus_privacy::PrivacyError),
    /// The token cannot be used.
    #[error("token {token} {reason}: name another one with --token")]
    Token {
        /// The token.
        token: Address,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The operator's key is not usable.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The chain refuses.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Deploys a market and writes its description.
pub(super) async fn run(args: &DeployArgs, context: &Context) -> Result<(), CommandError> {
    if args.out.exists() {
        return Err(DeployError::Exists(args.out.display().to_string()).into());
    }
    let config = DeploymentConfig {
        parameters: parameters(args)?,
        committee: committee(&args.keyholder)?.map(|identity| identity.committee_member()),
        accreditors: args.accreditor.clone(),
        researchers: args.researcher.clone(),
        token: args.token,
    };
    let operator = read_key_file(&args.operator_key).map_err(DeployError::from)?;
    let chain = Chain::http(&args.rpc, Some(&operator)).map_err(DeployError::from)?;
    if let Some(token) = args.token {
        check_token(&chain, token, args.test_network).await?;
    }
    let proofs = proofs(args, context).await?;
    context.output.note("deploying the contracts");
    let deployed = match &proofs {
        None => deploy(&chain, &config).await,
        Some(proofs) => deploy_with_proofs(&chain, &config, proofs).await,
    };
    let contracts = deployed.map_err(DeployError::from)?;
    write(&args.out, &contracts)?;
    let ledger = Ledger::open(chain, contracts).await.map_err(DeployError::from)?;
    wait_until_final(&ledger, context).await?;
    let file = DeploymentFile::from(&contracts);
    context.output.result(&file, || {
        format!(
            "registry    {}\noffer book  {}\nescrow      {}\nverifier    {}\ntoken       {}\nchain       {}\n\
             admin       {}\ndescription {}\n",
            file.registry,
            file.offer_book,
            file.escrow,
            file.verifier,
            file.token,
            file.chain_id,
            operator.address(),
            args.out.display()
        )
    })
}

/// The circuits' keys, when orders are to settle on proven cohorts.
async fn proofs(args: &DeployArgs, context: &Context) -> Result<Option<ProofDeployment>, CommandError> {
    if !args.proven_cohorts {
        return Ok(None);
    }
    let bars = Bars::new(context.output);
    let keys = market_keys(args.proof_keys.as_deref(), args.test_network, &bars).await?;
    bars.clear();
    Ok(Some(keys.market.deployment(ROOT_AGE_MAX_S)))
}

/// Services rely on final blocks only, so a market is ready when its deployment is final. The description
/// is written before: the contracts are paid for, whatever happens while waiting.
pub(super) async fn wait_until_final(ledger: &Ledger, context: &Context) -> Result<(), DeployError> {
    let last = ledger.head().await?.number;
    let first = ledger.finalized().await?.number;
    let bars = Bars::new(context.output);
    let mut final_block = first;
    while final_block < last {
        bars.show("waiting for finality", final_block - first, last - first);
        tokio::time::sleep(FINALITY_PAUSE).await;
        final_block = ledger.finalized().await?.number.max(first);
    }
    bars.clear();
    Ok(())
}

/// The rules, which are the standard ones or stricter unless it is a test network.
fn parameters(args: &DeployArgs) -> Result<NetworkParameterValues, DeployError> {
    let values = NetworkParameterValues {
        cohort_size_min: args.cohort_size_min,
        exact_batch_min: args.exact_batch_min,
        test_network: args.test_network,
        ..NetworkParameterValues::default()
    };
    Ok(*NetworkParameters::try_new(values)?.values())
}

/// A keyholder's public file.
pub(super) fn read_identity(path: &Path) -> Result<KeyholderIdentity, CommandError> {
    let text = fs::read_to_string(path).map_err(CommandError::file(path))?;
    let named = |source| DeployError::Identity { path: path.display().to_string(), source };
    Ok(KeyholderIdentity::parse(&text).map_err(named)?)
}

/// The three keyholders in order, all with keys of their own.
fn committee(files: &[std::path::PathBuf]) -> Result<[KeyholderIdentity; 3], CommandError> {
    let mut found = BTreeMap::new();
    for path in files {
        let identity = read_identity(path)?;
        found.insert(identity.index, identity);
    }
    let names: Vec<String> = found.keys().map(|index| format!("keyholder {index}")).collect();
    let incomplete = || DeployError::Committee(names.join(" and "));
    let members =
        <[KeyholderIdentity; 3]>::try_from(found.into_values().collect::<Vec<_>>()).map_err(|_| incomplete())?;
    let [first, second, third] = &members;
    let same = |one: &KeyholderIdentity, other: &KeyholderIdentity| {
        one.signer == other.signer || one.hpke_public_key == other.hpke_public_key
    };
    if same(first, second) || same(second, third) || same(first, third) {
        return Err(DeployError::Committee("keyholders with the same keys".to_owned()).into());
    }
    Ok(members)
}

/// Escrow needs permits, amounts count 18 decimals, and real markets have no token that its admin makes at will.
async fn check_token(chain: &Chain, token: Address, test_network: bool) -> Result<(), DeployError> {
    let refused = |reason| DeployError::Token { token, reason };
    // A node that answers this is there, so that what it says about the token is about the token.
    chain.chain_id().await?;
    let facts = chain.token_facts(token).await.map_err(|_| refused("is no ERC-20 token with EIP-2612 permits"))?;
    if facts.decimals != 18 {
        return Err(refused("does not have 18 decimals"));
    }
    if facts.is_test_token && !test_network {
        return Err(refused("is a test token, which can be created at will"));
    }
    Ok(())
}

fn write(path: &Path, contracts: &Contracts) -> Result<(), CommandError> {
    let text = serde_json::to_vec_pretty(&DeploymentFile::from(contracts));
    write_in_one_step(path, &text.map_err(|error| CommandError::Output(error.into()))?)
}
