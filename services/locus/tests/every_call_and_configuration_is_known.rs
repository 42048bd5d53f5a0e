//! Nothing is forgotten: every call of the public contract has an access rule, and every configuration that is
//! written down parses.

use locus_service::{Access, AccessTable, Role};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use std::{collections::BTreeSet, fs, path::Path};

const TABLES: [AccessTable; 4] =
    [locus_archive::ACCESS, locus_exchange::ACCESS, locus_aggregator::ACCESS, locus_keyholder::ACCESS];

#[test]
fn every_call_of_the_contract_has_an_access_rule_and_no_rule_is_left_over() {
    let set = FileDescriptorSet::decode(locus_wire::DESCRIPTOR_SET).expect("it is committed");
    let mut called = BTreeSet::new();
    // The access table of the cluster is in its own crate, which is not built with the others, and checked there.
    for file in set.file.iter().filter(|file| file.package() != "locus.engine.v1") {
        for service in &file.service {
            for method in &service.method {
                called.insert(format!("{}.{}/{}", file.package(), service.name(), method.name()));
            }
        }
    }
    let ruled: Vec<String> = TABLES
        .iter()
        .flat_map(|table| table.methods.iter().map(|(method, _)| format!("{}/{method}", table.service)))
        .collect();
    assert_eq!(ruled.iter().cloned().collect::<BTreeSet<_>>(), called);
    assert_eq!(ruled.len(), called.len(), "no call has two rules");
}

#[test]
fn only_the_calls_that_reveal_nothing_or_are_signed_are_open_at_keyholders() {
    let open: Vec<&str> = locus_keyholder::ACCESS
        .methods
        .iter()
        .filter(|(_, access)| *access == Access::Anyone)
        .map(|(method, _)| *method)
        .collect();
    assert_eq!(open, ["GetKeyholder", "GetStatement"]);
    let settle = locus_exchange::ACCESS.methods.iter().find(|(method, _)| *method == "SettleOrder");
    assert_eq!(settle.map(|(_, access)| *access), Some(Access::Only(&[Role::Aggregator])));
}

/// The `service.toml` of each ConfigMap in a manifest, by the map's name.
fn service_files(manifest: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for document in manifest.split("\n---\n") {
        let name = document.lines().find_map(|line| line.strip_prefix("  name: ")).expect("a name").to_owned();
        let (_, text) = document.split_once("  service.toml: |\n").expect("a configuration");
        let lines: Vec<&str> = text.lines().map(|line| line.strip_prefix("    ").unwrap_or(line)).collect();
        found.push((name, lines.join("\n")));
    }
    found
}

#[test]
fn the_configurations_of_the_manifests_parse() {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo names it");
    let path = Path::new(&package).join("../../deploy/k8s/config.yaml");
    let files = service_files(&fs::read_to_string(path).expect("it is there"));
    assert_eq!(files.len(), 4);
    for (service, text) in files {
        let parsed = match service.as_str() {
            "keyholder" => toml::from_str::<locus_keyholder::KeyholderConfig>(&text).map(drop),
            "exchange" => toml::from_str::<locus_exchange::ExchangeConfig>(&text).map(drop),
            "archive" => toml::from_str::<locus_archive::ArchiveConfig>(&text).map(drop),
            "aggregator" => toml::from_str::<locus_aggregator::AggregatorConfig>(&text).map(drop),
            other => panic!("there is no service {other}"),
        };
        parsed.unwrap_or_else(|error| panic!("{service}: {error}\n{text}"));
    }
}
