//! A cluster of one scheduler and one executor that has one processor: what a processor of a cluster sums, and what a question costs
//! besides.

use crate::{
    report::figure,
    row::{Bench, Goal, Measured, Row},
    synthetic::Summing,
    timing::fastest,
};
use anyhow::{Context as _, Result, bail, ensure};
use locus_aggregator::Cluster;
use locus_engine::{BodySummer as _, PartRows, RowBits, SumJob};
use locus_service::Connector;
use locus_store::{BODY_BYTES, BODY_WORDS};
use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

pub(crate) const ROW: Row = Row { id: "ballista_core", unit: "G genotypes/s", goal: Goal::AtLeast(0.8), measure };

const DATASETS: u32 = 2504;
const BLOCKS: u32 = 24;
/// Columns of the smaller question: what the larger one takes longer is reading alone.
const FEW: usize = 8;
const RUNS: usize = 15;
/// Processors of a larger cluster, for which the break-even is stated.
const PROCESSORS: f64 = 16.0;

fn measure(bench: &mut Bench) -> Result<Measured> {
    let folder = bench.folder("ballista-core")?;
    let store = Summing::fill(&folder.join("objects"), DATASETS, BLOCKS)?;
    let binary = bench.locus.with_file_name("locus-cluster");
    if !binary.is_file() {
        bail!("there is no {}: cargo build --release --workspace --bin locus-cluster", binary.display());
    }
    let processes = start(&binary, &folder)?;
    let address = Connector::Url(format!("http://127.0.0.1:{}", processes.port));
    let _inside = store.runtime.enter();
    let cluster = Cluster::connect(&address, Duration::from_secs(60))?;
    let ask = |job: &SumJob| store.runtime.block_on(cluster.sum(job));
    let job = all_rows(&store)?;
    let sums = ask(&job)?;
    let expected = store.sum(store.manifest.held())?;
    ensure!(sums.iter().zip(&expected).all(|(found, sum)| found.words == sum[..]), "the cluster sums something else");
    let seconds = fastest(RUNS, || ask(&job).map(drop).map_err(Into::into))?;
    let mut one_row = job.clone();
    one_row.columns.truncate(1);
    one_row.parts.truncate(1);
    one_row.parts[0].rows = RowBits::NONE;
    one_row.parts[0].rows.insert(0);
    let overhead = fastest(RUNS, || ask(&one_row).map(drop).map_err(Into::into))?;
    let mut few = job.clone();
    few.columns.truncate(FEW);
    let seconds_of_few = fastest(RUNS, || ask(&few).map(drop).map_err(Into::into))?;
    let bodies = f64::from(DATASETS) * f64::from(BLOCKS);
    let more = f64::from(DATASETS) * (job.columns.len() - FEW) as f64;
    let rate = more * BODY_BYTES as f64 / (seconds - seconds_of_few);
    let alone = locals(&store)?;
    // Overhead and reading there take as long as reading here.
    let break_even = overhead / (1.0 / alone - 1.0 / (PROCESSORS * rate));
    let note = format!(
        "{} GB/s between questions of {FEW} and {BLOCKS} columns, which takes {} s for {} GB of Parquet; the same bits as the engine \
         alone, which reads {} GB/s with all processors of this machine; a question about one row takes {} ms; with {PROCESSORS} such processors a cluster is faster from {} GB on",
        figure(rate / 1e9),
        figure(seconds),
        figure(bodies * BODY_BYTES as f64 / 1e9),
        figure(alone / 1e9),
        figure(overhead * 1e3),
        figure(break_even / 1e9),
    );
    let words = BODY_BYTES as f64 / BODY_WORDS as f64;
    Ok(Measured { value: rate / words / 1e9, peer: None, peer_value: None, note })
}

/// Bytes that the engine reads in a second by itself.
fn locals(store: &Summing) -> Result<f64> {
    let half: Vec<u32> = (0..DATASETS).filter(|slot| slot % 1024 < 512 && slot + 512 < DATASETS).collect();
    let bytes = half.len() as f64 * f64::from(BLOCKS) * BODY_BYTES as f64;
    let half = locus_store::SlotSet::try_from_iter(half)?;
    Ok(bytes / fastest(RUNS, || store.sum(&half).map(drop))?)
}

/// Every row of every part: more than an engine ever asks for, because whole parts have stored sums.
fn all_rows(store: &Summing) -> Result<SumJob> {
    let mut parts = Vec::new();
    for part in store.manifest.parts() {
        let reader = store.runtime.block_on(store.panel.open(part))?;
        let mut rows = RowBits::NONE;
        (0..reader.row_count()).filter_map(|position| reader.row_number(position)).for_each(|row| rows.insert(row));
        parts.push(PartRows { name: part.name(), object_bytes: reader.object_bytes(), rows, subtracted: false });
    }
    Ok(SumJob { panel: store.panel.panel(), columns: store.panel.shape().columns().collect(), parts })
}

/// The processes of a cluster; they end when dropped.
struct Processes {
    port: u16,
    children: Vec<Child>,
}

impl Drop for Processes {
    fn drop(&mut self) {
        for child in &mut self.children {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn start(binary: &Path, folder: &Path) -> Result<Processes> {
    let [port, inner, executor] = [free_port()?, free_port()?, free_port()?];
    let path = |name: &str| folder.join(name).display().to_string();
    let storage = format!("[storage]\nstore_url = '{}'\nscratch_url = '{}'\n", path("objects"), path("scratch"));
    let scheduler = format!("listen = '127.0.0.1:{port}'\ncluster_listen = '127.0.0.1:{inner}'\ntasks = 2\n{storage}");
    let executor = format!(
        "host = '127.0.0.1'\nport = {executor}\nscheduler_host = '127.0.0.1'\nscheduler_port = {inner}\nprocessors = 1\n\
         work_dir = '{}'\n{storage}",
        path("work"),
    );
    let mut processes = Processes { port, children: Vec::new() };
    for (kind, config) in [("scheduler", scheduler), ("executor", executor)] {
        let file: PathBuf = folder.join(format!("{kind}.toml"));
        fs::write(&file, config)?;
        let log = fs::File::create(folder.join(format!("{kind}.log")))?;
        let mut command = Command::new(binary);
        command.arg(kind).arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        processes.children.push(command.spawn().context("the cluster does not start")?);
    }
    Ok(processes)
}

/// A free port whose neighbour is free as well.
fn free_port() -> Result<u16> {
    loop {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        if port < u16::MAX && TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            return Ok(port);
        }
    }
}
