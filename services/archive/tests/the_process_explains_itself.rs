//! The archive as a process of its own, before it starts.

use std::process::{Command, Output};

fn run(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_locus-archive")).args(words).output().expect("it starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn help_names_the_configuration_and_its_check() {
    let help = run(&["--help"]);
    assert!(help.status.success());
    let said = text(&help.stdout);
    assert!(said.contains("CONFIG") && said.contains("--check-config") && said.contains("LOCUS_"), "{said}");
}

#[test]
fn a_configuration_that_cannot_be_used_is_explained_key_by_key() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("archive.toml");
    let example = include_str!("../config.example.toml").replace("data/", &format!("{}/", dir.path().display()));
    std::fs::write(&path, example.replace("127.0.0.1:7", "192.0.2.1:7")).expect("written");
    let checked = run(&[path.to_str().expect("utf-8"), "--check-config"]);
    assert_eq!(checked.status.code(), Some(2));
    let said = text(&checked.stdout);
    assert!(said.contains("front: 192.0.2.1") && said.contains("without TLS"), "{said}");
    assert!(said.contains("deployment_file:"), "{said}");
    let missing = run(&["/nowhere.toml"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(text(&missing.stderr).contains("/nowhere.toml"), "{}", text(&missing.stderr));
}
