//! The keys of one person or institution, as files in a folder that only they may read.

use crate::{
    entropy::{self, EntropyError},
    files::{self, FileError},
};
use bytes::Bytes;
use locus_commitment::{Address, Digest32, PersonTag};
use locus_ledger::{AccountError, AccountKey};
use locus_sharing::{
    MasterSecret,
    seal::{SealingPrivateKey, SealingPublicKey},
};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};
use zeroize::Zeroizing;

const METADATA_FILE: &str = "keystore.json";
const ACCOUNT_FILE: &str = "account.key";
const MASTER_FILE: &str = "master.secret";
const SEALING_FILE: &str = "sealing.seed";
const ACCREDITOR_FILE: &str = "accreditor.key";
const PERSON_KEY_FILE: &str = "person.key";
/// Version of the folder's layout.
const FORMAT: u32 = 1;
/// A secret file holds 64 hexadecimal digits and a line end of one or two bytes.
const SECRET_FILE_BYTES_MAX: u64 = 66;
/// Largest metadata file.
const METADATA_BYTES_MAX: u64 = 4096;
/// How often a fresh account key is drawn; one draw fails with probability 2^-128.
const ACCOUNT_KEY_DRAWS: usize = 2;

/// Why a keystore cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// A file is missing, exposed or cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is no keystore in the folder.
    #[error("there are no keys in {folder}: make some with `locus keys new`", folder = folder.display())]
    Missing {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder holds a keystore already.
    #[error("{folder} holds keys already: keys are never written over, choose another folder", folder = folder.display())]
    Exists {
        /// The folder.
        folder: PathBuf,
    },
    /// A file does not hold a secret of 64 hexadecimal digits.
    #[error("{path} does not hold a secret of 64 hexadecimal digits: restore it from a copy", path = path.display())]
    NotASecret {
        /// The file.
        path: PathBuf,
    },
    /// The metadata are not those of a keystore of this format.
    #[error("{path} is not a keystore description of format {FORMAT}: restore it from a copy", path = path.display())]
    Metadata {
        /// The file.
        path: PathBuf,
    },
    /// A key file does not belong to the keystore.
    #[error("the key in {file} is not the one that keystore.json names: restore both from the same copy")]
    Mismatch {
        /// The key file.
        file: &'static str,
    },
    /// No accreditor key was made.
    #[error("these keys cannot vouch for datasets: make others with `locus keys new --accreditor`")]
    NotAnAccreditor,
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The account key cannot sign.
    #[error(transparent)]
    Account(#[from] AccountError),
}

/// What may be known about a keystore; holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeystoreMetadata {
    /// Version of the folder's layout.
    pub format: u32,
    /// When the keys were made.
    pub created_unix_s: u64,
    /// The account, as 0x and 40 digits.
    pub account: String,
    /// Digest of the key that answers are sealed to, 64 digits.
    pub sealing_key_digest: String,
    /// The accreditor's account, if the keys can vouch for datasets.
    pub accreditor: Option<String>,
}

/// Keys with which an institution vouches for the people it enrols.
pub struct AccreditorKeys {
    account: AccountKey,
    person_key: Zeroizing<[u8; 32]>,
}

impl AccreditorKeys {
    /// The account on the market's list of accreditors.
    pub fn account(&self) -> &AccountKey {
        &self.account
    }

    /// The tag of the person whom the institution knows by this identifier: the same for all their
    /// datasets, and without meaning to anyone else.
    pub fn person_tag(&self, identifier: &str) -> PersonTag {
        PersonTag::of_accredited(&self.person_key, identifier.as_bytes())
    }
}

/// All keys of one person or institution. The secrets leave the files only into memory that is
/// erased on drop.
pub struct Keystore {
    folder: PathBuf,
    metadata: KeystoreMetadata,
    account: AccountKey,
    master: MasterSecret,
    sealing: SealingPrivateKey,
    accreditor: Option<Arc<AccreditorKeys>>,
}

/// What [`Keystore::create`] makes beyond the usual keys.
#[derive(Debug, Clone, Copy, Default)]
pub struct NewKeys {
    /// Also make keys with which an institution vouches for datasets.
    pub accreditor: bool,
}

impl Keystore {
    /// Makes fresh keys in `folder`, which must not hold any. All files appear together or not at
    /// all.
    ///
    /// # Errors
    /// [`KeystoreError::Exists`], [`KeystoreError::File`] or [`KeystoreError::Entropy`].
    pub fn create(folder: &Path, new: NewKeys, now_unix_s: u64) -> Result<Self, KeystoreError> {
        if folder.join(METADATA_FILE).exists() {
            return Err(KeystoreError::Exists { folder: folder.to_path_buf() });
        }
        let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        files::create_private_folder(parent)?;
        let staging = staging_folder(folder)?;
        let secrets = FreshSecrets::draw(new)?;
        let written = secrets.write(&staging, now_unix_s).and_then(|()| publish(&staging, folder));
        if let Err(error) = written {
            // The half-made copy is useless; what it cannot remove, the next attempt does not reuse.
            let _ = fs::remove_dir_all(&staging);
            return Err(error);
        }
        Self::open(folder)
    }

    /// Loads the keys in `folder`.
    ///
    /// # Errors
    /// [`KeystoreError::Missing`], and [`KeystoreError::File`] also when others than the owner may
    /// read a key file or the folder.
    pub fn open(folder: &Path) -> Result<Self, KeystoreError> {
        let metadata_path = folder.join(METADATA_FILE);
        if !metadata_path.exists() {
            return Err(KeystoreError::Missing { folder: folder.to_path_buf() });
        }
        files::check_private_folder(folder)?;
        let metadata = read_metadata(&metadata_path)?;
        let account = read_account(folder, ACCOUNT_FILE, &metadata.account)?;
        let master = MasterSecret::from_bytes(*read_secret(&folder.join(MASTER_FILE))?);
        let sealing = SealingPrivateKey::from_seed(&*read_secret(&folder.join(SEALING_FILE))?);
        if sealing.public_key().digest().to_string() != metadata.sealing_key_digest {
            return Err(KeystoreError::Mismatch { file: SEALING_FILE });
        }
        let accreditor = match &metadata.accreditor {
            None => None,
            Some(named) => Some(Arc::new(AccreditorKeys {
                account: read_account(folder, ACCREDITOR_FILE, named)?,
                person_key: read_secret(&folder.join(PERSON_KEY_FILE))?,
            })),
        };
        Ok(Self { folder: folder.to_path_buf(), metadata, account, master, sealing, accreditor })
    }

    /// Where the keys are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What may be known about the keys.
    pub fn metadata(&self) -> &KeystoreMetadata {
        &self.metadata
    }

    /// The account that registers, buys and is paid.
    pub fn account(&self) -> &AccountKey {
        &self.account
    }

    /// Its address.
    pub fn address(&self) -> Address {
        self.account.address()
    }

    /// The secret from which all secrets of all datasets derive.
    pub fn master(&self) -> &MasterSecret {
        &self.master
    }

    /// The key that opens answers.
    pub fn sealing_key(&self) -> &SealingPrivateKey {
        &self.sealing
    }

    /// The key that answers are sealed to.
    pub fn sealing_public_key(&self) -> SealingPublicKey {
        self.sealing.public_key()
    }

    /// Its digest, as orders carry it.
    pub fn sealing_key_digest(&self) -> Digest32 {
        self.sealing.public_key().digest()
    }

    /// The keys that vouch for datasets.
    ///
    /// # Errors
    /// [`KeystoreError::NotAnAccreditor`].
    pub fn accreditor(&self) -> Result<Arc<AccreditorKeys>, KeystoreError> {
        self.accreditor.clone().ok_or(KeystoreError::NotAnAccreditor)
    }

    /// The account's signature over a digest.
    pub(crate) fn sign(&self, digest: &Digest32) -> Result<Bytes, KeystoreError> {
        Ok(Bytes::copy_from_slice(&self.account.sign_digest(digest)?.to_bytes()))
    }
}

/// New secrets before they are files.
struct FreshSecrets {
    account: Zeroizing<[u8; 32]>,
    master: Zeroizing<[u8; 32]>,
    sealing: Zeroizing<[u8; 32]>,
    accreditor: Option<(Zeroizing<[u8; 32]>, Zeroizing<[u8; 32]>)>,
}

impl FreshSecrets {
    fn draw(new: NewKeys) -> Result<Self, KeystoreError> {
        let accreditor = if new.accreditor { Some((fresh_account_key()?, entropy::fresh_32()?)) } else { None };
        Ok(Self {
            account: fresh_account_key()?,
            master: entropy::fresh_32()?,
            sealing: entropy::fresh_32()?,
            accreditor,
        })
    }

    fn write(&self, folder: &Path, now_unix_s: u64) -> Result<(), KeystoreError> {
        write_secret(&folder.join(ACCOUNT_FILE), &self.account)?;
        write_secret(&folder.join(MASTER_FILE), &self.master)?;
        write_secret(&folder.join(SEALING_FILE), &self.sealing)?;
        let mut accreditor = None;
        if let Some((account, person_key)) = &self.accreditor {
            write_secret(&folder.join(ACCREDITOR_FILE), account)?;
            write_secret(&folder.join(PERSON_KEY_FILE), person_key)?;
            accreditor = Some(address_of(account, ACCREDITOR_FILE)?.to_string());
        }
        let sealing = SealingPrivateKey::from_seed(&self.sealing);
        let metadata = KeystoreMetadata {
            format: FORMAT,
            created_unix_s: now_unix_s,
            account: address_of(&self.account, ACCOUNT_FILE)?.to_string(),
            sealing_key_digest: sealing.public_key().digest().to_string(),
            accreditor,
        };
        let path = folder.join(METADATA_FILE);
        let text = serde_json::to_vec_pretty(&metadata).map_err(|_| KeystoreError::Metadata { path: path.clone() })?;
        Ok(files::create_private_file(&path, &text)?)
    }
}

/// An empty private folder beside the final one, on the same file system.
fn staging_folder(folder: &Path) -> Result<PathBuf, KeystoreError> {
    let mut name = folder.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".new-{:016x}", entropy::fresh_u64()?));
    let staging = folder.with_file_name(name);
    files::create_private_folder(&staging)?;
    Ok(staging)
}

fn publish(staging: &Path, folder: &Path) -> Result<(), KeystoreError> {
    // Renaming onto an empty folder is allowed, onto one with files is not.
    fs::rename(staging, folder).map_err(FileError::io("create", folder))?;
    Ok(files::sync_folder_of(folder)?)
}

fn fresh_account_key() -> Result<Zeroizing<[u8; 32]>, KeystoreError> {
    let mut last = entropy::fresh_32()?;
    for _ in 0..ACCOUNT_KEY_DRAWS {
        if AccountKey::from_bytes(&last).is_ok() {
            return Ok(last);
        }
        last = entropy::fresh_32()?;
    }
    Ok(last)
}

fn address_of(secret: &[u8; 32], file: &'static str) -> Result<Address, KeystoreError> {
    AccountKey::from_bytes(secret).map(|key| key.address()).map_err(|_| KeystoreError::Mismatch { file })
}

fn read_account(folder: &Path, file: &'static str, named: &str) -> Result<AccountKey, KeystoreError> {
    let path = folder.join(file);
    let secret = read_secret(&path)?;
    let key = AccountKey::from_bytes(&secret).map_err(|_| KeystoreError::NotASecret { path })?;
    if key.address().to_string() == named { Ok(key) } else { Err(KeystoreError::Mismatch { file }) }
}

fn read_metadata(path: &Path) -> Result<KeystoreMetadata, KeystoreError> {
    let text = files::read_limited(path, METADATA_BYTES_MAX)?;
    let parsed: Option<KeystoreMetadata> = serde_json::from_slice(&text).ok();
    let metadata = parsed.filter(|metadata| metadata.format == FORMAT);
    metadata.ok_or_else(|| KeystoreError::Metadata { path: path.to_path_buf() })
}

fn write_secret(path: &Path, secret: &[u8; 32]) -> Result<(), KeystoreError> {
    let mut text = Zeroizing::new(vec![0; 65]);
    let (digits, line_end) = text.split_at_mut(64);
    // 64 digits hold 32 bytes.
    let _ = hex::encode_to_slice(secret, digits);
    line_end.copy_from_slice(b"\n");
    Ok(files::create_private_file(path, &text)?)
}

fn read_secret(path: &Path) -> Result<Zeroizing<[u8; 32]>, KeystoreError> {
    let text = files::read_private_file(path, SECRET_FILE_BYTES_MAX)?;
    let mut secret = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.trim_ascii_end(), &mut secret[..])
        .map_err(|_| KeystoreError::NotASecret { path: path.to_path_buf() })?;
    Ok(secret)
}

#[cfg(test)]
mod tests;
