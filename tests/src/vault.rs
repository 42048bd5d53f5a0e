//! What lies in a keyholder's folder, for whoever has it and its wrapping key.

use crate::files_below;
use anyhow::{Context as _, Result, ensure};
use chacha20poly1305::{
    ChaCha20Poly1305, KeyInit as _, Nonce,
    aead::{Aead as _, Payload},
};
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// The key that wraps a keyholder's secrets: `wrapping-key.EPOCH` in its folder, 32 bytes.
pub fn wrapping_key(folder: &Path) -> Result<[u8; 32]> {
    let is_key = |path: &PathBuf| path.to_string_lossy().contains("wrapping-key.");
    let file = files_below(folder)?.into_iter().find(is_key).context("a wrapping key")?;
    Ok(fs::read(file)?.as_slice().try_into()?)
}

/// The noise keys that a keyholder's vault holds, by share, unwrapped: nonce, then ChaCha20-Poly1305 under the record's
/// name. The one of number 0 is the keyholder's own.
pub fn noise_keys(folder: &Path) -> Result<BTreeMap<u8, Vec<u8>>> {
    const NOISE_KEYS: TableDefinition<'_, u8, &[u8]> = TableDefinition::new("noise_keys");
    let cipher = ChaCha20Poly1305::new((&wrapping_key(folder)?).into());
    let keys = read_copy(folder, |database| {
        let table = database.begin_read()?.open_table(NOISE_KEYS)?;
        let mut keys = BTreeMap::new();
        for entry in table.iter()? {
            let (share, wrapped) = entry?;
            let (nonce, sealed) = wrapped.value().split_first_chunk::<12>().context("a nonce")?;
            let payload = Payload { msg: sealed, aad: &[share.value()] };
            let key = cipher.decrypt(&Nonce::from(*nonce), payload).ok().context("the key opens")?;
            keys.insert(share.value(), key);
        }
        Ok(keys)
    })?;
    ensure!(keys.len() == 3, "a keyholder has a noise key of its own and one of each share that it holds");
    Ok(keys)
}

/// The name of the last answer that a keyholder has charged for.
pub(crate) fn last_charge(folder: &Path) -> Result<Option<[u8; 32]>> {
    const USES: TableDefinition<'_, (&[u8; 32], u64), &[u8]> = TableDefinition::new("uses");
    read_copy(folder, |database| {
        let table = database.begin_read()?.open_table(USES)?;
        let mut last = None;
        for entry in table.iter()? {
            let (key, _) = entry?;
            let (name, sequence) = key.value();
            last = last.max(Some((sequence, *name)));
        }
        Ok(last.map(|(_, name)| name))
    })
}

/// Reads a copy of the database, because services let go of their files in their own time.
fn read_copy<T>(folder: &Path, read: impl FnOnce(&Database) -> Result<T>) -> Result<T> {
    let is_database = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "redb");
    let file = files_below(folder)?.into_iter().find(is_database).context("a database")?;
    let copy = tempfile::tempdir()?;
    fs::copy(file, copy.path().join("keyholder.redb"))?;
    read(&Database::open(copy.path().join("keyholder.redb"))?)
}
