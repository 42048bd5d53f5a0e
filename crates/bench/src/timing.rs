//! Measuring time.

use anyhow::Result;
use std::time::Instant;

/// Seconds that `work` takes.
pub(crate) fn seconds<T>(work: impl FnOnce() -> Result<T>) -> Result<(f64, T)> {
    let start = Instant::now();
    let result = work()?;
    Ok((start.elapsed().as_secs_f64(), result))
}

/// The fastest of `runs`, in seconds.
pub(crate) fn fastest(runs: usize, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..runs {
        best = best.min(seconds(&mut work)?.0);
    }
    Ok(best)
}

/// The fastest of `runs` of each of two things that take turns, so that whatever else the machine
/// does slows both alike.
pub(crate) fn fastest_in_turn(
    runs: usize,
    mut one: impl FnMut() -> Result<()>,
    mut other: impl FnMut() -> Result<()>,
) -> Result<(f64, f64)> {
    let mut best = (f64::INFINITY, f64::INFINITY);
    for _ in 0..runs {
        best.0 = best.0.min(seconds(&mut one)?.0);
        best.1 = best.1.min(seconds(&mut other)?.0);
    }
    Ok(best)
}

/// The medians of `runs` of each of two things that take turns, for machines on which the bandwidth of memory depends on
/// the moment: the fastest of each would be of two different moments.
pub(crate) fn medians_in_turn(
    runs: usize,
    mut one: impl FnMut() -> Result<()>,
    mut other: impl FnMut() -> Result<()>,
) -> Result<(f64, f64)> {
    let mut taken = (Vec::with_capacity(runs), Vec::with_capacity(runs));
    for _ in 0..runs {
        taken.0.push(seconds(&mut one)?.0);
        taken.1.push(seconds(&mut other)?.0);
    }
    Ok((median(taken.0), median(taken.1)))
}

/// The median of some figures; zero of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// The time within which this many of a hundred calls ended; zero of none.
pub(crate) fn within(percent: usize, mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = (percent * values.len()).div_ceil(100);
    values.get(place.saturating_sub(1)).copied().unwrap_or_default()
}
