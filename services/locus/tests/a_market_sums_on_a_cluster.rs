//! A market of separate processes on an S3 server that asks for patience now and then, whose aggregator has sums computed
//! on a cluster, processes of which are killed while a question needs them.
//!
//! `cargo xtask e2e` runs it: it needs the binary of a crate that is not built with the others.

#[allow(dead_code, reason = "the tests of the store use the rest")]
#[path = "../../../crates/store/tests/common/s3.rs"]
mod s3;
mod support;

use serde_json::json;
use std::{collections::BTreeMap, fs, path::Path, sync::atomic::Ordering};
use support::{
    Cohort, User, finished,
    hosts::{Hosts, Service},
    table, until,
};

const PEOPLE: usize = 240;
const VARIANTS: usize = 40;
/// Variants of one question; exact answers count at most a tenth of the people.
const ASKED: usize = 10;
/// Revoked, so that no sum is that of a whole shard.
const REVOKED: usize = 3;
/// What the aggregator says when the cluster did not answer.
const SUMMED_HERE: &str = "nothing was summed elsewhere";
const CLUSTER: [&str; 3] = ["scheduler", "executor-1", "executor-2"];

struct Scene {
    hosts: Hosts,
    objects: s3::S3Server,
    running: BTreeMap<&'static str, Service>,
    researcher: User,
    questions: usize,
}

impl Scene {
    /// A market with a biobank's people, one of whom has gone, and a cluster.
    fn prepare(dir: &Path) -> Option<Self> {
        let biobank = User::new(&dir.join("biobank"), &["--accreditor"]);
        let researcher = User::new(&dir.join("researcher"), &[]);
        let hosts = Hosts::prepare(&dir.join("hosts"), &biobank, &["--exact-batch-min", "200"])?;
        hosts.add_cluster();
        let objects = s3::S3Server::empty();
        objects.faults.slow_down_every.store(9, Ordering::SeqCst);
        hosts.keep_ciphertexts_at(&format!("s3://{}/market", s3::BUCKET), &objects.options());
        let services = ["keyholder-1", "keyholder-2", "keyholder-3", "exchange", "archive", "aggregator"];
        let running = CLUSTER.into_iter().chain(services).map(|name| (name, hosts.start(name))).collect();
        let cohort = Cohort::write(&dir.join("genomes"), PEOPLE, VARIANTS);
        let (panel, prefix) = (biobank.path("p.panel"), cohort.prefix());
        let build = ["panel", "build", "--name", "p", "--assembly", "GRCh38", "--plink", prefix, "--out", &panel];
        biobank.does(&hosts, &build);
        let enroll = ["enroll", "--plink", prefix, "--panel", &panel, "--biobank", "--price", "1", "--terms", "GRU"];
        biobank.does(&hosts, &[&enroll[..], &["--tier", "exact"]].concat());
        biobank.does(&hosts, &["revoke", "--registration", "1", "--sample", &format!("P{REVOKED}")]);
        researcher.does(&hosts, &["fund", "10000"]);
        Some(Self { hosts, objects, running, researcher, questions: 0 })
    }

    fn start(&mut self, name: &'static str) {
        self.running.insert(name, self.hosts.start(name));
    }

    fn kill(&mut self, name: &'static str) {
        self.running.remove(name).expect("it runs").kill();
    }

    /// Asks for exact counts of variants that were not asked for before, and checks them.
    fn buy(&mut self, meanwhile: impl FnOnce(&mut Self)) {
        let asked = self.questions * ASKED..(self.questions + 1) * ASKED;
        self.questions += 1;
        let ids: Vec<String> = asked.clone().map(|variant| format!("1:{}:A:G", 1_000 * (variant + 1))).collect();
        let file = self.researcher.path(&format!("variants{}.txt", self.questions));
        fs::write(&file, ids.join("\n") + "\n").expect("written");
        let out = self.researcher.path(&format!("counts{}.tsv", self.questions));
        let terms = ["--panel", "p", "--variants", &file, "--purpose", "GRU", "--tier", "exact", "--max-price", "240"];
        let asking =
            self.researcher.starts(&self.hosts, &[&["query", "counts"], &terms[..], &["--out", &out]].concat());
        meanwhile(self);
        let (has_answer, told) = finished(asking);
        assert!(has_answer, "{told}");
        let counted: Vec<(i64, i64)> = table(&out).iter().map(|row| (row.1, row.2)).collect();
        let count = |variant: usize, code: u8| {
            let has = |person: &usize| *person != REVOKED && Cohort::genotype_code(*person, variant) == code;
            i64::try_from((0..PEOPLE).filter(has).count()).expect("small")
        };
        let expected: Vec<(i64, i64)> = asked.map(|variant| (count(variant, 0b10), count(variant, 0b00))).collect();
        assert_eq!(counted, expected);
    }

    /// The same, with `meanwhile` done while the scheduler has the question and no executor goes on.
    fn buy_while_held(&mut self, meanwhile: impl FnOnce(&mut Self)) {
        let executors = ["executor-1", "executor-2"];
        executors.iter().for_each(|name| self.running[name].freeze());
        self.buy(|scene| {
            until("a question at the scheduler", || scene.selections() > 0);
            meanwhile(scene);
            executors.iter().filter_map(|name| scene.running.get(name)).for_each(Service::thaw);
        });
        assert_eq!(self.selections(), 0, "no selection outlives its question");
        assert!(!self.running["aggregator"].says(SUMMED_HERE), "the cluster answered");
    }

    /// What the scheduler keeps of the questions it has.
    fn selections(&self) -> usize {
        fs::read_dir(self.hosts.path("scratch/selections")).map_or(0, Iterator::count)
    }
}

#[test]
#[ignore = "needs the cluster's binary: cargo xtask e2e"]
fn a_market_is_served_by_a_cluster_whose_processes_are_killed() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut scene = Scene::prepare(dir.path()).expect("a chain node");
    // Whoever reads a row first hashes it: the aggregator itself.
    scene.buy(|_| {});
    scene.buy_while_held(|_| {});
    scene.buy_while_held(|scene| scene.kill("executor-1"));
    scene.start("executor-1");
    scene.buy_while_held(|scene| {
        scene.kill("scheduler");
        scene.start("scheduler");
    });
    let refused = scene.objects.faults.refused();
    assert!(refused > 5, "the control: {refused} requests to the S3 server were refused");
    assert!(!Path::new(&scene.hosts.path("objects")).exists(), "nothing is kept elsewhere");
    let statement = scene.researcher.does(&scene.hosts, &["orders"]);
    assert_eq!(statement.as_array().map(Vec::len), Some(scene.questions), "{statement}");
    let answered = scene.hosts.observe("aggregator", "/metrics");
    let answers = json!(scene.questions);
    let counted = format!(r#"locus_aggregator_calls_total{{code="Ok",method="AnswerQuery"}} {answers}"#);
    assert!(answered.contains(&counted), "{answered}");
}
