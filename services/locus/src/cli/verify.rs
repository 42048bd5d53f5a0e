//! `locus verify`.

use super::{parse_account, parse_nonce};
use clap::{Args, Subcommand};
use locus_commitment::Address;
use std::path::PathBuf;

/// `locus verify`.
#[derive(Debug, Subcommand)]
pub(crate) enum VerifyCommand {
    /// Check a kept answer again, without any service
    Answer(VerifyArgs),
    /// Check what accounts have earned against the chain, which you read from a node that you choose
    Payout(VerifyPayoutArgs),
    /// Check a disclosure against the chain
    Disclosure(VerifyDisclosureArgs),
}

/// `locus verify disclosure`.
#[derive(Debug, Args)]
pub(crate) struct VerifyDisclosureArgs {
    /// Disclosure file
    pub(crate) disclosure: PathBuf,
    /// Your name, as you gave it to the contributor
    #[arg(long, value_name = "NAME")]
    pub(crate) verifier: String,
    /// The number that you gave, 64 digits
    #[arg(long, value_name = "HEX", value_parser = parse_nonce)]
    pub(crate) nonce: [u8; 32],
    /// Panel file [default: the published panel]
    #[arg(long, value_name = "FILE")]
    pub(crate) panel: Option<PathBuf>,
    /// Folder with the verifying keys of a real network
    #[arg(long, value_name = "DIR")]
    pub(crate) proof_keys: Option<PathBuf>,
}

/// `locus verify answer`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Answer file
    pub(crate) answer: PathBuf,
    /// Panel file [default: the panel as it was when you bought]
    #[arg(long)]
    pub(crate) panel: Option<PathBuf>,
    /// Check that this table is what the answer says
    #[arg(long, value_name = "FILE")]
    pub(crate) table: Option<PathBuf>,
}

/// `locus verify payout`.
#[derive(Debug, Args)]
pub(crate) struct VerifyPayoutArgs {
    /// JSON-RPC address of a node of the chain
    #[arg(long, value_name = "URL")]
    pub(crate) rpc: String,
    /// Description of the market, as `locus deploy` wrote it [default: the market that your folder knows]
    #[arg(long, value_name = "FILE")]
    pub(crate) deployment: Option<PathBuf>,
    /// Show what this account has earned [default: your own, if you have one]
    #[arg(long, value_parser = parse_account)]
    pub(crate) account: Option<Address>,
    /// Show whom the settlement of this order paid, 64 digits
    #[arg(long)]
    pub(crate) order: Option<String>,
}
