//! What an exchange can be told.

use serde::Deserialize;
use std::{net::SocketAddr, path::PathBuf};

/// The configuration file of an exchange that runs by itself.
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
    /// The market.
    pub market: MarketConfig,
    /// Whether to describe the service by gRPC reflection.
    #[serde(default)]
    pub reflection: bool,
    /// Whether to log JSON lines.
    #[serde(default)]
    pub log_json: bool,
}

/// Where the market is.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarketConfig {
    /// JSON-RPC address of a chain node.
    pub rpc_url: String,
    /// File that names the market's contracts.
    pub contracts_file: PathBuf,
    /// How often to look for news, in milliseconds.
    #[serde(default = "default_poll_ms")]
    pub poll_ms: u64,
}

fn default_poll_ms() -> u64 {
    1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_configuration_parses_and_misspelled_keys_do_not() {
        let text = include_str!("../config.example.toml");
        let config: ExchangeConfig = toml::from_str(text).expect("it parses");
        assert_eq!(config.market.poll_ms, default_poll_ms());
        assert!(toml::from_str::<ExchangeConfig>(&text.replace("rpc_url", "rpc_uri")).is_err());
    }
}
