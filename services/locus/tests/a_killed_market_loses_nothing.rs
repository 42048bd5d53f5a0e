//! `kill -9` of a market at many moments of enrolments, queries and settlements, and what must hold
//! when it is up again: everything that was promised is there, nothing is paid twice, no privacy
//! budget comes back.
//!
//! Moments are counted in changes of the market's files, so that they fall between the steps of the
//! protocol however fast the machine is.

mod support;

use serde_json::{Value, json};
use std::fs;
use support::{Cohort, Market, User, after_changes, finished, table};

const PEOPLE: usize = 120;
const VARIANTS: usize = 40;
/// Price of one person in one answer.
const PRICE: u128 = 1;

struct Scene {
    dir: tempfile::TempDir,
    biobank: User,
    researcher: User,
    cohort: Cohort,
    panel: String,
    accreditor: String,
}

fn scene() -> Scene {
    let dir = tempfile::tempdir().expect("a folder");
    let biobank = User::new(&dir.path().join("biobank"), &["--accreditor"]);
    let researcher = User::new(&dir.path().join("researcher"), &[]);
    let accreditor = format!("{}=Biobank", biobank.accreditor());
    let cohort = Cohort::write(&dir.path().join("genomes"), PEOPLE, VARIANTS);
    let panel = biobank.path("p.panel");
    Scene { dir, biobank, researcher, cohort, panel, accreditor }
}

impl Scene {
    fn up(&self) -> Market {
        Market::up(&self.dir.path().join("market"), &["--accreditor", &self.accreditor])
    }

    fn build_panel(&self, market: &Market) {
        let prefix = self.cohort.prefix();
        let words = ["panel", "build", "--name", "p", "--assembly", "GRCh38", "--plink", prefix, "--out", &self.panel];
        self.biobank.does(market, &words);
    }

    fn enroll_words(&self) -> Vec<&str> {
        let source = ["enroll", "--plink", self.cohort.prefix(), "--panel", &self.panel, "--biobank"];
        [&source[..], &["--price", "1", "--terms", "GRU", "--tier", "open"]].concat()
    }

    /// Kills a market after `changes` of its files while `user` runs a command; `None` when the
    /// command was faster.
    fn kill_during(&self, market: Market, user: &User, words: &[&str], changes: usize) -> Option<String> {
        let mut child = user.starts(&market, words);
        let was_running = after_changes(&self.dir.path().join("market"), changes, &mut child);
        market.kill();
        let (succeeded, said) = finished(child);
        assert!(was_running || succeeded, "{said}");
        (was_running && !succeeded).then_some(said)
    }
}

#[test]
fn an_enrolment_that_is_cut_off_is_completed_and_never_doubled() {
    let scene = scene();
    let market = scene.up();
    scene.build_panel(&market);
    market.kill();
    let mut cut_off = 0;
    for changes in [1, 2, 4, 7, 11, 16, 24, 36, 54, 80, 120] {
        match scene.kill_during(scene.up(), &scene.biobank, &scene.enroll_words(), changes) {
            Some(_) => cut_off += 1,
            None => break,
        }
    }
    assert!(cut_off >= 3, "only {cut_off} enrolments were cut off");

    let market = scene.up();
    let enrolled = scene.biobank.does(&market, &scene.enroll_words());
    assert_eq!(enrolled["registrations"][0]["registration"], 1);
    let offers = scene.researcher.does(&market, &["offers"]);
    assert_eq!(offers.as_array().map(Vec::len), Some(1), "{offers}");
    assert_eq!(offers[0]["dataset_count"], PEOPLE);
    // The ciphertexts are whole: a noisy answer opens, and its check slots hold.
    scene.researcher.does(&market, &["fund", "1000"]);
    let out = scene.researcher.path("counts.tsv");
    let question = ["--panel", "p", "--purpose", "GRU", "--tier", "open", "--rho", "0.01"];
    let buy = [&["query", "counts"], &question[..], &["--max-price", "120", "--out", &out]].concat();
    assert_eq!(scene.researcher.does(&market, &buy)["cohort_size"], PEOPLE);
    assert_eq!(table(&out).len(), VARIANTS);
}

fn tokens(value: &Value) -> u128 {
    value.as_str().expect("an amount").parse().expect("whole tokens")
}

/// Privacy loss of the first person, in billionths: the strictest that any keyholder reports.
fn spent(scene: &Scene, market: &Market) -> u64 {
    let statement = scene.biobank.does(market, &["statement", "--registration", "1"]);
    let text = statement["rho_spent_lifetime"].as_str().expect("a number").to_owned();
    let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
    format!("{whole}{part:0<9}").parse().expect("a number")
}

#[test]
fn orders_are_answered_once_paid_once_and_charged_once() {
    let scene = scene();
    let market = scene.up();
    scene.build_panel(&market);
    scene.biobank.does(&market, &scene.enroll_words());
    scene.researcher.does(&market, &["fund", "100000"]);
    market.kill();

    let mut before = 0;
    let mut cut_off = 0;
    for round in 1..=12 {
        // Every round asks something else, so that every answer is a charge of its own.
        let variant = format!("1:{}:A:G", 1000 * round);
        let out = scene.researcher.path(&format!("round{round}.tsv"));
        let question = ["--panel", "p", "--variants", &variant, "--purpose", "GRU", "--tier", "open", "--rho", "0.001"];
        let buy = [&["query", "counts"], &question[..], &["--max-price", "150", "--out", &out]].concat();
        let was_cut_off = scene.kill_during(scene.up(), &scene.researcher, &buy, round).is_some();
        cut_off += usize::from(was_cut_off);
        let market = scene.up();
        let now = spent(&scene, &market);
        assert!(now >= before, "round {round}: the privacy loss fell from {before} to {now}");
        before = now;
        market.kill();
    }
    assert!(cut_off >= 4, "only {cut_off} orders were cut off");

    let market = scene.up();
    let orders = scene.researcher.does(&market, &["orders"]);
    let on_chain: Vec<&Value> =
        orders.as_array().expect("a list").iter().filter(|order| order["state"] != "not on the chain").collect();
    assert!(!on_chain.is_empty());
    for (number, order) in on_chain.iter().enumerate() {
        let id = order["order"].as_str().expect("an order");
        let first = scene.researcher.path(&format!("first{number}.tsv"));
        let second = scene.researcher.path(&format!("second{number}.tsv"));
        for out in [&first, &second] {
            scene.researcher.does(&market, &["query", "fetch", id, "--panel", "p", "--out", out]);
        }
        let rows = fs::read(&first).expect("a table");
        assert_eq!(rows, fs::read(&second).expect("a table"), "the same answer every time");
    }
    let answered = on_chain.len() as u128;

    // Money: every order paid once, to the biobank, also when claims are cut off.
    let researcher = scene.researcher.does(&market, &["balance"]);
    assert_eq!(tokens(&researcher["balance"]), 100_000 - answered * PRICE * PEOPLE as u128);
    market.kill();
    for changes in 1..=3 {
        scene.kill_during(scene.up(), &scene.biobank, &["claim"], changes);
    }
    let market = scene.up();
    scene.biobank.does(&market, &["claim"]);
    let biobank = scene.biobank.does(&market, &["balance"]);
    assert_eq!(tokens(&biobank["balance"]), answered * PRICE * PEOPLE as u128);
    assert_eq!(tokens(&biobank["claimable"]), 0);

    // Privacy: one charge for every answer, and every use stated once. Keyholders may have differed while orders were
    // cut off between them; now that all are answered they agree.
    let statement = scene.biobank.does(&market, &["statement", "--registration", "1"]);
    assert_eq!(statement["differences"], json!([]), "the keyholders agree");
    let mut used: Vec<&str> =
        statement["uses"].as_array().expect("a list").iter().filter_map(|used| used["order"].as_str()).collect();
    let mut expected: Vec<&str> = on_chain.iter().filter_map(|order| order["order"].as_str()).collect();
    used.sort_unstable();
    expected.sort_unstable();
    assert_eq!(used, expected);
    let flooding = 120;
    assert_eq!(u128::from(spent(&scene, &market)), answered * (1_000_000 + flooding));
}
