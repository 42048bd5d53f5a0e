//! The `locus` binary as tests use it: users with folders of their own, markets that can be killed,
//! and small synthetic cohorts whose counts are known.

#![allow(dead_code, unreachable_pub, reason = "each test file is a crate of its own and uses a part of it")]

pub mod gate;
pub mod hosts;

use serde_json::Value;
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant, SystemTime},
};

/// Longest that anything a test waits for may take.
pub const PATIENCE: Duration = Duration::from_secs(120);

fn locus() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_locus"));
    command.env_remove("LOCUS_HOME").env_remove("LOCUS_ENDPOINT").env_remove("LOCUS_KEYHOLDERS");
    command
}

/// A market that commands can be sent to.
pub trait Reach {
    /// Options that name its services.
    fn options(&self) -> Vec<String>;
}

impl Reach for Market {
    fn options(&self) -> Vec<String> {
        ["--endpoint", &self.endpoint, "--keyholders", &self.keyholders].map(str::to_owned).to_vec()
    }
}

/// Runs `locus` with these words.
pub fn run(words: &[&str]) -> Output {
    locus().args(words).output().expect("the binary starts")
}

/// A running `locus up`.
pub struct Market {
    child: Child,
    pub endpoint: String,
    pub keyholders: String,
    pub registry: String,
}

impl Market {
    /// Starts a market in `folder` on free ports and waits until it can be reached.
    pub fn up(folder: &Path, options: &[&str]) -> Self {
        let mut child = locus()
            .args(["up", "--json", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(folder)
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the binary starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("readable");
        let told: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let keyholders: Vec<String> = told["keyholders"].as_array().expect("a list").iter().map(text).collect();
        Self {
            child,
            endpoint: text(&told["endpoint"]),
            keyholders: keyholders.join(","),
            registry: text(&told["registry"]),
        }
    }

    /// Ends the process at once, as a power cut would.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ended");
    }

    /// Asks the process to end and returns its exit code.
    pub fn terminate(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
        self.child.wait().expect("it ended").code()
    }
}

impl Drop for Market {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Someone with a folder of their own.
pub struct User {
    pub home: PathBuf,
}

impl User {
    /// Makes keys; `options` go to `keys new`.
    pub fn new(home: &Path, options: &[&str]) -> Self {
        let user = Self { home: home.to_path_buf() };
        let output = user.command(None).args(["keys", "new"]).args(options).output().expect("the binary starts");
        assert!(output.status.success(), "{}", text(&output.stderr));
        user
    }

    fn command(&self, market: Option<&dyn Reach>) -> Command {
        let mut command = locus();
        command.arg("--json").arg("--data-dir").arg(&self.home);
        if let Some(market) = market {
            command.args(market.options());
        }
        command
    }

    /// Runs a command that must succeed; its JSON result.
    pub fn does(&self, market: &dyn Reach, words: &[&str]) -> Value {
        let output = self.tries(market, words);
        assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// Runs a command that must fail with `code`; what it says.
    pub fn fails(&self, market: &dyn Reach, words: &[&str], code: i32) -> String {
        let output = self.tries(market, words);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        assert!(output.stdout.is_empty(), "{words:?} prints a result");
        said
    }

    /// Runs a command.
    pub fn tries(&self, market: &dyn Reach, words: &[&str]) -> Output {
        self.command(Some(market)).args(words).output().expect("the binary starts")
    }

    /// Starts a command beside the test.
    pub fn starts(&self, market: &dyn Reach, words: &[&str]) -> Child {
        let mut command = self.command(Some(market));
        command.args(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts")
    }

    /// Runs a command without a market.
    pub fn alone(&self, words: &[&str]) -> Output {
        self.command(None).args(words).output().expect("the binary starts")
    }

    /// The account.
    pub fn account(&self) -> String {
        let shown = self.alone(&["keys", "show"]);
        let shown: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
        shown["account"].as_str().expect("an account").to_owned()
    }

    /// The accreditor's account.
    pub fn accreditor(&self) -> String {
        let shown = self.alone(&["keys", "show"]);
        let shown: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
        shown["accreditor"].as_str().expect("an accreditor").to_owned()
    }

    /// A path in the user's folder, as text.
    pub fn path(&self, name: &str) -> String {
        self.home.join(name).to_str().expect("utf-8").to_owned()
    }
}

/// What a command started beside the test writes to its standard error until it ends.
fn errors_of(child: &mut Child) -> String {
    let mut said = String::new();
    if let Some(stderr) = child.stderr.as_mut() {
        stderr.read_to_string(&mut said).expect("utf-8");
    }
    said
}

/// Waits for a command started beside the test.
pub fn finished(mut child: Child) -> (bool, String) {
    let said = errors_of(&mut child);
    let status = child.wait().expect("it ended");
    (status.success(), said)
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A synthetic cohort: PLINK files and the counts that they must give.
pub struct Cohort {
    pub prefix: PathBuf,
    pub people: usize,
    /// Het and hom alt of each variant.
    pub counts: Vec<(i64, i64)>,
}

impl Cohort {
    /// Writes `people` x `variants` genotypes that follow from a counter, without missing calls.
    pub fn write(folder: &Path, people: usize, variants: usize) -> Self {
        fs::create_dir_all(folder).expect("a folder");
        let prefix = folder.join("cohort");
        let row = people.div_ceil(4);
        let mut bed = vec![0x6c, 0x1b, 0x01];
        let mut bim = String::new();
        let mut counts = Vec::new();
        for variant in 0..variants {
            let mut bytes = vec![0u8; row];
            let (mut het, mut hom_alt) = (0, 0);
            for person in 0..people {
                let code = Self::genotype_code(person, variant);
                het += i64::from(code == 0b10);
                hom_alt += i64::from(code == 0b00);
                bytes[person / 4] |= code << (2 * (person % 4));
            }
            bed.extend(bytes);
            let position = 1_000 * (variant + 1);
            bim += &format!("1\t1:{position}:A:G\t0\t{position}\tG\tA\n");
            counts.push((het, hom_alt));
        }
        let fam: String = (0..people).map(|person| format!("P{person} P{person} 0 0 0 -9\n")).collect();
        fs::write(prefix.with_extension("bed"), bed).expect("written");
        fs::write(prefix.with_extension("bim"), bim).expect("written");
        fs::write(prefix.with_extension("fam"), fam).expect("written");
        Self { prefix, people, counts }
    }

    /// A genotype as PLINK writes it: 0 is hom alt, 2 het.
    pub fn genotype_code(person: usize, variant: usize) -> u8 {
        // Multiplicative hashing spreads the genotypes.
        let mixed = (person as u64 * 2_654_435_761 + variant as u64 * 40_503) % 1_009;
        match mixed % 7 {
            0 => 0b00,
            1 | 2 => 0b10,
            _ => 0b11,
        }
    }

    pub fn prefix(&self) -> &str {
        self.prefix.to_str().expect("utf-8")
    }
}

/// Rows of a table of counts: id, het, hom alt.
pub fn table(path: &str) -> Vec<(String, i64, i64)> {
    let content = fs::read_to_string(path).expect("a table");
    let rows = content.lines().skip(1).map(|line| {
        let columns: Vec<&str> = line.split('\t').collect();
        (columns[0].to_owned(), columns[6].parse().expect("het"), columns[7].parse().expect("hom alt"))
    });
    rows.collect()
}

/// Waits until something is so.
pub fn until(what: &str, is_so: impl Fn() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < give_up, "{what}: not seen");
        std::thread::yield_now();
    }
}

/// Sizes and times of the files of a market that change when something happens.
fn fingerprint(market: &Path) -> Vec<(PathBuf, u64, SystemTime)> {
    let mut found = Vec::new();
    let mut folders = vec![market.to_path_buf()];
    while let Some(folder) = folders.pop() {
        // Files come and go meanwhile.
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let (path, Ok(metadata)) = (entry.path(), entry.metadata()) else { continue };
            if metadata.is_dir() {
                folders.push(path);
            } else if let Ok(time) = metadata.modified() {
                found.push((path, metadata.len(), time));
            }
        }
    }
    found.sort();
    found
}

/// Waits until the files of a market have changed `changes` times, or `child` has ended. Returns
/// whether it still runs.
pub fn after_changes(market: &Path, changes: usize, child: &mut Child) -> bool {
    let give_up = Instant::now() + PATIENCE;
    let mut last = fingerprint(market);
    let mut seen = 0;
    while seen < changes {
        if child.try_wait().expect("a child").is_some() {
            return false;
        }
        assert!(Instant::now() < give_up, "only {seen} changes were seen");
        std::thread::yield_now();
        let now = fingerprint(market);
        if now != last {
            seen += 1;
            last = now;
        }
    }
    true
}
