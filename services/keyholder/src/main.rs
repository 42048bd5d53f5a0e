//! The keyholder's own process.

use anyhow::{Context as _, Result};
use locus_keyholder::KeyholderConfig;
use std::path::PathBuf;

#[tokio::main]
async fn main() -> Result<()> {
    locus_service::init_telemetry(true);
    let path = std::env::args_os().nth(1).context("usage: locus-keyholder CONFIG.toml")?;
    let config: KeyholderConfig = locus_service::read_config(&PathBuf::from(path))?;
    let mut keyholder = locus_keyholder::start(config).await?;
    tokio::select! {
        stopped = keyholder.stopped() => stopped?,
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    keyholder.shutdown().await;
    Ok(())
}
