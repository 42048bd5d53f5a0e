//! The bandwidth of memory: what sums are held against.

use locus_store::{BODY_BYTES, BodyBytes};
use std::hint::black_box;

/// Bodies in the measured memory: 256 MiB, far more than caches hold.
const BODIES: usize = 8192;

/// Bodies in memory.
pub(crate) fn bodies() -> Vec<BodyBytes> {
    (0..BODIES).map(|index| [index.to_le_bytes()[0]; BODY_BYTES]).collect()
}

/// Goes through `bodies` once on all processors, each with its share.
pub(crate) fn pass(bodies: &[BodyBytes], work: impl Fn(&[BodyBytes]) + Sync) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for share in bodies.chunks(bodies.len().div_ceil(threads)) {
            let work = &work;
            scope.spawn(move || work(share));
        }
    });
}

/// GB/s of going through `bodies` in so many seconds.
pub(crate) fn rate(bodies: &[BodyBytes], seconds: f64) -> f64 {
    bodies.len() as f64 * BODY_BYTES as f64 / seconds / 1e9
}

/// Reads memory from one end to the other on all processors.
pub(crate) fn streaming_read(bodies: &[BodyBytes]) {
    pass(bodies, |share| {
        black_box(share.iter().map(read_all).fold(0, |all, one| all | one));
    });
}

/// Reads every word of a body and does as little as possible with it.
fn read_all(body: &BodyBytes) -> u64 {
    let mut lanes = [0u64; 32];
    for chunk in body.as_chunks::<256>().0 {
        for (lane, word) in lanes.iter_mut().zip(chunk.as_chunks::<8>().0) {
            *lane |= u64::from_le_bytes(*word);
        }
    }
    lanes.into_iter().fold(0, |all, lane| all | lane)
}
