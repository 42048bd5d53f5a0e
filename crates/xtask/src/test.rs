//! The test command: one call sets up a fresh machine and runs every test.

use anyhow::{Context, Result, bail};
use std::{env, path::Path, process::Command};

pub(crate) const CONTRACTS: &str = "crates/ledger/contracts";
pub(crate) const ANVIL: &str = "node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil";
const INTEROP: &str = "crates/proofs/interop";
const SNARKJS: &str = "node_modules/snarkjs/build/cli.cjs";
/// How the names of variables begin in which cargo tells a program what package it is of.
const OF_CARGO: [&str; 2] = ["CARGO_MANIFEST_", "CARGO_PKG_"];

/// Checks formatting, lints, generated files and contracts, then runs all Rust tests.
pub(crate) fn run(root: &Path, no_npm: bool) -> Result<()> {
    crate::codegen::run(root, true)?;
    step(root, "cargo", &["fmt", "--all", "--check"], &[])?;
    step(root, "cargo", &["clippy", "--release", "--all-targets", "--", "-D", "warnings"], &[])?;
    let contracts = root.join(CONTRACTS);
    if !no_npm {
        step(&contracts, "npm", &["ci", "--no-audit", "--no-fund"], &[])?;
        step(&contracts, "npm", &["run", "check"], &[])?;
        step(&contracts, "npm", &["test"], &[])?;
        // Style of the public contract, and that clients of the last release are still understood.
        let proto = root.join("proto");
        step(&proto, "npm", &["ci", "--no-audit", "--no-fund"], &[])?;
        step(&proto, "npm", &["run", "check"], &[])?;
        step(&root.join(INTEROP), "npm", &["ci", "--no-audit", "--no-fund"], &[])?;
    }
    // The ledger's tests run on a real chain as well, or fail: nothing is skipped in silence.
    let anvil = contracts.join(ANVIL);
    if !anvil.is_file() {
        bail!("there is no anvil at {}: run `npm ci` in {CONTRACTS}", anvil.display());
    }
    let snarkjs = root.join(INTEROP).join(SNARKJS);
    if !snarkjs.is_file() {
        bail!("there is no snarkjs at {}: run `npm ci` in {INTEROP}", snarkjs.display());
    }
    let required = || "1".to_owned();
    let environment = [
        ("LOCUS_ANVIL", anvil.to_string_lossy().into_owned()),
        ("LOCUS_ANVIL_REQUIRED", required()),
        ("LOCUS_SNARKJS", snarkjs.to_string_lossy().into_owned()),
        ("LOCUS_SNARKJS_REQUIRED", required()),
    ];
    // All that fails is seen in one run.
    step(root, "cargo", &["test", "--release", "--no-fail-fast"], &environment)
}

/// Runs the decoders' test with many more inputs than the tests do.
pub(crate) fn fuzz(root: &Path, executions: u64) -> Result<()> {
    let arguments = ["test", "--release", "--test", "decoders_take_any_bytes"];
    step(root, "cargo", &arguments, &[("LOCUS_FUZZ_EXECUTIONS", executions.to_string())])
}

/// Runs a program as the user would: without what cargo told this one about itself. Build scripts watch these variables,
/// so with them every change between this and a plain call of cargo would build half of the dependencies again.
pub(crate) fn step(dir: &Path, program: &str, arguments: &[&str], environment: &[(&str, String)]) -> Result<()> {
    let line = format!("{program} {}", arguments.join(" "));
    eprintln!("xtask: {line}");
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        let about_xtask = |name: &str| OF_CARGO.iter().any(|start| name.starts_with(start));
        if name.to_str().is_some_and(about_xtask) {
            command.env_remove(&name);
        }
    }
    let status = command
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (*name, value.as_str())))
        .current_dir(dir)
        .status()
        .with_context(|| format!("cannot start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed with {status}");
    }
    Ok(())
}
