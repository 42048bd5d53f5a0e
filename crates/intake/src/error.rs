//! What can be wrong with a file, said so that its owner can mend it.

use crate::sample::SampleError;
use locus_genomics::{Assembly, PanelError};
use std::{
    fmt, io,
    path::{Path, PathBuf},
};

/// Returned when a file cannot be read as genotypes. Nothing has been enrolled then.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The file cannot be opened.
    #[error("{}: cannot be opened: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Something is wrong with the file as a whole.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: FileProblem,
    },
    /// Something is wrong at one place of the file.
    #[error("{}: {place}: {problem}", path.display())]
    At {
        /// The file.
        path: PathBuf,
        /// The line or record.
        place: Place,
        /// What is wrong.
        problem: PlaceProblem,
    },
    /// The reference FASTA, or its index, cannot be used.
    #[error("{}: the reference sequence cannot be used: {source}", path.display())]
    Reference {
        /// The file.
        path: PathBuf,
        /// What the reader says.
        #[source]
        source: io::Error,
    },
    /// The temporary genotype spool cannot be written or read.
    #[error("the temporary genotype file in {} failed: {source}: is the disk full?", dir.display())]
    Spool {
        /// Its directory.
        dir: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A place past the end of a genotype spool was asked for.
    #[error("the genotype spool has no such person, variant or block")]
    SpoolRange,
    /// The variants found do not make a panel.
    #[error(transparent)]
    Panel(#[from] PanelError),
}

/// A line of a text file or a record of a binary one, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A line of text.
    Line(u64),
    /// A record.
    Record(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Line(number) => write!(f, "line {number}"),
            Place::Record(number) => write!(f, "record {number}"),
        }
    }
}

/// What can be wrong with a file as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileProblem {
    /// It has no bytes.
    #[error("the file is empty: fetch or export it again")]
    Empty,
    /// It is a directory or a device.
    #[error("this is not a regular file")]
    NotAFile,
    /// Compressed data end before their end mark.
    #[error("the compressed data end early: the file is cut off, fetch it again")]
    Truncated,
    /// Compressed data cannot be decompressed.
    #[error("the compressed data are damaged: fetch the file again")]
    Corrupt,
    /// A zip archive.
    #[error("this is a zip archive: unpack it first")]
    Zip,
    /// Its first bytes are not those of the format.
    #[error("this is not a {0} file")]
    NotFormat(&'static str),
    /// A text file that ends within its header.
    #[error("the file ends within its header: fetch it again")]
    HeaderOnly,
    /// It has no record at all.
    #[error("the file has no records")]
    NoRecords,
    /// A PLINK 1 file in individual-major order.
    #[error("this .bed is individual-major: convert it with plink --make-bed")]
    IndividualMajor,
    /// A `.bed` whose size does not follow from `.bim` and `.fam`.
    #[error(
        "{people} people on {variants} variants take {expected} bytes, the file {found}: do .bed, .bim and .fam belong together?"
    )]
    BedSize {
        /// Lines of `.fam`.
        people: u64,
        /// Lines of `.bim`.
        variants: u64,
        /// Bytes they take, three magic bytes included.
        expected: u64,
        /// What the file has instead.
        found: BedFound,
    },
    /// The samples are not usable.
    #[error(transparent)]
    Samples(#[from] SampleError),
    /// Files of one cohort have different samples.
    #[error("its samples are not those of {first}, in the same order: files of one cohort must agree")]
    OtherSamples {
        /// The first file of the cohort.
        first: String,
    },
    /// The header declares another assembly than the panel's.
    #[error(
        "the header declares {declared} ({evidence}), the panel is on {panel}: lift the file over, or choose a panel on {declared}"
    )]
    OtherAssembly {
        /// What the header declares.
        declared: Assembly,
        /// Where it says so.
        evidence: String,
        /// The panel's assembly.
        panel: Assembly,
    },
    /// The file does not say which assembly its positions belong to, or names one that no panel is
    /// on.
    #[error("the file names neither GRCh37 nor GRCh38 as its assembly: state the assembly")]
    UnknownAssembly,
    /// The caller's assembly is not the panel's.
    #[error("the file is said to be on {stated}, the panel is on {panel}: choose a panel on {stated}")]
    StatedAssembly {
        /// What the caller states.
        stated: Assembly,
        /// The panel's assembly.
        panel: Assembly,
    },
    /// The header declares a chromosome length that the panel's assembly does not have.
    #[error(
        "the header declares {declared} bases for chromosome {chrom}, {panel} has {expected}: the file is on another assembly"
    )]
    ChromLength {
        /// The chromosome.
        chrom: u8,
        /// Bases declared.
        declared: u64,
        /// Bases of the panel's assembly.
        expected: u32,
        /// The panel's assembly.
        panel: Assembly,
    },
    /// Most records contradict the panel's alleles at the same position.
    #[error(
        "{contradicting} of {compared} records have other alleles than the panel at the same position: the file is on another assembly or strand"
    )]
    Contradicting {
        /// Records that contradict the panel.
        contradicting: u64,
        /// Records at a position of the panel.
        compared: u64,
    },
    /// Nothing in the file is on the panel.
    #[error("none of {records} records is on the panel: is it the right panel?")]
    NothingMatched {
        /// Records read.
        records: u64,
    },
    /// A panel that declares complete calls got a missing one.
    #[error(
        "{missing} calls are missing (the first at {variant}), and the panel declares complete calls: use a panel without that declaration"
    )]
    MissingCalls {
        /// Missing calls.
        missing: u64,
        /// The first variant that has one.
        variant: String,
    },
    /// A format that shows one person's letters, not the alleles of the variant.
    #[error(
        "this format does not tell reference from alternate alleles: build the panel from a VCF, PLINK or sites file"
    )]
    NoAlleles,
    /// A reference FASTA without autosomes.
    #[error("the reference sequence has no chromosome 1 to 22")]
    NoChromosome,
    /// A BCF header that cannot be used.
    #[error("the header is broken: {0}")]
    Header(&'static str),
    /// Attributes in a file of more bytes than are read at once.
    #[error("the file has more than {max} bytes: split it")]
    TooLarge {
        /// Most bytes.
        max: usize,
    },
    /// JSON that is none, or of another shape than the format has.
    #[error("not {format}: {reason}")]
    Json {
        /// The format expected.
        format: &'static str,
        /// What the parser says, with line and column.
        reason: String,
    },
    /// Bytes that are no protobuf message of the format.
    #[error("not {format}: the bytes are damaged or of another message")]
    Protobuf {
        /// The format expected.
        format: &'static str,
    },
    /// A record that does not say whom it is about.
    #[error("{what} does not name the person it is about")]
    NoSubject {
        /// The record.
        what: String,
    },
    /// The mapping names what is not there.
    #[error("the attribute mapping {0}")]
    Mapping(String),
}

/// What a `.bed` file has instead of the expected bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BedFound {
    /// This many.
    Bytes(u64),
    /// More; a compressed file is not read to its end to count them.
    More,
}

impl fmt::Display for BedFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BedFound::Bytes(count) => write!(f, "has {count}"),
            BedFound::More => f.write_str("has more"),
        }
    }
}

/// What can be wrong at one place of a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaceProblem {
    /// A line without its columns.
    #[error("expected {expected} columns, found {found}")]
    Columns {
        /// Columns that belong here.
        expected: usize,
        /// Columns found.
        found: usize,
    },
    /// A line longer than [`LINE_BYTES_MAX`](crate::LINE_BYTES_MAX).
    #[error("the line is too long to be genotypes")]
    LineTooLong,
    /// Bytes that are not text.
    #[error("the line is not text: is the file damaged or of another kind?")]
    Binary,
    /// Something else than the header line that belongs here.
    #[error("expected {0}")]
    Header(&'static str),
    /// The samples of the header are not usable.
    #[error(transparent)]
    Samples(#[from] SampleError),
    /// A position that is no number.
    #[error("{0:?} is not a position")]
    Position(String),
    /// More alternate alleles than any real site has.
    #[error("the record has too many alternate alleles")]
    TooManyAlleles,
    /// A genotype that is none.
    #[error("{0:?} is not a genotype")]
    Genotype(String),
    /// A genotype that names an allele the record lacks.
    #[error("genotype {genotype:?} names an allele that the record lacks")]
    AlleleIndex {
        /// The genotype.
        genotype: String,
    },
    /// A binary record that contradicts its own lengths or the header.
    #[error("the record is damaged: {0}")]
    Damaged(&'static str),
}

/// Builds errors about one file.
#[derive(Debug, Clone)]
pub(crate) struct FileContext {
    path: PathBuf,
}

impl FileContext {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    pub(crate) fn file(&self, problem: FileProblem) -> IntakeError {
        IntakeError::File { path: self.path.clone(), problem }
    }

    pub(crate) fn line(&self, number: u64, problem: PlaceProblem) -> IntakeError {
        IntakeError::At { path: self.path.clone(), place: Place::Line(number), problem }
    }

    pub(crate) fn record(&self, number: u64, problem: PlaceProblem) -> IntakeError {
        IntakeError::At { path: self.path.clone(), place: Place::Record(number), problem }
    }

    /// Tells a cut-off or damaged compressed file from a failing disk.
    pub(crate) fn read(&self, source: io::Error) -> IntakeError {
        match source.kind() {
            io::ErrorKind::UnexpectedEof => self.file(FileProblem::Truncated),
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => self.file(FileProblem::Corrupt),
            _ if is_zstd_error(&source) => self.file(FileProblem::Corrupt),
            _ => IntakeError::Read { path: self.path.clone(), source },
        }
    }
}

/// zstd reports damaged data as an error of kind `Other` without a system code.
fn is_zstd_error(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Other && error.raw_os_error().is_none()
}

/// The beginning of bytes from a file, fit for a message.
pub(crate) fn snippet(bytes: &[u8]) -> String {
    const SNIPPET_CHARS_MAX: usize = 40;
    let start = &bytes[..bytes.len().min(4 * SNIPPET_CHARS_MAX)];
    String::from_utf8_lossy(start).chars().take(SNIPPET_CHARS_MAX).collect()
}
