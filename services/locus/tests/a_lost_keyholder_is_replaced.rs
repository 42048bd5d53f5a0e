//! A keyholder's host burns down. The other two hand over to its successor, and the market goes on as before: same counts,
//! same budgets, nobody enrols again. Whoever has the seeds of the burnt one is left behind by new keys for everybody.

mod support;

use serde_json::{Value, json};
use std::fs;
use support::{
    Cohort, User,
    hosts::{Hosts, Service},
    run, table, text, until,
};

const PEOPLE: usize = 240;
const VARIANTS: usize = 20;
/// Place of keyholder 2 among the services.
const LOST: usize = 1;
const QUESTION: [&str; 8] = ["--panel", "p", "--purpose", "GRU", "--tier", "open", "--rho", "0.01"];

struct Scene {
    hosts: Hosts,
    biobank: User,
    researcher: User,
}

impl Scene {
    /// Counts of everybody.
    fn counts(&self, name: &str) -> (Value, Vec<(String, i64, i64)>) {
        let out = self.researcher.path(name);
        let buy = [&["query", "counts"], &QUESTION[..], &["--max-price", "240", "--out", &out]].concat();
        (self.researcher.does(&self.hosts, &buy), table(&out))
    }

    /// Counts of those who answered one way, which the keyholders compute on shares.
    fn smokers(&self, predicate: &str, options: &[&str]) -> Value {
        let out = self.researcher.path("smokers.tsv");
        let cohort = ["query", "cohort", "--where", predicate, "--max-price", "240", "--out", &out];
        let one = ["--variants", "1:1000:A:G"];
        self.researcher.does(&self.hosts, &[&cohort[..], &QUESTION[..], &one, options].concat())
    }

    fn add_attributes(&self) {
        let (schema, file) = (self.biobank.path("attributes.json"), self.biobank.path("attributes.tsv"));
        let flag = json!({ "name": "apart", "version": "1", "attributes": [{ "kind": "flag", "name": "smoker" }] });
        fs::write(&schema, flag.to_string()).expect("written");
        let answer = |person: usize| if person.is_multiple_of(24) { "no" } else { "yes" };
        let lines: String = (0..PEOPLE).map(|person| format!("P{person}\t{}\n", answer(person))).collect();
        fs::write(&file, format!("person\tsmoker\n{lines}")).expect("written");
        self.biobank.does(&self.hosts, &["attributes", "add", "--from", &file, "--schema", &schema]);
    }

    /// What all three keyholders have in their books about the first person; they must agree.
    fn statement(&self) -> Value {
        let statement = self.biobank.does(&self.hosts, &["statement", "--registration", "1"]);
        assert_eq!((&statement["differences"], &statement["unreachable"]), (&json!([]), &json!([])));
        statement
    }

    fn enroll(&self) {
        let cohort = Cohort::write(&self.hosts.dir.join("genomes"), PEOPLE, VARIANTS);
        let panel = self.biobank.path("p.panel");
        let plink = ["--plink", cohort.prefix()];
        let build = ["panel", "build", "--name", "p", "--assembly", "GRCh38", "--out", &panel];
        self.biobank.does(&self.hosts, &[&build[..], &plink].concat());
        let terms = ["--panel", &panel, "--biobank", "--price", "1", "--terms", "GRU", "--tier", "open"];
        self.biobank.does(&self.hosts, &[&["enroll"], &plink[..], &terms].concat());
    }

    /// Fresh keys for keyholder 2 on an empty disk, named on the chain.
    fn name_successor(&self) -> String {
        let (data, public) = (self.hosts.path("keyholder-2"), self.hosts.path("successor-2.json"));
        fs::rename(&data, self.hosts.path("burnt")).expect("moved");
        let made = self.hosts.keyholder(&[
            "init",
            "--index",
            "2",
            "--data-dir",
            &data,
            "--public",
            &public,
            "--kek-file",
            &self.hosts.path("kek"),
        ]);
        assert!(made.status.success(), "{}", text(&made.stderr));
        let refused = self.hand_over(1, &public);
        assert!(text(&refused.stderr).contains("the chain has other keys"), "{}", text(&refused.stderr));
        let chain = self.as_admin();
        let chain: Vec<&str> = chain.iter().map(String::as_str).collect();
        let named = run(&[&["committee", "replace", "--json", &public], &chain[..]].concat());
        assert!(named.status.success(), "{}", text(&named.stderr));
        public
    }

    /// What commands of the admin are told.
    fn as_admin(&self) -> [String; 6] {
        let (deployment, admin) = (self.hosts.path("deployment.json"), self.hosts.path("operator.key"));
        let rpc = self.hosts.anvil.url.clone();
        ["--rpc".into(), rpc, "--deployment".into(), deployment, "--operator-key".into(), admin]
    }

    /// New keys for all datasets.
    fn rekey(&self) -> Value {
        let admin = self.hosts.path("operator.key");
        self.biobank.does(&self.hosts, &["committee", "rekey", "--generation", "1", "--operator-key", &admin])
    }

    /// Which wrapping keys a keyholder has: one, of a number that grows with every destruction of seeds.
    fn wrapping_keys(&self, keyholder: u8) -> Vec<String> {
        let folder = self.hosts.path(&format!("keyholder-{keyholder}"));
        let names = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
        let names = names.map(|name| name.to_string_lossy().into_owned());
        names.filter(|name| name.starts_with("wrapping-key.")).collect()
    }

    fn hand_over(&self, keyholder: u8, public: &str) -> std::process::Output {
        let (config, out) = (self.hosts.config(&format!("keyholder-{keyholder}")), self.given(keyholder));
        self.hosts.keyholder(&["hand-over", &config, "--to", public, "--out", &out])
    }

    fn given(&self, keyholder: u8) -> String {
        self.hosts.path(&format!("hand-over-{keyholder}"))
    }

    fn take_over(&self, from: [u8; 2]) -> std::process::Output {
        let [first, second] = from.map(|keyholder| self.given(keyholder));
        let config = self.hosts.config("keyholder-2");
        self.hosts.keyholder(&["take-over", &config, "--from", &first, "--from", &second])
    }

    /// The others stop one after the other and hand over, the successor takes over, and all three run again.
    fn succeed(&self, services: &mut Vec<Service>, public: &str) {
        let running = self.hand_over(1, public);
        assert!(text(&running.stderr).contains("stop it"), "{}", text(&running.stderr));
        for (place, keyholder) in [(0, 1), (LOST, 3)] {
            let (code, log) = services.remove(place).terminate();
            assert_eq!(code, Some(0), "{log}");
            let given = self.hand_over(keyholder, public);
            assert!(given.status.success(), "{}", text(&given.stderr));
            assert!(text(&given.stdout).contains(&format!("{PEOPLE} datasets")), "{}", text(&given.stdout));
            services.insert(place, self.hosts.start(&format!("keyholder-{keyholder}")));
        }
        let twice = self.take_over([1, 1]);
        assert!(text(&twice.stderr).contains("keyholders 1 and 1"), "{}", text(&twice.stderr));
        let taken = self.take_over([3, 1]);
        assert!(taken.status.success(), "{}", text(&taken.stderr));
        assert!(text(&taken.stdout).contains(&format!("{PEOPLE} datasets")), "{}", text(&taken.stdout));
        assert!(!self.take_over([3, 1]).status.success(), "it has taken over already");
        services.insert(LOST, self.hosts.start("keyholder-2"));
        until("a successor that is ready", || self.hosts.observe("keyholder-2", "/readyz").starts_with("HTTP/1.1 200"));
    }
}

#[test]
fn a_successor_answers_as_the_lost_keyholder_did() {
    let dir = tempfile::tempdir().expect("a folder");
    let biobank = User::new(&dir.path().join("biobank"), &["--accreditor"]);
    let researcher = User::new(&dir.path().join("researcher"), &[]);
    let Some(hosts) = Hosts::prepare(&dir.path().join("hosts"), &biobank, &[]) else { return };
    let scene = Scene { hosts, biobank, researcher };
    let mut services = scene.hosts.start_all();
    scene.enroll();
    scene.add_attributes();
    scene.researcher.does(&scene.hosts, &["fund", "10000"]);
    let (bought, counts) = scene.counts("before.tsv");
    assert_eq!((&bought["cohort_size"], &bought["signed_by"]), (&json!(PEOPLE), &json!([1, 2, 3])));
    let before = scene.statement();

    services.remove(LOST).kill();
    let public = scene.name_successor();
    scene.succeed(&mut services, &public);

    // Nobody is given another committee unasked: people forget the old one when the operators have announced the change.
    let told = scene.researcher.tries(&scene.hosts, &[&["quote"], &QUESTION[..]].concat());
    assert!(text(&told.stderr).contains("committee differs from the one remembered"), "{}", text(&told.stderr));
    for user in [&scene.researcher, &scene.biobank] {
        fs::remove_file(user.home.join("network.bin")).expect("removed");
    }

    // The same question costs nobody anything and has the same noise, although another keyholder takes part.
    let (bought, again) = scene.counts("after.tsv");
    assert_eq!((&bought["cohort_size"], &bought["signed_by"]), (&json!(PEOPLE), &json!([1, 2, 3])));
    assert_eq!(bought["degraded"], json!(false));
    assert_eq!(again, counts);
    let after = scene.statement();
    assert_eq!(after["budget"], before["budget"]);
    assert_eq!(after["uses"].as_array().map(Vec::len), Some(2), "both uses are told");

    // Plain filters go on; share 3 is one keyholder's word now, so authenticated ones wait for its owners.
    let selected = scene.smokers("smoker", &[]);
    assert_eq!((&selected["cohort_size"], &selected["signed_by"]), (&json!(PEOPLE), &json!([1, 2, 3])));
    let matched = selected["selections"][0]["matched"].as_i64().expect("a number");
    assert!((matched - 230).abs() < 140, "{matched} of 230 match, ten standard deviations off");
    let out = scene.researcher.path("authenticated.tsv");
    let cohort = ["query", "cohort", "--where", "smoker", "--authenticated", "--max-price", "240", "--out", &out];
    let words = [&cohort[..], &QUESTION[..], &["--variants", "1:2000:A:G"]].concat();
    let refused = scene.researcher.tries(&scene.hosts, &words);
    assert!(!refused.status.success(), "{}", text(&refused.stdout));
    scene.add_attributes();
    scene.researcher.does(&scene.hosts, &words);

    // New keys, made by the successor and the others: everything goes on, and the old seeds are nowhere but in the burnt folder.
    let old_keys: Vec<_> = (1..=3).map(|keyholder| scene.wrapping_keys(keyholder)).collect();
    let rekeyed = scene.rekey();
    assert_eq!(rekeyed, json!({ "rekeyed": [{ "registration": 1, "generation": 1, "datasets": PEOPLE }] }));
    assert_eq!(scene.rekey(), json!({ "rekeyed": [] }), "they have the generation that was ordered");
    let (bought, _) = scene.counts("rekeyed.tsv");
    assert_eq!((&bought["cohort_size"], &bought["signed_by"]), (&json!(PEOPLE), &json!([1, 2, 3])));
    let selected = scene.smokers("smoker", &["--authenticated"]);
    let matched = selected["selections"][0]["matched"].as_i64().expect("a number");
    assert!((matched - 230).abs() < 140, "{matched} of 230 match, ten standard deviations off");
    for (keyholder, before) in (1..=3).zip(&old_keys) {
        let is_new = || scene.wrapping_keys(keyholder).len() == 1 && scene.wrapping_keys(keyholder) != *before;
        until("old seeds that are destroyed", is_new);
    }

    // The burnt keyholder, found again, is nobody.
    fs::rename(scene.hosts.path("keyholder-2"), scene.hosts.path("successor")).expect("moved");
    services.remove(LOST).kill();
    fs::rename(scene.hosts.path("burnt"), scene.hosts.path("keyholder-2")).expect("moved");
    let old = scene.hosts.keyholder(&[&scene.hosts.config("keyholder-2")]);
    assert!(text(&old.stderr).contains("are not those of the market's keyholder 2"), "{}", text(&old.stderr));
}
