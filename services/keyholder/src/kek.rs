//! Key files, wrapped under a key-encryption key that is kept elsewhere.
//!
//! The wrapping key of the database and the two long-term keys lie beside the data. With a key-encryption key, read from
//! a file that a secret store or another disk provides, copies of the data folder alone open nothing.

use chacha20poly1305::{
    ChaCha20Poly1305, KeyInit as _, Nonce,
    aead::{Aead as _, Payload},
};
use locus_ledger::is_private_file;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};
use zeroize::Zeroizing;

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
/// Bytes of a wrapped key: nonce, ciphertext, tag.
const WRAPPED_BYTES: usize = NONCE_BYTES + KEY_BYTES + TAG_BYTES;
/// Domain of what is wrapped; the file's name follows.
const DOMAIN: &str = "locus/keyholder/key-file/v1/";

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read or written.
    #[error("cannot use {path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// It is no key file.
    #[error("{path} is no key file: restore it from a backup", path = path.display())]
    Form {
        /// The file.
        path: PathBuf,
    },
    /// It needs the key-encryption key.
    #[error("{path} is wrapped under a key-encryption key: set kek_file", path = path.display())]
    Wrapped {
        /// The file.
        path: PathBuf,
    },
    /// Another key-encryption key wrapped it, or it was changed.
    #[error("{path} does not open with this key-encryption key: set kek_file to the one it was wrapped with", path = path.display())]
    OtherKek {
        /// The file.
        path: PathBuf,
    },
    /// Others can read the key-encryption key.
    #[error("{path} can be read by others: run `chmod 600` on it, or `chmod 640` where it is root's and has a group of this process", path = path.display())]
    OpenKek {
        /// The file.
        path: PathBuf,
    },
    /// The key-encryption key is none.
    #[error("{path} does not hold a key of 64 hexadecimal digits: restore it from a copy, or, before `init`, make one with `openssl rand -hex 32`", path = path.display())]
    Kek {
        /// The file.
        path: PathBuf,
    },
    /// The system gives no randomness.
    #[error("the operating system gives no randomness: {0}")]
    Randomness(#[from] getrandom::Error),
}

/// The key that wraps key files.
#[derive(Clone)]
pub struct KeyEncryptionKey(Arc<ChaCha20Poly1305>);

impl KeyEncryptionKey {
    /// The key in a file of 64 hexadecimal digits that is private (service, clause 15).
    ///
    /// # Errors
    /// [`KeyFileError::File`], [`KeyFileError::OpenKek`] or [`KeyFileError::Kek`].
    pub fn read(path: &Path) -> Result<Self, KeyFileError> {
        let refused = || KeyFileError::Kek { path: path.to_owned() };
        if !is_private_file(&fs::metadata(path).map_err(file_error(path))?) {
            return Err(KeyFileError::OpenKek { path: path.to_owned() });
        }
        let text = Zeroizing::new(fs::read(path).map_err(file_error(path))?);
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        hex::decode_to_slice(text.trim_ascii_end(), &mut key[..]).map_err(|_| refused())?;
        Ok(Self(Arc::new(ChaCha20Poly1305::new((&*key).into()))))
    }

    fn wrap(&self, path: &Path, key: &[u8; KEY_BYTES]) -> Result<Vec<u8>, KeyFileError> {
        let mut nonce = [0u8; NONCE_BYTES];
        getrandom::fill(&mut nonce)?;
        let name = name_of(path);
        let payload = Payload { msg: key, aad: name.as_bytes() };
        // Encryption of 32 bytes does not fail.
        let sealed = self.0.encrypt(&Nonce::from(nonce), payload);
        let sealed = sealed.map_err(|_| KeyFileError::OtherKek { path: path.to_owned() })?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    fn unwrap_key(
        &self,
        path: &Path,
        wrapped: &[u8; WRAPPED_BYTES],
    ) -> Result<Zeroizing<[u8; KEY_BYTES]>, KeyFileError> {
        let refused = || KeyFileError::OtherKek { path: path.to_owned() };
        let (nonce, sealed) = wrapped.split_first_chunk::<NONCE_BYTES>().ok_or_else(refused)?;
        let name = name_of(path);
        let payload = Payload { msg: sealed, aad: name.as_bytes() };
        let opened = self.0.decrypt(&Nonce::from(*nonce), payload).map(Zeroizing::new).map_err(|_| refused())?;
        <[u8; KEY_BYTES]>::try_from(opened.as_slice()).map(Zeroizing::new).map_err(|_| refused())
    }
}

/// A wrapped key opens under its own name only.
fn name_of(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    format!("{DOMAIN}{name}")
}

/// Reads a key file; `None` when there is none. With a key-encryption key, a file that is not wrapped yet is wrapped.
///
/// # Errors
/// [`KeyFileError`].
pub(crate) fn read_key(
    path: &Path,
    kek: Option<&KeyEncryptionKey>,
) -> Result<Option<Zeroizing<[u8; KEY_BYTES]>>, KeyFileError> {
    let content = match fs::read(path) {
        Ok(content) => Zeroizing::new(content),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(file_error(path)(error)),
    };
    if let Ok(wrapped) = <&[u8; WRAPPED_BYTES]>::try_from(content.as_slice()) {
        let kek = kek.ok_or_else(|| KeyFileError::Wrapped { path: path.to_owned() })?;
        return kek.unwrap_key(path, wrapped).map(Some);
    }
    let key = <[u8; KEY_BYTES]>::try_from(content.as_slice()).map(Zeroizing::new);
    let key = key.map_err(|_| KeyFileError::Form { path: path.to_owned() })?;
    if kek.is_some() {
        write_key(path, &key, kek)?;
    }
    Ok(Some(key))
}

/// Writes a key file in one step, durable when this returns. What was there is overwritten with zeros first, once the new
/// file is complete.
///
/// # Errors
/// [`KeyFileError::File`].
pub(crate) fn write_key(
    path: &Path,
    key: &[u8; KEY_BYTES],
    kek: Option<&KeyEncryptionKey>,
) -> Result<(), KeyFileError> {
    let content = match kek {
        Some(kek) => Zeroizing::new(kek.wrap(path, key)?),
        None => Zeroizing::new(key.to_vec()),
    };
    let mut partial_name = path.file_name().unwrap_or_default().to_os_string();
    partial_name.push(".partial");
    let partial = path.with_file_name(partial_name);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&partial).map_err(file_error(&partial))?;
    file.write_all(&content).and_then(|()| file.sync_all()).map_err(file_error(&partial))?;
    // The old content stays readable through this handle alone, until it is overwritten below.
    let old = OpenOptions::new().write(true).open(path).ok();
    fs::rename(&partial, path).map_err(file_error(path))?;
    if let Some(mut old) = old {
        old.write_all(&[0; KEY_BYTES]).and_then(|()| old.sync_all()).map_err(file_error(path))?;
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(file_error(folder))
}

/// Wraps every key file in `data_dir` under another key-encryption key, one file at a time, each in one step. Files that are
/// wrapped under the new one already are left, so that a rewrapping that was cut off can be run again. Returns how many were
/// changed.
///
/// # Errors
/// [`KeyFileError::OtherKek`] for a file that neither key opens; files before it are changed, it and later ones are not.
pub fn rewrap(data_dir: &Path, old: &KeyEncryptionKey, new: &KeyEncryptionKey) -> Result<usize, KeyFileError> {
    let mut changed = 0;
    let mut paths = Vec::new();
    for entry in fs::read_dir(data_dir).map_err(file_error(data_dir))? {
        paths.push(entry.map_err(file_error(data_dir))?.path());
    }
    paths.sort();
    for path in paths.iter().filter(|path| is_key_file(path)) {
        if matches!(read_key(path, Some(new)), Ok(Some(_))) {
            continue;
        }
        if let Some(key) = read_key(path, Some(old))? {
            write_key(path, &key, Some(new))?;
            changed += 1;
        }
    }
    Ok(changed)
}

fn is_key_file(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_wrapping_key = name.starts_with("wrapping-key.") && !name.ends_with(".partial");
    is_wrapping_key || name == "committee.key" || name == "sealing.key"
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> KeyFileError {
    let path = path.to_owned();
    move |source| KeyFileError::File { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    const KEY: [u8; 32] = [0x5a; 32];

    fn kek(dir: &Path, digit: &str) -> KeyEncryptionKey {
        let path = dir.join(format!("kek-{digit}"));
        fs::write(&path, format!("{}\n", digit.repeat(64))).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("closed");
        KeyEncryptionKey::read(&path).expect("a key")
    }

    #[test]
    fn a_wrapped_key_opens_with_its_own_kek_under_its_own_name_only() {
        let dir = tempfile::tempdir().expect("a folder");
        let (own, other) = (kek(dir.path(), "1"), kek(dir.path(), "2"));
        let path = dir.path().join("sealing.key");
        write_key(&path, &KEY, Some(&own)).expect("written");
        let content = fs::read(&path).expect("there");
        assert!(!content.windows(8).any(|window| window == &KEY[..8]), "the key is not in the file");
        assert_eq!(*read_key(&path, Some(&own)).expect("opens").expect("there"), KEY);
        assert!(matches!(read_key(&path, Some(&other)), Err(KeyFileError::OtherKek { .. })));
        assert!(matches!(read_key(&path, None), Err(KeyFileError::Wrapped { .. })));
        let renamed = dir.path().join("committee.key");
        fs::copy(&path, &renamed).expect("copied");
        assert!(matches!(read_key(&renamed, Some(&own)), Err(KeyFileError::OtherKek { .. })));
        for place in 0..content.len() {
            let mut changed = content.clone();
            changed[place] ^= 1;
            fs::write(&path, changed).expect("written");
            assert!(read_key(&path, Some(&own)).is_err(), "byte {place}");
        }
    }

    #[test]
    fn a_plain_key_is_wrapped_when_a_kek_comes_and_its_old_bytes_are_gone() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("wrapping-key.1");
        write_key(&path, &KEY, None).expect("written");
        // Whoever had the file open sees zeros afterwards.
        let mut handle = File::open(&path).expect("there");
        let own = kek(dir.path(), "1");
        assert_eq!(*read_key(&path, Some(&own)).expect("opens").expect("there"), KEY);
        let mut seen = Vec::new();
        io::Read::read_to_end(&mut handle, &mut seen).expect("read");
        assert_eq!(seen, [0; 32]);
        assert!(matches!(read_key(&path, None), Err(KeyFileError::Wrapped { .. })));
        assert_eq!(*read_key(&path, Some(&own)).expect("opens").expect("there"), KEY);
    }

    #[test]
    fn all_keys_are_wrapped_anew_and_a_second_run_completes_the_first() {
        let dir = tempfile::tempdir().expect("a folder");
        let (old, new, third) = (kek(dir.path(), "1"), kek(dir.path(), "2"), kek(dir.path(), "3"));
        let data = dir.path().join("data");
        fs::create_dir(&data).expect("made");
        let names = ["committee.key", "sealing.key", "wrapping-key.4"];
        for name in names {
            write_key(&data.join(name), &KEY, Some(&old)).expect("written");
        }
        fs::write(data.join("keyholder.redb"), b"not a key").expect("written");
        // As if it had been cut off after the first.
        write_key(&data.join("committee.key"), &KEY, Some(&new)).expect("written");
        assert_eq!(rewrap(&data, &old, &new).expect("wrapped"), 2);
        assert_eq!(rewrap(&data, &old, &new).expect("wrapped"), 0);
        for name in names {
            assert_eq!(*read_key(&data.join(name), Some(&new)).expect("opens").expect("there"), KEY);
            assert!(read_key(&data.join(name), Some(&old)).is_err());
        }
        assert!(matches!(rewrap(&data, &old, &third), Err(KeyFileError::OtherKek { .. })));
    }

    #[test]
    fn damaged_and_open_files_are_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("k");
        assert!(read_key(&path, None).expect("no file is no error").is_none());
        fs::write(&path, [1; 31]).expect("written");
        assert!(matches!(read_key(&path, None), Err(KeyFileError::Form { .. })));
        let kek_path = dir.path().join("kek");
        for (content, mode, open) in
            [("1".repeat(64), 0o640, true), ("1".repeat(63), 0o600, false), ("x".repeat(64), 0o600, false)]
        {
            fs::write(&kek_path, content).expect("written");
            fs::set_permissions(&kek_path, fs::Permissions::from_mode(mode)).expect("set");
            let refused = KeyEncryptionKey::read(&kek_path).err().expect("refused");
            assert_eq!(matches!(refused, KeyFileError::OpenKek { .. }), open, "{refused}");
            assert_eq!(matches!(refused, KeyFileError::Kek { .. }), !open, "{refused}");
        }
    }
}
