//! Keys of accounts in files: 64 hexadecimal digits that nobody else can read. Who may read a key file is decided here for all
//! services.

use crate::account::AccountKey;
use rustix::process::{getegid, geteuid, getgroups};
use std::{
    fs, io, iter,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// Permissions that a private file must not give to others.
const OTHERS_MODE: u32 = 0o077;
/// The one of them that a file of root may give to its group.
const GROUP_READ: u32 = 0o040;
/// The user who decides about everything anyway.
const ROOT: u32 = 0;

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
    /// Others can read it.
    #[error("{path} can be read by others: run `chmod 600` on it, or `chmod 640` where it is root's and has a group of this process", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
    },
    /// The file holds no key.
    #[error("{path} does not hold a key of 64 hexadecimal digits: restore it from a copy, or make one with `openssl rand -hex 32`", path = path.display())]
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
    if !is_private_file(&fs::metadata(path).map_err(failed)?) {
        return Err(KeyFileError::Open { path: path.to_path_buf() });
    }
    let text = Zeroizing::new(fs::read(path).map_err(failed)?);
    let mut secret = Zeroizing::new([0; 32]);
    alloy_primitives::hex::decode_to_slice(text.trim_ascii_end(), &mut secret[..]).map_err(|_| refused())?;
    AccountKey::from_bytes(&secret).map_err(|_| refused())
}

/// Whether nobody but the owner can use a file with a key. A file of root's may also be readable by a group that this process
/// is in: so Kubernetes mounts secrets for a process that is not root (0440, group `fsGroup`), and so packages install keys.
/// Who is in that group is root's choice. PostgreSQL has the same rule.
pub fn is_private_file(file: &fs::Metadata) -> bool {
    Process::current().keeps_private(file.mode(), file.uid(), file.gid())
}

/// Whom the system takes this process for.
struct Process {
    user: u32,
    groups: Vec<u32>,
}

impl Process {
    fn current() -> Self {
        // Without the list only the main group counts, and fewer files are accepted.
        let groups = iter::once(getegid()).chain(getgroups().unwrap_or_default());
        Self { user: geteuid().as_raw(), groups: groups.map(|group| group.as_raw()).collect() }
    }

    fn keeps_private(&self, mode: u32, owner: u32, group: u32) -> bool {
        let is_provided = owner == ROOT && self.user != ROOT && self.groups.contains(&group);
        let allowed = if is_provided { GROUP_READ } else { 0 };
        mode & OTHERS_MODE & !allowed == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

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
        assert!(matches!(write(&digits, 0o640), Err(KeyFileError::Open { .. })), "others can read it");
        assert!(matches!(write(&digits[2..], 0o600), Err(KeyFileError::Refused { .. })), "too short");
        assert!(matches!(write(&"00".repeat(32), 0o600), Err(KeyFileError::Refused { .. })), "zero is no key");
        assert!(matches!(read_key_file(&dir.path().join("none")), Err(KeyFileError::Io { .. })));
    }

    #[test]
    fn a_key_of_root_may_be_read_by_a_group_of_the_process_and_no_other_by_anybody() {
        const SERVICE: u32 = 65_532;
        let process = Process { user: SERVICE, groups: vec![SERVICE, 2_000] };
        for (mode, owner, group, expected, what) in [
            (0o100_600, SERVICE, SERVICE, true, "its own file"),
            (0o100_400, SERVICE, SERVICE, true, "its own file, read only"),
            (0o100_440, ROOT, SERVICE, true, "a secret that Kubernetes mounts with fsGroup"),
            (0o100_640, ROOT, 2_000, true, "a file of root's in another group of the process"),
            (0o100_640, ROOT, 4, false, "a group that the process is not in"),
            (0o100_660, ROOT, SERVICE, false, "the group can write"),
            (0o100_450, ROOT, SERVICE, false, "the group can execute"),
            (0o100_444, ROOT, SERVICE, false, "everybody can read"),
            (0o100_640, SERVICE, SERVICE, false, "its own file, open to its group"),
            (0o100_440, 1_000, SERVICE, false, "another user's file, open to its group"),
            (0o100_644, SERVICE, SERVICE, false, "its own file, open to everybody"),
        ] {
            assert_eq!(process.keeps_private(mode, owner, group), expected, "{what}");
        }
        let root = Process { user: ROOT, groups: vec![ROOT] };
        assert!(root.keeps_private(0o100_600, ROOT, ROOT));
        assert!(!root.keeps_private(0o100_640, ROOT, ROOT), "root's own file is closed like anybody's");
    }
}
