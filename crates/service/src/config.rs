//! Configuration files.

use serde::de::DeserializeOwned;
use std::{fs, path::Path};

/// A configuration file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read configuration {path}: {source}")]
    Read {
        /// Path as given.
        path: String,
        /// Cause.
        source: std::io::Error,
    },
    /// The file is not valid TOML or has unknown or missing keys.
    #[error("configuration {path} is not valid: {source}")]
    Parse {
        /// Path as given.
        path: String,
        /// Cause, with line and column.
        source: Box<toml::de::Error>,
    },
}

/// Reads a TOML configuration file into `T`.
pub fn read_config<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|source| ConfigError::Read { path: name.clone(), source })?;
    toml::from_str(&text).map_err(|source| ConfigError::Parse { path: name, source: Box::new(source) })
}
