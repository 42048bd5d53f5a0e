//! Scheduler and executors as processes of their own: the same bits as the engine's own kernel, also while they are killed.
//!
//! `cargo xtask e2e` runs it: it needs the binary of a crate that is not built with the others.

use locus_aggregator::Cluster;
use locus_commitment::DatasetBodyDigest;
use locus_engine::{BodySummer, BodySummerError, Engine, RowTags, SumJob, TagKey};
use locus_genomics::PanelDigest;
use locus_service::Connector;
use locus_store::{BodySum, Column, PanelShape, PanelStore, SlotSet, conformance::SyntheticBatch, open_store};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Names the binary of the cluster.
const BINARY: &str = "LOCUS_CLUSTER";
/// Longest wait for a sum that others are killed under.
const WAIT: Duration = Duration::from_secs(120);
/// A batch in shards 0 and 1, of which shard 0 is compacted, and one in shard 3.
const BATCHES: [(SyntheticBatch, u32); 2] =
    [(SyntheticBatch { seed: 1, rows: 1400 }, 100), (SyntheticBatch { seed: 2, rows: 90 }, 3100)];

/// A process that does not outlive the test.
struct Process(Child);

impl Process {
    fn start(kind: &str, config: &Path, log: &Path) -> Self {
        let log = fs::File::create(log).expect("a log file");
        let binary = std::env::var_os(BINARY).expect("the binary is named: cargo xtask e2e does it");
        let command = Command::new(binary)
            .args([kind.as_ref(), config.as_os_str()])
            .env("LOCUS_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        Self(command.expect("it starts"))
    }

    /// As when the machine loses power.
    fn kill(&mut self) {
        self.0.kill().expect("it runs");
        self.0.wait().expect("it ends");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have been killed by the test.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Counts what is asked.
#[derive(Debug)]
struct Counted {
    cluster: Cluster,
    answered: AtomicUsize,
}

#[tonic::async_trait]
impl BodySummer for Counted {
    async fn sum(&self, job: &SumJob) -> Result<Vec<Box<BodySum>>, BodySummerError> {
        let sums = self.cluster.sum(job).await?;
        self.answered.fetch_add(1, Ordering::Relaxed);
        Ok(sums)
    }
}

struct World {
    folder: TempDir,
    ports: [u16; 6],
    scheduler: Option<Process>,
    executors: [Option<Process>; 2],
    panel: PanelStore,
    registered: BTreeMap<u32, DatasetBodyDigest>,
    /// Sums by itself.
    alone: Engine,
    /// Has the cluster sum.
    together: Engine,
    counted: Arc<Counted>,
}

fn shape() -> PanelShape {
    PanelShape::try_new(2, false).expect("two blocks are allowed")
}

fn columns() -> Vec<Column> {
    shape().columns().collect()
}

/// Three pairs of neighbouring free ports: those of the scheduler, and of each executor.
fn free_ports() -> [u16; 6] {
    let mut ports = Vec::new();
    while ports.len() < 6 {
        let first = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = first.local_addr().expect("an address").port();
        if port < u16::MAX && !ports.contains(&port) && TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            ports.extend([port, port + 1]);
        }
    }
    ports.try_into().expect("six ports")
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let ports = free_ports();
        let store = open_store(&folder.path().join("objects").display().to_string(), BTreeMap::new());
        let panel = store.expect("a folder").panel(PanelDigest([7; 32]), shape());
        let mut registered = BTreeMap::new();
        for (batch, first_slot) in BATCHES {
            batch.enrol(&panel, first_slot).await.expect("the disk works");
            registered.extend((first_slot..).zip(batch.datasets(shape())));
        }
        panel.compact(&BTreeSet::from([0])).await.expect("the disk works");
        let connector = Connector::Url(format!("http://127.0.0.1:{}", ports[0]));
        let cluster = Cluster::connect(&connector, WAIT).expect("an address");
        let counted = Arc::new(Counted { cluster, answered: AtomicUsize::new(0) });
        let engine = Engine::new(RowTags::in_memory(TagKey::expand(&[9; 32])));
        let mut world = Self {
            scheduler: Some(start_scheduler(folder.path(), &ports)),
            executors: [None, None],
            together: engine.clone().with_summer(counted.clone(), 1),
            alone: engine,
            folder,
            ports,
            panel,
            registered,
            counted,
        };
        world.executors = [0, 1].map(|executor| Some(world.start_executor(executor)));
        // Every body is read, hashed and tagged once.
        world.sum(&world.alone, &world.slots(|_| true)).await;
        world
    }

    fn start_executor(&self, executor: usize) -> Process {
        let port = self.ports[2 + 2 * executor];
        let config = format!(
            "host = '127.0.0.1'\nport = {port}\nscheduler_host = '127.0.0.1'\nscheduler_port = {}\nprocessors = 1\n\
             work_dir = '{}'\n{}",
            self.ports[1],
            self.folder.path().join(format!("work-{executor}")).display(),
            storage(self.folder.path())
        );
        start(self.folder.path(), "executor", &format!("executor-{executor}"), &config)
    }

    fn slots(&self, is_selected: impl Fn(u32) -> bool) -> SlotSet {
        SlotSet::try_from_iter(self.registered.keys().copied().filter(|&slot| is_selected(slot))).expect("small slots")
    }

    async fn sum(&self, engine: &Engine, selection: &SlotSet) -> Vec<Box<BodySum>> {
        let manifest = self.panel.latest().await.expect("the disk works");
        let sums = engine.exact_sums(&self.panel, &manifest, &columns(), selection, &self.registered).await;
        sums.expect("the store is sound")
    }

    /// Asserts that the sums are right while the cluster loses processes: either it or the engine gives them.
    async fn assert_right_sums(&self, selection: &SlotSet) {
        assert!(self.sum(&self.together, selection).await == self.sum(&self.alone, selection).await);
    }

    /// Asserts that the cluster, and not the engine, gives the sums that the engine gives.
    async fn assert_same_bits(&self, selection: &SlotSet) {
        let answered = self.counted.answered.load(Ordering::Relaxed);
        assert!(self.sum(&self.together, selection).await == self.sum(&self.alone, selection).await);
        assert_eq!(self.counted.answered.load(Ordering::Relaxed), answered + 1, "the cluster answered");
    }

    fn selections_left(&self) -> usize {
        fs::read_dir(self.folder.path().join("scratch/selections")).map_or(0, Iterator::count)
    }
}

fn storage(folder: &Path) -> String {
    let path = |name: &str| folder.join(name).display().to_string();
    format!("[storage]\nstore_url = '{}'\nscratch_url = '{}'\n", path("objects"), path("scratch"))
}

fn start(folder: &Path, kind: &str, name: &str, config: &str) -> Process {
    let file: PathBuf = folder.join(format!("{name}.toml"));
    fs::write(&file, config).expect("a file");
    Process::start(kind, &file, &folder.join(format!("{name}.log")))
}

fn start_scheduler(folder: &Path, ports: &[u16; 6]) -> Process {
    let config = format!(
        "listen = '127.0.0.1:{}'\ncluster_listen = '127.0.0.1:{}'\ntasks = 4\n{}",
        ports[0],
        ports[1],
        storage(folder)
    );
    start(folder, "scheduler", "scheduler", &config)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the cluster's binary: cargo xtask e2e"]
async fn a_cluster_sums_like_the_kernel_whoever_is_killed() {
    let mut world = World::new().await;
    // Few rows, most rows (the others are subtracted), every second row.
    let selections =
        [world.slots(|slot| slot % 40 == 3), world.slots(|slot| slot % 9 != 4), world.slots(|slot| slot % 2 == 0)];
    for selection in &selections {
        world.assert_same_bits(selection).await;
    }

    // An executor is killed at some moment of a question, and comes back.
    for (delay_ms, killed) in [(0, 0), (20, 1), (60, 0), (120, 1), (250, 0)] {
        let executor = world.executors[killed].take();
        let begun = Instant::now();
        tokio::join!(world.assert_right_sums(&selections[2]), kill_after(delay_ms, executor));
        eprintln!("an executor killed after {delay_ms} ms: the answer came after {:.1?}", begun.elapsed());
        world.executors[killed] = Some(world.start_executor(killed));
    }

    // The scheduler is killed during a question, and comes back: the aggregator asks again.
    let scheduler = world.scheduler.take();
    let ((), scheduler) = tokio::join!(world.assert_right_sums(&selections[2]), async {
        kill_after(50, scheduler).await;
        start_scheduler(world.folder.path(), &world.ports)
    });
    world.scheduler = Some(scheduler);
    world.assert_same_bits(&selections[0]).await;
    assert_eq!(world.selections_left(), 0, "no selection outlives its question");

    // Nobody is there: the engine sums by itself.
    world.scheduler = None;
    let down = Connector::Url(format!("http://127.0.0.1:{}", world.ports[0]));
    let down = Cluster::connect(&down, Duration::from_secs(1)).expect("an address");
    let alone = world.alone.clone().with_summer(Arc::new(down), 1);
    assert!(world.sum(&alone, &selections[1]).await == world.sum(&world.alone, &selections[1]).await);
}

/// Kills a process at a moment of somebody else's question.
async fn kill_after(delay_ms: u64, process: Option<Process>) {
    tokio::time::sleep(Duration::from_millis(delay_ms)).await;
    process.expect("it runs").kill();
}
