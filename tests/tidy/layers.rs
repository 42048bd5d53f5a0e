//! The architecture as a test: layers, and dependencies that stay in one place.

use crate::metadata;
use serde_json::Value;
use std::collections::BTreeMap;

/// Layer of every package; a package may depend on lower layers, and on its own as listed below.
const LAYERS: &[(&str, u8)] = &[
    ("locus-genomics", 0),
    ("locus-commitment", 0),
    ("locus-privacy", 0),
    ("locus-sharing", 0),
    ("locus-rlwe", 0),
    ("locus-phenotype", 0),
    ("locus-statistics", 0),
    ("locus-intake", 1),
    ("locus-proofs", 1),
    ("locus-report", 1),
    ("locus-store", 1),
    ("locus-wire", 1),
    ("locus-ledger", 1),
    ("locus-engine", 2),
    ("locus-cohort", 2),
    ("locus-prover", 2),
    ("locus-client", 2),
    ("locus-service", 2),
    ("locus-engine-cluster", 3),
    ("locus-archive", 3),
    ("locus-exchange", 3),
    ("locus-aggregator", 3),
    ("locus-keyholder", 3),
    ("locus", 4),
    ("locus-tests", 5),
    ("locus-bench", 5),
    ("locus-xtask", 5),
];

/// Edges inside a layer; ARCHITECTURE.md gives their reasons.
const SAME_LAYER: &[(&str, &str)] = &[
    ("locus-commitment", "locus-genomics"),
    ("locus-privacy", "locus-genomics"),
    ("locus-privacy", "locus-commitment"),
    ("locus-sharing", "locus-genomics"),
    ("locus-sharing", "locus-commitment"),
    ("locus-rlwe", "locus-genomics"),
    ("locus-rlwe", "locus-commitment"),
    ("locus-rlwe", "locus-privacy"),
    ("locus-rlwe", "locus-sharing"),
    ("locus-phenotype", "locus-commitment"),
    ("locus-phenotype", "locus-sharing"),
    ("locus-wire", "locus-ledger"),
    ("locus-client", "locus-cohort"),
    ("locus-client", "locus-service"),
    ("locus-prover", "locus-cohort"),
];

/// Outside packages (by prefix) and the only project packages that may name them.
const QUARANTINE: &[(&str, &[&str])] = &[
    ("tfhe", &["locus-rlwe"]),
    ("alloy-", &["locus-ledger"]),
    ("revm", &["locus-ledger"]),
    ("noodles", &["locus-intake"]),
    ("object_store", &["locus-store", "locus-engine", "locus-engine-cluster"]),
    ("datafusion", &["locus-engine-cluster"]),
    ("ballista", &["locus-engine-cluster"]),
    ("parquet", &["locus-store", "locus-report"]),
    ("hpke", &["locus-sharing"]),
    ("sqlparser", &["locus-phenotype"]),
    ("ark-", &["locus-commitment", "locus-proofs"]),
    ("plotters", &["locus-report"]),
];

/// Pure packages must not name any of these.
const IMPURE: &[&str] = &["tokio", "tonic", "prost", "redb", "tracing", "getrandom"];

struct Package {
    name: String,
    /// Normal dependencies.
    dependencies: Vec<String>,
}

fn packages() -> Vec<Package> {
    metadata().iter().map(package).collect()
}

fn package(value: &Value) -> Package {
    let dependencies = value["dependencies"].as_array().expect("a list");
    let normal = dependencies.iter().filter(|dependency| dependency["kind"].is_null());
    Package {
        name: value["name"].as_str().expect("a name").to_owned(),
        dependencies: normal.map(|dependency| dependency["name"].as_str().expect("a name").to_owned()).collect(),
    }
}

#[test]
fn every_package_has_a_layer_and_depends_only_on_lower_ones() {
    let layers: BTreeMap<&str, u8> = LAYERS.iter().copied().collect();
    for package in packages() {
        let own = *layers.get(package.name.as_str()).unwrap_or_else(|| panic!("{} has no layer", package.name));
        for dependency in package.dependencies.iter().filter(|name| name.starts_with("locus")) {
            let other = layers[dependency.as_str()];
            let listed = SAME_LAYER.contains(&(package.name.as_str(), dependency.as_str()));
            assert!(other < own || (other == own && listed), "{} must not depend on {dependency}", package.name);
        }
    }
}

#[test]
fn quarantined_dependencies_stay_where_they_are() {
    for package in packages() {
        for (prefix, allowed) in QUARANTINE {
            let named = package.dependencies.iter().find(|dependency| dependency.starts_with(prefix));
            if let Some(dependency) = named {
                assert!(allowed.contains(&package.name.as_str()), "{} must not name {dependency}", package.name);
            }
        }
    }
}

#[test]
fn pure_packages_know_neither_runtime_nor_clock_nor_wire() {
    let pure: Vec<&str> = LAYERS.iter().filter(|(_, layer)| *layer == 0).map(|(name, _)| *name).collect();
    for package in packages().iter().filter(|package| pure.contains(&package.name.as_str())) {
        let impure = package.dependencies.iter().find(|dependency| IMPURE.contains(&dependency.as_str()));
        assert_eq!(impure, None, "{}", package.name);
    }
}

#[test]
fn one_version_of_object_store_is_in_the_tree() {
    let lock = std::fs::read_to_string(locus_tests::repository().join("Cargo.lock")).expect("it is committed");
    assert_eq!(lock.matches("name = \"object_store\"\n").count(), 1);
    assert_eq!(lock.matches("name = \"parquet\"\n").count(), 1);
}
