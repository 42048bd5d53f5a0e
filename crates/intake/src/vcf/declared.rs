//! Which assembly a header declares.

use super::meta::{field, split_line};
use crate::error::{FileContext, FileProblem, IntakeError};
use locus_genomics::{Assembly, Chrom};
use std::collections::BTreeMap;

/// What a header says about its assembly.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DeclaredAssembly {
    /// Names found, with the text that has them.
    names: BTreeMap<Assembly, String>,
    /// Lengths of autosomes.
    lengths: BTreeMap<u8, u64>,
}

/// Words that name an assembly inside paths and descriptions, in lower case.
const NAMES: [(&str, Assembly); 12] = [
    ("grch37", Assembly::GRCh37),
    ("hg19", Assembly::GRCh37),
    ("hs37d5", Assembly::GRCh37),
    ("human_g1k_v37", Assembly::GRCh37),
    ("b37", Assembly::GRCh37),
    ("build 37", Assembly::GRCh37),
    ("grch38", Assembly::GRCh38),
    ("hg38", Assembly::GRCh38),
    ("hs38d", Assembly::GRCh38),
    ("b38", Assembly::GRCh38),
    ("build 38", Assembly::GRCh38),
    ("build38", Assembly::GRCh38),
];

impl DeclaredAssembly {
    /// Takes note of a text that may name an assembly.
    pub(crate) fn note_text(&mut self, text: &str) {
        let lower = text.to_ascii_lowercase();
        for (_, assembly) in NAMES.iter().filter(|(name, _)| lower.contains(name)) {
            self.names.entry(*assembly).or_insert_with(|| crate::error::snippet(text.as_bytes()));
        }
    }

    /// Takes note of the length of a sequence, if it is an autosome.
    pub(crate) fn note_length(&mut self, sequence: &str, length: u64) {
        if let Ok(chrom) = sequence.parse::<Chrom>() {
            self.lengths.insert(chrom.number(), length);
        }
    }

    /// Takes note of a `##` line of a VCF header.
    pub(crate) fn note_meta_line(&mut self, line: &str) {
        let Some((key, value)) = split_line(line) else { return };
        match key {
            "reference" | "assembly" => self.note_text(value),
            "contig" => self.note_contig(value),
            _ => {}
        }
    }

    /// Takes note of the value `<ID=...,length=...,assembly=...>` of a contig line.
    fn note_contig(&mut self, value: &str) {
        if let (Some(id), Some(Ok(length))) = (field(value, "ID"), field(value, "length").map(str::parse)) {
            self.note_length(id, length);
        }
        if let Some(assembly) = field(value, "assembly") {
            self.note_text(assembly);
        }
    }

    /// The assembly declared, when exactly one is, by name or by the lengths of chromosomes.
    pub(crate) fn assembly(&self) -> Option<Assembly> {
        if let (Some((assembly, _)), 1) = (self.names.first_key_value(), self.names.len()) {
            return Some(*assembly);
        }
        let fits = |assembly: Assembly| {
            !self.lengths.is_empty()
                && self.lengths.iter().all(|(chrom, length)| expected(assembly, *chrom) == Some(*length))
        };
        [Assembly::GRCh37, Assembly::GRCh38].into_iter().find(|assembly| fits(*assembly))
    }

    /// Refuses a header that contradicts the panel's assembly. Lengths count more than names: a
    /// name that is mentioned beside another one decides nothing.
    pub(crate) fn check(&self, panel: Assembly, context: &FileContext) -> Result<(), IntakeError> {
        for (chrom, declared) in &self.lengths {
            if let Some(length) = expected(panel, *chrom).filter(|length| length != declared) {
                let expected = u32::try_from(length).unwrap_or(u32::MAX);
                let problem =
                    FileProblem::ChromLength { chrom: *chrom, declared: *declared, expected, panel };
                return Err(context.file(problem));
            }
        }
        match self.names.first_key_value() {
            Some((declared, evidence)) if self.names.len() == 1 && *declared != panel => {
                let evidence = evidence.clone();
                Err(context.file(FileProblem::OtherAssembly { declared: *declared, evidence, panel }))
            }
            _ => Ok(()),
        }
    }
}

fn expected(assembly: Assembly, chrom: u8) -> Option<u64> {
    Chrom::try_new(chrom).map(|chrom| u64::from(assembly.chrom_bases(chrom)))
}
