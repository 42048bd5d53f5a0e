//! Local scratch files of one upload, so that memory does not grow with the batch.
//!
//! The files have no name, so nothing is left of them when the process ends, however it ends.

use locus_commitment::Digest32;
use locus_store::BodyOpening;
use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    ops::Range,
    path::Path,
};

/// Bytes of the check slots of a body.
const CHECK_BYTES: usize = 128;
/// Bytes of one opening on disk: check slots and digest of the rest.
const OPENING_BYTES: usize = CHECK_BYTES + 32;

/// Openings of all bodies of a batch, column after column: written as the bodies come, read
/// dataset by dataset.
#[derive(Debug)]
pub(crate) struct OpeningSpool {
    file: File,
    datasets: u32,
    columns: u32,
}

impl OpeningSpool {
    /// An empty spool in `folder` for `datasets` datasets of `columns` bodies each.
    pub(crate) fn create(folder: &Path, datasets: u32, columns: u32) -> io::Result<Self> {
        Ok(Self { file: tempfile::tempfile_in(folder)?, datasets, columns })
    }

    /// Keeps the openings of consecutive datasets in one column.
    pub(crate) fn put(&mut self, column: u32, first_ordinal: u32, openings: &[BodyOpening]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(openings.len() * OPENING_BYTES);
        for opening in openings {
            bytes.extend_from_slice(&opening.check_slots);
            bytes.extend_from_slice(&opening.whole.0);
        }
        self.seek(column, first_ordinal)?;
        self.file.write_all(&bytes)
    }

    /// The openings of consecutive datasets, each in column order. Fails when one was never put.
    pub(crate) fn datasets(&mut self, ordinals: Range<u32>) -> io::Result<Vec<Vec<BodyOpening>>> {
        let mut datasets: Vec<Vec<BodyOpening>> = vec![Vec::with_capacity(self.columns as usize); ordinals.len()];
        let mut bytes = vec![0; ordinals.len() * OPENING_BYTES];
        for column in 0..self.columns {
            self.seek(column, ordinals.start)?;
            self.file.read_exact(&mut bytes)?;
            let (openings, _) = bytes.as_chunks::<OPENING_BYTES>();
            for (dataset, opening) in datasets.iter_mut().zip(openings) {
                dataset.push(parse_opening(opening));
            }
        }
        Ok(datasets)
    }

    fn seek(&mut self, column: u32, ordinal: u32) -> io::Result<()> {
        let place = u64::from(column) * u64::from(self.datasets) + u64::from(ordinal);
        self.file.seek(SeekFrom::Start(place * OPENING_BYTES as u64)).map(drop)
    }
}

fn parse_opening(bytes: &[u8; OPENING_BYTES]) -> BodyOpening {
    let mut check_slots = [0; CHECK_BYTES];
    let mut whole = [0; 32];
    check_slots.copy_from_slice(&bytes[..CHECK_BYTES]);
    whole.copy_from_slice(&bytes[CHECK_BYTES..]);
    BodyOpening { check_slots, whole: Digest32(whole) }
}

/// Byte strings in the order they were written, for example check values on their way from one
/// keyholder to the others.
#[derive(Debug)]
pub(crate) struct RecordSpool {
    file: File,
    ends: Vec<u64>,
}

impl RecordSpool {
    /// An empty spool in `folder`.
    pub(crate) fn create(folder: &Path) -> io::Result<Self> {
        Ok(Self { file: tempfile::tempfile_in(folder)?, ends: Vec::new() })
    }

    /// Adds a record.
    pub(crate) fn push(&mut self, record: &[u8]) -> io::Result<()> {
        let start = self.ends.last().copied().unwrap_or(0);
        self.file.seek(SeekFrom::Start(start))?;
        self.file.write_all(record)?;
        self.ends.push(start + record.len() as u64);
        Ok(())
    }

    /// The record at `position`, or `None` past the last.
    pub(crate) fn get(&mut self, position: usize) -> io::Result<Option<Vec<u8>>> {
        let Some(&end) = self.ends.get(position) else { return Ok(None) };
        let start = match position.checked_sub(1) {
            Some(before) => self.ends[before],
            None => 0,
        };
        let mut record = Vec::new();
        self.file.seek(SeekFrom::Start(start))?;
        (&mut self.file).take(end - start).read_to_end(&mut record)?;
        Ok(Some(record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opening(byte: u8) -> BodyOpening {
        BodyOpening { check_slots: [byte; CHECK_BYTES], whole: Digest32([byte; 32]) }
    }

    #[test]
    fn openings_written_by_column_come_back_by_dataset() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let mut spool = OpeningSpool::create(folder.path(), 3, 2).expect("created");
        spool.put(0, 0, &[opening(1), opening(2)]).expect("written");
        spool.put(0, 2, &[opening(3)]).expect("written");
        assert!(spool.datasets(0..1).is_err(), "the second column is not there yet");
        spool.put(1, 0, &[opening(11), opening(12), opening(13)]).expect("written");
        let datasets = [[1, 11], [2, 12], [3, 13]].map(|dataset| dataset.map(opening).to_vec());
        assert_eq!(spool.datasets(0..3).expect("read"), datasets);
        assert_eq!(spool.datasets(1..3).expect("read"), datasets[1..]);
        assert!(spool.datasets(2..4).is_err());
    }

    #[test]
    fn records_come_back_in_any_order() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let mut spool = RecordSpool::create(folder.path()).expect("created");
        for record in [&b"one"[..], b"", b"three"] {
            spool.push(record).expect("written");
        }
        assert_eq!(spool.get(2).expect("read").as_deref(), Some(&b"three"[..]));
        assert_eq!(spool.get(0).expect("read").as_deref(), Some(&b"one"[..]));
        assert_eq!(spool.get(1).expect("read").as_deref(), Some(&b""[..]));
        assert_eq!(spool.get(3).expect("read"), None);
    }
}
