#![doc = include_str!("../SPEC.md")]

mod aggregate;
mod config;
mod error;
mod executor;
mod gateway;
mod request;
mod scheduler;
mod selection;
mod session;
mod table;

use clap::{Parser, Subcommand};
use executor::start_executor;
use locus_service::{ServiceArgs, run_service};
use mimalloc::MiMalloc;
use scheduler::start_scheduler;
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
