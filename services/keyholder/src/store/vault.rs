//! Secrets at rest: every secret record is wrapped under a key in a file of its own. Erasure
//! removes records, wraps the survivors under a new key and destroys the old one, so that pages
//! the database has freed, and backups of it, no longer open.

use super::StoreError;
use crate::kek::{KeyEncryptionKey, read_key, write_key};
use chacha20poly1305::{
    ChaCha20Poly1305, KeyInit as _, Nonce,
    aead::{Aead as _, Payload},
};
use std::{
    fs::{self, File, OpenOptions},
    io::{Seek as _, Write as _},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// Name of the wrapping key's epoch in the meta table.
pub(super) const EPOCH: &str = "wrapping_epoch";
const NONCE_BYTES: usize = 12;
const FILE_PREFIX: &str = "wrapping-key.";

/// The key that wraps secret records.
pub(super) struct WrappingKey {
    pub(super) epoch: u64,
    cipher: ChaCha20Poly1305,
}

impl WrappingKey {
    /// Reads the key of `epoch`.
    pub(super) fn load(dir: &Path, epoch: u64, kek: Option<&KeyEncryptionKey>) -> Result<Self, StoreError> {
        let path = key_path(dir, epoch);
        let missing = || StoreError::File { path: path.clone(), source: std::io::ErrorKind::NotFound.into() };
        let key = read_key(&path, kek)?.ok_or_else(missing)?;
        Ok(Self { epoch, cipher: ChaCha20Poly1305::new((&*key).into()) })
    }

    /// Wraps `secret` under the record's name.
    pub(super) fn wrap(&self, name: &[u8], secret: &[u8]) -> Result<Vec<u8>, StoreError> {
        let mut nonce = [0u8; NONCE_BYTES];
        getrandom::fill(&mut nonce)?;
        let payload = Payload { msg: secret, aad: name };
        let sealed = self.cipher.encrypt(&Nonce::from(nonce), payload).map_err(|_| StoreError::Damaged("secret"))?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Opens a wrapped record.
    pub(super) fn unwrap_record(&self, name: &[u8], wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let damaged = || StoreError::Damaged("secret");
        let (nonce, sealed) = wrapped.split_first_chunk::<NONCE_BYTES>().ok_or_else(damaged)?;
        let payload = Payload { msg: sealed, aad: name };
        self.cipher.decrypt(&Nonce::from(*nonce), payload).map(Zeroizing::new).map_err(|_| damaged())
    }
}

/// Writes a fresh random key for `epoch`, durable when this returns.
pub(super) fn create_key(dir: &Path, epoch: u64, kek: Option<&KeyEncryptionKey>) -> Result<(), StoreError> {
    let mut key = Zeroizing::new([0u8; 32]);
    getrandom::fill(&mut *key)?;
    // A file of this epoch can only be a leftover of a crash before the epoch was committed.
    Ok(write_key(&key_path(dir, epoch), &key, kek)?)
}

/// Overwrites and removes the keys of all epochs but `epoch`.
pub(super) fn remove_other_keys(dir: &Path, epoch: u64) -> Result<(), StoreError> {
    let keep = key_path(dir, epoch);
    let failed = |path: &Path, source| StoreError::File { path: path.to_owned(), source };
    for entry in fs::read_dir(dir).map_err(|source| failed(dir, source))? {
        let path = entry.map_err(|source| failed(dir, source))?.path();
        let is_key = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(FILE_PREFIX));
        if is_key && path != keep {
            destroy(&path).map_err(|source| failed(&path, source))?;
        }
    }
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|source| failed(dir, source))
}

fn destroy(path: &Path) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.rewind()?;
    // Wrapped keys are longer than plain ones.
    file.write_all(&[0; 64])?;
    file.sync_all()?;
    fs::remove_file(path)
}

fn key_path(dir: &Path, epoch: u64) -> PathBuf {
    dir.join(format!("{FILE_PREFIX}{epoch}"))
}
