//! The tree held against rules that no compiler checks.

mod features;
mod layers;
mod sources;

use serde_json::Value;
use std::process::Command;

/// What a call of cargo in the repository prints; it reads what is here only.
fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .arg("--offline")
        .current_dir(locus_tests::repository())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// What cargo knows of every package.
fn metadata() -> Vec<Value> {
    let printed = cargo(&["metadata", "--format-version", "1", "--no-deps"]);
    let metadata: Value = serde_json::from_str(&printed).expect("metadata is JSON");
    metadata["packages"].as_array().expect("there are packages").clone()
}
