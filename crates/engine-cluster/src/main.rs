//! The processes of a cluster.

use clap::{Parser, Subcommand};
use locus_engine_cluster::{start_executor, start_scheduler};
use locus_service::{ServiceArgs, run_service};
use mimalloc::MiMalloc;
use std::process::ExitCode;

/// Keeps the memory of row groups (2 MiB each) instead of giving it back and faulting it in again: a fifth more a second.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Sums ciphertexts on many machines, for an aggregator
#[derive(Debug, Parser)]
#[command(name = "locus-cluster", version, about)]
struct Cli {
    #[command(subcommand)]
    process: Process,
}

#[derive(Debug, Subcommand)]
enum Process {
    /// Takes questions of the aggregator, and gives work to executors
    Scheduler(ServiceArgs),
    /// Sums what the scheduler gives it to do
    Executor(ServiceArgs),
}

fn main() -> ExitCode {
    match Cli::parse().process {
        Process::Scheduler(args) => run_service(&args, start_scheduler),
        Process::Executor(args) => run_service(&args, start_executor),
    }
}
