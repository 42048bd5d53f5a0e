//! The end-to-end command: services and a cluster as processes of their own, and the client in another language.

use crate::test::{ANVIL, CONTRACTS, step};
use anyhow::{Context as _, Result};
use std::{
    env,
    path::{Path, PathBuf},
};

pub(crate) const CLUSTER: &str = "locus-engine-cluster";
const PYTHON_CLIENT: &str = "crates/client/python";

/// Builds every binary, runs a cluster and markets of separate processes on a chain node, one of them with the cluster,
/// kills them all, and has the Python client buy from a market.
pub(crate) fn run(root: &Path) -> Result<()> {
    let contracts = root.join(CONTRACTS);
    step(&contracts, "npm", &["ci", "--no-audit", "--no-fund"], &[])?;
    step(root, "cargo", &["build", "--release", "--bins"], &[])?;
    // A cluster that is killed in every way; 20 minutes of building the first time.
    step(root, "cargo", &["test", "--release", "--package", CLUSTER, "--lib", "--bins"], &[])?;
    step(root, "cargo", &["build", "--release", "--package", CLUSTER], &[])?;
    let cluster = target_folder(root).join("release/locus-cluster").to_string_lossy().into_owned();
    let test = ["test", "--release", "--test", "a_cluster_sums_like_the_kernel", "--", "--ignored"];
    step(root, "cargo", &test, &[("LOCUS_CLUSTER", cluster.clone())])?;
    let anvil = contracts.join(ANVIL).to_string_lossy().into_owned();
    let environment = [("LOCUS_ANVIL", anvil), ("LOCUS_ANVIL_REQUIRED", "1".to_owned()), ("LOCUS_CLUSTER", cluster)];
    let test = ["test", "--release", "--test", "a_market_sums_on_a_cluster", "--", "--ignored"];
    step(root, "cargo", &test, &environment)?;
    let test = ["test", "--release", "--test", "services_run_apart", "--test"];
    step(root, "cargo", &[&test[..], &["each_process_is_killed_in_the_middle_of_work"]].concat(), &environment)?;

    let target = target_folder(root);
    let venv = target.join("python-client");
    let python = venv.join("bin/python").to_string_lossy().into_owned();
    let client = root.join(PYTHON_CLIENT);
    if !venv.join("bin/pytest").is_file() {
        step(root, "python3", &["-m", "venv", &venv.to_string_lossy()], &[])?;
        step(&client, &python, &["-m", "pip", "install", "--quiet", "--editable", ".[test]"], &[])?;
    }
    step(&client, &python, &["generate.py"], &[])?;
    let binary = target.join("release/locus");
    let binary = binary.canonicalize().with_context(|| format!("{} was not built", binary.display()))?;
    let environment = [("LOCUS_BINARY", binary.to_string_lossy().into_owned())];
    step(&client, &python, &["-m", "pytest", "--quiet"], &environment)
}

fn target_folder(root: &Path) -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}
