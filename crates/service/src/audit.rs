//! An append-only record of what a service did, each entry bound to all before it.
//!
//! A line is the entry's hash in hexadecimal, a space, and a JSON object with sequence number, time, event, facts and,
//! where there is one, the request's id. `hash = BLAKE3-derive-key("locus audit log v1", previous hash || JSON)`, the
//! first previous hash being 32 zero bytes. Whoever notes a head (number and hash) can later prove that nothing up to it
//! was changed, left out or put in. Facts are names of things (orders, registrations, keyholders), never their content.

use crate::{Clock, RequestId};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fmt,
    fs::{File, OpenOptions},
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Key derivation context of the hashes.
const CONTEXT: &str = "locus audit log v1";
/// Longest line.
const LINE_BYTES_MAX: u64 = 64 << 10;
/// Hexadecimal digits of a hash.
const HASH_DIGITS: usize = 64;

/// Why a record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The file cannot be read or written.
    #[error("cannot use the audit log {path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// An entry is not what was written.
    #[error(
        "line {line} of the audit log {path} was changed, or lines before it were removed: keep the file as evidence, find out who did it, and restore it from a copy",
        path = path.display()
    )]
    Broken {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: u64,
    },
    /// The head noted earlier is not part of it.
    #[error("the audit log does not contain entry {0}: it was cut off or replaced since that was noted")]
    Missing(AuditHead),
    /// An earlier write failed, so the file has to be opened again before anything is added.
    #[error("an earlier write to the audit log failed: restart, so that it is checked")]
    Halted,
}

/// The number of an entry, from 1, and its hash; `0:00…` before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditHead {
    /// Entries up to this one.
    pub sequence: u64,
    /// Hash of it and, through it, of all before.
    pub hash: [u8; 32],
}

impl AuditHead {
    const START: Self = Self { sequence: 0, hash: [0; 32] };

    fn next(&self, json: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(&self.hash).update(json);
        Self { sequence: self.sequence.saturating_add(1), hash: *hasher.finalize().as_bytes() }
    }
}

impl fmt::Display for AuditHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.sequence, hex::encode(self.hash))
    }
}

/// A text that is no head.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no head of an audit log: write NUMBER:HASH as `audit verify` prints it")]
pub struct ParseHeadError(String);

impl FromStr for AuditHead {
    type Err = ParseHeadError;

    fn from_str(text: &str) -> Result<Self, ParseHeadError> {
        let refused = || ParseHeadError(text.to_owned());
        let (sequence, digits) = text.split_once(':').ok_or_else(refused)?;
        let mut hash = [0; 32];
        hex::decode_to_slice(digits, &mut hash).map_err(|_| refused())?;
        Ok(Self { sequence: sequence.parse().map_err(|_| refused())?, hash })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    sequence: u64,
    time_unix_s: u64,
    event: String,
    facts: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
}

/// A record that is written to. Clones write to the same one.
#[derive(Clone)]
pub struct AuditLog(Arc<Inner>);

struct Inner {
    path: PathBuf,
    clock: Clock,
    written: Mutex<Written>,
    /// Taken before `written` where both are.
    synced: Mutex<Synced>,
}

/// The end that entries are added to.
struct Written {
    file: File,
    head: AuditHead,
    is_halted: bool,
}

/// What is on disk.
struct Synced {
    file: File,
    head: AuditHead,
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuditLog in {}", self.0.path.display())
    }
}

impl AuditLog {
    /// Opens the record in the file `path` and verifies it, or starts one. A last line without an end, which a crash left,
    /// is cut off: what it was about was not answered.
    ///
    /// # Errors
    /// [`AuditError::Broken`] when anything else is wrong; nothing is changed then.
    pub fn open(path: &Path, clock: Clock) -> Result<Self, AuditError> {
        let failed = |source| AuditError::File { path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        let mut file =
            options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path).map_err(failed)?;
        let Scan { head, bytes, .. } = scan(&mut file, path, None)?;
        file.set_len(bytes).and_then(|()| file.seek(SeekFrom::End(0))).and_then(|_| file.sync_all()).map_err(failed)?;
        let synced = Mutex::new(Synced { file: file.try_clone().map_err(failed)?, head });
        let written = Mutex::new(Written { file, head, is_halted: false });
        Ok(Self(Arc::new(Inner { path: path.to_owned(), clock, written, synced })))
    }

    /// Adds an entry, durable when this returns. Entries that are added at the same time reach the disk together.
    ///
    /// # Errors
    /// [`AuditError::File`] or [`AuditError::Halted`]: what was to be recorded must not happen.
    pub fn append(&self, event: &str, facts: &[(&str, &dyn fmt::Display)]) -> Result<(), AuditError> {
        let head = self.write(event, facts)?;
        self.sync(head.sequence)
    }

    /// Adds an entry that outlives this process when this returns, and a loss of power once [`flush`](Self::flush) has
    /// returned: for what cannot wait for the disk.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn note(&self, event: &str, facts: &[(&str, &dyn fmt::Display)]) -> Result<(), AuditError> {
        self.write(event, facts).map(drop)
    }

    /// Waits until every entry so far is on disk.
    ///
    /// # Errors
    /// [`AuditError::File`] or [`AuditError::Halted`]: what was noted may be lost.
    pub fn flush(&self) -> Result<(), AuditError> {
        let newest = lock(&self.0.written).head.sequence;
        self.sync(newest)
    }

    fn write(&self, event: &str, facts: &[(&str, &dyn fmt::Display)]) -> Result<AuditHead, AuditError> {
        let mut written = lock(&self.0.written);
        if written.is_halted {
            return Err(AuditError::Halted);
        }
        let entry = Entry {
            sequence: written.head.sequence.saturating_add(1),
            time_unix_s: self.0.clock.now_unix_s(),
            event: event.to_owned(),
            facts: facts.iter().map(|(name, fact)| ((*name).to_owned(), fact.to_string())).collect(),
            request_id: RequestId::current().map(|id| id.as_str().to_owned()),
        };
        let json = serde_json::to_vec(&entry).map_err(|error| self.failed(error.into()))?;
        let head = written.head.next(&json);
        let line = [hex::encode(head.hash).as_bytes(), b" ", &json, b"\n"].concat();
        if let Err(source) = written.file.write_all(&line) {
            written.is_halted = true;
            return Err(self.failed(source));
        }
        written.head = head;
        Ok(head)
    }

    /// Waits until entry `sequence` is on disk: whoever comes first writes out for all who wait.
    fn sync(&self, sequence: u64) -> Result<(), AuditError> {
        let mut synced = lock(&self.0.synced);
        if synced.head.sequence >= sequence {
            return Ok(());
        }
        let (head, is_halted) = {
            let written = lock(&self.0.written);
            (written.head, written.is_halted)
        };
        if is_halted {
            return Err(AuditError::Halted);
        }
        if let Err(source) = synced.file.sync_data() {
            lock(&self.0.written).is_halted = true;
            return Err(self.failed(source));
        }
        synced.head = head;
        Ok(())
    }

    fn failed(&self, source: io::Error) -> AuditError {
        AuditError::File { path: self.0.path.clone(), source }
    }

    /// The newest entry that is on disk.
    pub fn head(&self) -> AuditHead {
        lock(&self.0.synced).head
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Verifies the record in the file `path` without changing it, and that it contains `noted` if that is given. Returns its
/// newest entry.
///
/// # Errors
/// [`AuditError::Broken`] or [`AuditError::Missing`].
pub fn verify_audit_log(path: &Path, noted: Option<AuditHead>) -> Result<AuditHead, AuditError> {
    let mut file = File::open(path).map_err(|source| AuditError::File { path: path.to_owned(), source })?;
    let scan = scan(&mut file, path, noted)?;
    match noted {
        Some(noted) if !scan.contains_noted => Err(AuditError::Missing(noted)),
        _ => Ok(scan.head),
    }
}

struct Scan {
    head: AuditHead,
    /// Length of the whole lines.
    bytes: u64,
    contains_noted: bool,
}

fn scan(file: &mut File, path: &Path, noted: Option<AuditHead>) -> Result<Scan, AuditError> {
    let failed = |source| AuditError::File { path: path.to_owned(), source };
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    let mut reader = BufReader::new(file);
    let mut scan = Scan { head: AuditHead::START, bytes: 0, contains_noted: noted == Some(AuditHead::START) };
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line).map_err(failed)?;
        let number = scan.head.sequence.saturating_add(1);
        if line.last() != Some(&b'\n') {
            // The end of the file, or what a crash left of a line.
            return if u64::try_from(read).unwrap_or(u64::MAX) < LINE_BYTES_MAX {
                Ok(scan)
            } else {
                Err(AuditError::Broken { path: path.to_owned(), line: number })
            };
        }
        scan.head =
            next_head(&scan.head, &line).ok_or_else(|| AuditError::Broken { path: path.to_owned(), line: number })?;
        scan.bytes += u64::try_from(read).unwrap_or(u64::MAX);
        scan.contains_noted |= noted == Some(scan.head);
    }
}

/// The head after a whole line, unless the line does not follow.
fn next_head(head: &AuditHead, line: &[u8]) -> Option<AuditHead> {
    let (digits, rest) = line.split_at_checked(HASH_DIGITS)?;
    let json = rest.strip_prefix(b" ")?.strip_suffix(b"\n")?;
    let next = head.next(json);
    let mut hash = [0; 32];
    hex::decode_to_slice(digits, &mut hash).ok()?;
    let entry: Entry = serde_json::from_slice(json).ok()?;
    (hash == next.hash && entry.sequence == next.sequence).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn filled(dir: &Path) -> (PathBuf, Vec<AuditHead>) {
        let path = dir.join("audit.log");
        let log = AuditLog::open(&path, Clock::manual(1_900_000_000)).expect("started");
        let mut heads = vec![log.head()];
        for order in 1..=4 {
            log.append("answer_committed", &[("order", &order)]).expect("written");
            heads.push(log.head());
        }
        (path, heads)
    }

    #[test]
    fn a_record_goes_on_after_a_restart_and_contains_every_head_noted() {
        let dir = tempfile::tempdir().expect("a folder");
        let (path, mut heads) = filled(dir.path());
        let log = AuditLog::open(&path, Clock::manual(1_900_000_001)).expect("verified");
        log.append("seeds_erased", &[("registration", &7), ("datasets", &1)]).expect("written");
        heads.push(log.head());
        for head in &heads {
            assert_eq!(verify_audit_log(&path, Some(*head)).expect("contained"), heads[5]);
            assert_eq!(head.to_string().parse::<AuditHead>().as_ref(), Ok(head));
        }
        assert_eq!(heads[5].sequence, 5);
    }

    #[test]
    fn what_is_noted_is_in_the_file_at_once_and_on_disk_after_a_flush() {
        let dir = tempfile::tempdir().expect("a folder");
        let (path, heads) = filled(dir.path());
        let log = AuditLog::open(&path, Clock::manual(1_900_000_000)).expect("opened");
        log.note("transaction_sent", &[("call", &"OpenOrder")]).expect("written");
        assert_eq!(verify_audit_log(&path, Some(heads[4])).expect("whole").sequence, 5);
        assert_eq!(log.head(), heads[4], "the disk may not have it yet");
        log.flush().expect("flushed");
        assert_eq!(log.head(), verify_audit_log(&path, None).expect("whole"));
    }

    #[test]
    fn entries_added_at_the_same_time_follow_one_another() {
        const WRITERS: u64 = 8;
        const EACH: u64 = 25;
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("audit.log");
        let log = AuditLog::open(&path, Clock::manual(1_900_000_000)).expect("started");
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (log, path) = (&log, &path);
                scope.spawn(move || {
                    for entry in 0..EACH {
                        log.append("answer_committed", &[("order", &(writer * EACH + entry))]).expect("written");
                        // Whatever is noted once it is on disk stays part of the record.
                        verify_audit_log(path, Some(log.head())).expect("contained");
                    }
                });
            }
        });
        assert_eq!(verify_audit_log(&path, None).expect("whole"), log.head());
        assert_eq!(log.head().sequence, WRITERS * EACH);
        for order in 0..WRITERS * EACH {
            let entry = format!("\"order\":\"{order}\"");
            assert_eq!(fs::read_to_string(&path).expect("text").matches(&entry).count(), 1, "{entry}");
        }
    }

    #[test]
    fn whatever_is_changed_removed_added_or_moved_is_found() {
        let dir = tempfile::tempdir().expect("a folder");
        let (path, heads) = filled(dir.path());
        let text = fs::read_to_string(&path).expect("text");
        let lines: Vec<&str> = text.lines().collect();
        let joined = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        let changes = [
            ("a fact", text.replace("\"order\":\"2\"", "\"order\":\"9\"")),
            ("a time", text.replacen("1900000000", "1900000009", 1)),
            ("a line removed", joined(&[lines[0], lines[2], lines[3]])),
            ("the first removed", joined(&lines[1..])),
            ("two swapped", joined(&[lines[0], lines[2], lines[1], lines[3]])),
            ("one twice", joined(&[lines[0], lines[0], lines[1]])),
            ("an empty line", joined(&[lines[0], "", lines[1]])),
            ("another format", text.replacen("\"event\"", "\"evnt\"", 1)),
        ];
        for (what, changed) in changes {
            assert_ne!(changed, text, "{what}");
            fs::write(&path, &changed).expect("written");
            assert!(matches!(verify_audit_log(&path, None), Err(AuditError::Broken { .. })), "{what}");
            assert!(AuditLog::open(&path, Clock::system()).is_err(), "{what}");
            assert_eq!(fs::read_to_string(&path).expect("text"), changed, "the evidence stays");
        }
        // Lines cut off at the end are missed by whoever noted a head.
        fs::write(&path, joined(&lines[..2])).expect("written");
        verify_audit_log(&path, Some(heads[2])).expect("contained");
        assert!(matches!(verify_audit_log(&path, Some(heads[3])), Err(AuditError::Missing(_))));
    }

    #[test]
    fn what_a_crash_left_of_a_line_is_cut_off() {
        let dir = tempfile::tempdir().expect("a folder");
        let (path, heads) = filled(dir.path());
        let text = fs::read(&path).expect("bytes");
        for cut in 1..40 {
            fs::write(&path, &text[..text.len() - cut]).expect("written");
            let log = AuditLog::open(&path, Clock::manual(1_900_000_000)).expect("opened");
            assert_eq!(log.head(), heads[3], "{cut} bytes are missing");
            log.append("answer_committed", &[("order", &4)]).expect("written");
            assert_eq!(log.head(), heads[4]);
        }
    }
}
