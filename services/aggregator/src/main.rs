//! The aggregator's own process.

use anyhow::{Context as _, Result};
use locus_aggregator::AggregatorConfig;
use std::path::PathBuf;

#[tokio::main]
async fn main() -> Result<()> {
    locus_service::init_telemetry(true);
    let path = std::env::args_os().nth(1).context("usage: locus-aggregator CONFIG.toml")?;
    let config: AggregatorConfig = locus_service::read_config(&PathBuf::from(path))?;
    let mut aggregator = locus_aggregator::start(config).await?;
    tokio::select! {
        stopped = aggregator.stopped() => stopped?,
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    aggregator.shutdown().await;
    Ok(())
}
