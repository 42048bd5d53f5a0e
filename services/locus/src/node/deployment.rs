//! The market's contracts: deployed at the first start, found again at every later one.

use super::{
    Listed, NodeConfig, NodeError,
    folder::{self, FolderError},
};
use locus_keyholder::KeyholderKeys;
use locus_ledger::{
    Chain, ChainView, CommitteeMember, Contracts, DeploymentConfig, DeploymentFile, Ledger, LedgerError, deploy,
    deploy_with_proofs,
};
use locus_sharing::KeyholderIndex;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// File that names the contracts.
pub(super) const DEPLOYMENT_FILE: &str = "deployment.json";

/// Longest that an operation may be missing from the registry root of a settlement: long enough for a prover to
/// catch up with the largest batches, short enough that a price that was raised is not sold for a day.
pub(crate) const ROOT_AGE_MAX_S: u64 = 6 * 3_600;

/// A deployed market and the keys of its keyholders.
pub(super) struct Deployed {
    pub(super) contracts: Contracts,
    pub(super) keys: [KeyholderKeys; 3],
}

/// Folder of a keyholder.
pub(super) fn keyholder_folder(data_dir: &Path, index: KeyholderIndex) -> PathBuf {
    data_dir.join(format!("keyholder-{index}"))
}

/// The contracts named in the deployment file, or fresh ones. A start that was cut off before the
/// file was complete leaves contracts that nobody knows, and the next start deploys others.
pub(super) async fn load_or_deploy(config: &NodeConfig, sender: &Chain) -> Result<Deployed, NodeError> {
    let data_dir = &config.data_dir;
    let failed = |source| NodeError::Ledger { data_dir: data_dir.clone(), source };
    let keys = load_keys(data_dir)?;
    let contracts = match read(data_dir)? {
        Some(contracts) => contracts,
        None => {
            let deployment = DeploymentConfig {
                parameters: config.parameters,
                committee: keys.each_ref().map(committee_member),
                accreditors: named(&config.accreditors),
                researchers: named(&config.researchers),
                token: None,
            };
            let deployed = match &config.prover {
                None => deploy(sender, &deployment).await,
                Some(keys) => deploy_with_proofs(sender, &deployment, &keys.market.deployment(ROOT_AGE_MAX_S)).await,
            };
            let contracts = deployed.map_err(failed)?;
            write(data_dir, &contracts)?;
            contracts
        }
    };
    let ledger = Ledger::open(sender.clone(), contracts).await.map_err(failed)?;
    let on_cohorts = ledger.settles_on_cohorts().await.map_err(failed)?;
    if on_cohorts != config.prover.is_some() {
        return Err(NodeError::OtherSettlement { data_dir: data_dir.clone(), on_cohorts });
    }
    let mut view = ChainView::default();
    let unread = |error: locus_ledger::ViewError<LedgerError>| NodeError::View {
        data_dir: data_dir.clone(),
        reason: error.to_string(),
    };
    view.poll(&ledger).await.map_err(unread)?;
    check_committee(data_dir, &view, &keys)?;
    list_missing(&ledger, &view, config).await.map_err(failed)?;
    Ok(Deployed { contracts, keys })
}

fn load_keys(data_dir: &Path) -> Result<[KeyholderKeys; 3], NodeError> {
    let load = |index: KeyholderIndex| {
        let failed = |error| NodeError::Keyholder { index: index.get(), source: Box::new(error) };
        KeyholderKeys::load_or_create(&keyholder_folder(data_dir, index)).map_err(failed)
    };
    let [first, second, third] = KeyholderIndex::ALL;
    Ok([load(first)?, load(second)?, load(third)?])
}

fn committee_member(keys: &KeyholderKeys) -> CommitteeMember {
    CommitteeMember { signer: keys.signer.address(), hpke_public_key: keys.sealing.public_key().to_bytes().to_vec() }
}

fn named(listed: &[Listed]) -> Vec<(locus_commitment::Address, String)> {
    listed.iter().map(|listed| (listed.account, listed.name.clone())).collect()
}

/// Keys that were lost and made anew would sign what nobody accepts.
fn check_committee(data_dir: &Path, view: &ChainView, keys: &[KeyholderKeys; 3]) -> Result<(), NodeError> {
    for (index, keys) in KeyholderIndex::ALL.into_iter().zip(keys) {
        let own = committee_member(keys);
        let is_known = view
            .keyholder(index.get())
            .is_some_and(|known| known.signer == own.signer && known.hpke_public_key == own.hpke_public_key);
        if !is_known {
            let folder = keyholder_folder(data_dir, index);
            return Err(NodeError::OtherKeys { index: index.get(), folder });
        }
    }
    Ok(())
}

async fn list_missing(ledger: &Ledger, view: &ChainView, config: &NodeConfig) -> Result<(), LedgerError> {
    let head = view.finalized().map_or(0, |block| block.number);
    for listed in config.accreditors.iter().filter(|listed| !view.is_accreditor(&listed.account)) {
        ledger.set_accreditor(listed.account, true, &listed.name).await?;
    }
    let is_new = |listed: &&Listed| !view.is_accredited_researcher(&listed.account, head);
    for listed in config.researchers.iter().filter(is_new) {
        ledger.set_researcher(listed.account, true, &listed.name).await?;
    }
    Ok(())
}

fn read(data_dir: &Path) -> Result<Option<Contracts>, FolderError> {
    let path = data_dir.join(DEPLOYMENT_FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(FolderError::Io { path, source }),
    };
    let refused = |reason: String| FolderError::Deployment { path: path.clone(), reason };
    let file: DeploymentFile = serde_json::from_str(&text).map_err(|error| refused(error.to_string()))?;
    Contracts::try_from(&file).map(Some).map_err(|error| refused(error.to_string()))
}

fn write(data_dir: &Path, contracts: &Contracts) -> Result<(), FolderError> {
    let path = data_dir.join(DEPLOYMENT_FILE);
    let refused = |error: serde_json::Error| FolderError::Deployment { path: path.clone(), reason: error.to_string() };
    let text = serde_json::to_vec_pretty(&DeploymentFile::from(contracts)).map_err(refused)?;
    folder::write_in_one_step(&path, &text)
}
