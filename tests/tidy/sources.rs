//! Source files: what they may not name, and that somebody names them.

use crate::metadata;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// A target folder may be shared by copies of the repository, so where a test was built is not where it runs: it would read the
/// files of another copy, or skip what it does not find.
#[test]
fn no_program_remembers_the_folder_that_it_was_built_in() {
    let named = concat!("env!(\"CARGO_MANIFEST", "_DIR\")");
    let root = locus_tests::repository();
    let mut seen = 0;
    for folder in ["crates", "services", "tests"] {
        let files = locus_tests::files_below(&root.join(folder)).expect("readable");
        let is_source = |path: &&PathBuf| path.extension().is_some_and(|extension| extension == "rs");
        for path in files.iter().filter(is_source) {
            let text = fs::read_to_string(path).expect("text");
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
