//! The archive's own process.

use clap::Parser;
use locus_service::{ServiceArgs, run_service};
use std::process::ExitCode;

/// Keeps encrypted genomes and leads enrolments through the keyholders
#[derive(Debug, Parser)]
#[command(name = "locus-archive", version, about)]
struct Cli {
    #[command(flatten)]
    service: ServiceArgs,
}

fn main() -> ExitCode {
    run_service(&Cli::parse().service, locus_archive::start)
}
