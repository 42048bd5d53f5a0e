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
const NAMES: [(&str, Assembly); 14] = [
    ("grch37", Assembly::GRCh37),
    ("hg19", Assembly::GRCh37),
    ("hs37d5", Assembly::GRCh37),
    ("g1k_v37", Assembly::GRCh37),
    ("b37", Assembly::GRCh37),
    ("build37", Assembly::GRCh37),
    ("build 37", Assembly::GRCh37),
    ("grch38", Assembly::GRCh38),
    ("hg38", Assembly::GRCh38),
    ("hs38dh", Assembly::GRCh38),
    ("hs38d1", Assembly::GRCh38),
    ("b38", Assembly::GRCh38),
    ("build38", Assembly::GRCh38),
    ("build 38", Assembly::GRCh38),
];

/// Whether `text` has `name` as a word of its own: no letter or digit directly before or after it,
/// so that a checksum in a path names nothing.
fn has_word(text: &str, name: &str) -> bool {
    let is_edge = |letter: Option<char>| letter.is_none_or(|letter| !letter.is_ascii_alphanumeric());
    text.match_indices(name).any(|(start, found)| {
        is_edge(text[..start].chars().next_back()) && is_edge(text[start + found.len()..].chars().next())
    })
}

impl DeclaredAssembly {
    /// Takes note of a text that may name an assembly.
    pub(crate) fn note_text(&mut self, text: &str) {
        let lower = text.to_ascii_lowercase();
        for (_, assembly) in NAMES.iter().filter(|(name, _)| has_word(&lower, name)) {
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
                let problem = FileProblem::ChromLength { chrom: *chrom, declared: *declared, expected, panel };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assemblies_are_found_as_words_of_paths_and_descriptions() {
        for (line, expected) in [
            ("##reference=ftp://host/phase2/hs37d5.fa.gz", Some(Assembly::GRCh37)),
            ("##reference=file:///human_g1k_v37.fasta", Some(Assembly::GRCh37)),
            ("##reference=ucsc.hg19.fa", Some(Assembly::GRCh37)),
            ("##reference=GRCh38_full_analysis_set_plus_decoy_hla.fa", Some(Assembly::GRCh38)),
            ("##reference=/refs/hs38DH.fa", Some(Assembly::GRCh38)),
            ("##contig=<ID=chr1,assembly=human_GRCh38_no_alt.fasta>", Some(Assembly::GRCh38)),
            ("##contig=<ID=1,length=248956422>", Some(Assembly::GRCh38)),
            ("##contig=<ID=1,length=249250621>", Some(Assembly::GRCh37)),
            ("##contig=<ID=1,length=5>", None),
            ("##reference=/cache/3fb37a/9b38c.fa", None),
            ("##reference=hg19_to_hg38.fa", None),
            ("##source=hg19", None),
        ] {
            let mut declared = DeclaredAssembly::default();
            declared.note_meta_line(line);
            assert_eq!(declared.assembly(), expected, "{line}");
        }
    }
}
