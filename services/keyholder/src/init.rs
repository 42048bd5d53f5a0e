//! `locus-keyholder init`: a keyholder's keys come into being, and their public part leaves.

use crate::{
    identity::{IdentityError, KeyholderIdentity},
    kek::KeyEncryptionKey,
    start::{KeyholderKeys, StartError},
};
use locus_sharing::{KeyholderIndex, SharingError};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The index is not 1, 2 or 3.
    #[error(transparent)]
    Index(#[from] SharingError),
    /// The key files cannot be used.
    #[error(transparent)]
    Keys(#[from] StartError),
    /// The public part cannot be made.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// It cannot be written.
    #[error("cannot write {path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
}

/// Makes the keys in `data_dir`, unless they are there, wrapped under the key in `kek_file`, and writes their public part to `public`. Returns what
/// to tell the operator.
///
/// # Errors
/// [`InitError`].
pub fn init(index: u8, data_dir: &Path, kek_file: Option<&Path>, public: &Path) -> Result<String, InitError> {
    let index = KeyholderIndex::try_new(index)?;
    let kek = kek_file.map(KeyEncryptionKey::read).transpose().map_err(StartError::from)?;
    let keys = KeyholderKeys::load_or_create_under(data_dir, kek.as_ref())?;
    let identity = KeyholderIdentity::of(index, &keys);
    let file = |source| InitError::File { path: public.to_owned(), source };
    fs::write(public, identity.to_signed_json(&keys)?).map_err(file)?;
    Ok(format!(
        "keyholder {index} signs as {}\npublic part: {} (give it to whoever deploys the market)\n\
         keys: {} (copy them offline, now and after every change of the key-encryption key: without them this keyholder is lost)",
        identity.signer,
        public.display(),
        data_dir.display()
    ))
}
