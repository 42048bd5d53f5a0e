//! New keys of a registration's datasets.

use super::field::{FieldError, FieldErrorKind, in_range};
use crate::pb::keyholder::RekeyedKeys;
use locus_commitment::{DatasetBodyDigest, Digest32, ShareSetCommitment};
use locus_ledger::DatasetKeys;
use locus_privacy::{BATCH_SIZE_MAX, REKEYINGS_MAX};

/// Datasets of a registration at most.
const DATASETS_MAX: usize = BATCH_SIZE_MAX as usize;

/// A generation of keys that a re-keying results in.
///
/// # Errors
/// [`FieldErrorKind::OutOfRange`].
pub fn parse_generation(field: &'static str, generation: u32) -> Result<u8, FieldError> {
    let parsed = in_range(field, generation, 1, u64::from(REKEYINGS_MAX))?;
    Ok(u8::try_from(parsed).unwrap_or(REKEYINGS_MAX))
}

/// The message of these keys, by ordinal; `None` where a dataset was left out.
pub fn rekeyed_keys(keys: &[Option<DatasetKeys>]) -> RekeyedKeys {
    let bytes = keys.iter().flat_map(|keys| match keys {
        Some(keys) => [keys.bodies.0.0, keys.shares.0.0],
        None => [[0; 32]; 2],
    });
    RekeyedKeys { keys: bytes.flatten().collect::<Vec<u8>>().into() }
}

/// The keys in a message, by ordinal.
///
/// # Errors
/// [`FieldErrorKind::Length`] for another number of bytes, [`FieldErrorKind::TooLong`], and a refusal of half an entry.
pub fn parse_rekeyed_keys(field: &'static str, bytes: &[u8]) -> Result<Vec<Option<DatasetKeys>>, FieldError> {
    let (words, rest) = bytes.as_chunks::<32>();
    let (entries, odd) = words.as_chunks::<2>();
    if !rest.is_empty() || !odd.is_empty() {
        let expected = 64 * bytes.len().div_ceil(64);
        return Err(FieldError::new(field, FieldErrorKind::Length { expected, got: bytes.len() }));
    }
    if entries.len() > DATASETS_MAX {
        return Err(FieldError::new(field, FieldErrorKind::TooLong { max: DATASETS_MAX, got: entries.len() }));
    }
    let parse = |[bodies, shares]: &[[u8; 32]; 2]| match (*bodies == [0; 32], *shares == [0; 32]) {
        (true, true) => Ok(None),
        (false, false) => Ok(Some(DatasetKeys {
            bodies: DatasetBodyDigest(Digest32(*bodies)),
            shares: ShareSetCommitment(Digest32(*shares)),
        })),
        _ => Err(FieldError::refused(field, "half of an entry is zero")),
    };
    entries.iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_the_wire_and_half_entries_do_not() {
        let entry = |byte| DatasetKeys {
            bodies: DatasetBodyDigest(Digest32([byte; 32])),
            shares: ShareSetCommitment(Digest32([byte + 1; 32])),
        };
        let keys = [Some(entry(1)), None, Some(entry(5))];
        let message = rekeyed_keys(&keys);
        assert_eq!(parse_rekeyed_keys("keys", &message.keys).expect("canonical"), keys);
        assert!(parse_rekeyed_keys("keys", &message.keys[1..]).is_err());
        let mut half = message.keys.to_vec();
        half[..32].fill(0);
        assert!(parse_rekeyed_keys("keys", &half).is_err());
        assert!(parse_rekeyed_keys("keys", &vec![0; 64 * (DATASETS_MAX + 1)]).is_err());
    }
}
