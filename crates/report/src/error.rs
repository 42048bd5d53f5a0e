//! What can go wrong when a result is written.

use std::io;
use thiserror::Error;

/// Why a file or plot could not be made.
#[derive(Debug, Error)]
pub enum ReportError {
    /// The file cannot be written.
    #[error("the result cannot be written: {0}")]
    Write(#[from] io::Error),
    /// A plot cannot be drawn.
    #[error("the plot cannot be drawn: {0}")]
    Draw(String),
    /// A plot has no points.
    #[error("there is nothing to plot: no variant has a result")]
    NothingToPlot,
    /// A picture cannot be encoded.
    #[error("the picture cannot be encoded: {0}")]
    Png(#[from] png::EncodingError),
    /// A Parquet file cannot be written.
    #[error("the parquet file cannot be written: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// Columns do not form a table.
    #[error("the columns do not form a table: {0}")]
    Columns(#[from] arrow_schema::ArrowError),
    /// As many counts as variants are needed.
    #[error("{variants} variants need as many counts, got {counts}")]
    Length {
        /// Variants.
        variants: usize,
        /// Counts given.
        counts: usize,
    },
    /// The panel has no such variant.
    #[error("the panel has no variant number {0}")]
    NoVariant(u32),
}
