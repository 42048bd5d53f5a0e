//! VCF, compressed or not, and BCF: records of sites with alleles, then calls.

use crate::{
    alignment::Alignment,
    cohort::{IntakeOptions, Progress},
    error::{FileContext, IntakeError},
    input::Input,
    limits::PROGRESS_RECORDS,
    reference::Reference,
    report::RefusalReason,
    sample::SampleId,
};
use locus_genomics::{Chrom, VariantIndex};
use std::path::Path;

mod bcf;
mod calls;
mod declared;
mod header;
mod matching;
mod meta;
mod text;

pub(crate) use declared::DeclaredAssembly;
pub(crate) use matching::{AlleleFate, Resolver, complement, is_any_other};

/// One record without its calls. Buffers are reused from record to record.
#[derive(Debug, Default)]
pub(crate) struct Site {
    /// Sequence name as written.
    pub(crate) chrom: Vec<u8>,
    /// Position of the first reference base, 1-based; 0 for a telomere.
    pub(crate) position: u32,
    pub(crate) ref_allele: Vec<u8>,
    /// Alternate alleles, one after the other.
    pub(crate) alt_bases: Vec<u8>,
    /// End of each alternate allele in `alt_bases`.
    pub(crate) alt_ends: Vec<usize>,
    /// Last position of a reference block (`END`), if the record has one.
    pub(crate) end: Option<u32>,
    /// Whether FILTER is PASS or not given.
    pub(crate) passed: bool,
}

impl Site {
    pub(crate) fn clear(&mut self) {
        self.chrom.clear();
        self.ref_allele.clear();
        self.alt_bases.clear();
        self.alt_ends.clear();
        (self.position, self.end, self.passed) = (0, None, true);
    }

    pub(crate) fn push_alt(&mut self, allele: &[u8]) {
        self.alt_bases.extend_from_slice(allele);
        self.alt_ends.push(self.alt_bases.len());
    }

    /// The alternate alleles in order.
    pub(crate) fn alt_alleles(&self) -> impl Iterator<Item = &[u8]> + '_ {
        let starts = std::iter::once(0).chain(self.alt_ends.iter().copied());
        starts.zip(&self.alt_ends).map(|(start, end)| &self.alt_bases[start..*end])
    }

    /// The record and one of its alleles in a few words, for an example.
    pub(crate) fn describe(&self, alt_allele: &[u8]) -> String {
        let text = |bytes: &[u8]| crate::error::snippet(bytes);
        if alt_allele.is_empty() {
            return format!("{}:{}", text(&self.chrom), self.position);
        }
        format!("{}:{}:{}:{}", text(&self.chrom), self.position, text(&self.ref_allele), text(alt_allele))
    }
}

/// Which genotype to read off a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// Copies of the alternate allele with this number (from 1), whatever the others are.
    Copies(u32),
    /// HomRef for a call of two reference alleles, Missing for everything else. Calls whose read
    /// depth or quality is stated as zero are none.
    ReferenceOnly,
    /// HomRef for a call of two alleles, neither of them the one with this number (the symbolic
    /// "any other allele"), Missing for everything else.
    NeitherIs(u32),
}

/// Whether the calls of a record can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallsFound {
    Diploid,
    Unusable(RefusalReason),
}

/// A file of sites with calls, read record by record.
pub(crate) trait SiteReader {
    fn context(&self) -> &FileContext;
    /// The format's name.
    fn format(&self) -> &'static str;
    fn samples(&self) -> &[SampleId];
    fn declared(&self) -> &DeclaredAssembly;
    /// Reads the next record; false at the end. Checks everything about the record but its calls.
    fn read_site(&mut self, site: &mut Site) -> Result<bool, IntakeError>;
    /// Reads the calls of the last record as packed genotypes into `row`.
    fn read_calls(&mut self, site: &Site, want: Want, row: &mut [u8]) -> Result<CallsFound, IntakeError>;
    /// Where the last record is, for examples.
    fn place(&self) -> String;
    /// Bytes of the file read and in all.
    fn bytes(&self) -> (u64, u64);
}

/// Opens a VCF or BCF file and reads its header.
///
/// # Errors
/// [`IntakeError`] when it is neither, or its header is broken.
pub(crate) fn open(path: &Path) -> Result<Box<dyn SiteReader>, IntakeError> {
    let mut input = Input::open(path)?;
    if input.peek()?.starts_with(bcf::MAGIC) {
        Ok(Box::new(bcf::BcfReader::open(input)?))
    } else {
        Ok(Box::new(text::VcfReader::open(input)?))
    }
}

/// Places all records of one file.
pub(crate) fn read_file(
    reader: &mut dyn SiteReader,
    alignment: &mut Alignment<'_>,
    options: &IntakeOptions,
    reference: Option<&Reference>,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), IntakeError> {
    let mut site = Site::default();
    let mut row = alignment.missing_row();
    let mut resolver = Resolver::new(reference);
    while reader.read_site(&mut site)? {
        alignment.file.records += 1;
        if alignment.file.records.is_multiple_of(PROGRESS_RECORDS) {
            let (bytes_read, bytes_total) = reader.bytes();
            progress(Progress { bytes_read, bytes_total, records: alignment.file.records });
        }
        place_record(reader, &site, alignment, options, &mut resolver, &mut row)?;
    }
    Ok(())
}

fn place_record(
    reader: &mut dyn SiteReader,
    site: &Site,
    alignment: &mut Alignment<'_>,
    options: &IntakeOptions,
    resolver: &mut Resolver<'_>,
    row: &mut [u8],
) -> Result<(), IntakeError> {
    if options.pass_only && !site.passed {
        let example = format!("{}: {}", reader.place(), site.describe(b""));
        alignment.file.refuse(RefusalReason::Filtered, || example);
        return Ok(());
    }
    let Some(chrom) = resolver.chrom(site, alignment, || reader.place()) else { return Ok(()) };
    let mut any_other = None;
    for (number, alt_allele) in (1..).zip(site.alt_alleles()) {
        if is_any_other(alt_allele) {
            any_other = Some(number);
            continue;
        }
        match resolver.resolve(chrom, site, alt_allele, alignment)? {
            AlleleFate::OffPanel => alignment.file.off_panel += 1,
            AlleleFate::Matched(variant) => {
                let found = reader.read_calls(site, Want::Copies(number), row)?;
                let example = || format!("{}: {}", reader.place(), site.describe(alt_allele));
                match found {
                    CallsFound::Diploid => alignment.place(variant, row, example)?,
                    CallsFound::Unusable(reason) => alignment.refuse_variant(variant, reason, example)?,
                }
            }
            AlleleFate::Refused(reason, variants) => {
                let example = || format!("{}: {}", reader.place(), site.describe(alt_allele));
                alignment.refuse_position(variants, reason, example);
            }
        }
    }
    if any_other.is_some() || site.alt_ends.is_empty() {
        cover_reference(reader, site, chrom, any_other, alignment, row)?;
    }
    Ok(())
}

/// Takes a reference block, a record without alternate alleles, or the "any other allele" of a
/// gVCF record as homozygous reference calls of the panel variants it covers.
fn cover_reference(
    reader: &mut dyn SiteReader,
    site: &Site,
    chrom: Chrom,
    any_other: Option<u32>,
    alignment: &mut Alignment<'_>,
    row: &mut [u8],
) -> Result<(), IntakeError> {
    let ref_end = site.position.saturating_add(u32::try_from(site.ref_allele.len()).unwrap_or(u32::MAX));
    let end = site.end.map_or(ref_end, |end| end.saturating_add(1).max(ref_end));
    let covered = alignment.panel.in_region(chrom, site.position..end);
    if covered.is_empty() {
        alignment.file.off_panel += u64::from(site.alt_ends.len() <= 1);
        return Ok(());
    }
    if let CallsFound::Unusable(reason) = reader.read_calls(site, Want::ReferenceOnly, row)? {
        let example = || format!("{}: {}", reader.place(), site.describe(b""));
        alignment.refuse_position(covered, reason, example);
        return Ok(());
    }
    alignment.file.reference_blocks += 1;
    for index in covered.clone() {
        if alignment.is_coverable(VariantIndex(index)) && fits_reference(site, alignment, index, end) {
            alignment.cover(VariantIndex(index), row)?;
        }
    }
    // Who carries one of the record's own alternate alleles carries none of the others there.
    if let Some(number) = any_other.filter(|_| site.alt_ends.len() > 1) {
        reader.read_calls(site, Want::NeitherIs(number), row)?;
        for index in alignment.panel.at_position(chrom, site.position) {
            let is_snv = alignment.panel.variant(VariantIndex(index)).is_some_and(|variant| variant.is_snv());
            if is_snv && alignment.is_coverable(VariantIndex(index)) && fits_reference(site, alignment, index, end) {
                alignment.cover(VariantIndex(index), row)?;
            }
        }
    }
    Ok(())
}

/// Whether the block spans the variant's reference allele, and agrees with it where its bases are
/// known.
fn fits_reference(site: &Site, alignment: &Alignment<'_>, index: u32, end: u32) -> bool {
    let Some(variant) = alignment.panel.variant(VariantIndex(index)) else { return false };
    let ref_allele = variant.ref_allele().as_bytes();
    let Some(offset) = variant.position().checked_sub(site.position) else { return false };
    let spans = u32::try_from(ref_allele.len()).is_ok_and(|len| variant.position().saturating_add(len) <= end);
    let known = site.ref_allele.get(offset as usize..).unwrap_or_default();
    spans && known.iter().zip(ref_allele).all(|(site_base, base)| site_base.eq_ignore_ascii_case(base))
}
