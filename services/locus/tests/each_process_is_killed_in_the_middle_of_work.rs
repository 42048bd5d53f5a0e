//! A market of separate processes on a chain node, each of which is killed once at the worst moment and started again.
//! Whoever was being served goes on or asks again; nobody is charged, paid or registered twice, and every answer is
//! right.
//!
//! Moments are held, not hit by chance: a process that the others wait for is stopped, or a call to the chain node is
//! held at a gate, until the kill.

mod support;

use serde_json::{Value, json};
use std::{collections::BTreeMap, fs};
use support::{
    Cohort, User, finished,
    gate::{Gate, Held},
    hosts::{Hosts, Service},
    table, until,
};

const PEOPLE: usize = 240;
const VARIANTS: usize = 40;
/// Variants of one question; exact answers count at most a tenth of the people.
const ASKED: usize = 10;
const FUNDS: u128 = 100_000;
const SERVICES: [&str; 6] = ["keyholder-1", "keyholder-2", "keyholder-3", "exchange", "archive", "aggregator"];
/// What the aggregator reads when all keyholders have committed to an answer and none has released a part of it:
/// `payoutSequence()`.
const BEFORE_RELEASE: &[&str] = &["eth_call", "23ccf85b"];
/// A settlement that is sent to the node: `settleOrder((bytes32,bytes32,bytes32,uint32,uint96,uint64,bytes32),bytes)`.
const SETTLEMENT: &[&str] = &["eth_sendRawTransaction", "637293a0"];

struct Scene {
    hosts: Hosts,
    running: BTreeMap<&'static str, Service>,
    killed: Vec<&'static str>,
    biobank: User,
    researcher: User,
    cohort: Cohort,
    panel: String,
    /// Between the aggregator and the node.
    before_release: Gate,
    /// Between the exchange and the node.
    settlements: Gate,
    orders: Vec<String>,
}

#[test]
fn a_market_whose_processes_are_killed_in_the_middle_of_work_serves_everybody_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(mut scene) = Scene::prepare(dir.path()) else { return };
    scene.the_archive_dies_while_it_takes_in_people();

    let exact = ["--tier", "exact"];
    scene.an_exact_answer_survives("a keyholder that has committed", 0, |scene| scene.kill("keyholder-2"));
    scene.an_exact_answer_survives("the aggregator between sums and settlement", 1, |scene| scene.kill("aggregator"));
    scene.an_exact_answer_survives("the node", 2, |scene| scene.hosts.anvil.restart());
    let words = scene.question(3, &exact);
    let bought = scene.buy(Point::Submission, &["counts"], &words, |scene| scene.kill("exchange"));
    scene.the_counts_are_right(3, &bought);
    scene.a_filtered_answer_survives_a_keyholder();

    scene.everybody_was_charged_and_paid_once();
    scene.a_keyholder_dies_while_it_erases();
    let mut killed = scene.killed.clone();
    killed.sort_unstable();
    let mut all = SERVICES.to_vec();
    all.sort_unstable();
    assert_eq!(killed, all, "every service was killed once");
}

/// Where a question is held up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Point {
    /// All keyholders have committed, and nothing of the answer has left any.
    Release,
    /// The node has the settlement, and the exchange does not know.
    Submission,
}

impl Scene {
    fn prepare(dir: &std::path::Path) -> Option<Self> {
        let biobank = User::new(&dir.join("biobank"), &["--accreditor"]);
        let researcher = User::new(&dir.join("researcher"), &[]);
        let hosts = Hosts::prepare(&dir.join("hosts"), &biobank, &["--exact-batch-min", "200"])?;
        let (before_release, settlements) = (Gate::to(&hosts.anvil.url), Gate::to(&hosts.anvil.url));
        hosts.reach_chain_at("aggregator", &before_release.url);
        hosts.reach_chain_at("exchange", &settlements.url);
        let running = SERVICES.into_iter().map(|service| (service, hosts.start(service))).collect();
        let cohort = Cohort::write(&dir.join("genomes"), PEOPLE, VARIANTS);
        let panel = biobank.path("p.panel");
        let prefix = cohort.prefix();
        biobank.does(
            &hosts,
            &["panel", "build", "--name", "p", "--assembly", "GRCh38", "--plink", prefix, "--out", &panel],
        );
        let (killed, orders) = (Vec::new(), Vec::new());
        Some(Self { hosts, running, killed, biobank, researcher, cohort, panel, before_release, settlements, orders })
    }

    /// Kills a service and starts it again.
    fn kill(&mut self, name: &'static str) {
        self.running.remove(name).expect("it runs").kill();
        self.running.insert(name, self.hosts.start(name));
        self.killed.push(name);
    }

    fn has_bodies(&self) -> bool {
        let mut folders = vec![self.hosts.dir.join("objects")];
        while let Some(folder) = folders.pop() {
            // Files come and go meanwhile.
            for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "parquet") {
                    return true;
                }
            }
        }
        false
    }

    fn the_archive_dies_while_it_takes_in_people(&mut self) {
        let source = ["enroll", "--plink", self.cohort.prefix(), "--panel", &self.panel, "--biobank", "--price", "1"];
        let words = [&source[..], &["--filtered-price", "1", "--terms", "GRU", "--tier", "open,exact"]].concat();
        // All keyholders must attest before an upload is complete.
        self.running["keyholder-3"].freeze();
        let enrolling = self.biobank.starts(&self.hosts, &words);
        until("bodies of an upload", || self.has_bodies());
        let words: Vec<String> = words.into_iter().map(str::to_owned).collect();
        self.kill("archive");
        self.running["keyholder-3"].thaw();
        finished(enrolling);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let enrolled = self.biobank.does(&self.hosts, &words);
        assert_eq!(enrolled["registrations"].as_array().map(Vec::len), Some(1), "{enrolled}");
        let registration = &enrolled["registrations"][0];
        assert_eq!((&registration["registration"], &registration["dataset_count"]), (&json!(1), &json!(PEOPLE)));
        let offers = self.researcher.does(&self.hosts, &["offers"]);
        assert_eq!(offers.as_array().map(Vec::len), Some(1), "{offers}");
        self.researcher.does(&self.hosts, &["fund", &FUNDS.to_string()]);
    }

    /// The words of question `number`, on variants of its own.
    fn question(&self, number: usize, tier: &[&str]) -> Vec<String> {
        let ids: Vec<String> = asked(number).map(|variant| format!("1:{}:A:G", 1_000 * (variant + 1))).collect();
        let file = self.researcher.path(&format!("variants{number}.txt"));
        fs::write(&file, ids.join("\n") + "\n").expect("written");
        let fixed = ["--panel", "p", "--variants", &file, "--purpose", "GRU", "--max-price", "240"];
        [&fixed[..], tier].concat().into_iter().map(str::to_owned).collect()
    }

    /// Asks a question, does `meanwhile` at a point of its answer, and has the answer fetched, by whoever asked or by
    /// the order's name. Returns what was bought, with the path of its table.
    fn buy(&mut self, at: Point, class: &[&str], question: &[String], meanwhile: impl FnOnce(&mut Self)) -> Value {
        let number = self.orders.len();
        let out = self.researcher.path(&format!("counts{number}.tsv"));
        let question: Vec<&str> = question.iter().map(String::as_str).collect();
        let words = [&["query"], class, &question[..], &["--out", &out]].concat();
        match at {
            Point::Release => self.before_release.close(BEFORE_RELEASE, Held::Call),
            Point::Submission => self.settlements.close(SETTLEMENT, Held::Answer),
        }
        let mut asking = self.researcher.starts(&self.hosts, &words);
        match at {
            Point::Release => self.before_release.wait_until_held(&mut asking),
            Point::Submission => self.settlements.wait_until_held(&mut asking),
        }
        meanwhile(self);
        self.before_release.open();
        self.settlements.open();
        let (has_answer, _) = finished(asking);

        let placed = self.researcher.does(&self.hosts, &["orders"]);
        let placed: Vec<&str> = placed.as_array().expect("a list").iter().filter_map(|o| o["order"].as_str()).collect();
        let mut fresh = placed.into_iter().filter(|order| !self.orders.iter().any(|known| known == order));
        let order = fresh.next().expect("the order is kept").to_owned();
        assert_eq!(fresh.next(), None, "one question is one order");
        let again = self.researcher.path(&format!("again{number}.tsv"));
        let bought = self.researcher.does(&self.hosts, &["query", "fetch", &order, "--panel", "p", "--out", &again]);
        if has_answer {
            assert_eq!(fs::read(&out).expect("a table"), fs::read(&again).expect("a table"), "one answer");
        }
        assert_eq!((&bought["cohort_size"], &bought["signed_by"]), (&json!(PEOPLE), &json!([1, 2, 3])), "{bought}");
        self.orders.push(order);
        bought
    }

    fn an_exact_answer_survives(&mut self, whom: &str, number: usize, meanwhile: impl FnOnce(&mut Self)) {
        eprintln!("an exact answer while somebody dies: {whom}");
        let question = self.question(number, &["--tier", "exact"]);
        let bought = self.buy(Point::Release, &["counts"], &question, meanwhile);
        self.the_counts_are_right(number, &bought);
    }

    fn the_counts_are_right(&self, number: usize, bought: &Value) {
        let counted: Vec<(i64, i64)> =
            table(bought["table"].as_str().expect("a path")).iter().map(|row| (row.1, row.2)).collect();
        let expected: Vec<(i64, i64)> = asked(number).map(|variant| self.cohort.counts[variant]).collect();
        assert_eq!(counted, expected);
    }

    /// A keyholder that dies when it has evaluated a filter loses what it had evaluated: it is evaluated anew.
    fn a_filtered_answer_survives_a_keyholder(&mut self) {
        let (schema, table) = (self.biobank.path("attributes.json"), self.biobank.path("attributes.tsv"));
        let flag = json!({ "name": "killed", "version": "1", "attributes": [{ "kind": "flag", "name": "smoker" }] });
        fs::write(&schema, flag.to_string()).expect("written");
        let answer = |person: usize| if person.is_multiple_of(24) { "no" } else { "yes" };
        let lines: String = (0..PEOPLE).map(|person| format!("P{person}\t{}\n", answer(person))).collect();
        fs::write(&table, format!("person\tsmoker\n{lines}")).expect("written");
        self.biobank.does(&self.hosts, &["attributes", "add", "--from", &table, "--schema", &schema]);
        let terms = ["--panel", "p", "--variants", "1:1000:A:G", "--purpose", "GRU", "--max-price", "240"];
        let question: Vec<String> =
            [&terms[..], &["--tier", "open", "--rho", "0.01"]].concat().into_iter().map(str::to_owned).collect();
        let class = ["cohort", "--where", "smoker"];
        let bought = self.buy(Point::Release, &class, &question, |scene| scene.kill("keyholder-3"));
        let matched = bought["selections"][0]["matched"].as_i64().expect("a number");
        assert!((matched - 230).abs() < 140, "{matched} of 230 match, ten standard deviations off");
    }

    fn everybody_was_charged_and_paid_once(&self) {
        let total = (self.orders.len() * PEOPLE) as u128;
        let balance = self.researcher.does(&self.hosts, &["balance"]);
        assert_eq!(balance["balance"], (FUNDS - total).to_string(), "every order was paid once");
        assert_eq!(self.biobank.does(&self.hosts, &["claim"])["paid"], total.to_string());
        let checked = self.biobank.does(&self.hosts, &["verify", "payout", "--rpc", &self.hosts.anvil.url]);
        assert_eq!((&checked["verified"], &checked["settled"]), (&json!(true), &json!(total.to_string())));

        let statement = self.biobank.does(&self.hosts, &["statement", "--registration", "1"]);
        assert_eq!((&statement["differences"], &statement["unreachable"]), (&json!([]), &json!([])));
        let uses = statement["uses"].as_array().expect("a list");
        let mut used: Vec<&str> = uses.iter().filter_map(|used| used["order"].as_str()).collect();
        let mut bought: Vec<&str> = self.orders.iter().map(String::as_str).collect();
        used.sort_unstable();
        bought.sort_unstable();
        assert_eq!(used, bought, "every order is one use");
        let charges: u64 = uses.iter().map(|used| nano(&used["rho"])).sum();
        assert_eq!(nano(&statement["rho_spent_lifetime"]), charges, "every use is one charge");
        assert!((10_000_000..10_100_000).contains(&charges), "one answer with noise for 0.01, and no other: {charges}");
    }

    fn a_keyholder_dies_while_it_erases(&mut self) {
        self.biobank.does(&self.hosts, &["revoke", "--registration", "1", "--sample", "P3"]);
        let words = ["erase", "--registration", "1", "--sample", "P7"];
        self.running["keyholder-3"].freeze();
        let from = self.running["keyholder-1"].written();
        let erasing = self.biobank.starts(&self.hosts, &words);
        self.running["keyholder-1"].wait_for(from, &["key seeds destroyed"]);
        self.kill("keyholder-1");
        self.running["keyholder-3"].thaw();
        finished(erasing);
        let erased = self.biobank.does(&self.hosts, &words);
        assert_eq!(erased["receipts_of_keyholders"], json!([1, 2, 3]));
        let left = self.question(0, &["--tier", "open", "--rho", "0.01"]);
        let left: Vec<&str> =
            left.iter().map(String::as_str).filter(|word| !["--max-price", "240"].contains(word)).collect();
        let quote = self.researcher.does(&self.hosts, &[&["quote"], &left[..]].concat());
        assert_eq!(quote["cohort_size"], PEOPLE - 2);
    }
}

/// The variants of question `number`.
fn asked(number: usize) -> std::ops::Range<usize> {
    number * ASKED..(number + 1) * ASKED
}

/// A privacy loss in billionths.
fn nano(value: &Value) -> u64 {
    let text = value.as_str().expect("a number");
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{part:0<9}").parse().expect("a number")
}
