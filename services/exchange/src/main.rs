//! The exchange as its own process: `locus-exchange CONFIG.toml`.

use anyhow::Context as _;
use locus_exchange::{ExchangeConfig, start};
use locus_service::{init_telemetry, read_config};
use std::path::PathBuf;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let path = std::env::args_os().nth(1).map(PathBuf::from).context("usage: locus-exchange CONFIG.toml")?;
    let config: ExchangeConfig = read_config(&path)?;
    init_telemetry(config.log_json);
    let mut exchange = start(config).await?;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        stopped = exchange.stopped() => return Ok(stopped?),
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    exchange.shutdown().await;
    Ok(())
}
