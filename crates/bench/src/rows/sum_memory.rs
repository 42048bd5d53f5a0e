//! The kernel on bodies in memory.

use crate::{
    memory,
    row::{Bench, Goal, Measured, Row},
    timing::fastest_in_turn,
};
use anyhow::Result;
use locus_engine::Kernel;
use locus_store::BodySum;
use std::hint::black_box;

pub(crate) const ROW: Row = Row { id: "sum_memory", unit: "GB/s", goal: Goal::RatioAtLeast(0.8), measure };

const RUNS: usize = 100;

fn measure(_: &mut Bench) -> Result<Measured> {
    let bodies = memory::bodies();
    let kernel = Kernel::detect();
    let sum = || {
        memory::pass(&bodies, |share| {
            let mut sum = BodySum::zero();
            kernel.add(&mut sum, share);
            black_box(sum);
        });
        Ok(())
    };
    let stream = || {
        memory::streaming_read(&bodies);
        Ok(())
    };
    let (sum, stream) = fastest_in_turn(RUNS, sum, stream)?;
    let (value, streaming) = (memory::rate(&bodies, sum), memory::rate(&bodies, stream));
    let note = format!("{} bodies of 32 KiB on all processors", bodies.len());
    Ok(Measured { value, peer: Some("streaming read".to_owned()), peer_value: Some(streaming), note })
}
