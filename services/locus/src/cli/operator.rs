//! Commands of those who run a market.

use super::{parse_account, parse_listed, parse_panel_digest};
use clap::{Args, Subcommand};
use locus_commitment::Address;
use locus_genomics::PanelDigest;
use locus_service::Role;
use std::path::PathBuf;

/// `locus deploy`.
#[derive(Debug, Args)]
pub(crate) struct DeployArgs {
    /// JSON-RPC address of a node of the chain to deploy on
    #[arg(long, value_name = "URL")]
    pub(crate) rpc: String,
    /// Key of the account that pays and becomes the market's admin: a file of 64 hexadecimal digits, mode 0600
    #[arg(long, value_name = "FILE")]
    pub(crate) operator_key: PathBuf,
    /// Public files of keyholders 1, 2 and 3, as `locus-keyholder init` wrote them
    #[arg(long, value_name = "FILE", num_args = 1..=3, value_delimiter = ',', required = true)]
    pub(crate) keyholder: Vec<PathBuf>,
    /// Token to pay with: ERC-20 with permits and 18 decimals [default on test networks: a new test token]
    #[arg(long, value_name = "ADDRESS", value_parser = parse_account, required_unless_present = "test_network")]
    pub(crate) token: Option<Address>,
    /// Account that may vouch for the datasets of a biobank, with its name: 0x...=NAME
    #[arg(long, value_name = "ACCOUNT=NAME", value_parser = parse_listed)]
    pub(crate) accreditor: Vec<(Address, String)>,
    /// Account that may buy in the vetted tier, with its name: 0x...=NAME
    #[arg(long, value_name = "ACCOUNT=NAME", value_parser = parse_listed)]
    pub(crate) researcher: Vec<(Address, String)>,
    /// Fewest people in a cohort; below 100 only on test networks
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) cohort_size_min: u32,
    /// Fewest people in a sealed batch that is asked exactly; below 1000 only on test networks
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) exact_batch_min: u32,
    /// Deploy a test network: rules may be less strict, anyone may have test tokens, and it says so
    #[arg(long)]
    pub(crate) test_network: bool,
    /// Settle orders on cohorts that are proven on the chain
    #[arg(long)]
    pub(crate) proven_cohorts: bool,
    /// Folder of the keys of the circuits, which a network for real use takes from a ceremony
    #[arg(long, value_name = "DIR", requires = "proven_cohorts")]
    pub(crate) proof_keys: Option<PathBuf>,
    /// Where to write the description of the market that every service reads
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

/// `locus roots`.
#[derive(Debug, Subcommand)]
pub(crate) enum RootsCommand {
    /// Prove what was queued on a panel into its root; anybody may
    Advance(RootsAdvanceArgs),
    /// Show a panel's root and what is missing from it
    Show(RootsArgs),
}

/// A panel's root on a chain.
#[derive(Debug, Args)]
pub(crate) struct RootsArgs {
    /// JSON-RPC address of a node of the chain
    #[arg(long, value_name = "URL")]
    pub(crate) rpc: String,
    /// Description of the market, as `locus deploy` wrote it
    #[arg(long, value_name = "FILE")]
    pub(crate) deployment: PathBuf,
    /// Digest of the panel, 64 digits
    #[arg(long, value_name = "DIGEST", value_parser = parse_panel_digest)]
    pub(crate) panel: PanelDigest,
}

/// `locus roots advance`.
#[derive(Debug, Args)]
pub(crate) struct RootsAdvanceArgs {
    #[command(flatten)]
    pub(crate) roots: RootsArgs,
    /// Key of the account that pays: a file of 64 hexadecimal digits, mode 0600
    #[arg(long, value_name = "FILE")]
    pub(crate) operator_key: PathBuf,
    /// Folder with proving keys [default: locus/proof-keys in your folder for cached files]
    #[arg(long, value_name = "DIR")]
    pub(crate) proof_keys: Option<PathBuf>,
    /// Last block whose operations are taken [default: the newest]
    #[arg(long, value_name = "N")]
    pub(crate) block: Option<u64>,
}

/// `locus committee`.
#[derive(Debug, Subcommand)]
pub(crate) enum CommitteeCommand {
    /// Name a successor's keys for a keyholder that was lost; for the admin of the contracts
    Replace(CommitteeReplaceArgs),
    /// Have the keyholders give registrations new keys, so that keys that leaked open nothing; for the admin of the contracts
    Rekey(CommitteeRekeyArgs),
}

/// `locus committee replace`.
#[derive(Debug, Args)]
pub(crate) struct CommitteeReplaceArgs {
    /// The successor's public file, as `locus-keyholder init` wrote it
    #[arg(value_name = "FILE")]
    pub(crate) public: PathBuf,
    /// JSON-RPC address of a node of the chain
    #[arg(long, value_name = "URL")]
    pub(crate) rpc: String,
    /// Description of the market, as `locus deploy` wrote it
    #[arg(long, value_name = "FILE")]
    pub(crate) deployment: PathBuf,
    /// Key of the admin: a file of 64 hexadecimal digits, mode 0600
    #[arg(long, value_name = "FILE")]
    pub(crate) operator_key: PathBuf,
}

/// `locus committee rekey`.
#[derive(Debug, Args)]
pub(crate) struct CommitteeRekeyArgs {
    /// The registrations; several with commas [default: all that have datasets left]
    #[arg(value_name = "N", value_delimiter = ',')]
    pub(crate) registrations: Vec<u64>,
    /// Leave out registrations that have this generation of keys already; to go on where a run was cut off
    #[arg(long, value_name = "N")]
    pub(crate) generation: Option<u8>,
    /// Key of the admin: a file of 64 hexadecimal digits, mode 0600
    #[arg(long, value_name = "FILE")]
    pub(crate) operator_key: PathBuf,
}

/// `locus tls`.
#[derive(Debug, Subcommand)]
pub(crate) enum TlsCommand {
    /// Make a certificate authority for trying things out
    Init(TlsInitArgs),
    /// Issue a service's certificate; also to renew one
    Issue(TlsIssueArgs),
}

/// `locus tls init`.
#[derive(Debug, Args)]
pub(crate) struct TlsInitArgs {
    /// Folder of the authority
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// Name that all certificates of the market share
    #[arg(long, value_name = "NAME", default_value = "locus.local")]
    pub(crate) trust_domain: String,
}

/// `locus tls issue`.
#[derive(Debug, Args)]
pub(crate) struct TlsIssueArgs {
    /// Folder of the authority; the certificate is written there too
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// archive, exchange, aggregator, engine, keyholder/1, keyholder/2 or keyholder/3; several with commas
    #[arg(long, value_name = "ROLE", value_delimiter = ',', required = true)]
    pub(crate) role: Vec<Role>,
    /// Names and addresses at which the service is reached
    #[arg(long, value_name = "HOST", value_delimiter = ',', default_values_t = ["localhost".to_owned(), "127.0.0.1".to_owned()])]
    pub(crate) host: Vec<String>,
    /// Days until it ends
    #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=825))]
    pub(crate) days: u32,
}
