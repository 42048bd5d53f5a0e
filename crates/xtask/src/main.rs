//! Project tasks: code generation, checks of generated files, the test command.

mod bench;
mod codegen;
mod e2e;
mod test;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};

/// Project tasks; run as `cargo xtask <task>`.
#[derive(Debug, Parser)]
#[command(name = "xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Regenerate the Rust code of the protobuf packages.
    Codegen {
        /// Compare with the committed code instead of writing it.
        #[arg(long)]
        check: bool,
    },
    /// Measure the product against its goals and its peers.
    Bench {
        /// Print JSON instead of a table.
        #[arg(long)]
        json: bool,
        /// Measure only these rows.
        #[arg(long, value_name = "ID", value_delimiter = ',')]
        only: Vec<String>,
    },
    /// Run services as processes of their own on a chain node, and the client in another language.
    E2e,
    /// Give every decoder of outside bytes many mutated inputs.
    Fuzz {
        /// Inputs for each decoder in memory; those that read files get a hundredth.
        #[arg(long, default_value_t = 1_000_000)]
        executions: u64,
    },
    /// Install what the tests need, check generated files and run every test.
    Test {
        /// Leave out installing npm packages and the contracts' own checks; Anvil must be there.
        #[arg(long)]
        no_npm: bool,
    },
}

fn main() -> Result<()> {
    let root = workspace_root()?;
    match Arguments::parse().task {
        Task::Bench { json, only } => bench::run(&root, json, &only),
        Task::Codegen { check } => codegen::run(&root, check),
        Task::E2e => e2e::run(&root),
        Task::Fuzz { executions } => test::fuzz(&root, executions),
        Task::Test { no_npm } => test::run(&root, no_npm),
    }
}

/// The workspace folder: two levels above this package. Cargo names it at run time: a target folder may be shared by copies of the
/// tree.
fn workspace_root() -> Result<PathBuf> {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let root = package.as_deref().and_then(|package| package.ancestors().nth(2)).map(Path::to_path_buf);
    root.context("this program is run by cargo: use `cargo xtask`")
}
