//! The benchmark command: builds the product and the benchmarks, and runs them.

use crate::test::step;
use anyhow::{Context, Result, bail};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The row that measures a cluster.
const CLUSTER_ROW: &str = "ballista_core";
const CLUSTER: &str = "locus-cluster";

/// Runs the rows in `only`, or all.
pub(crate) fn run(root: &Path, json: bool, only: &[String]) -> Result<()> {
    // One command for both, over the whole workspace: features are then those of the tests, and
    // nothing heavy is compiled twice.
    step(root, "cargo", &["build", "--release", "--bin", "locus", "--bin", "locus-bench"], &[])?;
    // As `cargo xtask e2e` builds it, with the features of the whole workspace.
    if only.is_empty() || only.iter().any(|id| id == CLUSTER_ROW) {
        step(root, "cargo", &["build", "--release", "--workspace", "--bin", CLUSTER], &[])?;
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let target = if target.is_absolute() { target } else { root.join(target) };
    let mut bench = Command::new(target.join("release/locus-bench"));
    bench.arg("--locus").arg(target.join("release/locus"));
    bench.arg("--work").arg(target.join("bench")).arg("--root").arg(root);
    if json {
        bench.arg("--json");
    }
    for id in only {
        bench.args(["--only", id]);
    }
    let status = bench.current_dir(root).status().context("cannot start the benchmarks")?;
    if status.success() { Ok(()) } else { bail!("the benchmarks ended with {status}") }
}
