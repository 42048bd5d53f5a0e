//! Measures the ciphertext sum and prints JSON, one row per figure, in GB/s of ciphertext.
//!
//! `cargo run --release -p locus-engine --example sum_bench -- [DIRECTORY [DATASETS [BLOCKS [RUNS [PREFIX]]]]]`
//!
//! Figures are the best of RUNS; with PREFIX, only those whose id begins with it. `memory_*` work on 256 MiB in memory; `store_*` on a local
//! directory whose files are in the page cache.

use bytes::Bytes;
use locus_commitment::DatasetBodyDigest;
use locus_engine::{BodySum, Engine, Kernel};
use locus_genomics::PanelDigest;
use locus_store::{
    BODY_BYTES, BODY_WORDS, BodyBytes, Column, Manifest, PanelShape, PanelStore, RegistrationCommit, SlotRange,
    SlotSet, StoreError, conformance::SyntheticBatch, open_store, read_windows,
};
use std::{collections::BTreeMap, error::Error, hint::black_box, num::NonZeroUsize, time::Instant};

const MEMORY_BODIES: usize = 8192;

struct Report {
    prefix: String,
    runs: usize,
    rows: Vec<serde_json::Value>,
}

impl Report {
    /// Runs `work` and records GB/s for `bytes`.
    fn measure(&mut self, id: &str, threads: usize, bytes: usize, mut work: impl FnMut()) {
        if !id.starts_with(&self.prefix) {
            return;
        }
        let seconds = (0..self.runs).map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64()
        });
        let best = seconds.fold(f64::INFINITY, f64::min);
        let value = bytes as f64 / best / 1e9;
        self.rows.push(serde_json::json!({
            "id": id, "threads": threads, "value": (value * 100.0).round() / 100.0, "unit": "GB/s",
            "seconds": best, "bytes": bytes,
        }));
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = match arguments.next() {
        Some(directory) => std::path::PathBuf::from(directory),
        None => std::env::temp_dir().join("locus-sum-bench"),
    };
    let mut number = |default: u32| arguments.next().map_or(Ok(default), |text| text.parse());
    let (datasets, blocks, runs) = (number(2504)?, number(3)?, number(5)?);
    let mut report = Report { prefix: arguments.next().unwrap_or_default(), runs: runs as usize, rows: Vec::new() };
    let processors = std::thread::available_parallelism()?.get();
    let in_memory = "memory_".starts_with(&report.prefix) || report.prefix.starts_with("memory_");
    for threads in BTreeMap::from([(1, ()), (processors, ())]).into_keys().filter(|_| in_memory) {
        measure_memory(&mut report, threads);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let shape = PanelShape::try_new(blocks, true)?;
    let panel = open_store(&directory.display().to_string(), BTreeMap::new())?.panel(PanelDigest([0xbe; 32]), shape);
    let (manifest, registered) = runtime.block_on(fill(&panel, datasets, &mut report))?;
    for tasks in BTreeMap::from([(1, ()), (processors, ())]).into_keys() {
        measure_store(&mut report, &runtime, &panel, &manifest, &registered, tasks)?;
    }
    let machine = serde_json::json!({ "processors": processors, "kernel": Kernel::detect().name() });
    let document =
        serde_json::json!({ "machine": machine, "datasets": datasets, "blocks": blocks, "rows": report.rows });
    use std::io::Write;
    writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&document)?)?;
    Ok(())
}

/// Splits `items` among `threads` and runs `work` on each share at the same time.
fn in_parallel<T: Sync>(items: &[T], threads: usize, work: impl Fn(&[T]) + Sync) {
    std::thread::scope(|scope| {
        for share in items.chunks(items.len().div_ceil(threads)) {
            let work = &work;
            scope.spawn(move || work(share));
        }
    });
}

fn measure_memory(report: &mut Report, threads: usize) {
    let bodies: Vec<BodyBytes> = (0..MEMORY_BODIES).map(|index| [index.to_le_bytes()[0]; BODY_BYTES]).collect();
    let bytes = bodies.len() * BODY_BYTES;
    report.measure("memory_stream_read", threads, bytes, || {
        in_parallel(&bodies, threads, |share| {
            black_box(share.iter().map(read_all).fold(0, u64::wrapping_add));
        });
    });
    for kernel in Kernel::available() {
        report.measure(&format!("memory_sum_{}", kernel.name()), threads, bytes, || {
            in_parallel(&bodies, threads, |share| {
                let mut sum: Box<BodySum> = Box::new([0; BODY_WORDS]);
                kernel.add(&mut sum, share);
                black_box(sum);
            });
        });
    }
}

/// Reads every word of a body and does as little as possible with it: the bandwidth of memory.
fn read_all(body: &BodyBytes) -> u64 {
    let mut lanes = [0u64; 32];
    for chunk in body.as_chunks::<256>().0 {
        for (lane, word) in lanes.iter_mut().zip(chunk.as_chunks::<8>().0) {
            *lane |= u64::from_le_bytes(*word);
        }
    }
    lanes.into_iter().fold(0, |all, lane| all | lane)
}

type Registered = Vec<DatasetBodyDigest>;

/// Uploads a synthetic cohort as one batch and compacts it, unless the directory has one already.
async fn fill(
    panel: &PanelStore,
    datasets: u32,
    report: &mut Report,
) -> Result<(Manifest, Registered), Box<dyn Error>> {
    let batch = SyntheticBatch { seed: 1, rows: datasets };
    let registered = batch.datasets(panel.shape());
    let mut manifest = panel.latest().await?;
    if manifest.version() == 0 {
        let mut writer = panel.create_batch(batch.id(), datasets).await?;
        let mut seconds = 0.0;
        while let Some((column, first)) = writer.expects() {
            let bodies: Bytes = batch.bodies(column, first, 64.min(datasets - first));
            let start = Instant::now();
            writer.append(column, first, bodies).await?;
            seconds += start.elapsed().as_secs_f64();
        }
        let start = Instant::now();
        writer.finish(&registered).await?;
        let commit = RegistrationCommit { batch: batch.id(), registration: 1, first_slot: 0 };
        manifest = panel.commit_registration(commit, &registered).await?;
        seconds += start.elapsed().as_secs_f64();
        let bytes = datasets as usize * panel.shape().column_count() * BODY_BYTES;
        report.rows.push(serde_json::json!({
            "id": "store_upload", "threads": 1, "value": bytes as f64 / seconds / 1e9, "unit": "GB/s",
            "seconds": seconds, "bytes": bytes,
        }));
        manifest = panel.compact(&manifest.fragmented_shards()).await.or(Ok::<_, StoreError>(manifest))?;
    }
    if manifest.live().len() != u64::from(datasets) {
        return Err("the directory holds another cohort; give an empty one".into());
    }
    Ok((manifest, registered))
}

fn measure_store(
    report: &mut Report,
    runtime: &tokio::runtime::Runtime,
    panel: &PanelStore,
    manifest: &Manifest,
    registered: &Registered,
    tasks: usize,
) -> Result<(), Box<dyn Error>> {
    let columns: Vec<Column> = panel.shape().columns().collect();
    let count = u32::try_from(registered.len())?;
    let registered = (0, registered.as_slice());
    let engine = Engine::default().with_tasks(NonZeroUsize::new(tasks).unwrap_or(NonZeroUsize::MIN));
    let selections = [
        ("store_sum_all", SlotSet::from_range(SlotRange { first: 0, count })?),
        ("store_sum_half", SlotSet::try_from_iter((0..count).filter(|slot| slot % 1024 < 512))?),
        ("store_sum_every_second", SlotSet::try_from_iter((0..count).step_by(2))?),
        ("store_sum_every_twentieth", SlotSet::try_from_iter((0..count).step_by(20))?),
    ];
    for (id, selection) in selections {
        let selected = usize::try_from(selection.len())?;
        let sum = || runtime.block_on(engine.sum_many(panel, manifest, &columns, &selection, &registered));
        let mut failed = None;
        report.measure(id, tasks, selected * columns.len() * BODY_BYTES, || failed = black_box(sum()).err());
        failed.map_or(Ok(()), Err)?;
    }
    for (id, mode) in [
        ("store_read_only", Mode::Read),
        ("store_read_sum_unchecked", Mode::Sum),
        ("store_read_sum_checked", Mode::CheckedSum),
    ] {
        let bytes = count as usize * columns.len() * BODY_BYTES;
        let mut failed = None;
        report.measure(id, tasks, bytes, || {
            failed = runtime.block_on(read_everything(panel, manifest, tasks, mode)).err();
        });
        failed.map_or(Ok(()), Err)?;
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Read,
    Sum,
    CheckedSum,
}

/// Reads every body of every object, `tasks` objects at a time.
async fn read_everything(panel: &PanelStore, manifest: &Manifest, tasks: usize, mode: Mode) -> Result<(), StoreError> {
    use futures::{StreamExt, TryStreamExt};
    let columns: Vec<Column> = panel.shape().columns().collect();
    let objects = manifest.parts().iter().flat_map(|part| columns.iter().map(move |&column| (part, column)));
    let jobs = objects.map(|(part, column)| async move {
        let reader = panel.open(part).await?;
        let digests = reader.digests(&[column], &[]).await?;
        let digests = std::sync::Arc::new(digests.column(column).unwrap_or_default().to_vec());
        let positions: Vec<u32> = (0..reader.row_count()).collect();
        let windows = read_windows(&positions);
        let kernel = Kernel::detect();
        let mut sum: Box<BodySum> = Box::new([0; BODY_WORDS]);
        let mut ahead = reader.read(column, &windows[0]).await?;
        for next in 1..=windows.len() {
            let runs = std::mem::take(&mut ahead);
            let digests = digests.clone();
            let work = tokio::task::spawn_blocking(move || -> Result<Box<BodySum>, StoreError> {
                for run in &runs {
                    match mode {
                        Mode::Read => {}
                        Mode::Sum => kernel.add(&mut sum, run.unchecked()),
                        Mode::CheckedSum => run.visit_checked(&digests, 4, |bodies| kernel.add(&mut sum, bodies))?,
                    }
                }
                Ok(sum)
            });
            if let Some(window) = windows.get(next) {
                let (summed, read) = futures::join!(work, reader.read(column, window));
                sum = summed.map_err(|_| StoreError::Interrupted)??;
                ahead = read?;
            } else {
                sum = work.await.map_err(|_| StoreError::Interrupted)??;
            }
        }
        black_box(sum);
        Ok(())
    });
    futures::stream::iter(jobs).buffer_unordered(tasks).try_collect().await
}
