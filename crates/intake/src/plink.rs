//! PLINK 1 binary files: `.fam` names the people, `.bim` the variants, `.bed` holds the calls.
//!
//! The two alleles of a `.bim` line are A1 and A2; which is the reference is a convention, not a
//! statement. Files written by plink2 or from a VCF have A1 = alternate, A2 = reference, and so
//! this is tried first; files written by plink 1.9 may have them exchanged variant by variant.

use crate::{
    alignment::Alignment,
    cohort::Progress,
    error::{BedFound, FileContext, FileProblem, IntakeError, PlaceProblem, snippet},
    input::{Input, Lines},
    limits::PROGRESS_RECORDS,
    reference::Reference,
    report::RefusalReason,
    sample::{SampleError, SampleId, check_samples},
};
use std::path::{Path, PathBuf};

mod bed;
mod matching;

use matching::{Match, PairFate};

/// Magic number and mode byte of a variant-major `.bed`.
const BED_START: [u8; 3] = [0x6c, 0x1b, 0x01];
/// The same of an individual-major one.
const BED_START_INDIVIDUAL_MAJOR: [u8; 3] = [0x6c, 0x1b, 0x00];
/// Columns of `.bim` and `.fam`.
const COLUMNS: usize = 6;

/// The three files of a PLINK 1 fileset; each may be compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlinkFiles {
    /// Calls.
    pub bed: PathBuf,
    /// Variants.
    pub bim: PathBuf,
    /// People.
    pub fam: PathBuf,
}

impl PlinkFiles {
    /// The files `PREFIX.bed`, `PREFIX.bim` and `PREFIX.fam`, or the first of their `.zst` and
    /// `.gz` forms that exists.
    pub fn of_prefix(prefix: &Path) -> Self {
        let with = |ending: &str| {
            let mut name = prefix.as_os_str().to_owned();
            name.push(ending);
            PathBuf::from(name)
        };
        let find = |ending: &str| {
            let forms = ["", ".zst", ".gz"].map(|packing| with(&format!("{ending}{packing}")));
            forms.into_iter().find(|path| path.exists()).unwrap_or_else(|| with(ending))
        };
        Self { bed: find(".bed"), bim: find(".bim"), fam: find(".fam") }
    }
}

/// The people of a `.fam` file, by their individual ids.
pub(crate) fn read_fam(path: &Path) -> Result<Vec<SampleId>, IntakeError> {
    let mut lines = Lines::new(Input::open(path)?);
    let mut names: Vec<String> = Vec::new();
    while lines.advance()? {
        let text = std::str::from_utf8(lines.current()).map_err(|_| lines.error(PlaceProblem::Binary))?;
        let mut columns = text.split_ascii_whitespace();
        let (name, found) = (columns.nth(1), text.split_ascii_whitespace().count());
        match name.filter(|_| found == COLUMNS) {
            Some(name) => {
                SampleId::try_new(name).map_err(|error| lines.error(error.into()))?;
                names.push(name.to_owned());
            }
            None => return Err(lines.error(PlaceProblem::Columns { expected: COLUMNS, found })),
        }
        if names.len() > crate::limits::SAMPLES_MAX {
            return Err(lines.error(SampleError::TooMany.into()));
        }
    }
    let context = lines.input.context.clone();
    check_samples(names.iter().map(String::as_str)).map_err(|error| context.file(error.into()))
}

/// A line of a `.bim` file.
#[derive(Debug, Default)]
pub(crate) struct BimLine {
    pub(crate) chrom: Vec<u8>,
    /// `None` for a negative position, which PLINK uses to leave a variant out.
    pub(crate) position: Option<u32>,
    pub(crate) first_allele: Vec<u8>,
    pub(crate) second_allele: Vec<u8>,
}

/// Reads a `.bim` file line by line.
pub(crate) struct BimReader {
    pub(crate) lines: Lines,
    pub(crate) line: BimLine,
}

impl BimReader {
    pub(crate) fn open(path: &Path) -> Result<Self, IntakeError> {
        Ok(Self { lines: Lines::new(Input::open(path)?), line: BimLine::default() })
    }

    /// Reads the next line into `line`; false at the end.
    pub(crate) fn advance(&mut self) -> Result<bool, IntakeError> {
        if !self.lines.advance()? {
            return Ok(false);
        }
        let mut columns = [&b""[..]; COLUMNS];
        let mut found = 0;
        let words = self.lines.current().split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        for word in words {
            if let Some(column) = columns.get_mut(found) {
                *column = word;
            }
            found += 1;
        }
        if found != COLUMNS {
            return Err(self.lines.error(PlaceProblem::Columns { expected: COLUMNS, found }));
        }
        let [chrom, _, _, position, first, second] = columns;
        let number = std::str::from_utf8(position).ok().and_then(|text| text.parse::<i64>().ok());
        let number = number.ok_or_else(|| self.lines.error(PlaceProblem::Position(snippet(position))))?;
        self.line.position = u32::try_from(number).ok();
        for (kept, word) in [
            (&mut self.line.chrom, chrom),
            (&mut self.line.first_allele, first),
            (&mut self.line.second_allele, second),
        ] {
            kept.clear();
            kept.extend_from_slice(word);
        }
        Ok(true)
    }

    /// The line in a few words, for an example.
    fn describe(&self) -> String {
        let BimLine { chrom, position, first_allele, second_allele } = &self.line;
        let position = position.map_or_else(|| "?".to_owned(), |position| position.to_string());
        let (chrom, first, second) = (snippet(chrom), snippet(first_allele), snippet(second_allele));
        format!("line {}: {chrom}:{position} A1 {first} A2 {second}", self.lines.number())
    }
}

/// Reads a `.bed` file row by row.
struct BedReader {
    input: Input,
    row_bytes: usize,
}

impl BedReader {
    fn open(path: &Path, people: usize) -> Result<Self, IntakeError> {
        let mut input = Input::open(path)?;
        let mut start = [0; 3];
        let count = input.read_full(&mut start)?;
        match start {
            BED_START if count == start.len() => Ok(Self { input, row_bytes: people.div_ceil(4) }),
            BED_START_INDIVIDUAL_MAJOR if count == start.len() => Err(input.context.file(FileProblem::IndividualMajor)),
            _ => Err(input.context.file(FileProblem::NotFormat("PLINK 1 .bed"))),
        }
    }
}

/// Places all variants of a fileset.
pub(crate) fn read_files(
    files: &PlinkFiles,
    people: usize,
    alignment: &mut Alignment<'_>,
    reference: Option<&Reference>,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), IntakeError> {
    let mut bim = BimReader::open(&files.bim)?;
    let mut bed = BedReader::open(&files.bed, people)?;
    let mut matcher = Match::new(reference);
    let mut calls = vec![0; bed.row_bytes];
    let mut row = vec![0; bed.row_bytes];
    while bim.advance()? {
        let found = bed.input.read_full(&mut calls)?;
        if found < calls.len() {
            return Err(short_bed(&bed, &mut bim, people, found));
        }
        alignment.file.records += 1;
        if alignment.file.records.is_multiple_of(PROGRESS_RECORDS) {
            let (bytes_read, bytes_total) = (bed.input.bytes_read(), bed.input.bytes_total());
            progress(Progress { bytes_read, bytes_total, records: alignment.file.records });
        }
        place_line(&bim, &mut matcher, alignment, &calls, &mut row, people)?;
    }
    if !bed.input.peek()?.is_empty() {
        return Err(bed_size(&bed.input.context, people, alignment.file.records, BedFound::More));
    }
    Ok(())
}

fn place_line(
    bim: &BimReader,
    matcher: &mut Match<'_>,
    alignment: &mut Alignment<'_>,
    calls: &[u8],
    row: &mut [u8],
    people: usize,
) -> Result<(), IntakeError> {
    match matcher.resolve(&bim.line, alignment)? {
        PairFate::OffPanel => alignment.file.off_panel += 1,
        PairFate::Matched { variant, first_is_alt } => {
            bed::convert(calls, first_is_alt, people, row);
            alignment.file.swapped += u64::from(!first_is_alt);
            alignment.place(variant, row, || bim.describe())?;
        }
        PairFate::OneAllele(variants) => {
            for (variant, second_is_ref) in variants {
                bed::convert(calls, second_is_ref, people, row);
                if bed::has_first_allele(calls, people) {
                    alignment.refuse_variant(variant, RefusalReason::OtherAllele, || bim.describe())?;
                } else {
                    alignment.file.swapped += u64::from(!second_is_ref);
                    alignment.place(variant, row, || bim.describe())?;
                }
            }
        }
        PairFate::Refused(reason, variants) => alignment.refuse_position(variants, reason, || bim.describe()),
    }
    Ok(())
}

/// The error for a `.bed` that ends before the `.bim` does.
fn short_bed(bed: &BedReader, bim: &mut BimReader, people: usize, found_in_row: usize) -> IntakeError {
    let rows = bim.lines.number() - 1;
    let found = BED_START.len() as u64 + rows * bed.row_bytes as u64 + found_in_row as u64;
    let mut variants = rows + 1;
    loop {
        match bim.advance() {
            Ok(true) => variants += 1,
            Ok(false) => return bed_size(&bed.input.context, people, variants, BedFound::Bytes(found)),
            Err(error) => return error,
        }
    }
}

fn bed_size(context: &FileContext, people: usize, variants: u64, found: BedFound) -> IntakeError {
    let people = people as u64;
    let expected = BED_START.len() as u64 + variants * people.div_ceil(4);
    context.file(FileProblem::BedSize { people, variants, expected, found })
}
