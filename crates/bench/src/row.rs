//! A row of the table, and what rows share.

use crate::{cohort::CohortFiles, market::BenchMarket, peers::Peers};
use anyhow::Result;
use serde::Serialize;
use std::path::PathBuf;
use tempfile::TempDir;

/// How a row's figure is judged.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// The value is at most this.
    AtMost(f64),
    /// The value is at least this.
    AtLeast(f64),
    /// The value is at least this share of the peer's.
    RatioAtLeast(f64),
    /// The value is at most this many times the peer's.
    RatioAtMost(f64),
    /// None: the value is stated.
    None,
}

/// One row.
pub(crate) struct Row {
    /// Name, for `--only`.
    pub(crate) id: &'static str,
    /// Unit of value and peer value.
    pub(crate) unit: &'static str,
    /// What is wanted.
    pub(crate) goal: Goal,
    /// Measures.
    pub(crate) measure: fn(&mut Bench) -> Result<Measured>,
}

/// What a row measured.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    pub(crate) value: f64,
    /// What it is compared with, or why there is nothing.
    pub(crate) peer: Option<String>,
    pub(crate) peer_value: Option<f64>,
    /// Data and further figures.
    pub(crate) note: String,
}

/// A row as printed.
#[derive(Debug, Serialize)]
pub(crate) struct RowResult {
    pub(crate) id: &'static str,
    pub(crate) value: Option<f64>,
    pub(crate) unit: &'static str,
    pub(crate) peer: Option<String>,
    pub(crate) peer_value: Option<f64>,
    pub(crate) ratio: Option<f64>,
    pub(crate) goal: String,
    pub(crate) met: Option<bool>,
    pub(crate) note: String,
    pub(crate) command: String,
}

impl Row {
    /// Measures the row; a failure becomes its note.
    pub(crate) fn run(&self, bench: &mut Bench) -> RowResult {
        let command = format!("cargo xtask bench --only {}", self.id);
        let (id, unit, goal) = (self.id, self.unit, self.goal.to_string());
        match (self.measure)(bench) {
            Ok(measured) => {
                let ratio = measured.peer_value.map(|peer| measured.value / peer);
                let met = match self.goal {
                    Goal::AtMost(limit) => Some(measured.value <= limit),
                    Goal::AtLeast(limit) => Some(measured.value >= limit),
                    Goal::RatioAtLeast(limit) => ratio.map(|ratio| ratio >= limit),
                    Goal::RatioAtMost(limit) => ratio.map(|ratio| ratio <= limit),
                    Goal::None => None,
                };
                let Measured { value, peer, peer_value, note } = measured;
                RowResult { id, value: Some(value), unit, peer, peer_value, ratio, goal, met, note, command }
            }
            Err(error) => RowResult {
                id,
                value: None,
                unit,
                peer: None,
                peer_value: None,
                ratio: None,
                goal,
                met: None,
                note: format!("failed: {error:#}"),
                command,
            },
        }
    }
}

impl RowResult {
    pub(crate) fn failed(&self) -> bool {
        self.value.is_none()
    }
}

impl std::fmt::Display for Goal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtMost(limit) => write!(f, "<= {limit}"),
            Self::AtLeast(limit) => write!(f, ">= {limit}"),
            Self::RatioAtLeast(limit) => write!(f, "ratio >= {limit}"),
            Self::RatioAtMost(limit) => write!(f, "ratio <= {limit}"),
            Self::None => write!(f, "none"),
        }
    }
}

/// What rows share in one run.
pub(crate) struct Bench {
    /// The `locus` binary.
    pub(crate) locus: PathBuf,
    /// Programs to compare with.
    pub(crate) peers: Peers,
    /// The cohort on disk.
    pub(crate) cohort: CohortFiles,
    root: PathBuf,
    work: PathBuf,
    scratch: TempDir,
    market: Option<BenchMarket>,
    proven_market: Option<BenchMarket>,
}

impl Bench {
    pub(crate) fn new(locus: PathBuf, work: PathBuf, root: PathBuf) -> Result<Self> {
        let scratch = tempfile::Builder::new().prefix("bench-").tempdir_in(&work)?;
        let cohort = CohortFiles::find(&root, &work)?;
        let peers = Peers::new(work.clone());
        Ok(Self { locus, peers, cohort, root, work, scratch, market: None, proven_market: None })
    }

    /// The command-line program of snarkjs, where the tests have installed it.
    pub(crate) fn snarkjs(&self) -> Option<PathBuf> {
        self.root.join("crates/proofs/interop/node_modules/snarkjs/build/cli.cjs").canonicalize().ok()
    }

    /// A fresh folder that goes with this run.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.scratch.path().join(name);
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// Gives everybody in the market made-up attributes, once.
    pub(crate) fn add_attributes(&mut self) -> Result<()> {
        let people = self.cohort.sample_names()?;
        self.market()?.add_attributes(&people)
    }

    /// A running market in which the cohort is enrolled; started by the first row that needs it.
    pub(crate) fn market(&mut self) -> Result<&mut BenchMarket> {
        if self.market.is_none() {
            let folder = self.folder("market")?;
            self.market = Some(BenchMarket::start(&self.locus, &folder, &self.cohort, &[])?);
        }
        self.market.as_mut().ok_or_else(|| anyhow::anyhow!("the market is not there"))
    }

    /// A market that settles on proven cohorts, in which the cohort is enrolled. Keys of the proofs are made once and kept
    /// between runs.
    pub(crate) fn proven_market(&mut self) -> Result<&mut BenchMarket> {
        if self.proven_market.is_none() {
            let (folder, keys) = (self.folder("proven-market")?, self.work.join("proof-keys").display().to_string());
            let options = ["--proven-cohorts", "--proof-keys", &keys];
            self.proven_market = Some(BenchMarket::start(&self.locus, &folder, &self.cohort, &options)?);
        }
        self.proven_market.as_mut().ok_or_else(|| anyhow::anyhow!("the market is not there"))
    }
}
