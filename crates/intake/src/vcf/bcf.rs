//! BCF, version 2.

use super::{
    CallsFound, DeclaredAssembly, Site, SiteReader, Want,
    calls::{Call, RowWriter, genotype, names_known_alleles, read_byte_row},
    header::VcfHeader,
};
use crate::{
    error::{FileContext, FileProblem, IntakeError, PlaceProblem},
    input::Input,
    limits::{ALT_ALLELES_MAX, BCF_RECORD_BYTES_MAX, HEADER_BYTES_MAX},
    report::RefusalReason,
    sample::SampleId,
};
use locus_genomics::Genotype;
use std::{collections::BTreeMap, ops::Range};

mod dictionary;
mod values;

use dictionary::Dictionaries;
use values::{Cell, Cursor, Integers};

/// First bytes of a BCF file: name, major version.
pub(crate) const MAGIC: &[u8] = b"BCF\x02";

pub(crate) struct BcfReader {
    input: Input,
    header: VcfHeader,
    contigs: BTreeMap<u32, String>,
    keys: Keys,
    /// The record read last: its shared part, then its samples' part.
    record: Vec<u8>,
    shared_len: usize,
    number: u64,
    format_count: u32,
    has_samples: bool,
}

/// Dictionary indices of the words that matter.
#[derive(Debug, Default)]
struct Keys {
    genotype: Option<u32>,
    end: Option<u32>,
    pass: Option<u32>,
    evidence: Vec<u32>,
}

impl Keys {
    fn of(dictionaries: &Dictionaries) -> Self {
        let number = |word: &str| dictionaries.number_of(word);
        Self {
            genotype: number("GT"),
            end: number("END"),
            pass: number("PASS"),
            evidence: ["DP", "MIN_DP", "GQ"].into_iter().filter_map(number).collect(),
        }
    }
}

impl BcfReader {
    pub(crate) fn open(mut input: Input) -> Result<Self, IntakeError> {
        let context = input.context.clone();
        let mut start = [0; 9];
        if input.read_full(&mut start)? < start.len() || !start.starts_with(MAGIC) {
            return Err(context.file(FileProblem::HeaderOnly));
        }
        let [_, _, _, _, _, len @ ..] = start;
        let len = u32::from_le_bytes(len) as usize;
        if len > HEADER_BYTES_MAX {
            return Err(context.file(FileProblem::Header("it is longer than any real one")));
        }
        let mut bytes = Vec::new();
        read_exactly(&mut input, &mut bytes, len)?;
        let text_len = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        let text =
            std::str::from_utf8(&bytes[..text_len]).map_err(|_| context.file(FileProblem::Header("it is not text")))?;
        let header = VcfHeader::parse(text, &context)?;
        let dictionaries = Dictionaries::parse(text)
            .ok_or_else(|| context.file(FileProblem::Header("its numbering of words is not usable")))?;
        let keys = Keys::of(&dictionaries);
        let has_samples = !header.samples.is_empty();
        Ok(Self {
            input,
            header,
            contigs: dictionaries.contigs,
            keys,
            record: Vec::new(),
            shared_len: 0,
            number: 0,
            format_count: 0,
            has_samples,
        })
    }

    fn error(&self, problem: PlaceProblem) -> IntakeError {
        self.input.context.record(self.number, problem)
    }

    /// Reads the bytes of the next record; false at the end.
    fn read_record(&mut self) -> Result<bool, IntakeError> {
        let mut lengths = [0; 8];
        self.number += 1;
        match self.input.read_full(&mut lengths)? {
            0 => return Ok(false),
            8 => {}
            _ => return Err(self.error(PlaceProblem::Damaged("it ends within its first bytes"))),
        }
        let [a, b, c, d, e, f, g, h] = lengths;
        let (shared, samples) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        let total = shared.checked_add(samples).filter(|total| *total <= BCF_RECORD_BYTES_MAX);
        let total = total.ok_or_else(|| self.error(PlaceProblem::Damaged("its length is not plausible")))?;
        self.shared_len = shared as usize;
        self.record.clear();
        read_exactly(&mut self.input, &mut self.record, total as usize)?;
        Ok(true)
    }

    /// Fills the site from the shared part of the record.
    fn parse_site(&mut self, site: &mut Site) -> Result<(), PlaceProblem> {
        site.clear();
        let mut cursor = Cursor::new(&self.record[..self.shared_len]);
        let contig = cursor.u32()?;
        let start = cursor.u32()?;
        let _reference_length = cursor.u32()?;
        let _quality = cursor.u32()?;
        let [info_count, allele_count] = halves(cursor.u32()?);
        let counts = cursor.u32()?;
        self.format_count = counts >> 24;
        let sample_count = (counts & 0x00ff_ffff) as usize;
        if sample_count != self.header.samples.len() && self.has_samples {
            return Err(PlaceProblem::Damaged("it has another number of samples than the header"));
        }
        let name = self.contigs.get(&contig).ok_or(PlaceProblem::Damaged("its sequence is not in the header"))?;
        site.chrom.extend_from_slice(name.as_bytes());
        // Positions are 0-based here; -1 is a telomere.
        site.position = start.wrapping_add(1);
        cursor.text()?;
        let allele_count = usize::from(allele_count);
        if allele_count == 0 {
            return Err(PlaceProblem::Damaged("it has no reference allele"));
        }
        if allele_count > ALT_ALLELES_MAX + 1 {
            return Err(PlaceProblem::TooManyAlleles);
        }
        site.ref_allele.extend_from_slice(cursor.text()?);
        for _ in 1..allele_count {
            match cursor.text()? {
                b"." => {}
                alt_allele => site.push_alt(alt_allele),
            }
        }
        let pass = self.keys.pass.and_then(|key| i32::try_from(key).ok());
        site.passed = cursor.integers()?.cells().all(|filter| !matches!(filter, Cell::Value(key) if Some(key) != pass));
        for _ in 0..info_count {
            let key = cursor.key()?;
            if Some(key) == self.keys.end {
                site.end = match cursor.integers()?.get(0) {
                    Some(Cell::Value(end)) => u32::try_from(end).ok(),
                    _ => None,
                };
            } else {
                cursor.skip_value()?;
            }
        }
        Ok(())
    }

    fn read_row(&self, site: &Site, want: Want, row: &mut [u8]) -> Result<CallsFound, PlaceProblem> {
        let people = self.header.samples.len();
        let mut cursor = Cursor::new(&self.record[self.shared_len..]);
        let mut calls: Option<Integers<'_>> = None;
        let mut evidence: Vec<Integers<'_>> = Vec::new();
        for _ in 0..self.format_count {
            let key = cursor.key()?;
            if Some(key) == self.keys.genotype {
                calls = Some(cursor.integers_per_sample(people)?);
            } else if want == Want::ReferenceOnly && self.keys.evidence.contains(&key) {
                evidence.push(cursor.integers_per_sample(people)?);
            } else {
                cursor.skip_values_per_sample(people)?;
            }
        }
        let Some(calls) = calls.filter(|calls| calls.len() > 0) else {
            return Ok(CallsFound::Unusable(RefusalReason::NoGenotypes));
        };
        let alt_alleles = u32::try_from(site.alt_ends.len()).unwrap_or(u32::MAX);
        if let Want::Copies(number) = want
            && read_byte_row(calls.single_bytes(), alt_alleles, number, people, row).is_some()
        {
            return Ok(CallsFound::Diploid);
        }
        let ploidy = calls.len() / people.max(1);
        let mut writer = RowWriter::new(row);
        for person in 0..people {
            let call = call_of(&calls, person * ploidy..(person + 1) * ploidy);
            if !names_known_alleles(call, alt_alleles) {
                return Err(PlaceProblem::AlleleIndex { genotype: format!("of sample {}", person + 1) });
            }
            let found = genotype(call, want);
            let unfounded = evidence.iter().any(|values| {
                let width = values.len() / people;
                values.get(person * width) == Some(Cell::Value(0))
            });
            writer.push(if unfounded { found.map(|_| Genotype::Missing) } else { found });
        }
        Ok(writer.finish())
    }
}

impl SiteReader for BcfReader {
    fn context(&self) -> &FileContext {
        &self.input.context
    }

    fn format(&self) -> &'static str {
        "BCF"
    }

    fn samples(&self) -> &[SampleId] {
        &self.header.samples
    }

    fn declared(&self) -> &DeclaredAssembly {
        &self.header.declared
    }

    fn read_site(&mut self, site: &mut Site) -> Result<bool, IntakeError> {
        if !self.read_record()? {
            return Ok(false);
        }
        self.parse_site(site).map(|()| true).map_err(|problem| self.error(problem))
    }

    fn read_calls(&mut self, site: &Site, want: Want, row: &mut [u8]) -> Result<CallsFound, IntakeError> {
        self.read_row(site, want, row).map_err(|problem| self.error(problem))
    }

    fn place(&self) -> String {
        format!("record {}", self.number)
    }

    fn bytes(&self) -> (u64, u64) {
        (self.input.bytes_read(), self.input.bytes_total())
    }
}

/// Reads exactly `len` bytes.
fn read_exactly(input: &mut Input, bytes: &mut Vec<u8>, len: usize) -> Result<(), IntakeError> {
    if input.read_up_to(bytes, len)? < len { Err(input.context.file(FileProblem::Truncated)) } else { Ok(()) }
}

fn halves(word: u32) -> [u16; 2] {
    let [a, b, c, d] = word.to_le_bytes();
    [u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])]
}

/// The call at these places of the GT values: `2 (allele + 1)` plus the phasing bit, 0 or 1 for an
/// allele that was not called. Calls of fewer alleles than the longest end early.
fn call_of(calls: &Integers<'_>, places: Range<usize>) -> Call {
    let cells = places.map_while(|place| calls.get(place)).take_while(|cell| *cell != Cell::End);
    let mut alleles = cells.map(|cell| match cell {
        Cell::Value(value) => u32::try_from(value / 2 - 1).ok(),
        Cell::Missing | Cell::End => None,
    });
    match (alleles.next(), alleles.next(), alleles.next()) {
        (None | Some(None), None, _) => Call::None,
        (Some(Some(_)), None, _) => Call::Haploid,
        (Some(first), Some(second), None) => Call::Diploid(first, second),
        _ => Call::Polyploid,
    }
}
