//! What is drawn, before it is drawn.

use crate::{association::AssociationTable, error::ReportError};
use std::collections::{BTreeMap, BTreeSet};

/// Bins of the frequency histogram.
pub(super) const FREQUENCY_BINS: usize = 40;
/// Largest -log10 p drawn: that of the smallest positive float.
const LOG_P_MAX: f64 = 308.0;

/// Points of a Manhattan plot: place along the genome (megabases), -log10 p.
pub(super) struct ManhattanPoints {
    /// By chromosome.
    pub(super) by_chrom: BTreeMap<u8, Vec<(f64, f64)>>,
    /// Middle of each chromosome drawn.
    pub(super) middles: Vec<(f64, u8)>,
    pub(super) end: f64,
    pub(super) highest: f64,
    /// Bonferroni's line: -log10 (0.05 / variants tested).
    pub(super) threshold: f64,
}

impl ManhattanPoints {
    pub(super) fn new(table: &AssociationTable, (width, height): (u32, u32)) -> Result<Self, ReportError> {
        let chroms: BTreeSet<u8> = table.rows.iter().map(|row| row.chrom).collect();
        let (mut offsets, mut middles, mut end) = (BTreeMap::new(), Vec::new(), 0.0);
        for chrom in chroms {
            // Chromosomes stand side by side, each from its first to its last variant.
            let positions = || table.rows.iter().filter(|row| row.chrom == chrom).map(|row| megabases(row.position));
            let first = positions().fold(f64::INFINITY, f64::min);
            let last = positions().fold(0.0, f64::max);
            let length = (last - first).max(0.01);
            offsets.insert(chrom, end - first);
            middles.push((end + length / 2.0, chrom));
            end += length * 1.01;
        }
        let points: Vec<(u8, f64, f64)> = table
            .rows
            .iter()
            .filter_map(|row| {
                let offset = offsets.get(&row.chrom)?;
                Some((row.chrom, megabases(row.position) + offset, log_p(row.p_value?)))
            })
            .collect();
        let tested = points.len();
        let threshold = -(0.05 / as_f64(tested).max(1.0)).log10();
        let highest = points.iter().fold(threshold, |highest, point| highest.max(point.2)) * 1.05;
        let mut by_chrom: BTreeMap<u8, Vec<(f64, f64)>> = BTreeMap::new();
        let mut drawn = BTreeSet::new();
        for (chrom, place, log_p) in points {
            if drawn.insert((pixel(place, end, width), pixel(log_p, highest, height))) {
                by_chrom.entry(chrom).or_default().push((place, log_p));
            }
        }
        if tested == 0 {
            Err(ReportError::NothingToPlot)
        } else {
            Ok(Self { by_chrom, middles, end, highest, threshold })
        }
    }
}

/// Points of a quantile plot: expected and observed -log10 p.
pub(super) struct QuantilePoints {
    pub(super) points: Vec<(f64, f64)>,
    pub(super) widest: f64,
    pub(super) highest: f64,
    pub(super) lambda: Option<f64>,
}

impl QuantilePoints {
    pub(super) fn new(table: &AssociationTable, (width, height): (u32, u32)) -> Result<Self, ReportError> {
        let mut observed: Vec<f64> = table.rows.iter().filter_map(|row| row.p_value).map(log_p).collect();
        observed.sort_by(|left, right| right.total_cmp(left));
        let count = as_f64(observed.len());
        let highest = observed.first().copied().ok_or(ReportError::NothingToPlot)?.max(1.0) * 1.05;
        let widest = (count + 1.0).log10().max(1.0) * 1.05;
        let mut drawn = BTreeSet::new();
        let expected = |rank: usize| -((as_f64(rank) + 1.0) / (count + 1.0)).log10();
        let points = observed.iter().enumerate().map(|(rank, log_p)| (expected(rank), *log_p));
        let points = points.filter(|(x, y)| drawn.insert((pixel(*x, widest, width), pixel(*y, highest, height))));
        Ok(Self { points: points.collect(), widest, highest, lambda: table.lambda() })
    }
}

/// How many variants have a frequency in each fortieth of 0 to 1.
pub(super) fn frequency_bins(table: &AssociationTable) -> Result<Vec<u32>, ReportError> {
    let mut bins = vec![0u32; FREQUENCY_BINS];
    for frequency in table.rows.iter().filter_map(|row| row.frequency).filter(|frequency| frequency.is_finite()) {
        let place = pixel(frequency.clamp(0.0, 1.0), 1.0, u32::try_from(FREQUENCY_BINS).unwrap_or(1));
        let bin = usize::try_from(place).unwrap_or(0).min(FREQUENCY_BINS - 1);
        bins[bin] += 1;
    }
    if bins.iter().all(|count| *count == 0) { Err(ReportError::NothingToPlot) } else { Ok(bins) }
}

/// -log10 p, limited to what floats can show.
fn log_p(p_value: f64) -> f64 {
    if p_value > 0.0 { (-p_value.log10()).clamp(0.0, LOG_P_MAX) } else { LOG_P_MAX }
}

fn megabases(position: u32) -> f64 {
    f64::from(position) / 1e6
}

/// Which of `pixels` steps from 0 to `end` a value falls on.
#[expect(clippy::cast_possible_truncation, reason = "bounded by the number of pixels")]
fn pixel(value: f64, end: f64, pixels: u32) -> i64 {
    (value / end * f64::from(pixels)).floor() as i64
}

#[expect(clippy::cast_precision_loss, reason = "numbers of variants are far below 2^53")]
pub(super) fn as_f64(count: usize) -> f64 {
    count as f64
}
