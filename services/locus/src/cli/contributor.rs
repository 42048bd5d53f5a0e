//! Arguments of contributors.

use super::{TierArg, parse_account};
use clap::{Args, ValueEnum};
use locus_client::disclosure::Claim;
use locus_commitment::Address;
use locus_genomics::{Assembly, Condition, DuoTerm};
use locus_ledger::{Amount, Demands};
use std::path::PathBuf;

/// Genotypes in a file, and how to read it.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("source").args(["vcf", "plink", "twenty_three"]))]
pub(crate) struct GenotypeArgs {
    /// VCF, VCF.gz or BCF; several files are the same people on other chromosomes
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) vcf: Vec<PathBuf>,
    /// PLINK 1 fileset: PREFIX.bed, .bim and .fam
    #[arg(long, value_name = "PREFIX")]
    pub(crate) plink: Option<PathBuf>,
    /// 23andMe raw data
    #[arg(long = "23andme", id = "twenty_three", value_name = "FILE")]
    pub(crate) twenty_three: Option<PathBuf>,
    /// Take panel variants that the file does not mention as homozygous reference
    #[arg(long)]
    pub(crate) assume_hom_ref: bool,
    /// Reference FASTA: left-aligns indels and checks reference alleles
    #[arg(long, value_name = "FASTA")]
    pub(crate) reference: Option<PathBuf>,
    /// Assembly of the file, when it does not say
    #[arg(long)]
    pub(crate) assembly: Option<Assembly>,
    /// Use only records whose FILTER is PASS
    #[arg(long)]
    pub(crate) pass_only: bool,
    /// Take A/T and C/G variants as the file has them, although it does not tell the strand
    #[arg(long)]
    pub(crate) accept_strand_ambiguous: bool,
}

impl GenotypeArgs {
    /// Whether a file is named.
    pub(crate) fn is_given(&self) -> bool {
        !self.vcf.is_empty() || self.plink.is_some() || self.twenty_three.is_some()
    }
}

/// What an offer demands of questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DemandArg {
    /// They count proven datasets only
    Proven,
    /// When they are about people selected by attributes, the selection is made on authenticated shares
    Authenticated,
}

impl From<DemandArg> for Demands {
    fn from(demand: DemandArg) -> Self {
        match demand {
            DemandArg::Proven => Self::PROVEN,
            DemandArg::Authenticated => Self::AUTHENTICATED,
        }
    }
}

/// `locus enroll`. Its `--version` is that of the datasets.
#[derive(Debug, Args)]
#[command(disable_version_flag = true)]
#[command(group = clap::ArgGroup::new("genotypes").required(true).args(["vcf", "plink", "twenty_three"]))]
pub(crate) struct EnrollArgs {
    #[command(flatten)]
    pub(crate) genotypes: GenotypeArgs,
    /// Panel file, or digest or name of a published panel
    #[arg(long)]
    pub(crate) panel: String,
    #[command(flatten)]
    pub(crate) terms: TermsArgs,
    /// Enrol everybody in the file as an institution, with the signature of an accreditor
    #[arg(long)]
    pub(crate) biobank: bool,
    /// Data folder with the accreditor's keys [default: your own]
    #[arg(long, value_name = "DIR", requires = "biobank")]
    pub(crate) accreditor_key: Option<PathBuf>,
    /// Prove every ciphertext of an institution's datasets too; a person's are always proven
    #[arg(long, requires = "biobank")]
    pub(crate) prove: bool,
    /// Disclose for ever and to everybody, so that orders can require it: VARIANT=carries, VARIANT=lacks or
    /// VARIANT=hom-alt
    #[arg(long, value_name = "CLAIM", num_args = 1.., conflicts_with = "biobank")]
    pub(crate) disclose: Vec<Claim>,
    /// Folder with proving keys [default: locus/proof-keys in your folder for cached files]
    #[arg(long, value_name = "DIR")]
    pub(crate) proof_keys: Option<PathBuf>,
    /// Which individual of the file you are; needed when it has several
    #[arg(long, value_name = "NAME", conflicts_with = "biobank")]
    pub(crate) sample: Option<String>,
    /// Version of the datasets: one more than the one that they replace
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) version: u32,
}

/// Price and terms.
#[derive(Debug, Args)]
pub(crate) struct TermsArgs {
    /// Tokens for one dataset in one answer
    #[arg(long, value_name = "TOKENS")]
    pub(crate) price: Amount,
    /// Tokens for one dataset in one answer about people selected by attributes; 0 sells none [default: the price, or
    /// 0 when the exact tier is offered, in which overlapping selections can set a person apart]
    #[arg(long, value_name = "TOKENS")]
    pub(crate) filtered_price: Option<Amount>,
    /// Data use terms (DUO), such as GRU, HMB, NPU, IRB
    #[arg(long, value_name = "DUO", num_args = 1.., value_delimiter = ',', required = true)]
    pub(crate) terms: Vec<DuoTerm>,
    /// Tiers in which answers may be given
    #[arg(long, num_args = 1.., value_delimiter = ',', required = true)]
    pub(crate) tier: Vec<TierArg>,
    /// Disease that the terms name, such as MONDO:0005148
    #[arg(long, value_name = "TERM")]
    pub(crate) condition: Option<Condition>,
    /// Only accredited researchers may buy
    #[arg(long, conflicts_with = "buyer")]
    pub(crate) accredited_only: bool,
    /// Only these accounts may buy
    #[arg(long, value_name = "ACCOUNT", value_delimiter = ',', value_parser = parse_account)]
    pub(crate) buyer: Vec<Address>,
    /// What questions must be for the datasets to be counted
    #[arg(long, value_name = "DEMANDS", num_args = 1.., value_delimiter = ',')]
    pub(crate) demand: Vec<DemandArg>,
    /// Days until the offer ends
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub(crate) days: u32,
}

/// `locus offer`.
#[derive(Debug, Args)]
pub(crate) struct OfferArgs {
    /// Number of the registration
    #[arg(long, value_name = "N")]
    pub(crate) registration: u64,
    #[command(flatten)]
    pub(crate) terms: TermsArgs,
    /// Disclose for ever and to everybody, so that orders can require it: VARIANT=carries, VARIANT=lacks or
    /// VARIANT=hom-alt; needs the file that was enrolled
    #[arg(long, value_name = "CLAIM", num_args = 1.., requires = "source")]
    pub(crate) disclose: Vec<Claim>,
    #[command(flatten)]
    pub(crate) genotypes: GenotypeArgs,
    /// Which individual of the file you are; needed when it has several
    #[arg(long, value_name = "NAME", requires = "disclose")]
    pub(crate) sample: Option<String>,
    /// Folder with proving keys [default: locus/proof-keys in your folder for cached files]
    #[arg(long, value_name = "DIR", requires = "disclose")]
    pub(crate) proof_keys: Option<PathBuf>,
}

/// `locus offers`.
#[derive(Debug, Args)]
pub(crate) struct OffersArgs {
    /// Only offers on this panel: file, digest or name
    #[arg(long)]
    pub(crate) panel: Option<String>,
}

/// `locus statement`.
#[derive(Debug, Args)]
pub(crate) struct StatementArgs {
    #[command(flatten)]
    pub(crate) registration: RegistrationArgs,
    #[command(flatten)]
    pub(crate) dataset: OneDatasetArgs,
}

/// One dataset of a registration.
#[derive(Debug, Args)]
pub(crate) struct OneDatasetArgs {
    /// Place of the dataset in the registration
    #[arg(long, value_name = "N", conflicts_with = "sample", default_value_t = 0)]
    pub(crate) ordinal: u32,
    /// Name of the individual in the file that was enrolled
    #[arg(long, value_name = "NAME")]
    pub(crate) sample: Option<String>,
}

/// A registration.
#[derive(Debug, Args)]
pub(crate) struct RegistrationArgs {
    /// Number of the registration
    #[arg(long, value_name = "N")]
    pub(crate) registration: u64,
}

/// Some or all datasets of a registration.
#[derive(Debug, Args)]
pub(crate) struct DatasetsArgs {
    #[command(flatten)]
    pub(crate) registration: RegistrationArgs,
    /// Places of datasets in the registration
    #[arg(long, value_name = "N", value_delimiter = ',', conflicts_with_all = ["sample", "all"])]
    pub(crate) ordinal: Vec<u32>,
    /// Names of individuals in the file that was enrolled
    #[arg(long, value_name = "NAME", value_delimiter = ',', conflicts_with = "all")]
    pub(crate) sample: Vec<String>,
    /// Every dataset of a registration that has several
    #[arg(long)]
    pub(crate) all: bool,
}
