//! What was done with every record of a file.

use crate::limits::EXAMPLES_MAX;
use locus_genomics::Assembly;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// Why a record or a part of it was not used. The variants it concerns stay missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalReason {
    /// Chromosome X, Y or MT.
    NotAutosomal,
    /// A sequence that is no chromosome.
    UnknownContig,
    /// Position 0, or past any chromosome.
    Position,
    /// A structural variant, a breakend or an overlapping deletion (`<DEL>`, `*`).
    SymbolicAllele,
    /// An allele with other letters than A, C, G, T, or a missing one.
    AlleleLetters,
    /// An allele longer than a panel carries.
    AlleleLength,
    /// The reference allele is not the panel's, or not what the reference sequence says.
    ReferenceMismatch,
    /// Reference and alternate allele are exchanged.
    Swapped,
    /// The alleles are those of the other strand.
    StrandFlipped,
    /// An A/T or C/G variant, for which the file does not tell the strand.
    StrandAmbiguous,
    /// Letters that are neither of the variant's alleles.
    OtherAllele,
    /// A second record of a variant with other genotypes than the first.
    Duplicate,
    /// A haploid call on an autosome.
    Haploid,
    /// A call of more than two alleles.
    Polyploid,
    /// No genotype column.
    NoGenotypes,
    /// An insertion or deletion reported as I and D, without its bases.
    IndelLetters,
    /// A record whose FILTER is not PASS, when only those are wanted.
    Filtered,
}

impl RefusalReason {
    /// The reason in a few words, for tables.
    pub fn describe(self) -> &'static str {
        match self {
            Self::NotAutosomal => "chromosome X, Y or MT",
            Self::UnknownContig => "not a chromosome",
            Self::Position => "position outside the chromosome",
            Self::SymbolicAllele => "structural variant or overlapping deletion",
            Self::AlleleLetters => "allele with other letters than A, C, G, T",
            Self::AlleleLength => "allele too long for a panel",
            Self::ReferenceMismatch => "reference allele differs",
            Self::Swapped => "reference and alternate allele exchanged",
            Self::StrandFlipped => "alleles of the other strand",
            Self::StrandAmbiguous => "A/T or C/G variant of unknown strand",
            Self::OtherAllele => "letters that are no allele of the variant",
            Self::Duplicate => "second record with other genotypes",
            Self::Haploid => "haploid call on an autosome",
            Self::Polyploid => "call of more than two alleles",
            Self::NoGenotypes => "no genotypes",
            Self::IndelLetters => "insertion or deletion without its bases",
            Self::Filtered => "did not pass the filters",
        }
    }
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.describe())
    }
}

/// How often one reason occurred, and where first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Refusals {
    /// Records, or alternate alleles of records.
    pub count: u64,
    /// The first few, as `line 7: 1:69761:A:T`.
    pub examples: Vec<String>,
}

/// What became of one file's records.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FileReport {
    /// The file, as named by the caller.
    pub file: String,
    /// Format, as found in its first bytes.
    pub format: String,
    /// Records read: lines of a text file, records of a binary one.
    pub records: u64,
    /// Alternate alleles (of biallelic records: records) used for a panel variant.
    pub matched: u64,
    /// Alternate alleles, or positions, that the panel does not ask for.
    pub off_panel: u64,
    /// Matched ones whose alleles the file names in the other order; their genotypes were
    /// exchanged. Only formats that do not say which allele is the reference.
    pub swapped: u64,
    /// Second records of a variant with the same genotypes as the first; left out.
    pub repeated: u64,
    /// Records of reference blocks (gVCF) that cover a panel variant.
    pub reference_blocks: u64,
    /// What was not used, by reason.
    pub refused: BTreeMap<RefusalReason, Refusals>,
}

impl FileReport {
    /// Sum of all refusals.
    pub fn refused_count(&self) -> u64 {
        self.refused.values().map(|refusals| refusals.count).sum()
    }

    pub(crate) fn refuse(&mut self, reason: RefusalReason, example: impl FnOnce() -> String) {
        let refusals = self.refused.entry(reason).or_default();
        refusals.count += 1;
        if refusals.examples.len() < EXAMPLES_MAX {
            refusals.examples.push(example());
        }
    }
}

/// What became of a cohort on a panel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntakeReport {
    /// The panel's name.
    pub panel: String,
    /// The panel's digest, in hexadecimal.
    pub panel_digest: String,
    /// The panel's assembly.
    pub assembly: Assembly,
    /// People.
    pub samples: u64,
    /// Variants of the panel: the sum of the four counts below.
    pub panel_variants: u64,
    /// Panel variants with a record of their own.
    pub variants_matched: u64,
    /// Panel variants without one, covered by reference blocks for at least one person.
    pub variants_covered: u64,
    /// Panel variants whose records were refused; missing in everybody.
    pub variants_refused: u64,
    /// Panel variants without any record.
    pub variants_absent: u64,
    /// Whether absent variants were taken as homozygous reference, by explicit choice.
    pub absent_taken_as_reference: bool,
    /// Missing calls over all people and panel variants, absent ones included.
    pub missing_calls: u64,
    /// File by file.
    pub files: Vec<FileReport>,
}
