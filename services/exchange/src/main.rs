//! The exchange's own process.

use clap::Parser;
use locus_service::{ServiceArgs, run_service};
use std::process::ExitCode;

/// Relays what people signed to the chain, and keeps the payout table
#[derive(Debug, Parser)]
#[command(name = "locus-exchange", version, about)]
struct Cli {
    #[command(flatten)]
    service: ServiceArgs,
}

fn main() -> ExitCode {
    run_service(&Cli::parse().service, locus_exchange::start)
}
