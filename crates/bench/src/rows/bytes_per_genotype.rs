//! What a genotype takes in the object store.

use crate::{
    report::figure,
    row::{Bench, Goal, Measured, Row},
    synthetic::Summing,
};
use anyhow::Result;

/// Eight bytes, and digests, sums and headers: less than 1 % beside a full shard.
pub(crate) const ROW: Row = Row { id: "bytes_per_genotype", unit: "bytes", goal: Goal::AtMost(8.08), measure };

const PEOPLE: u32 = 1024;
const BLOCKS: u32 = 4;

fn measure(bench: &mut Bench) -> Result<Measured> {
    let folder = bench.folder("bytes")?;
    let store = Summing::fill(&folder, PEOPLE, BLOCKS)?;
    // What compaction replaced is garbage.
    let policy = locus_store::GarbagePolicy { superseded_before: None, abandoned_before: std::time::SystemTime::now() };
    store.runtime.block_on(store.panel.collect_garbage(policy))?;
    let bytes = crate::market::bytes_below(&folder)?;
    let genotypes = f64::from(PEOPLE) * f64::from(BLOCKS) * 4096.0;
    let value = bytes as f64 / genotypes;
    let note = format!(
        "per slot and plane of a compacted shard of {PEOPLE} people; {} per variant, as 16 of 4,096 slots are check slots",
        figure(value * 4096.0 / 4080.0)
    );
    Ok(Measured { value, note, ..Measured::default() })
}
