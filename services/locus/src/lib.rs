//! The `locus` command: every service of a market in one process ([`node`]), the commands of
//! contributors and researchers, and the demo.
//!
//! Contributors and researchers talk to one address, which serves archive, exchange and query
//! service, and to the keyholders for statements. Everything secret stays in the user's data
//! folder: keys, the names of the people enrolled, orders and answers. The layout of that folder is
//! the client's (`locus-client`, clause 2), plus
//!
//! - `panels/`: every panel that a command has used, by digest, so that answers can be checked
//!   without any service;
//! - `scratch/`: where genotypes that outgrow memory are put in unnamed files.
//!
//! Results go to standard output: text for people, or one line of JSON with `--json`. Progress and
//! errors go to standard error. Exit codes: 0 done, 1 refused or failed, 2 a command line that
//! cannot be.

mod cli;
mod commands;
mod context;
mod demo;
mod error;
pub mod node;
mod output;
mod progress;
mod proving;

pub use commands::{DeployError, RootsError};
pub use error::CommandError;

use crate::{cli::Cli, context::Context, output::Output};
use clap::Parser as _;
use std::process::ExitCode;

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let output = Output::new(cli.global.json);
    locus_service::init_telemetry(cli.global.json);
    match run_command(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.failure(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

fn run_command(cli: Cli) -> Result<(), CommandError> {
    let context = Context::new(&cli.global)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(CommandError::Runtime)?;
    runtime.block_on(commands::run(cli.command, &context))
}
