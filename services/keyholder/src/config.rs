//! Configuration of a keyholder.

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
    /// Address to listen on, such as `127.0.0.1:7011`.
    pub listen: std::net::SocketAddr,
    /// JSON-RPC endpoint of this keyholder's own chain node.
    pub chain_url: String,
    /// The deployment's description, as written by the deployment.
    pub deployment_file: PathBuf,
    /// URLs of the other keyholders, by index.
    pub peers: BTreeMap<String, String>,
    /// Whether to serve reflection; only for development.
    #[serde(default)]
    pub reflection: bool,
}
