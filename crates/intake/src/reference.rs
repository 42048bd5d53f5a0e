//! Bases of a reference FASTA, read in windows.

use crate::error::{FileContext, FileProblem, IntakeError};
use locus_genomics::{Assembly, Chrom};
use noodles::{
    core::{Position, Region},
    fasta,
};
use std::{cell::RefCell, collections::BTreeMap, fs::File, io, ops::Range, path::Path};

/// Bases read at once.
const WINDOW_BASES: u32 = 1 << 16;

type FastaReader = fasta::io::IndexedReader<fasta::io::BufReader<File>>;

/// A reference sequence. Holds one window of one chromosome, whatever the size of the file.
pub(crate) struct Reference {
    context: FileContext,
    assembly: Assembly,
    /// Name in the file of each autosome.
    names: BTreeMap<Chrom, String>,
    state: RefCell<State>,
}

struct State {
    reader: FastaReader,
    chrom: Option<Chrom>,
    /// Positions of the window, 1-based.
    window: Range<u32>,
    bases: Vec<u8>,
    failure: Option<io::Error>,
}

impl Reference {
    /// Opens a FASTA file, plain or compressed with bgzip. Its index (`.fai`, and `.gzi` for a
    /// compressed file) is used when it lies beside it; a plain file is indexed on the fly.
    ///
    /// # Errors
    /// [`IntakeError`] when it cannot be read or its chromosomes do not have the lengths of
    /// `assembly`.
    pub(crate) fn open(path: &Path, assembly: Assembly) -> Result<Self, IntakeError> {
        let context = FileContext::new(path);
        let unusable = |source: io::Error| IntakeError::Reference { path: path.to_owned(), source };
        let index = match fasta::fs::read_associated_index(path) {
            Ok(index) => index,
            Err(error) if error.kind() == io::ErrorKind::NotFound => fasta::fs::index(path).map_err(unusable)?,
            Err(error) => return Err(unusable(error)),
        };
        let mut names = BTreeMap::new();
        for record in index.as_ref() {
            let name = record.name().to_string();
            let Ok(chrom) = name.parse::<Chrom>() else { continue };
            let expected = assembly.chrom_bases(chrom);
            if record.length() != u64::from(expected) {
                let declared = record.length();
                let problem = FileProblem::ChromLength { chrom: chrom.number(), declared, expected, panel: assembly };
                return Err(context.file(problem));
            }
            names.insert(chrom, name);
        }
        if names.is_empty() {
            return Err(context.file(FileProblem::NoChromosome));
        }
        let reader =
            fasta::io::indexed_reader::Builder::default().set_index(index).build_from_path(path).map_err(unusable)?;
        let state = State { reader, chrom: None, window: 0..0, bases: Vec::new(), failure: None };
        Ok(Self { context, assembly, names, state: RefCell::new(state) })
    }

    /// The base at a 1-based position, or `None` past the end, on a chromosome that the file
    /// lacks, or after a failure, which [`check`](Self::check) then reports.
    pub(crate) fn base(&self, chrom: Chrom, position: u32) -> Option<u8> {
        let name = self.names.get(&chrom)?;
        let mut state = self.state.borrow_mut();
        if state.chrom != Some(chrom) || !state.window.contains(&position) {
            state.load(name, chrom, position, self.assembly.chrom_bases(chrom));
        }
        let offset = position.checked_sub(state.window.start)?;
        state.bases.get(offset as usize).copied()
    }

    /// Reports a failure of reading since the last call.
    pub(crate) fn check(&self) -> Result<(), IntakeError> {
        match self.state.borrow_mut().failure.take() {
            Some(error) => Err(self.context.read(error)),
            None => Ok(()),
        }
    }
}

impl State {
    /// Reads the window around a position: mostly what lies to its left, where indels move to.
    fn load(&mut self, name: &str, chrom: Chrom, position: u32, chrom_bases: u32) {
        let start = position.saturating_sub(WINDOW_BASES / 2).max(1);
        let end = start.saturating_add(WINDOW_BASES).min(chrom_bases + 1);
        (self.chrom, self.window) = (Some(chrom), start..end);
        self.bases.clear();
        if self.window.is_empty() {
            return;
        }
        let bounds = [start, end - 1].map(|at| usize::try_from(at).ok().and_then(Position::new));
        let [Some(first), Some(last)] = bounds else { return };
        match self.reader.query(&Region::new(name, first..=last)) {
            Ok(record) => self.bases.extend_from_slice(record.sequence().as_ref()),
            Err(error) => self.failure = Some(error),
        }
    }
}
