//! What an aggregator can be told.

use crate::{cluster::ClusterConfig, start::read_deployment};
use locus_ledger::read_key_file;
use locus_service::{Findings, FrontConfig, ObserveConfig, Role, ServiceConfig};
use locus_store::open_store;
use serde::Deserialize;
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

/// The configuration file of an aggregator that runs by itself.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AggregatorConfig {
    /// TCP address to listen on.
    pub listen: SocketAddr,
    /// Folder for the aggregator's own database.
    pub data_dir: PathBuf,
    /// Where the archive keeps ciphertexts; the aggregator only reads.
    pub store_url: String,
    /// Options of the store's back end, for example `region`.
    #[serde(default)]
    pub store_options: BTreeMap<String, String>,
    /// Addresses of keyholders 1, 2 and 3.
    pub keyholders: [String; 3],
    /// Address of the exchange.
    pub exchange: String,
    /// JSON-RPC address of a chain node.
    pub chain_url: String,
    /// The market's description, as written when it was deployed.
    pub deployment_file: PathBuf,
    /// Key of the account that pays for sending proofs, in a market that settles on proven cohorts.
    #[serde(default)]
    pub sender_key_file: Option<PathBuf>,
    /// Folder with the keys to prove with, in such a market. Test networks' keys are made there when they are
    /// missing, which takes a minute; without it they are kept in the data folder.
    #[serde(default)]
    pub proving_keys_dir: Option<PathBuf>,
    /// Folder with the keys that disclosures are checked with; test networks have development keys without it.
    #[serde(default)]
    pub proof_keys_dir: Option<PathBuf>,
    /// A cluster for large sums; without it all are computed here.
    #[serde(default)]
    pub cluster: Option<ClusterConfig>,
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

impl ServiceConfig for AggregatorConfig {
    const SERVICE: &'static str = "aggregator";
    const LISTS: &'static [&'static str] = &["keyholders"];

    fn observe(&self) -> &ObserveConfig {
        &self.observe
    }

    fn check(&self, findings: &mut Findings) {
        self.front.check(Role::Aggregator, self.listen, findings);
        findings.folder("data_dir", &self.data_dir);
        findings.check("store_url", open_store(&self.store_url, self.store_options.clone()).map(drop));
        findings.url("chain_url", &self.chain_url, &["http", "https"]);
        findings.check("deployment_file", read_deployment(&self.deployment_file).map(drop));
        if let Some(file) = &self.sender_key_file {
            findings.check("sender_key_file", read_key_file(file).map(drop));
        }
        for keyholder in &self.keyholders {
            self.front.check_url("keyholders", keyholder, findings);
        }
        self.front.check_url("exchange", &self.exchange, findings);
        if let Some(cluster) = &self.cluster {
            self.front.check_url("cluster.url", &cluster.url, findings);
        }
    }
}

/// Limits of an aggregator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Orders that are answered at the same time; others wait.
    pub answers_max: u32,
    /// Quotes that are computed at the same time; others wait.
    pub quotes_max: u32,
    /// Most ranges of a selection.
    pub selection_ranges_max: u32,
    /// Longest wait for an order to become final, in seconds.
    pub finality_wait_s: u64,
    /// Longest wait for a keyholder's preparation, in seconds; after that it counts as down.
    pub prepare_wait_s: u64,
    /// Longest wait for a keyholder's commitment, in seconds: it sums key shares meanwhile.
    pub commit_wait_s: u64,
    /// Longest wait for one message of a keyholder's release, and until a caller has read one of ours, in seconds.
    pub release_wait_s: u64,
    /// Longest wait until two keyholders can sign a settlement and the exchange has submitted it,
    /// in seconds.
    pub settle_wait_s: u64,
    /// Time for which answers are kept to be sent again, in seconds.
    pub answer_retention_s: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            answers_max: 4,
            quotes_max: 8,
            selection_ranges_max: 65_536,
            finality_wait_s: 60,
            prepare_wait_s: 15,
            commit_wait_s: 300,
            release_wait_s: 60,
            settle_wait_s: 120,
            answer_retention_s: 365 * 24 * 3600,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_configuration_is_complete_and_names_the_default_limits() {
        let config: AggregatorConfig = toml::from_str(include_str!("../config.example.toml")).expect("it parses");
        assert_eq!(config.limits, Limits::default());
    }
}
