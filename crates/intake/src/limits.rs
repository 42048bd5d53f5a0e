//! Every bound on what a file may make this crate allocate.

/// Most samples of a cohort file; four times the largest cohort one ciphertext sum can carry.
pub const SAMPLES_MAX: usize = 1 << 20;
/// Longest line of a text file, in bytes: 64 for each of a million samples.
pub const LINE_BYTES_MAX: usize = 1 << 26;
/// Longest header of a VCF or BCF file, in bytes.
pub const HEADER_BYTES_MAX: usize = 1 << 26;
/// Longest sample name, in bytes.
pub const SAMPLE_NAME_BYTES_MAX: usize = 256;
/// Most alternate alleles of one record.
pub const ALT_ALLELES_MAX: usize = 1024;
/// Largest record of a BCF file, in bytes (site and samples alike): as a line of text.
pub const BCF_RECORD_BYTES_MAX: u32 = 1 << 26;
/// Most sequences, and most annotation words, that a BCF header may name.
pub(crate) const DICTIONARY_WORDS_MAX: usize = 1 << 16;
/// Genotype spools up to this size stay in memory and never touch a disk: 2,504 people on 50,000
/// variants, or one person on 32 million.
pub const SPOOL_MEMORY_BYTES_MAX: u64 = 32 << 20;
/// Most people whose genotypes are transposed at once: with 4,080 variants 4 MiB before and after.
pub const STRIP_PEOPLE_MAX: u32 = 4096;
/// Examples kept for each reason of refusal.
pub const EXAMPLES_MAX: usize = 5;
/// Records between two calls of the progress function.
pub(crate) const PROGRESS_RECORDS: u64 = 1024;
/// Compared records after which a mostly contradicting file is called a wrong assembly.
pub(crate) const CONTRADICTIONS_MIN: u64 = 10;
/// Most bytes of a file of attributes that is one document (a Phenopacket or a FHIR bundle).
pub(crate) const DOCUMENT_BYTES_MAX: usize = 1 << 28;
