//! Making a panel from a list of sites or from a cohort's own variants.

use crate::{
    cohort::{CohortSource, IntakeOptions, Progress, read_cohort},
    error::{FileContext, FileProblem, IntakeError, PlaceProblem},
    input::{Input, Lines},
    limits::PROGRESS_RECORDS,
    plink::{BimReader, PlinkFiles},
    reference::Reference,
    report::{FileReport, RefusalReason},
    vcf::{self, Resolver, Site},
};
use locus_genomics::{Assembly, Chrom, Panel, PanelBuilder, Variant};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Where a panel's variants come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PanelSource {
    /// A list of sites: VCF or BCF with or without samples, or text with the columns chrom, pos,
    /// ref, alt or with one id `chrom:pos:ref:alt` a line.
    Sites(PathBuf),
    /// Every variant of a cohort.
    Cohort(CohortSource),
}

/// Whether datasets on a panel have no missing calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompleteCalls {
    /// As the caller says.
    Declared(bool),
    /// As the cohort is found to be; a list of sites alone does not tell, and counts as incomplete.
    Detect,
}

/// What to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PanelRequest {
    /// The panel's name.
    pub name: String,
    /// The assembly of the variants.
    pub assembly: Assembly,
    /// Whether datasets will have no missing calls.
    pub complete_calls: CompleteCalls,
    /// A reference FASTA: indels are then left-aligned, and reference alleles checked.
    pub reference: Option<PathBuf>,
}

/// What became of the sites.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PanelReport {
    /// Variants on the panel.
    pub variants: u64,
    /// Sites that repeat a variant.
    pub repeated: u64,
    /// Missing calls of the cohort, when it was searched for any.
    pub missing_calls: Option<u64>,
    /// File by file; `matched` counts the variants taken.
    pub files: Vec<FileReport>,
}

/// Builds a panel of every biallelic variant in normal form on the autosomes; records with
/// several alternate alleles give one variant each.
///
/// # Errors
/// [`IntakeError`] naming the file, the place, and what to do.
pub fn build_panel(
    source: &PanelSource,
    request: &PanelRequest,
    spool_dir: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Panel, PanelReport), IntakeError> {
    let reference = request.reference.as_deref();
    let reference = reference.map(|path| Reference::open(path, request.assembly)).transpose()?;
    let builder = PanelBuilder::try_new(&request.name, request.assembly)?;
    let mut collector = Collector {
        builder,
        resolver: Resolver::new(reference.as_ref()),
        files: Vec::new(),
        file: FileReport::default(),
    };
    match source {
        PanelSource::Sites(path) => collect_sites(path, &mut collector, request.assembly, progress)?,
        PanelSource::Cohort(CohortSource::Vcf(paths)) => {
            for path in paths {
                collect_vcf(path, &mut collector, request.assembly, progress)?;
            }
        }
        PanelSource::Cohort(CohortSource::Plink(files)) => collect_plink(files, &mut collector, progress)?,
        PanelSource::Cohort(CohortSource::TwentyThree(path)) => {
            return Err(FileContext::new(path).file(FileProblem::NoAlleles));
        }
    }
    let files = collector.files;
    let (draft, repeated) = collector.builder.build_merging_duplicates(false)?;
    let (panel, missing_calls) = match (request.complete_calls, source) {
        (CompleteCalls::Declared(complete), _) => (draft.with_complete_calls(complete), None),
        (CompleteCalls::Detect, PanelSource::Sites(_)) => (draft, None),
        (CompleteCalls::Detect, PanelSource::Cohort(cohort)) => {
            let options = IntakeOptions { reference: request.reference.clone(), ..IntakeOptions::default() };
            let missing = read_cohort(cohort, &draft, &options, spool_dir, progress)?.report.missing_calls;
            (draft.with_complete_calls(missing == 0), Some(missing))
        }
    };
    let variants = u64::from(panel.variant_count());
    Ok((panel, PanelReport { variants, repeated: u64::from(repeated), missing_calls, files }))
}

/// Variants as they come, and the report of the file they come from.
struct Collector<'r> {
    builder: PanelBuilder,
    resolver: Resolver<'r>,
    files: Vec<FileReport>,
    file: FileReport,
}

impl Collector<'_> {
    fn begin(&mut self, path: &Path, format: &str) {
        self.file = FileReport { file: path.display().to_string(), format: format.to_owned(), ..FileReport::default() };
    }

    fn end(&mut self, context: &FileContext) -> Result<(), IntakeError> {
        if self.file.records == 0 {
            return Err(context.file(FileProblem::NoRecords));
        }
        self.files.push(std::mem::take(&mut self.file));
        Ok(())
    }

    fn chrom(&mut self, site: &Site, place: &str) -> Option<Chrom> {
        let chrom = self.resolver.autosome(&site.chrom);
        chrom.map_err(|reason| self.file.refuse(reason, || format!("{place}: {}", site.describe(b"")))).ok()
    }

    /// Takes one allele of a site, or counts it as refused.
    fn push(&mut self, chrom: Chrom, site: &Site, alt_allele: &[u8], place: &str) -> Result<(), IntakeError> {
        match self.resolver.normalise(chrom, site, alt_allele)? {
            Ok(variant) => self.push_variant(&variant),
            Err(reason) => {
                self.refuse(reason, site, alt_allele, place);
                Ok(())
            }
        }
    }

    fn push_variant(&mut self, variant: &Variant) -> Result<(), IntakeError> {
        self.builder.push(variant.as_ref())?;
        self.file.matched += 1;
        Ok(())
    }

    fn refuse(&mut self, reason: RefusalReason, site: &Site, alt_allele: &[u8], place: &str) {
        self.file.refuse(reason, || format!("{place}: {}", site.describe(alt_allele)));
    }

    fn progress(&self, bytes: (u64, u64), progress: &mut dyn FnMut(Progress)) {
        if self.file.records.is_multiple_of(PROGRESS_RECORDS) {
            progress(Progress { bytes_read: bytes.0, bytes_total: bytes.1, records: self.file.records });
        }
    }
}

fn collect_vcf(
    path: &Path,
    collector: &mut Collector<'_>,
    assembly: Assembly,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), IntakeError> {
    let mut reader = vcf::open(path)?;
    reader.declared().check(assembly, reader.context())?;
    collector.begin(path, reader.format());
    let mut site = Site::default();
    while reader.read_site(&mut site)? {
        collector.file.records += 1;
        collector.progress(reader.bytes(), progress);
        let place = reader.place();
        let Some(chrom) = collector.chrom(&site, &place) else { continue };
        for alt_allele in site.alt_alleles().filter(|allele| !vcf::is_any_other(allele)) {
            collector.push(chrom, &site, alt_allele, &place)?;
        }
    }
    collector.end(reader.context())
}

fn collect_plink(
    files: &PlinkFiles,
    collector: &mut Collector<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), IntakeError> {
    let mut bim = BimReader::open(&files.bim)?;
    collector.begin(&files.bim, "PLINK 1");
    while bim.advance()? {
        collector.file.records += 1;
        collector.progress((bim.lines.input.bytes_read(), bim.lines.input.bytes_total()), progress);
        let place = format!("line {}", bim.lines.number());
        let mut site = Site {
            chrom: bim.line.chrom.clone(),
            position: bim.line.position.unwrap_or(0),
            ref_allele: bim.line.second_allele.clone(),
            ..Site::default()
        };
        site.push_alt(&bim.line.first_allele);
        if let Some(chrom) = collector.chrom(&site, &place) {
            collector.push(chrom, &site, &bim.line.first_allele, &place)?;
        }
    }
    collector.end(&bim.lines.input.context)
}

/// Reads a list of sites, whatever its form.
fn collect_sites(
    path: &Path,
    collector: &mut Collector<'_>,
    assembly: Assembly,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), IntakeError> {
    let mut input = Input::open(path)?;
    let start = input.peek()?;
    if start.starts_with(b"BCF") || start.starts_with(b"##fileformat=VCF") {
        return collect_vcf(path, collector, assembly, progress);
    }
    let mut lines = Lines::new(input);
    collector.begin(path, "text");
    let mut first = true;
    while lines.advance()? {
        let line = lines.current();
        if line.is_empty() || line.starts_with(b"#") || std::mem::take(&mut first) && is_column_names(line) {
            continue;
        }
        first = false;
        collector.file.records += 1;
        collector.progress((lines.input.bytes_read(), lines.input.bytes_total()), progress);
        let site = parse_site(line).map_err(|problem| lines.error(problem))?;
        let place = format!("line {}", lines.number());
        let Some(chrom) = collector.chrom(&site, &place) else { continue };
        for alt_allele in site.alt_alleles() {
            collector.push(chrom, &site, alt_allele, &place)?;
        }
    }
    collector.end(&lines.input.context)
}

fn is_column_names(line: &[u8]) -> bool {
    let first = line.split(|byte| matches!(byte, b'\t' | b' ' | b',')).next().unwrap_or_default();
    first.eq_ignore_ascii_case(b"chrom") || first.eq_ignore_ascii_case(b"chr") || first.eq_ignore_ascii_case(b"id")
}

/// A line `chrom pos ref alt[,alt...]` separated by tabs or blanks, or one id.
fn parse_site(line: &[u8]) -> Result<Site, PlaceProblem> {
    let words: Vec<&[u8]> = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).take(5).collect();
    let parts: Vec<&[u8]> = match words.as_slice() {
        [id] => id.split(|byte| *byte == b':').take(5).collect(),
        _ => words,
    };
    let [chrom, position, ref_allele, alt_alleles] = parts.as_slice() else {
        return Err(PlaceProblem::Columns { expected: 4, found: parts.len() });
    };
    let number = std::str::from_utf8(position).ok().and_then(|text| text.parse().ok());
    let number = number.ok_or_else(|| PlaceProblem::Position(crate::error::snippet(position)))?;
    let mut site = Site { chrom: chrom.to_vec(), position: number, ref_allele: ref_allele.to_vec(), ..Site::default() };
    alt_alleles.split(|byte| *byte == b',').for_each(|allele| site.push_alt(allele));
    Ok(site)
}
