//! Configuration of a keyholder.

use crate::kek::KeyEncryptionKey;
use crate::start::{KeyholderKeys, read_deployment};
use locus_service::{Findings, FrontConfig, ObserveConfig, Role, ServiceConfig};
use locus_sharing::KeyholderIndex;
use locus_store::open_store;
use serde::Deserialize;
use std::{collections::BTreeMap, path::PathBuf};

/// Configuration of the keyholder's own process.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyholderConfig {
    /// 1, 2 or 3.
    pub index: u8,
    /// Folder of the database, the wrapping key and the key files.
    pub data_dir: PathBuf,
    /// File with the key that wraps the keys in `data_dir`: 64 hexadecimal digits, private (service, clause 15), best on
    /// another disk or from a secret store.
    #[serde(default)]
    pub kek_file: Option<PathBuf>,
    /// Folder with the keys that proofs of encryption are checked with, made by a ceremony. Without it a
    /// keyholder of a real network takes accredited datasets only.
    #[serde(default)]
    pub proof_keys_dir: Option<PathBuf>,
    /// Address to listen on, such as `127.0.0.1:7011`.
    pub listen: std::net::SocketAddr,
    /// JSON-RPC endpoint of this keyholder's own chain node.
    pub chain_url: String,
    /// The deployment's description, as written by the deployment.
    pub deployment_file: PathBuf,
    /// Where the market's ciphertexts are, as the archive has it; read only. Without it this keyholder answers no
    /// filtered questions.
    #[serde(default)]
    pub store_url: Option<String>,
    /// Options of the store's back end, for example `region`.
    #[serde(default)]
    pub store_options: BTreeMap<String, String>,
    /// URLs of the other keyholders, by index.
    pub peers: BTreeMap<String, String>,
    /// Whether to serve reflection; only for development.
    #[serde(default)]
    pub reflection: bool,
    /// How it meets its callers.
    #[serde(default)]
    pub front: FrontConfig,
    /// How it is watched.
    #[serde(default)]
    pub observe: ObserveConfig,
}

impl ServiceConfig for KeyholderConfig {
    const SERVICE: &'static str = "keyholder";

    fn observe(&self) -> &ObserveConfig {
        &self.observe
    }

    fn check(&self, findings: &mut Findings) {
        let index = findings.check("index", KeyholderIndex::try_new(self.index));
        self.front.check(Role::Keyholder(self.index), self.listen, findings);
        findings.folder("data_dir", &self.data_dir);
        let kek = self.kek_file.as_deref().map(KeyEncryptionKey::read).transpose();
        if let Some(kek) = findings.check("kek_file", kek) {
            findings.check("data_dir", KeyholderKeys::load(&self.data_dir, kek.as_ref()).map(drop));
        }
        findings.url("chain_url", &self.chain_url, &["http", "https"]);
        findings.check("deployment_file", read_deployment(&self.deployment_file).map(drop));
        if let Some(url) = &self.store_url {
            findings.check("store_url", open_store(url, self.store_options.clone()).map(drop));
        }
        let others: Vec<String> = KeyholderIndex::ALL
            .into_iter()
            .filter(|other| Some(*other) != index)
            .map(|other| other.to_string())
            .collect();
        if index.is_some() && !self.peers.keys().eq(others.iter()) {
            findings.problem("peers", format!("name exactly the other keyholders, {}", others.join(" and ")));
        }
        for url in self.peers.values() {
            self.front.check_url("peers", url, findings);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_configuration_parses_and_misspelled_keys_do_not() {
        let text = include_str!("../config.example.toml");
        let config: KeyholderConfig = toml::from_str(text).expect("it parses");
        assert_eq!(config.peers.len(), 2);
        assert!(toml::from_str::<KeyholderConfig>(&text.replace("chain_url", "chain_uri")).is_err());
    }
}
