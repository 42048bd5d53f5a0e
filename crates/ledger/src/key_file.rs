//! Keys of accounts in files: 64 hexadecimal digits that only the owner can read.

use crate::account::AccountKey;
use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// Permissions that a private file must not give to others.
const OTHERS_MODE: u32 = 0o077;

/// Why a key cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds no key, or others can read it.
    #[error("{path} does not hold a key of 64 hexadecimal digits that only its owner can read", path = path.display())]
    Refused {
        /// The file.
        path: PathBuf,
    },
}

/// Reads the key of an account.
///
/// # Errors
/// [`KeyFileError`].
pub fn read_key_file(path: &Path) -> Result<AccountKey, KeyFileError> {
    let failed = |source| KeyFileError::Io { path: path.to_path_buf(), source };
    let refused = || KeyFileError::Refused { path: path.to_path_buf() };
    if fs::metadata(path).map_err(failed)?.permissions().mode() & OTHERS_MODE != 0 {
        return Err(refused());
    }
    let text = Zeroizing::new(fs::read(path).map_err(failed)?);
    let mut secret = Zeroizing::new([0; 32]);
    alloy_primitives::hex::decode_to_slice(text.trim_ascii_end(), &mut secret[..]).map_err(|_| refused())?;
    AccountKey::from_bytes(&secret).map_err(|_| refused())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_from_a_closed_file_of_64_digits_only() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("key");
        let write = |text: &str, mode: u32| {
            fs::write(&path, text).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
            read_key_file(&path)
        };
        let digits = "07".repeat(32);
        let key = write(&format!("{digits}\n"), 0o600).expect("a key");
        assert_eq!(key.address(), AccountKey::from_bytes(&[7; 32]).expect("a key").address());
        assert!(matches!(write(&digits, 0o640), Err(KeyFileError::Refused { .. })), "others can read it");
        assert!(matches!(write(&digits[2..], 0o600), Err(KeyFileError::Refused { .. })), "too short");
        assert!(matches!(write(&"00".repeat(32), 0o600), Err(KeyFileError::Refused { .. })), "zero is no key");
        assert!(matches!(read_key_file(&dir.path().join("none")), Err(KeyFileError::Io { .. })));
    }
}
