//! The end-to-end command: services and a cluster as processes of their own, and the client in another language.

use crate::test::{ANVIL, CONTRACTS, step};
use anyhow::{Context as _, Result};
use std::{
    env,
    path::{Path, PathBuf},
};

const PYTHON_CLIENT: &str = "crates/client/python";
/// Markets of processes of their own, and a cluster of them.
const TESTS: [&str; 4] = [
    "a_cluster_sums_like_the_kernel",
    "a_market_sums_on_a_cluster",
    "services_run_apart",
    "each_process_is_killed_in_the_middle_of_work",
];

const PROGRAMS: [&str; 6] =
    ["locus", "locus-aggregator", "locus-archive", "locus-cluster", "locus-exchange", "locus-keyholder"];

/// Builds the programs, runs a cluster and markets of separate processes on a chain node, one of them with the cluster,
/// kills them all, and has the Python client buy from a market.
pub(crate) fn run(root: &Path) -> Result<()> {
    let contracts = root.join(CONTRACTS);
    step(&contracts, "npm", &["ci", "--no-audit", "--no-fund"], &[])?;
    // Always the whole workspace: what is named decides which features dependencies have, so that everything would be built
    // once for the cluster and once for the services.
    let programs = PROGRAMS.iter().flat_map(|name| ["--bin", name]);
    let build: Vec<&str> = ["build", "--release", "--workspace"].into_iter().chain(programs).collect();
    step(root, "cargo", &build, &[])?;
    // The one program with tests inside.
    step(root, "cargo", &["test", "--release", "--workspace", "--bin", "locus-cluster"], &[])?;
    let cluster = target_folder(root).join("release/locus-cluster").to_string_lossy().into_owned();
    let anvil = contracts.join(ANVIL).to_string_lossy().into_owned();
    let environment = [("LOCUS_ANVIL", anvil), ("LOCUS_ANVIL_REQUIRED", "1".to_owned()), ("LOCUS_CLUSTER", cluster)];
    let names = TESTS.iter().flat_map(|name| ["--test", name]);
    let tests: Vec<&str> = ["test", "--release", "--workspace"].into_iter().chain(names).collect();
    step(root, "cargo", &[&tests[..], &["--", "--include-ignored"]].concat(), &environment)?;

    let target = target_folder(root);
    let venv = target.join("python-client");
    let python = venv.join("bin/python").to_string_lossy().into_owned();
    let client = root.join(PYTHON_CLIENT);
    if !venv.join("bin/python").is_file() {
        step(root, "python3", &["-m", "venv", &venv.to_string_lossy()], &[])?;
    }
    // Every time: the folder may hold what another copy of the tree installed.
    step(&client, &python, &["-m", "pip", "install", "--quiet", "--editable", ".[test]"], &[])?;
    step(&client, &python, &["generate.py"], &[])?;
    let binary = target.join("release/locus");
    let binary = binary.canonicalize().with_context(|| format!("{} was not built", binary.display()))?;
    let environment = [("LOCUS_BINARY", binary.to_string_lossy().into_owned())];
    step(&client, &python, &["-m", "pytest", "--quiet"], &environment)
}

fn target_folder(root: &Path) -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}
