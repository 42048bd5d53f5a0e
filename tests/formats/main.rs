//! What version 1 wrote is still read: files, databases and messages that were written then, and are never written
//! again, are read by this version and say the same.
//!
//! `tests/vectors/v1` holds them. A test that fails here has found that data in use could no longer be read. Then either
//! make this version read them, or give the format a new version, keep the reader of the old one, and add files of the new
//! version beside these:
//!
//! ```sh
//! cargo test --release --workspace --test what_version_1_wrote_is_still_read -- --ignored
//! ```
//!
//! writes the files that are missing, and no others.

mod market;
mod messages;
mod pieces;

use anyhow::{Context as _, Result};
use std::{fs, path::PathBuf};

/// A file of version 1.
struct Piece {
    name: &'static str,
    /// Writes it, as this version does.
    make: Box<dyn Fn() -> Result<Vec<u8>>>,
    /// Fails unless this version reads the bytes and finds what was written.
    check: Box<dyn Fn(&[u8]) -> Result<()>>,
}

fn piece(
    name: &'static str,
    make: impl Fn() -> Result<Vec<u8>> + 'static,
    check: impl Fn(&[u8]) -> Result<()> + 'static,
) -> Piece {
    Piece { name, make: Box::new(make), check: Box::new(check) }
}

/// Where a file of version 1 is.
fn path_of(name: &str) -> PathBuf {
    locus_tests::repository().join("tests/vectors/v1").join(name)
}

fn all() -> Vec<Piece> {
    [pieces::all(), messages::all()].into_iter().flatten().collect()
}

fn advice(name: &str) -> String {
    format!(
        "this version can no longer read {name} of version 1: make it read it again, or give the format a new version and \
         keep the reader of version 1 (see tests/formats/main.rs)"
    )
}

#[test]
fn every_file_and_message_of_version_1_says_what_it_said() -> Result<()> {
    for Piece { name, check, .. } in all() {
        let bytes = fs::read(path_of(name)).with_context(|| format!("tests/vectors/v1/{name} is missing"))?;
        check(&bytes).with_context(|| advice(name))?;
        // Control: the check sees what is not the file.
        let mut changed = bytes;
        let middle = changed.len() / 2;
        changed[middle] ^= 0x10;
        assert!(check(&changed).is_err(), "{name} is accepted with a changed byte");
    }
    Ok(())
}

#[test]
fn configurations_of_version_1_still_start_services() -> Result<()> {
    for (name, _, read) in pieces::CONFIGURATIONS {
        read(&path_of(name)).with_context(|| advice(name))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_market_of_version_1_goes_on() -> Result<()> {
    market::goes_on(&path_of(market::FILE)).await.with_context(|| advice(market::FILE))
}

/// Writes the files that are missing.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes files"]
async fn write_what_is_missing() -> Result<()> {
    for folder in ["config", "messages"] {
        fs::create_dir_all(path_of(folder))?;
    }
    let is_missing = |name: &str| !path_of(name).exists();
    for Piece { name, make, .. } in all().into_iter().filter(|piece| is_missing(piece.name)) {
        fs::write(path_of(name), make()?)?;
    }
    for (name, example, _) in pieces::CONFIGURATIONS.into_iter().filter(|(name, ..)| is_missing(name)) {
        fs::write(path_of(name), example)?;
    }
    if is_missing(market::FILE) {
        fs::write(path_of(market::FILE), market::make().await?)?;
    }
    Ok(())
}
