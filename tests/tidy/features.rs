//! A build of the programs and a build of the tests share every package.

use crate::cargo;
use std::collections::{BTreeMap, BTreeSet};

/// With which features each package is built for these `edges`: what is for a build script or a macro may have others than what
/// is linked.
fn features(edges: &str, more: &[&str]) -> BTreeMap<String, BTreeSet<String>> {
    let arguments = ["tree", "--prefix", "none", "--format", "{p}|{f}", "--edges", edges];
    let printed = cargo(&[&arguments[..], more].concat());
    let mut features: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in printed.lines().filter_map(|line| line.trim_end_matches(" (*)").split_once('|')) {
        features.entry(line.0.to_owned()).or_default().insert(line.1.to_owned());
    }
    features
}

/// Packages of the first that the second builds in another way.
fn built_twice<'a>(
    first: &'a BTreeMap<String, BTreeSet<String>>,
    second: &BTreeMap<String, BTreeSet<String>>,
) -> Vec<&'a String> {
    let differs = |(package, features): &(&String, &BTreeSet<String>)| {
        second.get(*package).is_some_and(|others| others != *features)
    };
    first.iter().filter(differs).map(|(package, _)| package).collect()
}

/// One dependency of the tests that switches a feature on makes everything above that package be built again.
#[test]
fn tests_switch_on_no_feature_that_programs_are_built_without() {
    let programs = features("normal", &[]);
    assert!(programs.len() > 300, "only {} packages were found", programs.len());
    assert_eq!(built_twice(&programs, &features("normal,dev", &[])), Vec::<&String>::new());
    // Control: on its own a package is built in another way, for nobody else asks for more.
    assert!(!built_twice(&features("normal", &["--package", "locus-commitment"]), &programs).is_empty());
}
