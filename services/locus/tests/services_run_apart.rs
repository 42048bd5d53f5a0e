//! A market whose services are separate processes on a real chain node, with TLS between them, used through
//! the command line.

mod support;

use serde_json::json;
use std::fs;
use support::{Cohort, User, hosts::Hosts, table, text};

const PEOPLE: usize = 240;
const VARIANTS: usize = 20;

/// Texts that no log, metric or probe may show: keys, genotype counts of the answer, names of people.
fn assert_tells_nothing(what: &str, said: &str, secrets: &[String]) {
    for secret in secrets {
        assert!(!said.contains(secret), "{what} shows {secret}");
    }
}

#[test]
fn a_market_of_separate_processes_enrols_answers_pays_revokes_and_erases() {
    let dir = tempfile::tempdir().expect("a folder");
    let biobank = User::new(&dir.path().join("biobank"), &["--accreditor"]);
    let researcher = User::new(&dir.path().join("researcher"), &[]);
    let Some(hosts) = Hosts::prepare(&dir.path().join("hosts"), &biobank, &[]) else { return };
    the_deployment_refuses_what_is_not_for_real_networks(&hosts);
    the_configurations_are_checked(&hosts);

    let mut services = hosts.start_all();
    let cohort = Cohort::write(&dir.path().join("genomes"), PEOPLE, VARIANTS);
    let panel = biobank.path("p.panel");
    let build = ["panel", "build", "--name", "p", "--assembly", "GRCh38", "--plink", cohort.prefix(), "--out", &panel];
    biobank.does(&hosts, &build);
    let enroll =
        ["enroll", "--plink", cohort.prefix(), "--panel", &panel, "--biobank", "--price", "1", "--terms", "GRU"];
    let enrolled = biobank.does(&hosts, &[&enroll[..], &["--tier", "open"]].concat());
    assert_eq!(enrolled["registrations"][0]["dataset_count"], PEOPLE);

    // Noise keys were agreed while people enrolled.
    for service in ["keyholder-1", "keyholder-2", "keyholder-3", "archive", "exchange", "aggregator"] {
        let ready = hosts.observe(service, "/readyz");
        assert!(ready.starts_with("HTTP/1.1 200"), "{service}: {ready}");
    }
    researcher.does(&hosts, &["fund", "1000"]);
    let out = researcher.path("counts.tsv");
    let question = ["--panel", "p", "--purpose", "GRU", "--tier", "open", "--rho", "0.01"];
    let quote = researcher.does(&hosts, &[&["quote"], &question[..]].concat());
    assert_eq!(quote["cohort_size"], PEOPLE);
    let buy = [&["query", "counts"], &question[..], &["--max-price", "240", "--out", &out]].concat();
    let bought = researcher.does(&hosts, &buy);
    assert_eq!((&bought["cohort_size"], &bought["signed_by"]), (&json!(PEOPLE), &json!([1, 2, 3])));
    assert_eq!(table(&out).len(), VARIANTS);

    let books = hosts.path("keyholder-2/audit.log");
    let noted = hosts.audit(&books, None);
    assert!(noted.status.success(), "{}", text(&noted.stderr));

    // A keyholder that is killed comes back with its books.
    let killed = services.remove(1).kill();
    services.insert(1, hosts.start("keyholder-2"));
    let statement = biobank.does(&hosts, &["statement", "--registration", "1"]);
    assert_eq!(statement["uses"].as_array().map(Vec::len), Some(1));
    assert_eq!((&statement["differences"], &statement["unreachable"]), (&json!([]), &json!([])));
    assert_eq!(biobank.does(&hosts, &["claim"])["paid"], PEOPLE.to_string());

    payouts_are_checked_on_a_node(&hosts, &biobank, &bought);

    people_are_selected_by_attributes(&hosts, &biobank, &researcher);
    biobank.does(&hosts, &["revoke", "--registration", "1", "--sample", "P3"]);
    let erased = biobank.does(&hosts, &["erase", "--registration", "1", "--sample", "P7"]);
    assert_eq!(erased["receipts_of_keyholders"], json!([1, 2, 3]));
    let fewer = researcher.does(&hosts, &[&["quote"], &question[..]].concat());
    assert_eq!(fewer["cohort_size"], PEOPLE - 2);

    the_audit_log_holds(&hosts, &books, text(&noted.stdout).trim());
    let answered = hosts.observe("aggregator", "/metrics");
    assert!(answered.contains(r#"locus_aggregator_calls_total{code="Ok",method="AnswerQuery"} 2"#), "{answered}");
    let (cut, logs) = the_processes_end_in_order(services);
    let secrets = secrets_of(&hosts, &biobank, &out);
    for (what, said) in [("a killed keyholder", &killed), ("a log", &logs), ("a metric", &answered)] {
        assert_tells_nothing(what, said, &secrets);
    }
    assert!(cut.is_empty(), "{cut:?}");
    one_request_has_one_id_in_all_logs(&logs);
}

/// A contributor, and an auditor without keys, check what was earned on a chain node of their choice.
fn payouts_are_checked_on_a_node(hosts: &Hosts, biobank: &User, bought: &serde_json::Value) {
    let order = bought["order"].as_str().expect("an order");
    let checked = biobank.does(hosts, &["verify", "payout", "--rpc", &hosts.anvil.url, "--order", order]);
    let price = PEOPLE.to_string();
    assert_eq!(checked["payees_from"], json!({ "cohort": 1, "roots": 0, "unknown": 0 }));
    let account = &checked["account"];
    assert_eq!(
        (&account["earned"], &account["claimed"], &account["claimable"]),
        (&json!(price), &json!(price), &json!("0"))
    );
    assert_eq!((&account["payments"][0]["order"], &account["payments"][0]["amount"]), (&json!(order), &json!(price)));
    assert_eq!(checked["order"]["payees"], json!([{ "account": account["account"], "amount": price }]));

    let auditor = User { home: hosts.dir.join("auditor") };
    let deployment = hosts.path("deployment.json");
    let seen = auditor.does(hosts, &["verify", "payout", "--rpc", &hosts.anvil.url, "--deployment", &deployment]);
    assert_eq!((&seen["verified"], &seen["account"], &seen["settled"]), (&json!(true), &json!(null), &json!(price)));
    assert_eq!(seen["payout_root"], checked["payout_root"]);
}

/// Keyholders that are processes of their own evaluate a filter on attributes that none of them can read.
fn people_are_selected_by_attributes(hosts: &Hosts, biobank: &User, researcher: &User) {
    let (schema, table) = (biobank.path("attributes.json"), biobank.path("attributes.tsv"));
    let flag = json!({ "name": "apart", "version": "1", "attributes": [{ "kind": "flag", "name": "smoker" }] });
    fs::write(&schema, flag.to_string()).expect("written");
    let answer = |person: usize| if person.is_multiple_of(24) { "no" } else { "yes" };
    let lines: String = (0..PEOPLE).map(|person| format!("P{person}\t{}\n", answer(person))).collect();
    fs::write(&table, format!("person\tsmoker\n{lines}")).expect("written");
    biobank.does(hosts, &["attributes", "add", "--from", &table, "--schema", &schema]);

    // One variant, so that the noise (sigma 14) leaves most people above the floor.
    let out = researcher.path("smokers.tsv");
    let terms = ["--panel", "p", "--variants", "1:1000:A:G", "--purpose", "GRU", "--tier", "open", "--rho", "0.01"];
    let cohort = ["query", "cohort", "--where", "smoker", "--max-price", "240", "--out", &out];
    let bought = researcher.does(hosts, &[&cohort[..], &terms[..]].concat());
    assert_eq!((&bought["cohort_size"], &bought["signed_by"]), (&json!(PEOPLE), &json!([1, 2, 3])));
    let matched = bought["selections"][0]["matched"].as_i64().expect("a number");
    assert!((matched - 230).abs() < 140, "{matched} of 230 match, ten standard deviations off");
}

/// What was noted is still part of the record, every answer and erasure is in it, and a changed copy is noticed.
fn the_audit_log_holds(hosts: &Hosts, books: &str, noted: &str) {
    let verified = hosts.audit(books, Some(noted));
    assert!(verified.status.success(), "{}", text(&verified.stderr));
    assert_ne!(text(&verified.stdout).trim(), noted, "it has grown");
    let entries = fs::read_to_string(books).expect("text");
    for event in ["batch_attested", "answer_committed", "answer_released", "statement_given", "seeds_erased"] {
        assert!(entries.contains(event), "{event} is missing in {entries}");
    }
    let changed = hosts.path("changed.log");
    fs::write(&changed, entries.replacen("answer_committed", "answer_prepared_", 1)).expect("written");
    assert!(!hosts.audit(&changed, None).status.success());
}

fn the_deployment_refuses_what_is_not_for_real_networks(hosts: &Hosts) {
    let again = hosts.deploy(&["--test-network"]);
    assert!(text(&again.stderr).contains("exists"), "{}", text(&again.stderr));
    let token = hosts.deployment()["token"].as_str().expect("an address").to_owned();
    let registry = hosts.deployment()["registry"].as_str().expect("an address").to_owned();
    let kept = hosts.dir.join("kept.json");
    fs::rename(hosts.dir.join("deployment.json"), &kept).expect("moved");
    for (options, reason) in [
        (vec![], "--token"),
        (vec!["--token", &token], "test token"),
        (vec!["--token", &registry], "no ERC-20"),
        (vec!["--token", &token, "--cohort-size-min", "99"], "--test-network"),
        (vec!["--token", &token, "--exact-batch-min", "500"], "--test-network"),
    ] {
        let refused = hosts.deploy(&options);
        assert!(!refused.status.success(), "{options:?}");
        assert!(text(&refused.stderr).contains(reason), "{options:?}: {}", text(&refused.stderr));
        assert!(!hosts.dir.join("deployment.json").exists());
    }
    fs::rename(&kept, hosts.dir.join("deployment.json")).expect("moved");
}

fn the_configurations_are_checked(hosts: &Hosts) {
    for service in ["keyholder-2", "archive", "exchange", "aggregator"] {
        let checked = hosts.check(service, &[]);
        assert!(checked.status.success(), "{service}: {}", text(&checked.stdout));
    }
    let wrong = [
        ("LOCUS_KEYHOLDER_CHAIN_URL", "ftp://nowhere"),
        ("LOCUS_KEYHOLDER_DATA_DIR", "/proc/none"),
        ("LOCUS_KEYHOLDER_DEPLOYMENT_FILE", "/none.json"),
        ("LOCUS_KEYHOLDER_PEERS__3", "http://plain:1"),
        ("LOCUS_KEYHOLDER_INDEX", "1"),
    ];
    let checked = hosts.check("keyholder-2", &wrong);
    assert_eq!(checked.status.code(), Some(2));
    let said = text(&checked.stdout);
    for key in ["chain_url:", "data_dir:", "deployment_file:", "peers:", "front:"] {
        assert!(said.contains(key), "{key} is missing in {said}");
    }
    let unknown = hosts.check("archive", &[("LOCUS_ARCHIVE_STORE_URI", "x")]);
    assert!(text(&unknown.stderr).contains("store_uri"), "{}", text(&unknown.stderr));
}

/// Ends every service as a host that shuts down would. Services that did not end well, and all logs.
fn the_processes_end_in_order(services: Vec<support::hosts::Service>) -> (Vec<String>, String) {
    let mut bad = Vec::new();
    let mut logs = String::new();
    for service in services.into_iter().rev() {
        let (code, log) = service.terminate();
        if code != Some(0) || !log.contains("\"stopping\"") {
            bad.push(format!("{code:?}: {log}"));
        }
        logs += &log;
    }
    (bad, logs)
}

/// Keys, counts and names that must have stayed where they were.
fn secrets_of(hosts: &Hosts, biobank: &User, out: &str) -> Vec<String> {
    let mut secrets = vec!["P3".to_owned() + "\"", "P7\"".to_owned()];
    for keyholder in ["keyholder-1", "keyholder-2", "keyholder-3"] {
        for file in ["committee.key", "sealing.key"] {
            let key = fs::read(hosts.dir.join(keyholder).join(file)).expect("a key");
            assert_eq!(key.len(), 60, "it is wrapped");
            secrets.push(hex(&key[12..44]));
        }
    }
    for file in ["operator.key", "kek"] {
        secrets.push(fs::read_to_string(hosts.dir.join(file)).expect("a key"));
    }
    // Three counts in a row, as a list would be printed: single numbers are in every log.
    let rows = table(out);
    for three in rows.windows(3) {
        let list = |count: fn(&(String, i64, i64)) -> i64| three.iter().map(move |row| count(row).to_string());
        secrets.push(list(|row| row.1).collect::<Vec<_>>().join(", "));
        secrets.push(list(|row| row.2).collect::<Vec<_>>().join(", "));
    }
    assert!(fs::read_dir(&biobank.home).expect("a folder").count() > 0);
    secrets
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The id that the aggregator gave a request is in the keyholders' logs too.
fn one_request_has_one_id_in_all_logs(logs: &str) {
    let id_of = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        let span = value["spans"].as_array()?.iter().find(|span| span["name"] == "call")?.clone();
        Some((span["method"].as_str()?.to_owned(), span["request_id"].as_str()?.to_owned()))
    };
    let calls: Vec<(String, String)> = logs.lines().filter_map(id_of).collect();
    let of = |method: &str| calls.iter().filter(|(name, _)| name == method).map(|(_, id)| id).collect::<Vec<_>>();
    let answers = of("AnswerQuery");
    let commits = of("CommitAnswer");
    assert!(!answers.is_empty() && !commits.is_empty(), "{} calls were logged", calls.len());
    assert!(commits.iter().all(|id| answers.contains(id)), "{answers:?} and {commits:?}");
}
