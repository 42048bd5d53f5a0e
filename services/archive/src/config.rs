//! What an archive can be told.

use crate::start::read_deployment;
use locus_service::{Findings, FrontConfig, ObserveConfig, Role, ServiceConfig};
use locus_store::open_store;
use serde::Deserialize;
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

/// The configuration file of an archive that runs by itself.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchiveConfig {
    /// TCP address to listen on.
    pub listen: SocketAddr,
    /// Folder for the archive's own database and scratch files.
    pub data_dir: PathBuf,
    /// Where ciphertexts and panels are kept: a directory, or an `s3://`, `gs://` or `az://` address.
    pub store_url: String,
    /// Options of the store's back end, for example `region`.
    #[serde(default)]
    pub store_options: BTreeMap<String, String>,
    /// Addresses of keyholders 1, 2 and 3.
    pub keyholders: [String; 3],
    /// JSON-RPC address of a chain node.
    pub chain_url: String,
    /// The market's description, as written when it was deployed.
    pub deployment_file: PathBuf,
    /// Folder with the keys that proofs of encryption are checked with, made by a ceremony. Without it an
    /// archive of a real network takes accredited datasets only.
    #[serde(default)]
    pub proof_keys_dir: Option<PathBuf>,
    /// Limits.
    #[serde(default)]
    pub limits: Limits,
    /// Whether to describe the service by gRPC reflection.
    #[serde(default)]
    pub reflection: bool,
    /// How it meets its callers.
    #[serde(default)]
    pub front: FrontConfig,
    /// How it is watched.
    #[serde(default)]
    pub observe: ObserveConfig,
}

impl ServiceConfig for ArchiveConfig {
    const SERVICE: &'static str = "archive";
    const LISTS: &'static [&'static str] = &["keyholders"];

    fn observe(&self) -> &ObserveConfig {
        &self.observe
    }

    fn check(&self, findings: &mut Findings) {
        self.front.check(Role::Archive, self.listen, findings);
        findings.folder("data_dir", &self.data_dir);
        findings.check("store_url", open_store(&self.store_url, self.store_options.clone()).map(drop));
        findings.url("chain_url", &self.chain_url, &["http", "https"]);
        findings.check("deployment_file", read_deployment(&self.deployment_file).map(drop));
        for keyholder in &self.keyholders {
            self.front.check_url("keyholders", keyholder, findings);
        }
    }
}

/// Limits of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Uploads at the same time. Each takes about 30 MiB of memory.
    pub uploads_max: u32,
    /// Largest panel file, in bytes.
    pub panel_bytes_max: u64,
    /// Most panels.
    pub panels_max: u32,
    /// Longest pause within an upload, in seconds.
    pub upload_idle_s: u64,
    /// Longest wait for one message of a keyholder, in seconds.
    pub keyholder_wait_s: u64,
    /// Longest time from an upload to the deadline of its registration, in seconds. Batches that
    /// are not registered then are deleted.
    pub registration_lifetime_max_s: u64,
    /// Time for which objects that were replaced stay readable, in seconds: longer than the
    /// longest sum over them takes.
    pub superseded_grace_s: u64,
    /// Pause between two rounds of compaction and garbage collection, in seconds.
    pub housekeeping_s: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            uploads_max: 4,
            panel_bytes_max: 32 << 20,
            panels_max: 256,
            upload_idle_s: 60,
            keyholder_wait_s: 120,
            registration_lifetime_max_s: 7 * 24 * 3600,
            superseded_grace_s: 900,
            housekeeping_s: 600,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_configuration_is_complete_and_names_the_default_limits() {
        let config: ArchiveConfig = toml::from_str(include_str!("../config.example.toml")).expect("it parses");
        assert_eq!(config.limits, Limits::default());
    }

    #[test]
    fn a_misspelled_key_is_refused() {
        let text = include_str!("../config.example.toml").replace("uploads_max", "uploads_maximum");
        assert!(toml::from_str::<ArchiveConfig>(&text).is_err());
    }
}
