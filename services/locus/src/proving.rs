//! Loading proving keys for the commands, with progress shown.

use crate::{error::CommandError, progress::Bars};
use locus_aggregator::ProverKeys;
use locus_client::{ClientError, Network, proving};
use locus_proofs::{Statement, dataset::EncryptionProver, groth16::ProvingKey, keys::KeyStage};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// A prover of encryptions, from `folder` or the user's usual one.
pub(crate) async fn encryption_prover(
    network: &Network,
    folder: Option<&Path>,
    bars: &Arc<Bars>,
) -> Result<Arc<EncryptionProver>, CommandError> {
    let (network, folder, bars) = (network.clone(), folder_or_default(folder), bars.clone());
    let load = move || proving::encryption_prover(&network, &folder, |stage| show(&bars, stage));
    off_the_event_loop(load).await
}

/// The proving key of a statement, from `folder` or the user's usual one.
pub(crate) async fn proving_key(
    network: &Network,
    folder: Option<&Path>,
    statement: Statement,
    bars: &Arc<Bars>,
) -> Result<ProvingKey, CommandError> {
    let (network, folder, bars) = (network.clone(), folder_or_default(folder), bars.clone());
    let load = move || proving::proving_key(&network, &folder, statement, |stage| show(&bars, stage));
    off_the_event_loop(load).await
}

/// The keys of a market that settles on proven cohorts, from `folder` or the user's usual one.
pub(crate) async fn market_keys(
    folder: Option<&Path>,
    is_test_network: bool,
    bars: &Arc<Bars>,
) -> Result<ProverKeys, CommandError> {
    let (folder, bars) = (folder_or_default(folder), bars.clone());
    let load = move || ProverKeys::load(&folder, is_test_network, |stage| show(&bars, stage));
    let loaded = tokio::task::spawn_blocking(load).await.map_err(|_| CommandError::Interrupted)?;
    loaded.map_err(|error| CommandError::Proving(Box::new(error)))
}

/// The proving key of root updates, for a test network or a real one.
pub(crate) async fn update_key(
    is_test_network: bool,
    folder: Option<&Path>,
    bars: &Arc<Bars>,
) -> Result<ProvingKey, CommandError> {
    let (folder, bars) = (folder_or_default(folder), bars.clone());
    let note = move |stage| show(&bars, stage);
    off_the_event_loop(move || proving::proving_key_of(is_test_network, &folder, Statement::Update, note)).await
}

fn folder_or_default(folder: Option<&Path>) -> PathBuf {
    folder.map_or_else(proving::default_proof_keys, Path::to_path_buf)
}

/// Shows what a setup is at.
pub(crate) fn show(bars: &Bars, stage: KeyStage) {
    let what = match stage {
        KeyStage::Computing => "making a proving key, once",
        KeyStage::Writing => "keeping the proving key",
    };
    bars.show(what, 0, 0);
}

async fn off_the_event_loop<T: Send + 'static>(
    load: impl FnOnce() -> Result<T, ClientError> + Send + 'static,
) -> Result<T, CommandError> {
    Ok(tokio::task::spawn_blocking(load).await.map_err(|_| CommandError::Interrupted)??)
}
