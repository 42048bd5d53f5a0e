//! The architecture as a test: layers, and dependencies that stay in one place.

use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

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

/// What cargo knows of every package.
fn metadata() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(locus_tests::repository())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("metadata is JSON");
    metadata["packages"].as_array().expect("there are packages").clone()
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

/// A target folder may be shared by copies of the repository, so where a test was built is not where it runs: it would read the
/// files of another copy, or skip what it does not find.
#[test]
fn no_program_remembers_the_folder_that_it_was_built_in() {
    let named = concat!("env!(\"CARGO_MANIFEST", "_DIR\")");
    let root = locus_tests::repository();
    let mut seen = 0;
    for folder in ["crates", "services", "tests"] {
        let files = locus_tests::files_below(&root.join(folder)).expect("readable");
        let is_source = |path: &&std::path::PathBuf| path.extension().is_some_and(|extension| extension == "rs");
        for path in files.iter().filter(is_source) {
            let text = std::fs::read_to_string(path).expect("text");
            assert!(!text.contains(named), "{}", path.display());
            seen += 1;
        }
    }
    assert!(seen > 500, "only {seen} files were found");
}

/// Files that the compiler reads for `file`: its modules, and what it includes. `is_root` for a file that modules are beside.
fn files_named_in(file: &Path, is_root: bool) -> Vec<PathBuf> {
    let beside = file.parent().expect("a file is in a folder");
    let below = if is_root || file.ends_with("mod.rs") { beside.to_owned() } else { file.with_extension("") };
    let text = fs::read_to_string(file).expect("text");
    let mut path = None;
    let mut named = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(given) = between(line, "include!(\"", "\")") {
            named.push(beside.join(given));
        } else if let Some(given) = between(line, "#[path = \"", "\"]") {
            path = Some(beside.join(given));
        } else if let Some(name) = module_of(line) {
            let usual = [below.join(format!("{name}.rs")), below.join(name).join("mod.rs")];
            named.extend(path.take().map_or(usual.to_vec(), |given| vec![given]));
        }
    }
    named
}

fn between<'a>(line: &'a str, before: &str, after: &str) -> Option<&'a str> {
    line.strip_prefix(before)?.split_once(after).map(|(given, _)| given)
}

/// The name in `mod name;`, however visible.
fn module_of(line: &str) -> Option<&str> {
    let (visibility, name) = line.strip_suffix(';')?.rsplit_once("mod ")?;
    let is_declared = visibility.is_empty() || (visibility.starts_with("pub") && visibility.ends_with(' '));
    is_declared.then_some(name)
}

/// A file that no module names is not compiled: it looks like code and is none.
#[test]
fn every_source_file_is_part_of_a_program_or_test() {
    let root = locus_tests::repository();
    let mut waiting: Vec<(PathBuf, bool)> = Vec::new();
    for package in metadata() {
        let targets = package["targets"].as_array().expect("a list").clone();
        waiting.extend(targets.iter().map(|target| (target["src_path"].as_str().expect("a path").into(), true)));
    }
    let mut compiled = BTreeSet::new();
    while let Some((file, is_root)) = waiting.pop() {
        let Ok(file) = file.canonicalize() else { continue };
        if compiled.insert(file.clone()) {
            waiting.extend(files_named_in(&file, is_root).into_iter().map(|named| (named, false)));
        }
    }
    for folder in ["crates", "services", "tests"] {
        let files =
            locus_tests::files_below(&root.join(folder).canonicalize().expect("it is there")).expect("readable");
        let is_source = |path: &&PathBuf| path.extension().is_some_and(|extension| extension == "rs");
        let forgotten: Vec<_> = files.iter().filter(is_source).filter(|path| !compiled.contains(*path)).collect();
        assert!(forgotten.is_empty(), "no module names {forgotten:#?}");
    }
    assert!(compiled.len() > 500, "only {} files were found", compiled.len());
}

#[test]
fn a_module_is_found_however_visible() {
    assert_eq!(module_of("mod kept;"), Some("kept"));
    assert_eq!(module_of("pub(crate) mod kept;"), Some("kept"));
    assert_eq!(module_of("// see mod kept;"), None);
    assert_eq!(module_of("mod kept {"), None);
}
