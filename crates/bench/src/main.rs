#![doc = include_str!("../SPEC.md")]

mod cohort;
mod crowd;
mod gas;
mod machine;
mod market;
mod memory;
mod peers;
mod proving;
mod report;
mod row;
mod rows;
mod synthetic;
mod timing;

use anyhow::{Result, bail};
use clap::Parser;
use row::Bench;
use std::path::PathBuf;

/// Measures the product against its goals and its peers.
#[derive(Debug, Parser)]
struct Arguments {
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Measure only these rows.
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    only: Vec<String>,
    /// The `locus` binary.
    #[arg(long)]
    locus: PathBuf,
    /// Folder for what is kept between runs: virtual environment, decoded cohorts.
    #[arg(long)]
    work: PathBuf,
    /// The repository.
    #[arg(long)]
    root: PathBuf,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let rows = rows::all();
    if let Some(unknown) = arguments.only.iter().find(|id| rows.iter().all(|row| row.id != **id)) {
        let ids: Vec<&str> = rows.iter().map(|row| row.id).collect();
        bail!("there is no row {unknown}; rows are {}", ids.join(", "));
    }
    std::fs::create_dir_all(&arguments.work)?;
    let mut bench = Bench::new(arguments.locus, arguments.work, arguments.root)?;
    let chosen = rows.iter().filter(|row| arguments.only.is_empty() || arguments.only.iter().any(|id| row.id == id));
    let mut results = Vec::new();
    for row in chosen {
        eprintln!("measuring {}", row.id);
        results.push(row.run(&mut bench));
    }
    report::print(&results, arguments.json)?;
    let failed: Vec<&str> = results.iter().filter(|result| result.failed()).map(|result| result.id).collect();
    if failed.is_empty() { Ok(()) } else { bail!("these rows failed: {}", failed.join(", ")) }
}
