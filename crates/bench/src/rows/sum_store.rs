//! The engine on a local store whose files are in the page cache, every sum checked.

use crate::{
    memory,
    report::figure,
    row::{Bench, Goal, Measured, Row},
    synthetic::{Summing, fresh_engine},
    timing::{fastest, medians_in_turn},
};
use anyhow::Result;
use locus_store::{BODY_BYTES, SlotRange, SlotSet};

pub(crate) const ROW: Row = Row { id: "sum_store", unit: "GB/s", goal: Goal::RatioAtLeast(0.6), measure };

const DATASETS: u32 = 2504;
const BLOCKS: u32 = 6;
const RUNS: usize = 60;

fn measure(bench: &mut Bench) -> Result<Measured> {
    let store = Summing::fill(&bench.folder("sum-store")?, DATASETS, BLOCKS)?;
    let all = SlotSet::from_range(SlotRange { first: 0, count: DATASETS })?;
    let first_read = fastest(5, || store.sum_by(&fresh_engine(), &all).map(drop))?;
    store.sum(&all)?;
    // Half of each shard, in one run and in every second row: as many bodies as are ever read.
    let run = SlotSet::try_from_iter((0..DATASETS).filter(|slot| slot % 1024 < 512 && slot + 512 < DATASETS))?;
    let scattered = SlotSet::try_from_iter((0..DATASETS).step_by(2))?;
    let bodies = memory::bodies();
    let rates = |selection: &SlotSet| -> Result<(f64, f64)> {
        let stream = || {
            memory::streaming_read(&bodies);
            Ok(())
        };
        let (sum, stream) = medians_in_turn(RUNS, || store.sum(selection).map(drop), stream)?;
        Ok((bytes(selection.len()) / sum / 1e9, memory::rate(&bodies, stream)))
    };
    let ((value, streaming), (scattered, _)) = (rates(&run)?, rates(&scattered)?);
    let whole = fastest(9, || store.sum(&all).map(drop))?;
    let note = format!(
        "{} MB of ciphertext read per sum; every second row {} GB/s; rows hashed and tagged for the first time {} GB/s; \
         whole cohort, from stored sums, {} ms",
        figure(bytes(run.len()) / 1e6),
        figure(scattered),
        figure(bytes(u64::from(DATASETS)) / first_read / 1e9),
        figure(whole * 1e3),
    );
    Ok(Measured { value, peer: Some("streaming read of memory".to_owned()), peer_value: Some(streaming), note })
}

/// Bytes of all columns of some datasets.
fn bytes(datasets: u64) -> f64 {
    datasets as f64 * f64::from(BLOCKS) * BODY_BYTES as f64
}
