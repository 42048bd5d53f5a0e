//! The order in which an upload's messages must come, and how long each may be.
//!
//! Pure bookkeeping: what the messages say is checked elsewhere, after this module has said that
//! they are the next ones.

use locus_proofs::encryption::EncryptionProof;
use locus_sharing::seal::{ENCAPSULATION_BYTES, TAG_BYTES};
use locus_store::BODY_BYTES;
use locus_wire::{
    limits::{BODY_CHUNK_DATASETS_MAX, DATASET_CHUNK_DATASETS_MAX, enrol_chunk_datasets_max},
    pb::archive::{BodyChunk, DatasetChunk, SealedSeeds},
};
use std::{fmt, ops::Range};

/// Keyholders of a committee.
const KEYHOLDERS: u32 = 3;
/// Bytes that sealing adds to a seed package.
const SEALED_OVERHEAD_BYTES: usize = ENCAPSULATION_BYTES + TAG_BYTES;
/// Bytes of one dataset in a seed package: seed and blinding of two shares.
const SEALED_DATASET_BYTES: usize = 128;

/// A place in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The header, which comes once.
    Header,
    /// Bodies from this dataset on, of a column.
    Bodies {
        /// Panel block.
        block: u32,
        /// Plane code.
        plane: u32,
        /// First dataset.
        ordinal: u32,
    },
    /// Dataset records from this dataset on.
    Datasets {
        /// First dataset.
        ordinal: u32,
    },
    /// Seeds for a keyholder from this dataset on.
    Seeds {
        /// Keyholder, from 1.
        keyholder: u32,
        /// First dataset.
        ordinal: u32,
    },
    /// The finish.
    Finish,
    /// The end of the stream.
    End,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => f.write_str("the header"),
            Self::Bodies { block, plane, ordinal } => {
                write!(f, "bodies of block {block} plane {plane} from dataset {ordinal}")
            }
            Self::Datasets { ordinal } => write!(f, "records from dataset {ordinal}"),
            Self::Seeds { keyholder, ordinal } => {
                write!(f, "seeds for keyholder {keyholder} from dataset {ordinal}")
            }
            Self::Finish => f.write_str("the finish"),
            Self::End => f.write_str("the end of the stream"),
        }
    }
}

/// A message that breaks the order or the limits of an upload.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SequenceError {
    /// The stream does not begin with a header.
    #[error("upload does not begin with its header: send it first")]
    HeaderMissing,
    /// A message that is not the next one.
    #[error("upload is out of order: got {got}, expected {expected}; start again from the header")]
    OutOfOrder {
        /// What came.
        got: PlaceText,
        /// What had to come.
        expected: PlaceText,
    },
    /// A chunk of bodies whose length does not fit.
    #[error("{bytes} bytes of bodies do not fit here; send 1 to {datasets_max} whole bodies of 32768 bytes")]
    BodyLength {
        /// Bytes that came.
        bytes: usize,
        /// Bodies that may come.
        datasets_max: u32,
    },
    /// Proofs whose length does not belong to the number of bodies.
    #[error(
        "{bytes} bytes of proofs do not fit here; send {expected}: 416 for each body of a proven upload, none in others"
    )]
    ProofLength {
        /// Bytes that came.
        bytes: usize,
        /// Bytes that the bodies demand.
        expected: usize,
    },
    /// A chunk of records or seeds for too many or no datasets.
    #[error("{what} for {datasets} datasets do not fit here; send 1 to {datasets_max}")]
    ChunkCount {
        /// "records" or "seeds".
        what: &'static str,
        /// Datasets in the message.
        datasets: u64,
        /// Datasets that may be in it.
        datasets_max: u32,
    },
    /// A sealed package whose length does not belong to its number of datasets.
    #[error("sealed seeds for keyholder {keyholder} have {bytes} bytes, not {expected}")]
    SealedLength {
        /// Keyholder, from 1.
        keyholder: u32,
        /// Bytes that came.
        bytes: usize,
        /// Bytes that the number of datasets demands.
        expected: usize,
    },
    /// Packages of one keyholder that are cut differently from those of the first.
    #[error("seeds for keyholder {keyholder} from dataset {ordinal} are packed differently from keyholder {other}'s")]
    Boundaries {
        /// Keyholder whose package differs.
        keyholder: u32,
        /// First dataset of the package.
        ordinal: u32,
        /// Keyholder whose packages came first.
        other: u32,
    },
}

/// A [`Place`] in an error.
#[derive(Debug, PartialEq, Eq)]
pub struct PlaceText(pub(crate) Place);

impl fmt::Display for PlaceText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Bodies that may be taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BodyRun {
    /// Place of the column in (panel block, plane) order.
    pub(crate) column: u32,
    /// First dataset.
    pub(crate) first_ordinal: u32,
    /// Number of bodies.
    pub(crate) count: u32,
}

#[derive(Debug)]
enum Stage {
    Bodies { column: u32, ordinal: u32 },
    Datasets { ordinal: u32 },
    Seeds { next: [u32; 3] },
    Finished,
}

/// Where an upload stands.
#[derive(Debug)]
pub(crate) struct Sequence {
    datasets: u32,
    planes: u32,
    columns: u32,
    proven: bool,
    packages: Vec<Range<u32>>,
    /// The keyholder whose packages set the boundaries for the others.
    leader: u32,
    stage: Stage,
}

impl Sequence {
    /// An upload, after its header, of `datasets` datasets on a panel of `blocks` times `planes`
    /// bodies each. All three are at least 1.
    pub(crate) fn new(datasets: u32, blocks: u32, planes: u32, proven: bool) -> Self {
        Self {
            datasets,
            planes,
            columns: blocks.saturating_mul(planes),
            proven,
            packages: Vec::new(),
            leader: 0,
            stage: Stage::Bodies { column: 0, ordinal: 0 },
        }
    }

    /// Bodies of one dataset.
    pub(crate) fn columns(&self) -> u32 {
        self.columns
    }

    /// Datasets of each seed package, in order; complete once the seeds have come.
    pub(crate) fn packages(&self) -> &[Range<u32>] {
        &self.packages
    }

    /// What has to come next.
    pub(crate) fn expected(&self) -> Place {
        match self.stage {
            Stage::Bodies { column, ordinal } => {
                Place::Bodies { block: column / self.planes, plane: column % self.planes, ordinal }
            }
            Stage::Datasets { ordinal } => Place::Datasets { ordinal },
            Stage::Seeds { next } => match (1..).zip(next).find(|&(_, ordinal)| ordinal < self.datasets) {
                Some((keyholder, ordinal)) => Place::Seeds { keyholder, ordinal },
                None => Place::Finish,
            },
            Stage::Finished => Place::End,
        }
    }

    /// Refuses `got`, whatever it is.
    pub(crate) fn refuse(&self, got: Place) -> SequenceError {
        SequenceError::OutOfOrder { got: PlaceText(got), expected: PlaceText(self.expected()) }
    }

    /// Takes a chunk of bodies.
    pub(crate) fn bodies(&mut self, chunk: &BodyChunk) -> Result<BodyRun, SequenceError> {
        let got = Place::Bodies { block: chunk.block, plane: chunk.plane, ordinal: chunk.first_ordinal };
        let Stage::Bodies { column, ordinal } = self.stage else { return Err(self.refuse(got)) };
        if got != self.expected() {
            return Err(self.refuse(got));
        }
        let datasets_max = BODY_CHUNK_DATASETS_MAX.min(self.datasets - ordinal);
        let bytes = chunk.bodies.len();
        let count = whole_bodies(bytes).filter(|count| (1..=datasets_max).contains(count));
        let count = count.ok_or(SequenceError::BodyLength { bytes, datasets_max })?;
        let (bytes, expected) =
            (chunk.proofs.len(), if self.proven { count as usize * EncryptionProof::BYTES } else { 0 });
        if bytes != expected {
            return Err(SequenceError::ProofLength { bytes, expected });
        }
        let next = ordinal + count;
        self.stage = match (next == self.datasets, column + 1 == self.columns) {
            (false, _) => Stage::Bodies { column, ordinal: next },
            (true, false) => Stage::Bodies { column: column + 1, ordinal: 0 },
            (true, true) => Stage::Datasets { ordinal: 0 },
        };
        Ok(BodyRun { column, first_ordinal: ordinal, count })
    }

    /// Takes a chunk of dataset records.
    pub(crate) fn datasets(&mut self, chunk: &DatasetChunk) -> Result<(), SequenceError> {
        let got = Place::Datasets { ordinal: chunk.first_ordinal };
        let Stage::Datasets { ordinal } = self.stage else { return Err(self.refuse(got)) };
        if got != self.expected() {
            return Err(self.refuse(got));
        }
        let datasets_max = DATASET_CHUNK_DATASETS_MAX.min(self.datasets - ordinal);
        let count = chunk_count("records", chunk.datasets.len() as u64, datasets_max)?;
        let next = ordinal + count;
        self.stage =
            if next == self.datasets { Stage::Seeds { next: [0; 3] } } else { Stage::Datasets { ordinal: next } };
        Ok(())
    }

    /// Takes a package of seeds. Each keyholder's come in ascending order; keyholders may take turns.
    pub(crate) fn seeds(&mut self, chunk: &SealedSeeds) -> Result<(), SequenceError> {
        let got = Place::Seeds { keyholder: chunk.keyholder, ordinal: chunk.first_ordinal };
        let position = match chunk.keyholder {
            1..=KEYHOLDERS => (chunk.keyholder - 1) as usize,
            _ => return Err(self.refuse(got)),
        };
        let Stage::Seeds { mut next } = self.stage else { return Err(self.refuse(got)) };
        let ordinal = next[position];
        if ordinal == self.datasets {
            return Err(self.refuse(got));
        }
        if chunk.first_ordinal != ordinal {
            let expected = Place::Seeds { keyholder: chunk.keyholder, ordinal };
            return Err(SequenceError::OutOfOrder { got: PlaceText(got), expected: PlaceText(expected) });
        }
        let datasets_max = enrol_chunk_datasets_max(self.columns).min(self.datasets - ordinal);
        let count = chunk_count("seeds", u64::from(chunk.dataset_count), datasets_max)?;
        let (bytes, expected) = (chunk.sealed.len(), SEALED_OVERHEAD_BYTES + SEALED_DATASET_BYTES * count as usize);
        if bytes != expected {
            return Err(SequenceError::SealedLength { keyholder: chunk.keyholder, bytes, expected });
        }
        self.place_package(chunk.keyholder, ordinal..ordinal + count)?;
        next[position] = ordinal + count;
        self.stage = Stage::Seeds { next };
        Ok(())
    }

    /// Takes the finish.
    pub(crate) fn finish(&mut self) -> Result<(), SequenceError> {
        if self.expected() != Place::Finish {
            return Err(self.refuse(Place::Finish));
        }
        self.stage = Stage::Finished;
        Ok(())
    }

    /// Whoever is ahead sets the boundaries; the others must repeat them.
    fn place_package(&mut self, keyholder: u32, package: Range<u32>) -> Result<(), SequenceError> {
        let known = self.packages.iter().find(|known| known.start == package.start);
        let past_the_last = self.packages.last().map_or(0, |last| last.end) == package.start;
        match known {
            Some(known) if *known == package => Ok(()),
            None if past_the_last => {
                self.packages.push(package);
                self.leader = keyholder;
                Ok(())
            }
            _ => Err(SequenceError::Boundaries { keyholder, ordinal: package.start, other: self.leader }),
        }
    }
}

/// The refusal of a stream that does not begin with a header.
pub(crate) fn header_first() -> SequenceError {
    SequenceError::HeaderMissing
}

fn whole_bodies(bytes: usize) -> Option<u32> {
    if bytes.is_multiple_of(BODY_BYTES) { u32::try_from(bytes / BODY_BYTES).ok() } else { None }
}

fn chunk_count(what: &'static str, datasets: u64, datasets_max: u32) -> Result<u32, SequenceError> {
    let count = u32::try_from(datasets).ok().filter(|count| (1..=datasets_max).contains(count));
    count.ok_or(SequenceError::ChunkCount { what, datasets, datasets_max })
}

#[cfg(test)]
mod tests;
