//! The archive's own process.

use anyhow::{Context as _, Result};
use locus_archive::ArchiveConfig;
use std::path::PathBuf;

#[tokio::main]
async fn main() -> Result<()> {
    locus_service::init_telemetry(true);
    let path = std::env::args_os().nth(1).context("usage: locus-archive CONFIG.toml")?;
    let config: ArchiveConfig = locus_service::read_config(&PathBuf::from(path))?;
    let mut archive = locus_archive::start(config).await?;
    tokio::select! {
        stopped = archive.stopped() => stopped?,
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    archive.shutdown().await;
    Ok(())
}
