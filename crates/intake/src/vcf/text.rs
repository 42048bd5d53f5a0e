//! VCF as text.

use super::{
    CallsFound, DeclaredAssembly, Site, SiteReader, Want,
    calls::{RowWriter, genotype, names_known_alleles, parse_call, read_plain_row},
    header::VcfHeader,
};
use crate::{
    error::{FileContext, IntakeError, PlaceProblem, snippet},
    input::{Input, Lines},
    limits::ALT_ALLELES_MAX,
    report::RefusalReason,
    sample::SampleId,
};
use locus_genomics::Genotype;

/// Columns before the samples, FORMAT included.
const FIXED_COLUMNS: usize = 9;

pub(crate) struct VcfReader {
    lines: Lines,
    header: VcfHeader,
    /// Where FORMAT starts in the current line, and where it ends (the tab before the samples).
    format_start: usize,
    format_end: usize,
}

impl VcfReader {
    pub(crate) fn open(input: Input) -> Result<Self, IntakeError> {
        let mut lines = Lines::new(input);
        let header = VcfHeader::read(&mut lines)?;
        Ok(Self { lines, header, format_start: 0, format_end: 0 })
    }

    fn expected_columns(&self) -> usize {
        if self.header.samples.is_empty() { FIXED_COLUMNS - 1 } else { FIXED_COLUMNS + self.header.samples.len() }
    }

    /// Checks the number of columns and fills the site from the fixed ones.
    fn parse_line(&mut self, site: &mut Site) -> Result<(), PlaceProblem> {
        let line = self.lines.current();
        let expected = self.expected_columns();
        let found = 1 + line.iter().filter(|byte| **byte == b'\t').count();
        // A sites-only file may keep an unused FORMAT column.
        if found != expected && !(self.header.samples.is_empty() && found == FIXED_COLUMNS) {
            return Err(PlaceProblem::Columns { expected, found });
        }
        let mut columns = [&line[..0]; FIXED_COLUMNS];
        let mut rest = line;
        for column in &mut columns {
            let end = rest.iter().position(|byte| *byte == b'\t').unwrap_or(rest.len());
            *column = &rest[..end];
            self.format_start = line.len() - rest.len();
            self.format_end = self.format_start + end;
            rest = rest.get(end + 1..).unwrap_or_default();
        }
        let [chrom, position, _, ref_allele, alts, _, filter, info, _] = columns;
        site.clear();
        site.chrom.extend_from_slice(chrom);
        site.position = parse_position(position)?;
        site.ref_allele.extend_from_slice(ref_allele);
        site.passed = matches!(filter, b"PASS" | b".");
        if alts != b"." {
            for (count, alt_allele) in alts.split(|byte| *byte == b',').enumerate() {
                if count == ALT_ALLELES_MAX {
                    return Err(PlaceProblem::TooManyAlleles);
                }
                site.push_alt(alt_allele);
            }
        }
        if alts == b"." || alts.contains(&b'<') {
            site.end = info_end(info)?;
        }
        Ok(())
    }

    fn read_row(&self, site: &Site, want: Want, row: &mut [u8]) -> Result<CallsFound, PlaceProblem> {
        let line = self.lines.current();
        let format = line.get(self.format_start..self.format_end).unwrap_or_default();
        let samples = line.get(self.format_end + 1..).unwrap_or_default();
        if format != b"GT" && !format.starts_with(b"GT:") {
            return Ok(CallsFound::Unusable(RefusalReason::NoGenotypes));
        }
        let alt_alleles = u32::try_from(site.alt_ends.len()).unwrap_or(u32::MAX);
        if let (Want::Copies(number), b"GT") = (want, format)
            && read_plain_row(samples, alt_alleles, number, row).is_some()
        {
            return Ok(CallsFound::Diploid);
        }
        let evidence = if want == Want::ReferenceOnly { Evidence::of_format(format) } else { Evidence::default() };
        let mut writer = RowWriter::new(row);
        for sample in samples.split(|byte| *byte == b'\t') {
            let end = sample.iter().position(|byte| *byte == b':').unwrap_or(sample.len());
            let text = &sample[..end];
            let call = parse_call(text).ok_or_else(|| PlaceProblem::Genotype(snippet(text)))?;
            if !names_known_alleles(call, alt_alleles) {
                return Err(PlaceProblem::AlleleIndex { genotype: snippet(text) });
            }
            let found = genotype(call, want);
            writer.push(if evidence.is_zero(sample) { found.map(|_| Genotype::Missing) } else { found });
        }
        Ok(writer.finish())
    }
}

impl SiteReader for VcfReader {
    fn context(&self) -> &FileContext {
        &self.lines.input.context
    }

    fn format(&self) -> &'static str {
        "VCF"
    }

    fn samples(&self) -> &[SampleId] {
        &self.header.samples
    }

    fn declared(&self) -> &DeclaredAssembly {
        &self.header.declared
    }

    fn read_site(&mut self, site: &mut Site) -> Result<bool, IntakeError> {
        while self.lines.advance()? {
            if !self.lines.current().is_empty() {
                return self.parse_line(site).map(|()| true).map_err(|problem| self.lines.error(problem));
            }
        }
        Ok(false)
    }

    fn read_calls(&mut self, site: &Site, want: Want, row: &mut [u8]) -> Result<CallsFound, IntakeError> {
        self.read_row(site, want, row).map_err(|problem| self.lines.error(problem))
    }

    fn place(&self) -> String {
        format!("line {}", self.lines.number())
    }

    fn bytes(&self) -> (u64, u64) {
        (self.lines.input.bytes_read(), self.lines.input.bytes_total())
    }
}

fn parse_position(text: &[u8]) -> Result<u32, PlaceProblem> {
    let digits = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| PlaceProblem::Position(snippet(text)))
}

/// The value of `END` in INFO.
fn info_end(info: &[u8]) -> Result<Option<u32>, PlaceProblem> {
    let value = info.split(|byte| *byte == b';').find_map(|field| field.strip_prefix(b"END="));
    value.map(parse_position).transpose()
}

/// Sample fields that tell whether a reference call rests on any evidence: some callers write
/// `0/0` with zero depth or zero quality where they know nothing.
#[derive(Debug, Default)]
struct Evidence {
    /// Places of DP, MIN_DP and GQ within a sample's fields.
    fields: Vec<usize>,
}

impl Evidence {
    fn of_format(format: &[u8]) -> Self {
        let keys = format.split(|byte| *byte == b':').enumerate();
        let telling = keys.filter(|(_, key)| matches!(*key, b"DP" | b"MIN_DP" | b"GQ"));
        Self { fields: telling.map(|(place, _)| place).collect() }
    }

    fn is_zero(&self, sample: &[u8]) -> bool {
        !self.fields.is_empty() && {
            let values = sample.split(|byte| *byte == b':').enumerate();
            values.filter(|(place, _)| self.fields.contains(place)).any(|(_, value)| value == b"0")
        }
    }
}
