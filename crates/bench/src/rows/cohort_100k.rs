//! A cohort of 100,000 people, through store and engine.

use crate::{
    proving::peak_mb,
    report::figure,
    row::{Bench, Goal, Measured, Row},
    synthetic::{Summing, fresh_engine},
    timing::{fastest, seconds},
};
use anyhow::Result;
use locus_store::{BODY_BYTES, SlotRange, SlotSet};
use std::fs;

pub(crate) const ROW: Row = Row { id: "cohort_100k", unit: "s", goal: Goal::None, measure };

const PEOPLE: u32 = 100_000;
const RUNS: usize = 5;

fn measure(bench: &mut Bench) -> Result<Measured> {
    let folder = bench.folder("cohort-100k")?;
    let measured = sum(&folder);
    // Gigabytes that no other row needs.
    fs::remove_dir_all(&folder)?;
    measured
}

fn sum(folder: &std::path::Path) -> Result<Measured> {
    let (stored, store) = seconds(|| Summing::fill(folder, PEOPLE, 1))?;
    let at_rest = crate::market::bytes_below(folder)? as f64;
    let all = SlotSet::from_range(SlotRange { first: 0, count: PEOPLE })?;
    // Half of each shard: as many bodies as are ever read.
    let half = SlotSet::try_from_iter((0..PEOPLE).filter(|slot| slot % 1024 < 512))?;
    let ((first, whole, value), peak) = peak_mb(|| {
        let (first, _) = seconds(|| store.sum_by(&fresh_engine(), &all))?;
        store.sum(&all)?;
        let whole = fastest(RUNS, || store.sum(&all).map(drop))?;
        Ok((first, whole, fastest(RUNS, || store.sum(&half).map(drop))?))
    })?;
    let bytes = |people: u64| people as f64 * BODY_BYTES as f64;
    let note = format!(
        "{PEOPLE} people x 4,096 slots, {} GB at rest in the page cache ({} s to make and store); half of each shard, the most that \
         is ever read, at {} GB/s; whole cohort, from stored sums, {} s; with every row hashed and tagged for the first time {} s; most \
         memory while summing {:.0} MB",
        figure(at_rest / 1e9),
        figure(stored),
        figure(bytes(half.len()) / value / 1e9),
        figure(whole),
        figure(first),
        peak,
    );
    Ok(Measured { value, note, ..Measured::default() })
}
