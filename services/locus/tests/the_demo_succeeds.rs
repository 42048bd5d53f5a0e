//! The demo, as a newcomer runs it.

mod support;

use serde_json::Value;
use support::{run, text};

#[test]
fn every_claim_of_the_demo_holds() {
    let dir = tempfile::tempdir().expect("a folder");
    let keep = dir.path().join("kept");
    let output = run(&["demo", "--json", "--keep", keep.to_str().expect("utf-8")]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(told["ok"], true);
    let figures = &told["figures"];
    assert_eq!(figures["people"], 2504);
    assert!(figures["variants"].as_u64().is_some_and(|variants| variants >= 4096));
    assert_eq!(figures["open"]["people"], 2505);
    assert_eq!(figures["exact"]["people"], 2504);
    assert_eq!(figures["exact"]["variants"], figures["variants"]);
    assert_eq!(figures["exact"]["differing"], 0);
    assert_eq!(figures["disclosed"]["claim"], "carries");
    assert_eq!(figures["erased"]["receipts"], 3);
    assert_eq!(figures["erased"]["objects_after"], 0);
    assert_eq!(figures["people_after_erasure"], 2504);
    assert_eq!(figures["proven_cohort"]["people"], 120);
    assert!(keep.join("researcher/exact.tsv").is_file());
    // A folder with something in it is left alone.
    let again = run(&["demo", "--keep", keep.to_str().expect("utf-8")]);
    assert_eq!(again.status.code(), Some(2));
}
