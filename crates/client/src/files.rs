//! Files that only their owner may read, and appends that survive a crash.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// Permission bits of group and others.
const OTHERS_MODE: u32 = 0o077;
/// Permissions of a private file.
const FILE_MODE: u32 = 0o600;
/// Permissions of a private folder.
const FOLDER_MODE: u32 = 0o700;

/// Why a file of the client cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system refused.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than the owner may read or write it.
    #[error("{path} may be read by others (mode {mode:o}): run `chmod {wanted:o} {path}` and check who had access", path = path.display())]
    Exposed {
        /// The file or folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The permission bits it should have.
        wanted: u32,
    },
    /// It is a link, a device or a folder.
    #[error("{path} is not a regular file: put the file itself there", path = path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// It is larger than any file of this kind.
    #[error("{path} has {bytes} bytes, at most {max} are expected: is it the right file?", path = path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// Most bytes expected.
        max: u64,
    },
}

impl FileError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }
}

/// Makes a folder (and its parents) that only the owner may enter; an existing one is left as it is.
pub(crate) fn create_private_folder(path: &Path) -> Result<(), FileError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(FOLDER_MODE).create(path).map_err(FileError::io("create", path))
}

/// Refuses a folder that others may enter.
pub(crate) fn check_private_folder(path: &Path) -> Result<(), FileError> {
    let metadata = fs::symlink_metadata(path).map_err(FileError::io("open", path))?;
    check_mode(path, metadata.mode(), FOLDER_MODE)
}

/// Writes a file that must not exist, readable by its owner alone, and waits until it is on disk.
pub(crate) fn create_private_file(path: &Path, content: &[u8]) -> Result<(), FileError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(path)
        .map_err(FileError::io("create", path))?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(FileError::io("write", path))
}

/// Reads a private file of at most `max` bytes; refuses links and files that others may read.
pub(crate) fn read_private_file(path: &Path, max: u64) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let metadata = fs::symlink_metadata(path).map_err(FileError::io("open", path))?;
    if !metadata.is_file() {
        return Err(FileError::NotAFile { path: path.to_path_buf() });
    }
    check_mode(path, metadata.mode(), FILE_MODE)?;
    read_limited(path, max)
}

/// Reads a file of at most `max` bytes.
pub(crate) fn read_limited(path: &Path, max: u64) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let file = File::open(path).map_err(FileError::io("open", path))?;
    let bytes = file.metadata().map_err(FileError::io("read", path))?.len();
    if bytes > max {
        return Err(FileError::TooLarge { path: path.to_path_buf(), bytes, max });
    }
    // The whole capacity is there before the first byte, so no copy of a secret is left behind.
    let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(bytes).unwrap_or(usize::MAX)));
    file.take(max).read_to_end(&mut content).map_err(FileError::io("read", path))?;
    Ok(content)
}

/// Replaces a file in one step: readers see the old content or the new, also after a crash.
pub(crate) fn replace_file(path: &Path, content: &[u8]) -> Result<(), FileError> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".new");
    let fresh = path.with_file_name(name);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(FILE_MODE)
        .open(&fresh)
        .map_err(FileError::io("create", &fresh))?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(FileError::io("write", &fresh))?;
    fs::rename(&fresh, path).map_err(FileError::io("replace", path))?;
    sync_folder_of(path)
}

/// Adds one line to a private file, in one write, and waits until it is on disk. A line that an
/// earlier crash left unfinished is closed first.
pub(crate) fn append_line(path: &Path, line: &str) -> Result<(), FileError> {
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(FILE_MODE)
        .open(path)
        .map_err(FileError::io("open", path))?;
    let mut text = String::with_capacity(line.len() + 2);
    if ends_unfinished(path)? {
        text.push('\n');
    }
    text.push_str(line);
    text.push('\n');
    file.write_all(text.as_bytes()).and_then(|()| file.sync_data()).map_err(FileError::io("write", path))
}

/// Makes a rename or a new file inside the folder of `path` durable.
pub(crate) fn sync_folder_of(path: &Path) -> Result<(), FileError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(FileError::io("sync", folder))
}

fn ends_unfinished(path: &Path) -> Result<bool, FileError> {
    use std::io::{Seek as _, SeekFrom};
    let mut file = File::open(path).map_err(FileError::io("open", path))?;
    if file.metadata().map_err(FileError::io("read", path))?.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1)).and_then(|_| file.read_exact(&mut last)).map_err(FileError::io("read", path))?;
    Ok(last != *b"\n")
}

fn check_mode(path: &Path, mode: u32, wanted: u32) -> Result<(), FileError> {
    let mode = mode & 0o777;
    if mode & OTHERS_MODE == 0 { Ok(()) } else { Err(FileError::Exposed { path: path.to_path_buf(), mode, wanted }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary folder")
    }

    #[test]
    fn a_private_file_reads_back_and_is_closed_to_others() {
        let dir = folder();
        let path = dir.path().join("secret");
        create_private_file(&path, b"abc").expect("written");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(read_private_file(&path, 3).expect("read").as_slice(), b"abc");
    }

    #[test]
    fn a_file_is_not_written_over() {
        let dir = folder();
        let path = dir.path().join("secret");
        create_private_file(&path, b"first").expect("written");
        assert!(matches!(create_private_file(&path, b"second"), Err(FileError::Io { .. })));
        assert_eq!(read_private_file(&path, 9).expect("read").as_slice(), b"first");
    }

    #[test]
    fn a_file_that_others_may_read_is_refused_with_the_way_out() {
        let dir = folder();
        let path = dir.path().join("secret");
        create_private_file(&path, b"abc").expect("written");
        for mode in [0o640, 0o604, 0o660, 0o610] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("changed");
            let error = read_private_file(&path, 3).expect_err("exposed");
            assert!(matches!(error, FileError::Exposed { mode: found, .. } if found == mode), "{error}");
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
    }

    #[test]
    fn links_and_oversized_files_are_refused() {
        let dir = folder();
        let path = dir.path().join("secret");
        create_private_file(&path, b"abcd").expect("written");
        assert!(matches!(read_private_file(&path, 3), Err(FileError::TooLarge { bytes: 4, max: 3, .. })));
        let link = dir.path().join("link");
        symlink(&path, &link).expect("linked");
        assert!(matches!(read_private_file(&link, 9), Err(FileError::NotAFile { .. })));
        assert!(matches!(read_private_file(dir.path(), 9), Err(FileError::NotAFile { .. })));
    }

    #[test]
    fn a_line_after_an_unfinished_one_stands_alone() {
        let dir = folder();
        let path = dir.path().join("lines");
        append_line(&path, "one").expect("added");
        fs::OpenOptions::new().append(true).open(&path).expect("open").write_all(b"tor").expect("torn");
        append_line(&path, "two").expect("added");
        assert_eq!(fs::read_to_string(&path).expect("read"), "one\ntor\ntwo\n");
    }

    #[test]
    fn a_replaced_file_has_the_new_content_and_no_leftovers() {
        let dir = folder();
        let path = dir.path().join("file");
        replace_file(&path, b"old").expect("written");
        replace_file(&path, b"new").expect("replaced");
        assert_eq!(fs::read(&path).expect("read"), b"new");
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 1);
    }
}
