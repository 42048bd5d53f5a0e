//! The kernel on bodies in memory.

use crate::{
    memory,
    row::{Bench, Goal, Measured, Row},
};
use anyhow::Result;
use locus_engine::Kernel;
use locus_store::BodySum;
use std::hint::black_box;

pub(crate) const ROW: Row = Row { id: "sum_memory", unit: "GB/s", goal: Goal::RatioAtLeast(0.8), measure };

fn measure(_: &mut Bench) -> Result<Measured> {
    let bodies = memory::bodies();
    let kernel = Kernel::detect();
    let streaming = memory::streaming_read(&bodies);
    let value = memory::bandwidth(&bodies, |share| {
        let mut sum = BodySum::zero();
        kernel.add(&mut sum, share);
        black_box(sum);
    });
    // Before and after: others may have been busy during one of them.
    let streaming = streaming.max(memory::streaming_read(&bodies));
    let note = format!("{} bodies of 32 KiB on all processors", bodies.len());
    Ok(Measured { value, peer: Some("streaming read".to_owned()), peer_value: Some(streaming), note })
}
