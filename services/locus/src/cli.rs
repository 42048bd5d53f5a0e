//! The command line as it is parsed. Every command's work is in [`commands`](crate::commands).

mod attributes;
mod contributor;
mod operator;
mod research;
mod verify;

pub(crate) use attributes::{AttributeFormatArg, AttributesAddArgs, AttributesCommand};
pub(crate) use contributor::{
    DatasetsArgs, EnrollArgs, GenotypeArgs, OfferArgs, OffersArgs, OneDatasetArgs, RegistrationArgs, StatementArgs,
    TermsArgs,
};
pub(crate) use operator::{
    CommitteeCommand, CommitteeRekeyArgs, CommitteeReplaceArgs, DeployArgs, RootsAdvanceArgs, RootsArgs, RootsCommand,
    TlsCommand, TlsInitArgs, TlsIssueArgs,
};
pub(crate) use research::{
    AssociationArgs, CohortArgs, CountsArgs, FetchArgs, FilterArgs, QueryCommand, QuestionArgs, QuoteArgs, SchemaArgs,
    StudyArgs, TestArg,
};
pub(crate) use verify::{VerifyArgs, VerifyCommand, VerifyDisclosureArgs, VerifyPayoutArgs};

use clap::{Args, Parser, Subcommand, ValueEnum};
use locus_client::disclosure::Claim;
use locus_commitment::Address;
use locus_genomics::{Assembly, PanelDigest};
use locus_ledger::{Amount, parse_address};
use locus_privacy::Tier;
use std::{net::SocketAddr, path::PathBuf};

/// Sell answers about genomes, never the genomes: enrol, buy, verify, withdraw.
#[derive(Debug, Parser)]
#[command(name = "locus", version, about, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Folder of your keys and records [default: $LOCUS_HOME or ~/.local/share/locus]; for `up`, of the market
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Address of the market
    #[arg(long, global = true, value_name = "URL", env = "LOCUS_ENDPOINT", default_value = "http://127.0.0.1:7400")]
    pub(crate) endpoint: String,
    /// Address of the archive [default: the endpoint]
    #[arg(long, global = true, value_name = "URL", env = "LOCUS_ARCHIVE")]
    pub(crate) archive: Option<String>,
    /// Address of the exchange [default: the endpoint]
    #[arg(long, global = true, value_name = "URL", env = "LOCUS_EXCHANGE")]
    pub(crate) exchange: Option<String>,
    /// Address of the aggregator [default: the endpoint]
    #[arg(long, global = true, value_name = "URL", env = "LOCUS_AGGREGATOR")]
    pub(crate) aggregator: Option<String>,
    /// Certificates (PEM) of the authorities that services at https:// addresses are trusted by [default: those
    /// that this machine trusts]
    #[arg(long, global = true, value_name = "FILE", env = "LOCUS_CA")]
    pub(crate) ca: Option<PathBuf>,
    /// Addresses of keyholders 1, 2 and 3 [default: the next three ports of the endpoint]
    #[arg(long, global = true, value_name = "URL,URL,URL", env = "LOCUS_KEYHOLDERS", value_delimiter = ',')]
    pub(crate) keyholders: Vec<String>,
    /// Print results as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show everything on real genomes, in this process: enrol, buy, check, pay out, erase
    Demo(DemoArgs),
    /// Run a market on this machine: archive, exchange, aggregator, three keyholders, chain
    Up(UpArgs),
    /// Deploy the contracts of a market on any EVM chain, for services that run apart
    Deploy(Box<DeployArgs>),
    /// The keyholders of a market, as its chain names them
    #[command(subcommand)]
    Committee(CommitteeCommand),
    /// Certificates for services that run apart
    #[command(subcommand)]
    Tls(TlsCommand),
    /// Keys of the proofs: made for trying things out, or taken from a ceremony
    #[command(subcommand)]
    Proofs(ProofsCommand),
    /// Roots of registry trees, on markets that settle on proven cohorts
    #[command(subcommand)]
    Roots(RootsCommand),
    /// Your account and secrets
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Lists of variants that datasets are made on
    #[command(subcommand)]
    Panel(PanelCommand),
    /// Encrypt genomes here, register them and put them on offer
    Enroll(EnrollArgs),
    /// Attributes of the people that you enrolled, which filtered questions may ask about
    #[command(subcommand)]
    Attributes(AttributesCommand),
    /// Change price and terms of what you enrolled
    Offer(Box<OfferArgs>),
    /// List what is on offer
    Offers(OffersArgs),
    /// What an answer would cost, how exact it would be, and what it would give away
    Quote(QuoteArgs),
    /// Buy an answer
    #[command(subcommand)]
    Query(QueryCommand),
    /// What you ordered, and what became of it
    Orders,
    /// Who used a dataset of yours, when, why, for how much, and the privacy lost so far
    Statement(StatementArgs),
    /// Stop selling a registration; the data stay
    Withdraw(RegistrationArgs),
    /// Take datasets out of every future answer, for good
    Revoke(DatasetsArgs),
    /// Revoke datasets and destroy their ciphertexts and keys
    Erase(DatasetsArgs),
    /// Collect what an account has earned
    Claim(AccountArgs),
    /// What an account holds, has earned and can claim
    Balance(AccountArgs),
    /// Mint test tokens; only on test networks
    Fund(FundArgs),
    /// Take back the escrow of an order that was not answered in time
    Refund(RefundArgs),
    /// Prove one fact about a genome that you enrolled, and nothing else, to one verifier
    Disclose(Box<DiscloseArgs>),
    /// Check an answer, a payout or a disclosure
    #[command(subcommand)]
    Verify(VerifyCommand),
    /// Everything recorded about what you enrolled, as one JSON document
    Export,
}

/// `locus demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Keep all files in this folder, which must be new or empty
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
}

/// `locus up`.
#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// Address for contributors and researchers; keyholders take the next three ports
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7400")]
    pub(crate) listen: SocketAddr,
    /// Where ciphertexts are kept: a folder, s3://, gs:// or az:// [default: in the data folder]
    #[arg(long, value_name = "URL")]
    pub(crate) store_url: Option<String>,
    /// Option of the store, such as region=eu-west-1
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_store_option)]
    pub(crate) store_option: Vec<(String, String)>,
    /// Account that may vouch for the datasets of a biobank, with its name: 0x...=NAME
    #[arg(long, value_name = "ACCOUNT=NAME", value_parser = parse_listed)]
    pub(crate) accreditor: Vec<(Address, String)>,
    /// Account that may buy in the vetted tier, with its name: 0x...=NAME
    #[arg(long, value_name = "ACCOUNT=NAME", value_parser = parse_listed)]
    pub(crate) researcher: Vec<(Address, String)>,
    /// Fewest people in a cohort, fixed at the first start
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) cohort_size_min: u32,
    /// Settle orders on cohorts that are proven on the chain, fixed at the first start
    #[arg(long)]
    pub(crate) proven_cohorts: bool,
    /// Folder of proving keys [default: locus/proof-keys in the user's folder for cached files]
    #[arg(long, value_name = "DIR", requires = "proven_cohorts")]
    pub(crate) proof_keys: Option<PathBuf>,
    /// Describe the services by gRPC reflection
    #[arg(long)]
    pub(crate) reflection: bool,
}

/// `locus keys`.
#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make an account, a master secret and a key that answers are sealed to
    New {
        /// Also make keys with which an institution vouches for the people it enrols
        #[arg(long)]
        accreditor: bool,
    },
    /// Show what may be known about the keys
    Show,
}

/// `locus panel`.
#[derive(Debug, Subcommand)]
pub(crate) enum PanelCommand {
    /// Make a panel file from a list of sites or from the variants of a cohort
    Build(PanelBuildArgs),
    /// Describe a panel
    Show {
        /// Panel file, or digest or name of a published panel
        panel: String,
        /// Also list its variants
        #[arg(long)]
        variants: bool,
    },
    /// Publish a panel, so that others can use it
    Publish {
        /// Panel file
        panel: String,
    },
    /// List published panels
    List,
    /// Fetch a published panel
    Fetch {
        /// Its digest or name
        panel: String,
        /// Where to write it
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

/// `locus panel build`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("source").required(true).args(["sites", "vcf", "plink"]))]
pub(crate) struct PanelBuildArgs {
    /// Name of the panel
    #[arg(long)]
    pub(crate) name: String,
    /// Assembly of the positions: GRCh37 or GRCh38
    #[arg(long)]
    pub(crate) assembly: Assembly,
    /// List of sites: VCF, BCF, or text with chrom, pos, ref, alt or one id a line
    #[arg(long, value_name = "FILE")]
    pub(crate) sites: Option<PathBuf>,
    /// Take every variant of these VCF or BCF files
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) vcf: Vec<PathBuf>,
    /// Take every variant of this PLINK 1 fileset
    #[arg(long, value_name = "PREFIX")]
    pub(crate) plink: Option<PathBuf>,
    /// Whether every dataset will have a call at every variant [default: as the cohort is]
    #[arg(long, value_name = "BOOL")]
    pub(crate) complete_calls: Option<bool>,
    /// Reference FASTA: left-aligns indels and checks reference alleles
    #[arg(long, value_name = "FASTA")]
    pub(crate) reference: Option<PathBuf>,
    /// Where to write the panel
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

/// An account.
#[derive(Debug, Args)]
pub(crate) struct AccountArgs {
    /// The account [default: your own]
    #[arg(long, value_parser = parse_account)]
    pub(crate) account: Option<Address>,
}

/// `locus fund`.
#[derive(Debug, Args)]
pub(crate) struct FundArgs {
    /// Tokens, at most a million at once
    pub(crate) amount: Amount,
    #[command(flatten)]
    pub(crate) account: AccountArgs,
}

/// `locus refund`.
#[derive(Debug, Args)]
pub(crate) struct RefundArgs {
    /// The order, 64 digits
    pub(crate) order: String,
}

/// `locus proofs`.
#[derive(Debug, Subcommand)]
pub(crate) enum ProofsCommand {
    /// Make development keys, whose secrets are public; real networks refuse them
    Development {
        /// Folder of keys
        folder: PathBuf,
        /// Only this circuit [default: all]
        #[arg(long, value_name = "NAME")]
        circuit: Option<String>,
    },
    /// Write the constraints of all circuits as .r1cs files, to begin a ceremony with
    Export {
        /// Where to write them
        folder: PathBuf,
    },
    /// Take in the key that a ceremony made
    Import {
        /// Folder of keys
        folder: PathBuf,
        /// Name of the circuit
        #[arg(long, value_name = "NAME")]
        circuit: String,
        /// The ceremony's last .zkey file
        zkey: PathBuf,
    },
    /// List the keys in a folder with their ids
    Show {
        /// Folder of keys
        folder: PathBuf,
    },
}

/// `locus disclose`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("genotypes").required(true).args(["vcf", "plink", "twenty_three"]))]
pub(crate) struct DiscloseArgs {
    /// Number of the registration
    #[arg(long, value_name = "N")]
    pub(crate) registration: u64,
    #[command(flatten)]
    pub(crate) genotypes: GenotypeArgs,
    /// Panel file, or digest or name of a published panel
    #[arg(long)]
    pub(crate) panel: String,
    /// Which individual of the file you are; needed when it has several
    #[arg(long, value_name = "NAME")]
    pub(crate) sample: Option<String>,
    /// What to show: VARIANT=carries, VARIANT=lacks or VARIANT=hom-alt, such as 1:69428:T:G=carries
    #[arg(long = "show", value_name = "CLAIM", required = true, num_args = 1..)]
    pub(crate) claims: Vec<Claim>,
    /// Who may rely on it, by the name that they gave
    #[arg(long, value_name = "NAME")]
    pub(crate) verifier: String,
    /// What they may use it for
    #[arg(long, value_name = "TEXT")]
    pub(crate) purpose: String,
    /// The number that the verifier gave, 64 digits
    #[arg(long, value_name = "HEX", value_parser = parse_nonce)]
    pub(crate) nonce: [u8; 32],
    /// Days for which it is valid
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u64).range(1..=366))]
    pub(crate) days: u64,
    /// Folder with proving keys [default: locus/proof-keys in your folder for cached files]
    #[arg(long, value_name = "DIR")]
    pub(crate) proof_keys: Option<PathBuf>,
    /// Where to write the disclosure
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

/// 32 bytes in hexadecimal digits.
fn parse_nonce(text: &str) -> Result<[u8; 32], String> {
    let mut nonce = [0; 32];
    hex::decode_to_slice(text, &mut nonce).map_err(|_| "a nonce has 64 hexadecimal digits".to_owned())?;
    Ok(nonce)
}

/// A privacy tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TierArg {
    /// Noisy counts, for whomever the offers admit
    Open,
    /// Less noise, for accredited researchers
    Vetted,
    /// No noise, over large sealed batches; not differentially private
    Exact,
}

impl From<TierArg> for Tier {
    fn from(tier: TierArg) -> Self {
        match tier {
            TierArg::Open => Self::Open,
            TierArg::Vetted => Self::Vetted,
            TierArg::Exact => Self::Exact,
        }
    }
}

fn parse_panel_digest(text: &str) -> Result<PanelDigest, String> {
    let digest = crate::context::parse_digest(text).ok_or("write the panel's digest as 64 hexadecimal digits")?;
    Ok(PanelDigest(digest.0))
}

fn parse_account(text: &str) -> Result<Address, String> {
    parse_address(text).map_err(|error| error.to_string())
}

fn parse_listed(text: &str) -> Result<(Address, String), String> {
    let (account, name) = text.split_once('=').ok_or("write the account and its name as 0x...=NAME")?;
    if name.is_empty() || name.len() > 64 {
        return Err("the name must have 1 to 64 bytes".to_owned());
    }
    Ok((parse_account(account)?, name.to_owned()))
}

fn parse_store_option(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write the option as KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn parses(line: &str) -> Result<Cli, clap::error::ErrorKind> {
        // As a shell has it: what is between double quotes is one word.
        let words = line.split('"').enumerate().flat_map(|(place, piece)| match place % 2 {
            0 => piece.split_whitespace().map(str::to_owned).collect::<Vec<_>>(),
            _ => vec![piece.to_owned()],
        });
        Cli::try_parse_from(words).map_err(|error| error.kind())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// Control: the parser checks nothing unless its assertions are compiled in, as the workspace's profile says.
    #[test]
    #[should_panic(expected = "does not exist")]
    fn an_option_that_conflicts_with_none_that_exists_is_found() {
        clap::Command::new("locus").arg(clap::Arg::new("test").long("test").conflicts_with("strata")).debug_assert();
    }

    #[test]
    fn every_line_of_the_readme_parses() {
        let readme = include_str!("../../../README.md");
        let lines = readme.lines().filter(|line| line.starts_with("locus "));
        let mut seen = 0;
        for line in lines {
            let command = line.split(" #").next().unwrap_or(line).trim_end().trim_end_matches('&');
            parses(command).unwrap_or_else(|kind| panic!("{command}: {kind:?}"));
            seen += 1;
        }
        assert!(seen >= 10, "only {seen} lines of the README begin with locus");
    }

    #[test]
    fn roots_are_of_a_panel_by_its_digest() {
        let digest = "ab".repeat(32);
        let of = |panel: &str| format!("--rpc http://127.0.0.1:8545 --deployment market.json --panel {panel}");
        parses(&format!("locus roots show {}", of(&digest))).expect("complete");
        parses(&format!("locus roots advance {} --operator-key operator.key --json", of(&digest))).expect("complete");
        parses(&format!("locus roots advance {} --operator-key k --block 7", of(&digest))).expect("complete");
        assert!(parses(&format!("locus roots show {}", of("ab12"))).is_err());
        assert!(parses(&format!("locus roots advance {}", of(&digest))).is_err(), "nobody pays");
    }

    #[test]
    fn attributes_need_a_source_and_a_schema() {
        parses("locus attributes add --from a.tsv --schema s.json").expect("complete");
        parses("locus attributes add --from a.json b.json --format fhir --schema s.json --registration 3 --mapping m")
            .expect("complete");
        parses("locus attributes schemas").expect("complete");
        parses("locus attributes schema 00ff --out s.json").expect("complete");
        assert!(parses("locus attributes add --from a.tsv").is_err());
        assert!(parses("locus attributes add --schema s.json").is_err());
    }

    #[test]
    fn an_offer_discloses_only_what_a_file_shows() {
        let line = "locus offer --registration 3 --price 1 --terms GRU --tier open";
        for more in ["", "--demand proven,authenticated", "--disclose 1:69428:T:G=carries --vcf a", "--json"] {
            parses(&format!("{line} {more}")).expect(more);
        }
        assert!(parses(&format!("{line} --disclose 1:69428:T:G=carries")).is_err(), "no genotypes");
        assert!(parses(&format!("{line} --disclose 1:69428:T:G=het --vcf a")).is_err(), "no claim");
        assert!(parses(&format!("{line} --demand attested")).is_err());
        let person = "locus enroll --vcf a --panel p --price 1 --terms GRU --tier open";
        parses(&format!("{person} --disclose 1:69428:T:G=carries 1:70000:A:G=lacks")).expect("a person");
        assert!(parses(&format!("{person} --biobank --disclose 1:69428:T:G=carries")).is_err(), "a batch");
    }

    #[test]
    fn enrolling_needs_one_source() {
        let rest = "--panel p --price 1 --terms GRU --tier open,exact";
        assert!(parses(&format!("locus enroll {rest}")).is_err());
        assert!(parses(&format!("locus enroll --vcf a --plink b {rest}")).is_err());
        for source in ["--vcf a", "--vcf a b", "--plink b", "--23andme c"] {
            parses(&format!("locus enroll {source} {rest}")).expect(source);
        }
    }
}
