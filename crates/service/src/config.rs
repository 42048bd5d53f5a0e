//! Configuration: a TOML file, overridden key by key by the environment.
//!
//! The `config` crate merges the two, because it lets the environment reach nested keys and lists and
//! names the source of a value that does not fit.

use config::{Config, Environment, File, FileFormat};
use serde::de::DeserializeOwned;
use std::{collections::BTreeMap, fs, path::Path};

/// Between the parts of a nested key in the name of an environment variable.
const NESTING: &str = "__";

/// A configuration that cannot be used.
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
    /// File or environment are not valid, or have unknown or missing keys.
    #[error(
        "configuration {path} with the {prefix}_* variables of the environment is not valid: {source}; correct that key"
    )]
    Invalid {
        /// Path as given.
        path: String,
        /// Beginning of the variables that count.
        prefix: String,
        /// Cause, with the key and where its value comes from.
        source: Box<config::ConfigError>,
    },
}

/// Beginning of the environment variables that override the configuration of `service`:
/// `LOCUS_ARCHIVE` for `archive`.
pub fn environment_prefix(service: &str) -> String {
    format!("LOCUS_{}", service.to_uppercase())
}

/// Reads the configuration of `service` from a TOML file and the environment. Key `a.b` is overridden by
/// `LOCUS_<SERVICE>_A__B`; the values of `lists` are separated by commas there.
///
/// # Errors
/// [`ConfigError`], also for variables with the service's prefix that name no key.
pub fn read_config<T: DeserializeOwned>(service: &str, path: &Path, lists: &[&str]) -> Result<T, ConfigError> {
    read_with(service, path, lists, None)
}

fn read_with<T: DeserializeOwned>(
    service: &str,
    path: &Path,
    lists: &[&str],
    variables: Option<BTreeMap<String, String>>,
) -> Result<T, ConfigError> {
    let name = path.display().to_string();
    let prefix = environment_prefix(service);
    let text = fs::read_to_string(path).map_err(|source| ConfigError::Read { path: name.clone(), source })?;
    let mut environment = Environment::with_prefix(&prefix)
        .prefix_separator("_")
        .separator(NESTING)
        .try_parsing(true)
        .list_separator(",")
        .source(variables.map(|variables| variables.into_iter().collect()));
    // With no key at all, every text would be taken for a list.
    environment = environment.with_list_parse_key("");
    for key in lists {
        environment = environment.with_list_parse_key(key);
    }
    let merged = Config::builder().add_source(File::from_str(&text, FileFormat::Toml)).add_source(environment).build();
    let parsed = merged.and_then(Config::try_deserialize);
    parsed.map_err(|source| ConfigError::Invalid { path: name, prefix, source: Box::new(source) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        listen: std::net::SocketAddr,
        url: String,
        keyholders: [String; 3],
        #[serde(default)]
        peers: BTreeMap<String, String>,
        #[serde(default)]
        limits: Limits,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, default)]
    struct Limits {
        uploads_max: u32,
        is_strict: bool,
    }

    const TEXT: &str = r#"
        listen = "127.0.0.1:1"
        url = "http://a"
        keyholders = ["x", "y", "z"]
        [limits]
        uploads_max = 4
    "#;

    fn read(variables: &[(&str, &str)]) -> Result<Sample, ConfigError> {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("c.toml");
        fs::write(&path, TEXT).expect("written");
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        read_with("archive", &path, &["keyholders"], Some(variables))
    }

    #[test]
    fn the_file_alone_is_enough() {
        let sample = read(&[("LOCUS_EXCHANGE_URL", "http://other"), ("LOCUS_ARCHIVES", "1")]).expect("valid");
        assert_eq!((sample.url.as_str(), sample.limits.uploads_max), ("http://a", 4));
    }

    #[test]
    fn the_environment_overrides_plain_nested_and_list_keys() {
        let sample = read(&[
            ("LOCUS_ARCHIVE_URL", "http://b,c"),
            ("LOCUS_ARCHIVE_KEYHOLDERS", "p,q,r"),
            ("LOCUS_ARCHIVE_PEERS__2", "http://two"),
            ("LOCUS_ARCHIVE_LIMITS__UPLOADS_MAX", "9"),
            ("LOCUS_ARCHIVE_LIMITS__IS_STRICT", "true"),
        ])
        .expect("valid");
        assert_eq!(sample.url, "http://b,c");
        assert_eq!(sample.keyholders, ["p", "q", "r"]);
        assert_eq!(sample.peers.get("2").map(String::as_str), Some("http://two"));
        assert_eq!(sample.limits, Limits { uploads_max: 9, is_strict: true });
    }

    #[test]
    fn misspelled_variables_and_wrong_types_are_refused_by_name() {
        let misspelled = read(&[("LOCUS_ARCHIVE_URI", "http://b")]).expect_err("no such key").to_string();
        assert!(misspelled.contains("uri") && misspelled.contains("LOCUS_ARCHIVE_*"), "{misspelled}");
        let wrong = read(&[("LOCUS_ARCHIVE_LIMITS__UPLOADS_MAX", "many")]).expect_err("no number").to_string();
        assert!(wrong.contains("uploads_max") && wrong.contains("environment"), "{wrong}");
    }
}
