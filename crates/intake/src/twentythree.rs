//! The raw data text that 23andMe gives its customers: rsid, chromosome, position, genotype.
//!
//! The letters are those of the forward strand, says the company; where that can be checked it is
//! checked, and where it cannot (A/T and C/G variants) the call is left out unless the caller
//! accepts it.

use crate::{
    alignment::Alignment,
    cohort::{IntakeOptions, Progress},
    error::{FileProblem, IntakeError, PlaceProblem, snippet},
    input::{Input, Lines},
    limits::PROGRESS_RECORDS,
    report::RefusalReason,
    sample::SampleId,
    vcf::{DeclaredAssembly, Resolver},
};
use locus_genomics::{Genotype, VariantIndex};
use std::{ops::Range, path::Path};

const COLUMNS: usize = 4;

/// A raw data file whose comment lines have been read.
pub(crate) struct RawTextReader {
    pub(crate) lines: Lines,
    pub(crate) declared: DeclaredAssembly,
    /// Whether the current line is a record that has not been used.
    pending: bool,
}

impl RawTextReader {
    /// Opens a file and reads its comments.
    ///
    /// # Errors
    /// [`FileProblem::NotFormat`] when the first line after the comments has other columns.
    pub(crate) fn open(path: &Path) -> Result<Self, IntakeError> {
        let mut reader =
            Self { lines: Lines::new(Input::open(path)?), declared: DeclaredAssembly::default(), pending: false };
        while reader.lines.advance()? {
            let line = reader.lines.current();
            let Ok(text) = std::str::from_utf8(line) else {
                return Err(reader.lines.input.context.file(FileProblem::NotFormat("23andMe raw data")));
            };
            if text.starts_with('#') {
                reader.declared.note_text(text);
            } else if text.split('\t').count() == COLUMNS {
                // The column names are a comment in most files, a line of their own in some.
                reader.pending = !text.starts_with("rsid\t");
                return Ok(reader);
            } else {
                return Err(reader.lines.input.context.file(FileProblem::NotFormat("23andMe raw data")));
            }
        }
        Err(reader.lines.input.context.file(FileProblem::NoRecords))
    }

    /// Reads the next record; false at the end.
    fn advance(&mut self) -> Result<bool, IntakeError> {
        if std::mem::take(&mut self.pending) {
            return Ok(true);
        }
        while self.lines.advance()? {
            if !self.lines.current().is_empty() && !self.lines.current().starts_with(b"#") {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The name given to the person: the file's, up to its first dot.
pub(crate) fn sample_of(path: &Path) -> SampleId {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = name.split('.').find(|part| !part.is_empty()).unwrap_or_default();
    SampleId::try_new(stem).unwrap_or_else(|_| SampleId::unnamed())
}

/// Places all records of a file.
pub(crate) fn read_file(
    reader: &mut RawTextReader,
    alignment: &mut Alignment<'_>,
    options: &IntakeOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), IntakeError> {
    let mut resolver = Resolver::new(None);
    while reader.advance()? {
        alignment.file.records += 1;
        if alignment.file.records.is_multiple_of(PROGRESS_RECORDS) {
            let (bytes_read, bytes_total) = (reader.lines.input.bytes_read(), reader.lines.input.bytes_total());
            progress(Progress { bytes_read, bytes_total, records: alignment.file.records });
        }
        place_line(&reader.lines, &mut resolver, alignment, options)?;
    }
    Ok(())
}

/// What the genotype column says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Letters {
    Bases(u8, u8),
    NoCall,
    Indel,
    Haploid,
}

fn parse_letters(text: &[u8]) -> Option<Letters> {
    let is_base = |byte: &u8| b"ACGT".contains(byte);
    match text {
        b"--" | b"-" | b"" | b"00" => Some(Letters::NoCall),
        [b'I' | b'D', b'I' | b'D'] | [b'I' | b'D'] => Some(Letters::Indel),
        [first, second] if is_base(first) && is_base(second) => Some(Letters::Bases(*first, *second)),
        [base] if is_base(base) => Some(Letters::Haploid),
        _ => None,
    }
}

fn place_line(
    lines: &Lines,
    resolver: &mut Resolver<'_>,
    alignment: &mut Alignment<'_>,
    options: &IntakeOptions,
) -> Result<(), IntakeError> {
    let mut columns = lines.current().split(|byte| *byte == b'\t');
    let (Some(_), Some(chrom), Some(position_text), Some(genotype), None) =
        (columns.next(), columns.next(), columns.next(), columns.next(), columns.next())
    else {
        let found = lines.current().split(|byte| *byte == b'\t').count();
        return Err(lines.error(PlaceProblem::Columns { expected: COLUMNS, found }));
    };
    let letters = parse_letters(genotype);
    let letters = letters.ok_or_else(|| lines.error(PlaceProblem::Genotype(snippet(genotype))))?;
    let position: Option<u32> = std::str::from_utf8(position_text).ok().and_then(|text| text.parse().ok());
    let position = position.ok_or_else(|| lines.error(PlaceProblem::Position(snippet(position_text))))?;
    let describe = || {
        let (chrom, genotype) = (snippet(chrom), snippet(genotype));
        format!("line {}: {chrom}:{position} {genotype}", lines.number())
    };
    let chrom = match resolver.autosome(chrom) {
        Ok(chrom) => chrom,
        Err(reason) => {
            alignment.file.refuse(reason, describe);
            return Ok(());
        }
    };
    let here = alignment.panel.at_position(chrom, position);
    match letters {
        Letters::Indel => alignment.refuse_position(here, RefusalReason::IndelLetters, describe),
        Letters::Haploid => alignment.refuse_position(here, RefusalReason::Haploid, describe),
        Letters::NoCall => {
            let substitutions = substitutions(alignment, here);
            alignment.file.off_panel += u64::from(substitutions.is_empty());
            for (variant, _, _) in substitutions {
                alignment.place(variant, &[Genotype::Missing.code()], describe)?;
            }
        }
        Letters::Bases(first, second) => place_bases([first, second], here, alignment, options, describe)?,
    }
    Ok(())
}

/// The one-base variants among these, with their reference and alternate base.
fn substitutions(alignment: &Alignment<'_>, here: Range<u32>) -> Vec<(VariantIndex, u8, u8)> {
    let one_base = |index: u32| {
        let variant = alignment.panel.variant(VariantIndex(index))?;
        match (variant.ref_allele().as_bytes(), variant.alt_allele().as_bytes()) {
            ([reference], [alternate]) => Some((VariantIndex(index), *reference, *alternate)),
            _ => None,
        }
    };
    here.filter_map(one_base).collect()
}

fn place_bases(
    letters: [u8; 2],
    here: Range<u32>,
    alignment: &mut Alignment<'_>,
    options: &IntakeOptions,
    describe: impl Fn() -> String,
) -> Result<(), IntakeError> {
    let substitutions = substitutions(alignment, here.clone());
    if substitutions.is_empty() {
        alignment.file.off_panel += 1;
        return Ok(());
    }
    let is_known =
        |base: u8| substitutions.iter().any(|(_, reference, alternate)| [*reference, *alternate].contains(&base));
    let agrees = letters.into_iter().all(is_known);
    alignment.compare(agrees);
    if !agrees {
        let other_strand = letters.into_iter().map(complement_base).all(is_known);
        let reason = if other_strand { RefusalReason::StrandFlipped } else { RefusalReason::OtherAllele };
        alignment.refuse_position(here, reason, describe);
        return Ok(());
    }
    for (variant, reference, alternate) in substitutions {
        if complement_base(reference) == alternate && !options.accept_strand_ambiguous {
            alignment.refuse_variant(variant, RefusalReason::StrandAmbiguous, &describe)?;
            continue;
        }
        let genotype = match letters.into_iter().filter(|base| *base == alternate).count() {
            0 => Genotype::HomRef,
            1 => Genotype::Het,
            _ => Genotype::HomAlt,
        };
        alignment.place(variant, &[genotype.code()], &describe)?;
    }
    Ok(())
}

fn complement_base(base: u8) -> u8 {
    match base {
        b'A' => b'T',
        b'C' => b'G',
        b'G' => b'C',
        b'T' => b'A',
        other => other,
    }
}
