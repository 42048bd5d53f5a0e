//! Configuration of an aggregator.

use serde::Deserialize;
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

/// Configuration of the aggregator's own process.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AggregatorConfig {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Folder of kept answers.
    pub data_dir: PathBuf,
    /// Where the archive keeps ciphertexts; read-only access is enough.
    pub store_url: String,
    /// Options of the store's back end.
    #[serde(default)]
    pub store_options: BTreeMap<String, String>,
    /// JSON-RPC endpoint of a chain node.
    pub chain_url: String,
    /// The deployment's description.
    pub deployment_file: PathBuf,
    /// URLs of keyholders 1, 2 and 3.
    pub keyholders: [String; 3],
    /// URL of the exchange.
    pub exchange: String,
    /// Whether to serve reflection; only for development.
    #[serde(default)]
    pub reflection: bool,
}
