//! Reading a cohort, or one person, onto a panel.

use crate::{
    alignment::Alignment,
    error::{FileContext, FileProblem, IntakeError},
    plink::{self, PlinkFiles},
    reference::Reference,
    report::IntakeReport,
    sample::{SampleError, SampleId},
    spool::GenotypeSpool,
    twentythree::{self, RawTextReader},
    vcf::{self, DeclaredAssembly},
};
use locus_genomics::{Assembly, Panel};
use std::path::{Path, PathBuf};

/// Where genotypes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CohortSource {
    /// One or more VCF or BCF files, plain or compressed, of the same people in the same order
    /// (one file a chromosome, say).
    Vcf(Vec<PathBuf>),
    /// A PLINK 1 fileset.
    Plink(PlinkFiles),
    /// The raw data text of one 23andMe customer.
    TwentyThree(PathBuf),
}

impl CohortSource {
    /// The first file: the one that errors about the whole cohort name.
    fn main_path(&self) -> &Path {
        match self {
            CohortSource::Vcf(paths) => paths.first().map_or(Path::new(""), PathBuf::as_path),
            CohortSource::Plink(files) => &files.bed,
            CohortSource::TwentyThree(path) => path,
        }
    }
}

/// Choices that a file cannot make for its owner.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IntakeOptions {
    /// Take panel variants without any record as homozygous reference. Right for files that list
    /// every variant found and come from whole-genome sequencing; wrong for arrays and exomes.
    pub assume_hom_ref: bool,
    /// A reference FASTA: indels are then left-aligned, and reference alleles checked.
    pub reference: Option<PathBuf>,
    /// The assembly of the file, where it says nothing or something wrong; what the header
    /// declares is then not looked at.
    pub assembly: Option<Assembly>,
    /// Use only records whose FILTER is PASS.
    pub pass_only: bool,
    /// Use A/T and C/G variants of files that do not tell the strand.
    pub accept_strand_ambiguous: bool,
}

/// How far reading has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the current file read.
    pub bytes_read: u64,
    /// Bytes of the current file.
    pub bytes_total: u64,
    /// Records of the current file read.
    pub records: u64,
}

/// A cohort on a panel.
#[derive(Debug)]
pub struct Cohort {
    /// The people, in file order: column by column of the spool.
    pub samples: Vec<SampleId>,
    /// Their genotypes.
    pub spool: GenotypeSpool,
    /// What became of every record.
    pub report: IntakeReport,
}

/// Reads a cohort onto a panel. Everything is read and checked before this returns; a file with
/// any error gives no cohort.
///
/// A variant matches by chromosome, position and alleles in normal form. Records with several
/// alternate alleles are split: for each, people carrying another alternate allele count as not
/// carrying this one (as `bcftools norm -m -` has it). A call with a missing allele (`./1`) is
/// missing. `spool_dir` takes a temporary file when the genotypes outgrow memory.
///
/// # Errors
/// [`IntakeError`] naming the file, the place, and what to do.
pub fn read_cohort(
    source: &CohortSource,
    panel: &Panel,
    options: &IntakeOptions,
    spool_dir: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<Cohort, IntakeError> {
    let context = FileContext::new(source.main_path());
    if let Some(stated) = options.assembly.filter(|stated| *stated != panel.assembly()) {
        return Err(context.file(FileProblem::StatedAssembly { stated, panel: panel.assembly() }));
    }
    let reference = options.reference.as_deref();
    let reference = reference.map(|path| Reference::open(path, panel.assembly())).transpose()?;
    let (samples, alignment) = match source {
        CohortSource::Vcf(paths) => read_vcf(paths, panel, options, reference.as_ref(), spool_dir, progress)?,
        CohortSource::Plink(files) => {
            let samples = plink::read_fam(&files.fam)?;
            let mut alignment = Alignment::new(panel, count(&samples), spool_dir)?;
            alignment.begin_file(&files.bed, "PLINK 1");
            plink::read_files(files, samples.len(), &mut alignment, reference.as_ref(), progress)?;
            alignment.end_file(&FileContext::new(&files.bim))?;
            (samples, alignment)
        }
        CohortSource::TwentyThree(path) => {
            let mut reader = RawTextReader::open(path)?;
            check_stated(&reader.declared, options, panel, &context)?;
            let samples = vec![twentythree::sample_of(path)];
            let mut alignment = Alignment::new(panel, 1, spool_dir)?;
            alignment.begin_file(path, "23andMe");
            twentythree::read_file(&mut reader, &mut alignment, options, progress)?;
            alignment.end_file(&context)?;
            (samples, alignment)
        }
    };
    let (spool, report) = alignment.finish(&context, &samples, options.assume_hom_ref)?;
    Ok(Cohort { samples, spool, report })
}

fn read_vcf<'p>(
    paths: &[PathBuf],
    panel: &'p Panel,
    options: &IntakeOptions,
    reference: Option<&Reference>,
    spool_dir: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Vec<SampleId>, Alignment<'p>), IntakeError> {
    let mut cohort: Option<(Vec<SampleId>, Alignment<'p>)> = None;
    for path in paths {
        let mut reader = vcf::open(path)?;
        if options.assembly.is_none() {
            reader.declared().check(panel.assembly(), reader.context())?;
        }
        let alignment = match &mut cohort {
            Some((samples, _)) if samples != reader.samples() => {
                let first = paths.first().map(|path| path.display().to_string()).unwrap_or_default();
                return Err(reader.context().file(FileProblem::OtherSamples { first }));
            }
            Some((_, alignment)) => alignment,
            none => {
                if reader.samples().is_empty() {
                    return Err(reader.context().file(SampleError::None.into()));
                }
                let alignment = Alignment::new(panel, count(reader.samples()), spool_dir)?;
                &mut none.insert((reader.samples().to_vec(), alignment)).1
            }
        };
        alignment.begin_file(path, reader.format());
        vcf::read_file(reader.as_mut(), alignment, options, reference, progress)?;
        alignment.end_file(reader.context())?;
    }
    cohort.ok_or_else(|| FileContext::new(Path::new("")).file(FileProblem::Empty))
}

/// Demands an assembly, by header or by the caller, from a format whose positions mean nothing
/// without one.
fn check_stated(
    declared: &DeclaredAssembly,
    options: &IntakeOptions,
    panel: &Panel,
    context: &FileContext,
) -> Result<(), IntakeError> {
    if options.assembly.is_some() {
        return Ok(());
    }
    declared.check(panel.assembly(), context)?;
    declared.assembly().map(|_| ()).ok_or_else(|| context.file(FileProblem::UnknownAssembly))
}

fn count(samples: &[SampleId]) -> u32 {
    u32::try_from(samples.len()).unwrap_or(u32::MAX)
}
