//! Orders and answers as files, clause 4 of the specification.

use crate::{domain::DST_ANSWER_FILE, error::ClientError, files, research::open::AnswerError};
use locus_commitment::sha3_256;
use locus_wire::pb::query as pb;
use prost::Message as _;
use std::path::Path;

/// Version of the file format.
pub const ANSWER_FILE_VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"LOCUSANS";
const HEAD_BYTES: usize = 8 + 4 + 8;
const DIGEST_BYTES: usize = 32;
/// Largest file: 1,024 panel blocks of two planes, each with a sum and three shares, fit.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// Writes an order or an answer, replacing an older file in one step.
///
/// # Errors
/// [`ClientError::File`].
pub fn save_record(record: &pb::AnswerRecord, path: &Path) -> Result<(), ClientError> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        files::create_private_folder(folder)?;
    }
    Ok(files::replace_file(path, &encode(record))?)
}

/// Reads an order or an answer.
///
/// # Errors
/// [`ClientError::File`], or [`AnswerError::NotAnAnswerFile`] for anything but an undamaged file of
/// this version.
pub fn load_record(path: &Path) -> Result<pb::AnswerRecord, ClientError> {
    let bytes = files::read_limited(path, FILE_BYTES_MAX)?;
    decode(&bytes).ok_or_else(|| AnswerError::NotAnAnswerFile { path: path.to_path_buf() }.into())
}

fn encode(record: &pb::AnswerRecord) -> Vec<u8> {
    let payload_len = record.encoded_len();
    let mut bytes = Vec::with_capacity(HEAD_BYTES + payload_len + DIGEST_BYTES);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&ANSWER_FILE_VERSION.to_le_bytes());
    bytes.extend_from_slice(&(payload_len as u64).to_le_bytes());
    // A vector grows as needed, so encoding cannot fail.
    let _ = record.encode(&mut bytes);
    let digest = sha3_256(DST_ANSWER_FILE, &[&bytes[HEAD_BYTES..]]);
    bytes.extend_from_slice(&digest.0);
    bytes
}

fn decode(bytes: &[u8]) -> Option<pb::AnswerRecord> {
    let (magic, rest) = bytes.split_first_chunk()?;
    let (version, rest) = rest.split_first_chunk()?;
    let (payload_len, rest) = rest.split_first_chunk()?;
    let (payload, digest) = rest.split_last_chunk::<DIGEST_BYTES>()?;
    let is_whole = magic == MAGIC
        && u32::from_le_bytes(*version) == ANSWER_FILE_VERSION
        && u64::from_le_bytes(*payload_len) == payload.len() as u64
        && sha3_256(DST_ANSWER_FILE, &[payload]).0 == *digest;
    if is_whole { pb::AnswerRecord::decode(payload).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> pb::AnswerRecord {
        pb::AnswerRecord {
            order_id: vec![7; 32].into(),
            blocks: vec![pb::BlockAnswer { block: 3, ..Default::default() }],
            ..Default::default()
        }
    }

    #[test]
    fn records_read_back_as_written() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("answers").join("one.answer");
        save_record(&record(), &path).expect("saved");
        assert_eq!(load_record(&path).expect("loaded"), record());
    }

    #[test]
    fn a_file_with_a_flipped_bit_or_missing_bytes_is_refused() {
        let bytes = encode(&record());
        assert!(decode(&bytes).is_some());
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1;
            assert!(decode(&damaged).is_none(), "byte {place}");
            assert!(decode(&bytes[..place]).is_none(), "{place} bytes");
        }
        assert!(decode(&[bytes.as_slice(), &[0]].concat()).is_none());
    }
}
