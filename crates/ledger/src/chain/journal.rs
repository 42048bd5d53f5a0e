//! The append-only file behind the embedded chain.

use super::{ChainError, record::Reader};
use alloy_primitives::{B256, keccak256};
use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

const MAGIC: &[u8; 8] = b"LOCUSEVM";
const FORMAT: u32 = 1;
/// Magic, format, chain id, genesis hash, first 8 bytes of the keccak of all that.
const FILE_HEAD_BYTES: usize = 8 + 4 + 8 + 32 + 8;
/// Payload length, block number, first 8 bytes of the keccak of both.
const RECORD_HEAD_BYTES: usize = 4 + 8 + 8;
/// Keccak of head and payload, then the end mark.
const RECORD_TAIL_BYTES: usize = 32 + END_MARK.len();
/// Last bytes of every whole record. Never zero, so a record that a file system padded with zeros
/// after a power cut is seen to be unfinished.
const END_MARK: [u8; 8] = [0xff; 8];

/// Where a block's payload lies in the journal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    offset: u64,
    len: u32,
}

impl Span {
    pub(crate) fn len(self) -> u32 {
        self.len
    }
}

/// The journal: a locked file, or memory for a chain that is not kept.
#[derive(Debug)]
pub(crate) struct Journal {
    medium: Medium,
    end: u64,
    halted: bool,
}

#[derive(Debug)]
enum Medium {
    Memory(Vec<u8>),
    File { writer: File, reader: Mutex<File>, path: PathBuf },
}

impl Journal {
    pub(crate) fn in_memory() -> Self {
        Self { medium: Medium::Memory(Vec::new()), end: 0, halted: false }
    }

    /// Opens or makes the journal at `path` and calls `replay` with every whole record in order.
    /// The lock is held until the journal is dropped.
    pub(crate) fn open(
        path: &Path,
        chain_id: u64,
        genesis_hash: B256,
        mut replay: impl FnMut(u64, Span, &[u8]) -> Result<(), ChainError>,
    ) -> Result<Self, ChainError> {
        let io = |source| ChainError::Io { path: path.to_owned(), source };
        let mut writer = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(io)?;
        match writer.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ChainError::Locked { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        let head = file_head(chain_id, genesis_hash);
        let size = writer.metadata().map_err(io)?.len();
        if size < head.len() as u64 {
            begin_file(&mut writer, path, &head)?;
        } else {
            let mut found = [0; FILE_HEAD_BYTES];
            writer.seek(SeekFrom::Start(0)).and_then(|_| writer.read_exact(&mut found)).map_err(io)?;
            check_file_head(&found, &head)?;
        }
        let end = read_records(&mut writer, path, &mut replay)?;
        writer.set_len(end).and_then(|()| writer.sync_all()).map_err(io)?;
        let reader = Mutex::new(File::open(path).map_err(io)?);
        Ok(Self { medium: Medium::File { writer, reader, path: path.to_owned() }, end, halted: false })
    }

    /// Appends the payload of block `number`; it is durable when this returns.
    ///
    /// # Errors
    /// After any failure the journal refuses everything: what reached the disk is unknown until the
    /// file is opened and checked again.
    pub(crate) fn append(&mut self, number: u64, payload: &[u8]) -> Result<Span, ChainError> {
        if self.halted {
            return Err(ChainError::Halted);
        }
        let len = u32::try_from(payload.len()).map_err(|_| ChainError::BlockTooLarge { bytes: payload.len() })?;
        let record = frame(len, number, payload);
        let span = Span { offset: self.end + RECORD_HEAD_BYTES as u64, len };
        match &mut self.medium {
            Medium::Memory(bytes) => bytes.extend_from_slice(&record),
            Medium::File { writer, path, .. } => {
                if let Err(source) = writer.write_all(&record).and_then(|()| writer.sync_data()) {
                    self.halted = true;
                    return Err(ChainError::Io { path: path.clone(), source });
                }
            }
        }
        self.end += record.len() as u64;
        Ok(span)
    }

    /// Reads a payload back.
    pub(crate) fn read(&self, span: Span) -> Result<Vec<u8>, ChainError> {
        let mut payload = vec![0; span.len as usize];
        match &self.medium {
            Medium::Memory(bytes) => {
                let found =
                    usize::try_from(span.offset).ok().and_then(|start| bytes.get(start..)?.get(..payload.len()));
                payload.copy_from_slice(found.ok_or(ChainError::Halted)?);
            }
            Medium::File { reader, path, .. } => {
                let mut file = reader.lock().unwrap_or_else(PoisonError::into_inner);
                file.seek(SeekFrom::Start(span.offset))
                    .and_then(|_| file.read_exact(&mut payload))
                    .map_err(|source| ChainError::Io { path: path.clone(), source })?;
            }
        }
        Ok(payload)
    }
}

fn file_head(chain_id: u64, genesis_hash: B256) -> Vec<u8> {
    let mut head = MAGIC.to_vec();
    head.extend_from_slice(&FORMAT.to_le_bytes());
    head.extend_from_slice(&chain_id.to_le_bytes());
    head.extend_from_slice(genesis_hash.as_slice());
    seal(&mut head);
    head
}

/// Appends the first 8 bytes of the keccak of everything so far.
fn seal(bytes: &mut Vec<u8>) {
    let check = keccak256(&bytes[..]);
    bytes.extend_from_slice(&check[..8]);
}

fn frame(len: u32, number: u64, payload: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(RECORD_HEAD_BYTES + payload.len() + RECORD_TAIL_BYTES);
    record.extend_from_slice(&len.to_le_bytes());
    record.extend_from_slice(&number.to_le_bytes());
    seal(&mut record);
    record.extend_from_slice(payload);
    let check = keccak256(&record);
    record.extend_from_slice(check.as_slice());
    record.extend_from_slice(&END_MARK);
    record
}

/// Writes the head of a new file. A shorter file can only be one whose making was interrupted.
fn begin_file(writer: &mut File, path: &Path, head: &[u8]) -> Result<(), ChainError> {
    let io = |source| ChainError::Io { path: path.to_owned(), source };
    writer.set_len(0).and_then(|()| writer.write_all(head)).and_then(|()| writer.sync_all()).map_err(io)?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)?;
    }
    Ok(())
}

fn check_file_head(found: &[u8; FILE_HEAD_BYTES], expected: &[u8]) -> Result<(), ChainError> {
    if found == expected {
        return Ok(());
    }
    let mut sealed = found[..FILE_HEAD_BYTES - 8].to_vec();
    seal(&mut sealed);
    if sealed != found || found[..12] != expected[..12] {
        return Err(ChainError::NotAJournal);
    }
    Err(ChainError::OtherChain)
}

enum Next {
    Record(u64, Vec<u8>),
    End,
}

/// Reads records up to the end or to an unfinished last one; returns where the good part ends.
fn read_records(
    file: &mut File,
    path: &Path,
    replay: &mut impl FnMut(u64, Span, &[u8]) -> Result<(), ChainError>,
) -> Result<u64, ChainError> {
    let io = |source| ChainError::Io { path: path.to_owned(), source };
    let size = file.metadata().map_err(io)?.len();
    let mut end = FILE_HEAD_BYTES as u64;
    file.seek(SeekFrom::Start(end)).map_err(io)?;
    let mut number = 1u64;
    loop {
        match next_record(file, number, size - end, path)? {
            Next::End => return Ok(end),
            Next::Record(found, payload) => {
                let len = u32::try_from(payload.len()).map_err(|_| ChainError::Corrupt { number: found })?;
                replay(found, Span { offset: end + RECORD_HEAD_BYTES as u64, len }, &payload)?;
                end += (RECORD_HEAD_BYTES + payload.len() + RECORD_TAIL_BYTES) as u64;
                number += 1;
            }
        }
    }
}

/// The record that should be block `number`, with `left` bytes of the file still unread.
fn next_record(file: &mut File, number: u64, left: u64, path: &Path) -> Result<Next, ChainError> {
    let io = |source| ChainError::Io { path: path.to_owned(), source };
    if left < RECORD_HEAD_BYTES as u64 {
        return Ok(Next::End);
    }
    let mut head = [0; RECORD_HEAD_BYTES];
    file.read_exact(&mut head).map_err(io)?;
    let mut sealed = head[..12].to_vec();
    seal(&mut sealed);
    if sealed != head {
        // Only a head that was never wholly written may be dropped: then nothing but zeros follows.
        let padded = head.last() == Some(&0) && rest_is_zero(file).map_err(io)?;
        return if padded { Ok(Next::End) } else { Err(ChainError::Corrupt { number }) };
    }
    let mut reader = Reader(&head);
    let (len, found) = (reader.u32().unwrap_or(0), reader.u64().unwrap_or(0));
    if left < (RECORD_HEAD_BYTES + RECORD_TAIL_BYTES) as u64 + u64::from(len) {
        return Ok(Next::End);
    }
    let mut body = vec![0; len as usize + RECORD_TAIL_BYTES];
    file.read_exact(&mut body).map_err(io)?;
    let record = frame(len, found, &body[..len as usize]);
    if found == number && record[RECORD_HEAD_BYTES..] == body {
        body.truncate(len as usize);
        return Ok(Next::Record(found, body));
    }
    let padded = body.ends_with(&[0; END_MARK.len()]) && rest_is_zero(file).map_err(io)?;
    if padded { Ok(Next::End) } else { Err(ChainError::Corrupt { number }) }
}

fn rest_is_zero(file: &mut File) -> std::io::Result<bool> {
    let mut buffer = [0; 8192];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(true),
            read if buffer[..read].iter().any(|&byte| byte != 0) => return Ok(false),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_failed_write_nothing_is_added_until_the_journal_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let open = |seen: &mut Vec<u64>| {
            Journal::open(&path, 1, B256::ZERO, |number, _, _| {
                seen.push(number);
                Ok(())
            })
        };
        let mut journal = open(&mut Vec::new()).unwrap();
        journal.append(1, b"first").unwrap();
        let Medium::File { writer, .. } = &mut journal.medium else { panic!("it is a file") };
        // A handle that cannot write stands for a full disk.
        let working = std::mem::replace(writer, File::open(&path).unwrap());
        assert!(matches!(journal.append(2, b"second"), Err(ChainError::Io { .. })));
        let Medium::File { writer, .. } = &mut journal.medium else { panic!("it is a file") };
        *writer = working;
        assert!(matches!(journal.append(2, b"second"), Err(ChainError::Halted)));
        drop(journal);
        let mut seen = Vec::new();
        open(&mut seen).unwrap().append(2, b"second").unwrap();
        assert_eq!(seen, [1]);
    }
}
