//! The data folder: one process at a time, and the operator's key.

use locus_ledger::{AccountError, AccountKey, KeyFileError, read_key_file};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

const LOCK_FILE: &str = "lock";
const OPERATOR_KEY_FILE: &str = "operator.key";
/// Permissions of a private file.
const FILE_MODE: u32 = 0o600;
/// Permissions of the data folder.
const FOLDER_MODE: u32 = 0o700;

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The system refused.
    #[error("cannot use {path}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process uses it.
    #[error("{data_dir} is in use by another process: stop it first, or choose another --data-dir", data_dir = data_dir.display())]
    InUse {
        /// The folder.
        data_dir: PathBuf,
    },
    /// The operator's key is damaged or can be read by others.
    #[error("{0}: restore it from a copy, or run `chmod 600` on it")]
    OperatorKey(#[from] KeyFileError),
    /// The operator's key is gone while the market is there.
    #[error("{path} is missing, but the market in this folder was deployed with it: restore it from a copy", path = path.display())]
    OperatorKeyLost {
        /// The file.
        path: PathBuf,
    },
    /// The deployment file is damaged.
    #[error("{path} does not describe a deployment ({reason}): restore it from a copy", path = path.display())]
    Deployment {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The system gives no randomness.
    #[error("the operating system gives no randomness: {0}")]
    Entropy(#[from] getrandom::Error),
}

impl FolderError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }
}

/// The folder is this process's until the lock is dropped or the process ends.
#[derive(Debug)]
pub(super) struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Makes the folder if need be and takes it.
    pub(super) fn take(data_dir: &Path) -> Result<Self, FolderError> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(FOLDER_MODE).create(data_dir).map_err(FolderError::io(data_dir))?;
        let path = data_dir.join(LOCK_FILE);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(FILE_MODE);
        let file = options.open(&path).map_err(FolderError::io(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(FolderError::InUse { data_dir: data_dir.to_path_buf() }),
            Err(TryLockError::Error(source)) => Err(FolderError::Io { path, source }),
        }
    }
}

/// The operator's key: loaded, or made at the first start.
pub(super) fn operator_key(data_dir: &Path) -> Result<AccountKey, FolderError> {
    let path = data_dir.join(OPERATOR_KEY_FILE);
    match fs::metadata(&path) {
        Ok(_) => Ok(read_key_file(&path)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if data_dir.join(super::deployment::DEPLOYMENT_FILE).exists() {
                return Err(FolderError::OperatorKeyLost { path });
            }
            let (key, secret) = fresh_key()?;
            let mut text = Zeroizing::new(vec![0; 65]);
            let (digits, line_end) = text.split_at_mut(64);
            // 64 digits hold 32 bytes.
            let _ = hex::encode_to_slice(&secret[..], digits);
            line_end.copy_from_slice(b"\n");
            write_in_one_step(&path, &text)?;
            Ok(key)
        }
        Err(source) => Err(FolderError::Io { path, source }),
    }
}

fn fresh_key() -> Result<(AccountKey, Zeroizing<[u8; 32]>), FolderError> {
    let mut secret = Zeroizing::new([0; 32]);
    loop {
        getrandom::fill(&mut secret[..])?;
        // All but a 2^-128 part of the 32-byte strings are keys.
        let parsed: Result<AccountKey, AccountError> = AccountKey::from_bytes(&secret);
        if let Ok(key) = parsed {
            return Ok((key, secret));
        }
    }
}

/// Writes a private file that is there whole or not at all, also after a crash.
pub(super) fn write_in_one_step(path: &Path, content: &[u8]) -> Result<(), FolderError> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".partial");
    let partial = path.with_file_name(name);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(FILE_MODE);
    let mut file = options.open(&partial).map_err(FolderError::io(&partial))?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(FolderError::io(&partial))?;
    fs::rename(&partial, path).map_err(FolderError::io(path))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(FolderError::io(folder))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary folder")
    }

    #[test]
    fn only_one_holder_may_use_a_folder() {
        let dir = folder();
        let held = FolderLock::take(dir.path()).expect("free");
        assert!(matches!(FolderLock::take(dir.path()), Err(FolderError::InUse { .. })));
        drop(held);
        FolderLock::take(dir.path()).expect("free again");
    }

    #[test]
    fn the_operator_key_is_made_once_and_closed_to_others() {
        let dir = folder();
        let first = operator_key(dir.path()).expect("made");
        let path = dir.path().join(OPERATOR_KEY_FILE);
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, FILE_MODE);
        assert_eq!(operator_key(dir.path()).expect("loaded").address(), first.address());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("opened");
        assert!(matches!(operator_key(dir.path()), Err(FolderError::OperatorKey(_))));
    }

    #[test]
    fn a_lost_or_damaged_operator_key_is_not_replaced() {
        let dir = folder();
        operator_key(dir.path()).expect("made");
        let path = dir.path().join(OPERATOR_KEY_FILE);
        fs::write(&path, b"short").expect("damaged");
        assert!(matches!(operator_key(dir.path()), Err(FolderError::OperatorKey(_))));
        fs::remove_file(&path).expect("removed");
        fs::write(dir.path().join(super::super::deployment::DEPLOYMENT_FILE), b"{}").expect("deployed");
        assert!(matches!(operator_key(dir.path()), Err(FolderError::OperatorKeyLost { .. })));
    }
}
