//! The aggregator's own process.

use clap::Parser;
use locus_service::{ServiceArgs, run_service};
use std::process::ExitCode;

/// Quotes questions, sums ciphertexts, and carries answers to their researchers
#[derive(Debug, Parser)]
#[command(name = "locus-aggregator", version, about)]
struct Cli {
    #[command(flatten)]
    service: ServiceArgs,
}

fn main() -> ExitCode {
    run_service(&Cli::parse().service, locus_aggregator::start)
}
