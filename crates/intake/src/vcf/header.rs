//! The header of a VCF text.
//!
//! Only what genotypes need is read: the samples, and what tells the assembly. The many lines that
//! describe annotations may be as unusual as they like.

use super::DeclaredAssembly;
use crate::{
    error::{FileContext, FileProblem, IntakeError, PlaceProblem},
    input::Lines,
    limits::HEADER_BYTES_MAX,
    sample::{SampleError, SampleId, check_samples},
};

/// The eight columns that every VCF has.
const FIXED_COLUMNS: [&str; 8] = ["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO"];

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VcfHeader {
    /// People, in column order; empty in a sites-only file.
    pub(crate) samples: Vec<SampleId>,
    pub(crate) declared: DeclaredAssembly,
}

impl VcfHeader {
    /// Reads a header up to and with the line of column names.
    pub(crate) fn read(lines: &mut Lines) -> Result<Self, IntakeError> {
        let mut declared = DeclaredAssembly::default();
        let mut bytes = 0;
        while lines.advance()? {
            let line = lines.current();
            bytes += line.len();
            if lines.number() == 1 && !line.starts_with(b"##fileformat=VCF") {
                return Err(lines.input.context.file(FileProblem::NotFormat("VCF or BCF")));
            }
            if bytes > HEADER_BYTES_MAX {
                return Err(lines.error(PlaceProblem::LineTooLong));
            }
            let Ok(text) = std::str::from_utf8(line) else { return Err(lines.error(PlaceProblem::Binary)) };
            if text.starts_with("##") {
                declared.note_meta_line(text);
            } else {
                let samples = parse_columns(text).map_err(|problem| lines.error(problem))?;
                return Ok(Self { samples, declared });
            }
        }
        Err(lines.input.context.file(FileProblem::HeaderOnly))
    }

    /// Reads a header that is already in memory.
    pub(crate) fn parse(text: &str, context: &FileContext) -> Result<Self, IntakeError> {
        let mut declared = DeclaredAssembly::default();
        for (number, line) in (1..).zip(text.lines()) {
            if line.starts_with("##") {
                declared.note_meta_line(line);
            } else {
                let samples = parse_columns(line).map_err(|problem| context.line(number, problem))?;
                return Ok(Self { samples, declared });
            }
        }
        Err(context.file(FileProblem::HeaderOnly))
    }
}

fn parse_columns(line: &str) -> Result<Vec<SampleId>, PlaceProblem> {
    let mut columns = line.split('\t');
    for name in FIXED_COLUMNS {
        if columns.next() != Some(name) {
            return Err(PlaceProblem::Header(
                "the column names #CHROM POS ID REF ALT QUAL FILTER INFO, separated by tabs",
            ));
        }
    }
    match columns.next() {
        None => Ok(Vec::new()),
        Some("FORMAT") => match check_samples(columns) {
            Err(SampleError::None) => Ok(Vec::new()),
            samples => Ok(samples?),
        },
        Some(_) => Err(PlaceProblem::Header("the column name FORMAT after INFO")),
    }
}
