//! The product as its users run it: `locus up` in a process of its own, and the command line.

use crate::{cohort::CohortFiles, peers::output, timing::seconds};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// How often the memory of a command is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What is known of people in filtered questions.
const SCHEMA: &str = r#"{"name": "bench", "version": "1", "attributes": [
    {"kind": "category", "name": "site", "values": ["north", "south"]}, {"kind": "term", "term": "HP:0000819"}
]}"#;

/// A running market with an enrolled cohort. The process ends with this value.
pub(crate) struct BenchMarket {
    locus: PathBuf,
    folder: PathBuf,
    process: Child,
    endpoint: String,
    keyholders: String,
    has_attributes: bool,
    /// Seconds that enrolling the cohort took.
    pub(crate) enrol_seconds: f64,
    /// Most memory of the market before enrolment, in MiB.
    pub(crate) idle_rss_mib: f64,
    /// Most memory of the command that enrolled, in MiB.
    pub(crate) client_rss_mib: f64,
}

impl BenchMarket {
    /// Starts a market in `folder`, by `locus up` with these options, enrols the cohort and funds a researcher.
    pub(crate) fn start(locus: &Path, folder: &Path, cohort: &CohortFiles, options: &[&str]) -> Result<Self> {
        let mut biobank = user(locus, &folder.join("biobank"));
        let keys = json(&output(biobank.args(["keys", "new", "--accreditor"]))?)?;
        let accreditor = keys["accreditor"].as_str().context("keys have an accreditor")?.to_owned();
        output(user(locus, &folder.join("researcher")).args(["keys", "new"]))?;
        let mut process = Command::new(locus)
            .args(["up", "--json", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(folder.join("market"))
            .args(["--accreditor", &format!("{accreditor}=biobank")])
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("locus cannot be started")?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().context("piped")?).read_line(&mut line)?;
        let told = json(&line)?;
        let keyholders = told["keyholders"].as_array().context("a list of keyholders")?.iter();
        let mut market = Self {
            locus: locus.to_path_buf(),
            folder: folder.to_path_buf(),
            endpoint: told["endpoint"].as_str().context("an endpoint")?.to_owned(),
            keyholders: keyholders.filter_map(Value::as_str).collect::<Vec<_>>().join(","),
            idle_rss_mib: most_memory_mib(process.id())?,
            process,
            has_attributes: false,
            enrol_seconds: 0.0,
            client_rss_mib: 0.0,
        };
        market.enrol(cohort)?;
        market.run("researcher", &["fund", "1000000"])?;
        Ok(market)
    }

    fn enrol(&mut self, cohort: &CohortFiles) -> Result<()> {
        let (prefix, panel) = (cohort.prefix.display().to_string(), self.path("bench.panel"));
        let build = ["panel", "build", "--name", "bench", "--assembly", "GRCh37", "--plink", &prefix, "--out", &panel];
        self.run("biobank", &build)?;
        let mut enrol = self.command("biobank");
        enrol.args([
            "enroll",
            "--biobank",
            "--plink",
            &prefix,
            "--panel",
            &panel,
            "--price",
            "0.01",
            "--filtered-price",
            "0.01",
        ]);
        enrol.args(["--terms", "GRU", "--tier", "open,exact"]);
        let log = self.path("enrol.log");
        enrol.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&log)?);
        let (seconds, (status, memory)) = seconds(|| {
            let mut running = enrol.spawn()?;
            let mut memory = 0.0;
            loop {
                // A process that has ended has no memory to tell of.
                memory = most_memory_mib(running.id()).unwrap_or(memory);
                match running.try_wait()? {
                    Some(status) => return Ok((status, memory)),
                    None => std::thread::sleep(LOOK_AGAIN),
                }
            }
        })?;
        ensure!(status.success(), "enrolment ended with {status}: {}", fs::read_to_string(&log)?.trim());
        (self.enrol_seconds, self.client_rss_mib) = (seconds, memory);
        Ok(())
    }

    /// Gives these people, all of the enrolled cohort, made-up attributes: a site and a diagnosis.
    pub(crate) fn add_attributes(&mut self, people: &[String]) -> Result<()> {
        if self.has_attributes {
            return Ok(());
        }
        let (schema, table) = (self.path("attributes.json"), self.path("attributes.tsv"));
        fs::write(&schema, SCHEMA)?;
        let mut text = String::from("person\tsite\tHP:0000819\n");
        for (number, person) in people.iter().enumerate() {
            let site = if number % 2 == 0 { "north" } else { "south" };
            let diagnosis = if number % 3 == 0 { "yes" } else { "no" };
            text += &format!("{person}\t{site}\t{diagnosis}\n");
        }
        fs::write(&table, text)?;
        self.run("biobank", &["attributes", "add", "--from", &table, "--schema", &schema])?;
        self.has_attributes = true;
        Ok(())
    }

    /// A file beside the market.
    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// Runs a command of `user` that must succeed.
    pub(crate) fn run(&self, user: &str, words: &[&str]) -> Result<Value> {
        json(&output(self.command(user).args(words))?)
    }

    fn command(&self, name: &str) -> Command {
        let mut command = user(&self.locus, &self.folder.join(name));
        command.args(["--endpoint", &self.endpoint, "--keyholders", &self.keyholders]);
        command
    }

    /// Most memory that the market's process has had, in MiB.
    pub(crate) fn rss_mib(&self) -> Result<f64> {
        most_memory_mib(self.process.id())
    }

    /// Memory that the market's process has now, in MiB.
    pub(crate) fn rss_now_mib(&self) -> Result<f64> {
        memory_mib(self.process.id(), "VmRSS:")
    }

    /// Address of archive, exchange and query service.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }
}

impl Drop for BenchMarket {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn user(locus: &Path, home: &Path) -> Command {
    let mut command = Command::new(locus);
    command.env_remove("LOCUS_HOME").env_remove("LOCUS_ENDPOINT").env_remove("LOCUS_KEYHOLDERS");
    command.arg("--json").arg("--data-dir").arg(home);
    command
}

fn json(text: &str) -> Result<Value> {
    serde_json::from_str(text).with_context(|| format!("locus printed {text:?}"))
}

fn most_memory_mib(process: u32) -> Result<f64> {
    memory_mib(process, "VmHWM:")
}

/// A line of what Linux tells of a process' memory, in MiB.
fn memory_mib(process: u32, name: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).context("memory is measured on Linux only")?;
    let line = status.lines().find(|line| line.starts_with(name)).with_context(|| format!("no {name}"))?;
    let kib: f64 = line.split_ascii_whitespace().nth(1).with_context(|| format!("no {name}"))?.parse()?;
    Ok(kib / 1024.0)
}

/// Bytes of all files in a folder and below.
pub(crate) fn bytes_below(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { bytes_below(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}
