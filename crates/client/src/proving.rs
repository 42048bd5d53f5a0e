//! Proving keys on disk. Test networks' keys are made here when they are missing; real networks' come
//! from a ceremony.

use crate::{error::ClientError, network::Network};
use locus_proofs::{
    NetworkKeys, Statement,
    dataset::EncryptionProver,
    groth16::ProvingKey,
    keys::{KeyStage, KeyStore},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Digits of a key's id that name the folder of its version.
const VERSION_DIGITS: usize = 16;

/// Where proving keys are kept unless another folder is named: `locus/proof-keys` in the user's folder
/// for cached files, or in the system's folder for temporary ones when there is none.
pub fn default_proof_keys() -> PathBuf {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute()).or_else(home);
    cache.unwrap_or_else(std::env::temp_dir).join("locus").join("proof-keys")
}

/// The proving key of a statement on this network: see [`proving_key_of`].
///
/// # Errors
/// Those of [`proving_key_of`].
pub fn proving_key(
    network: &Network,
    folder: &Path,
    statement: Statement,
    note: impl FnMut(KeyStage),
) -> Result<ProvingKey, ClientError> {
    proving_key_of(network.parameters().values().test_network, folder, statement, note)
}

/// The proving key of a statement on a test network or a real one, from `folder`. Takes seconds when it has to be
/// made; `note` hears of it.
///
/// # Errors
/// [`ClientError::Proofs`] for a key that is not there or cannot be used, such as a development key on a
/// real network.
pub fn proving_key_of(
    is_test_network: bool,
    folder: &Path,
    statement: Statement,
    note: impl FnMut(KeyStage),
) -> Result<ProvingKey, ClientError> {
    let missing = || ClientError::ProvingKeyMissing { circuit: statement.circuit(), folder: folder.to_owned() };
    if !is_test_network {
        let store = KeyStore::new(folder);
        let key = NetworkKeys::new(Some(folder), false).circuit_key(statement)?.ok_or_else(missing)?;
        return Ok(store.proving_key(&key)?);
    }
    let expected = NetworkKeys::new(None, true).circuit_key(statement)?.ok_or_else(missing)?.id();
    // Each version of a circuit has a folder of its own, so that versions do not take turns.
    let store = KeyStore::new(folder.join(&hex::encode(expected.0.0)[..VERSION_DIGITS]));
    store.development_key(&statement.shape()?, note)?;
    let key = store.circuit_key(statement.circuit(), Some(expected))?;
    Ok(store.proving_key(&key)?)
}

/// A prover of encryptions for this network: see [`proving_key`].
///
/// # Errors
/// Those of [`proving_key`].
pub fn encryption_prover(
    network: &Network,
    folder: &Path,
    note: impl FnMut(KeyStage),
) -> Result<Arc<EncryptionProver>, ClientError> {
    Ok(Arc::new(EncryptionProver::new(proving_key(network, folder, Statement::Encryption, note)?)))
}
