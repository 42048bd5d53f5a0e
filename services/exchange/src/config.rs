//! What an exchange can be told.

use crate::start::read_deployment;
use locus_ledger::read_key_file;
use locus_service::{Findings, FrontConfig, ObserveConfig, Role, ServiceConfig};
use serde::Deserialize;
use std::{net::SocketAddr, path::PathBuf};

/// The configuration of an exchange that runs by itself.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExchangeConfig {
    /// TCP address to listen on.
    pub listen: SocketAddr,
    /// Folder of the payout table.
    pub data_dir: PathBuf,
    /// File with the key of the account that sends transactions: 64 hexadecimal digits, readable by
    /// its owner alone.
    pub sender_key_file: PathBuf,
    /// JSON-RPC address of a chain node.
    pub chain_url: String,
    /// The market's description, as written when it was deployed.
    pub deployment_file: PathBuf,
    /// How often to look for news on the chain, in milliseconds.
    #[serde(default = "default_poll_ms")]
    pub poll_ms: u64,
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

fn default_poll_ms() -> u64 {
    1_000
}

impl ServiceConfig for ExchangeConfig {
    const SERVICE: &'static str = "exchange";

    fn observe(&self) -> &ObserveConfig {
        &self.observe
    }

    fn check(&self, findings: &mut Findings) {
        self.front.check(Role::Exchange, self.listen, findings);
        findings.folder("data_dir", &self.data_dir);
        findings.check("sender_key_file", read_key_file(&self.sender_key_file).map(drop));
        findings.url("chain_url", &self.chain_url, &["http", "https"]);
        findings.check("deployment_file", read_deployment(&self.deployment_file).map(drop));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_configuration_parses_and_misspelled_keys_do_not() {
        let text = include_str!("../config.example.toml");
        let config: ExchangeConfig = toml::from_str(text).expect("it parses");
        assert_eq!(config.poll_ms, default_poll_ms());
        assert!(toml::from_str::<ExchangeConfig>(&text.replace("chain_url", "chain_uri")).is_err());
    }
}
