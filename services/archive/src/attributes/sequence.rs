//! The order in which sealed attributes must come, and how long each message may be.

use crate::error::ArchiveError;
use locus_sharing::{
    KeyholderIndex, ShareIndex,
    seal::{ENCAPSULATION_BYTES, TAG_BYTES},
};
use locus_wire::{
    convert::field::{self, FieldError, FieldErrorKind},
    limits::attribute_chunk_datasets_max,
    pb::keyholder::SealedAttributes,
};

/// Bytes that sealing adds to a package.
const SEALED_OVERHEAD_BYTES: usize = ENCAPSULATION_BYTES + TAG_BYTES;
/// Bytes of a commitment.
const COMMITMENT_BYTES: usize = 32;
/// Bytes of one shared bit.
const WORD_BYTES: usize = 8;

/// How far the stream has come.
#[derive(Debug)]
pub(super) struct AttributeSequence {
    datasets: u32,
    bits: u32,
    /// Next ordinal for keyholders 1, 2 and 3.
    next: [u32; 3],
}

impl AttributeSequence {
    /// Nothing has come yet of the attributes of `datasets` people, `bits` each.
    pub(super) fn new(datasets: u32, bits: u32) -> Self {
        Self { datasets, bits, next: [0; 3] }
    }

    /// Takes the next chunk for a keyholder.
    pub(super) fn take(&mut self, keyholder: u32, chunk: &SealedAttributes) -> Result<KeyholderIndex, ArchiveError> {
        let number = field::keyholder("chunk.keyholder", keyholder)?;
        let keyholder =
            KeyholderIndex::try_new(number).map_err(|error| FieldError::refused("chunk.keyholder", error))?;
        let next = &mut self.next[keyholder.position()];
        let left = self.datasets - *next;
        if chunk.first_ordinal != *next || chunk.dataset_count > left {
            return Err(ArchiveError::AttributeOrder { keyholder, next: *next, datasets: self.datasets });
        }
        let count_max = u64::from(attribute_chunk_datasets_max(self.bits));
        let count = field::in_range("chunk.dataset_count", chunk.dataset_count, 1, count_max)?;
        let [_, _, sent] = ShareIndex::ALL;
        let words = if keyholder.holds(sent) { self.bits as usize } else { 0 };
        let expected = SEALED_OVERHEAD_BYTES + count as usize * (COMMITMENT_BYTES + words * WORD_BYTES);
        let got = chunk.sealed.len();
        if got != expected {
            return Err(FieldError::new("chunk.sealed", FieldErrorKind::Length { expected, got }).into());
        }
        *next += count;
        Ok(keyholder)
    }

    /// Nothing may be missing at the end.
    pub(super) fn finish(&self) -> Result<(), ArchiveError> {
        let missing =
            KeyholderIndex::ALL.into_iter().find(|keyholder| self.next[keyholder.position()] != self.datasets);
        match missing {
            None => Ok(()),
            Some(keyholder) => {
                let next = self.next[keyholder.position()];
                Err(ArchiveError::AttributeOrder { keyholder, next, datasets: self.datasets })
            }
        }
    }

    /// Datasets taken, over all keyholders.
    pub(super) fn done(&self) -> u64 {
        self.next.iter().map(|next| u64::from(*next)).sum()
    }

    /// What [`done`](Self::done) is at the end.
    pub(super) fn total(&self) -> u64 {
        3 * u64::from(self.datasets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(keyholder: u32, first_ordinal: u32, dataset_count: u32, bits: usize) -> SealedAttributes {
        let words = if keyholder == 3 { 0 } else { bits };
        let bytes = SEALED_OVERHEAD_BYTES + dataset_count as usize * (32 + 8 * words);
        SealedAttributes { first_ordinal, dataset_count, sealed: vec![0; bytes].into() }
    }

    #[test]
    fn every_keyholder_gets_every_dataset_once() {
        let mut sequence = AttributeSequence::new(5, 7);
        for keyholder in 1..=3 {
            sequence.take(keyholder, &chunk(keyholder, 0, 3, 7)).expect("the first");
            assert!(sequence.finish().is_err());
            assert!(sequence.take(keyholder, &chunk(keyholder, 0, 3, 7)).is_err(), "again");
            assert!(sequence.take(keyholder, &chunk(keyholder, 4, 1, 7)).is_err(), "a gap");
            assert!(sequence.take(keyholder, &chunk(keyholder, 3, 3, 7)).is_err(), "beyond the end");
            sequence.take(keyholder, &chunk(keyholder, 3, 2, 7)).expect("the last");
            assert!(sequence.take(keyholder, &chunk(keyholder, 5, 1, 7)).is_err(), "after the end");
        }
        assert_eq!((sequence.done(), sequence.total()), (15, 15));
        sequence.finish().expect("complete");
    }

    #[test]
    fn packages_of_other_lengths_and_for_nobody_are_refused() {
        let mut sequence = AttributeSequence::new(2000, 7);
        assert!(sequence.take(0, &chunk(1, 0, 1, 7)).is_err());
        assert!(sequence.take(4, &chunk(1, 0, 1, 7)).is_err());
        assert!(sequence.take(1, &chunk(1, 0, 0, 7)).is_err(), "empty");
        assert!(sequence.take(1, &chunk(1, 0, 1025, 7)).is_err(), "too many");
        assert!(sequence.take(3, &chunk(1, 0, 1, 7)).is_err(), "keyholder 3 gets no shares");
        assert!(sequence.take(1, &chunk(1, 0, 1, 8)).is_err());
        sequence.take(1, &chunk(1, 0, 1, 7)).expect("as it must be");
    }
}
