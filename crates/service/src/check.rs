//! What `--check-config` finds out before anything starts.

use locus_ledger::is_private_file;
use std::{
    fmt::Display,
    fs::{self, OpenOptions},
    net::SocketAddr,
    path::Path,
};
use url::Url;

/// Problems of a configuration, each with its key and what to do. Values of secrets are never part of one.
#[derive(Debug, Default)]
pub struct Findings(Vec<String>);

impl Findings {
    /// A configuration without problems so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// The problems, in the order found.
    pub fn problems(&self) -> &[String] {
        &self.0
    }

    /// Notes a problem of `key`.
    pub fn problem(&mut self, key: &str, what: impl Display) {
        self.0.push(format!("{key}: {what}"));
    }

    /// Notes the error of a check, if it is one.
    pub fn check<T, E: Display>(&mut self, key: &str, outcome: Result<T, E>) -> Option<T> {
        outcome.map_err(|error| self.problem(key, error)).ok()
    }

    /// `path` must be a readable file.
    pub fn file(&mut self, key: &str, path: &Path) {
        if let Err(error) = fs::File::open(path)
            .and_then(|file| file.metadata())
            .and_then(|metadata| if metadata.is_file() { Ok(()) } else { Err(std::io::ErrorKind::InvalidInput.into()) })
        {
            self.problem(key, format!("{} cannot be read as a file ({error}): correct the path", path.display()));
        }
    }

    /// `path` must be a readable file that is private (clause 15).
    pub fn private_file(&mut self, key: &str, path: &Path) {
        self.file(key, path);
        if fs::metadata(path).is_ok_and(|metadata| !is_private_file(&metadata)) {
            self.problem(key, format!("{} can be read by others: run `chmod 600` on it", path.display()));
        }
    }

    /// `path` must be a folder in which files can be made; it is made when it is not there.
    pub fn folder(&mut self, key: &str, path: &Path) {
        let probe = path.join(".check-config");
        let made = fs::create_dir_all(path)
            .and_then(|()| OpenOptions::new().write(true).create(true).truncate(true).open(&probe))
            .and_then(|_| fs::remove_file(&probe));
        if let Err(error) = made {
            self.problem(key, format!("{} is no folder that can be written to: {error}", path.display()));
        }
    }

    /// `text` must be a URL with a host and one of the `schemes`.
    pub fn url(&mut self, key: &str, text: &str, schemes: &[&str]) {
        match Url::parse(text) {
            Ok(url) if schemes.contains(&url.scheme()) && url.has_host() => {}
            _ => self.problem(key, format!("{text} is no address: write it as {}://HOST:PORT", schemes.join(" or "))),
        }
    }

    /// `address` must be free for a server.
    pub fn free_address(&mut self, key: &str, address: SocketAddr) {
        if let Err(error) = std::net::TcpListener::bind(address) {
            self.problem(key, format!("{address} cannot be listened on ({error}): stop what uses it, or take another"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn every_kind_of_problem_is_found_and_named_by_its_key() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("key");
        fs::write(&file, b"secret").expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("opened");
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");

        let mut findings = Findings::new();
        findings.file("a", &dir.path().join("missing"));
        findings.file("b", dir.path());
        findings.private_file("c", &file);
        findings.folder("d", &file);
        for wrong in ["localhost:80", "ftp://host", "", "http://"] {
            findings.url("e", wrong, &["http", "https"]);
        }
        findings.free_address("f", taken.local_addr().expect("an address"));
        let keys: Vec<&str> = findings.problems().iter().filter_map(|problem| problem.split(':').next()).collect();
        assert_eq!(keys, ["a", "b", "c", "d", "e", "e", "e", "e", "f"]);
        assert!(!findings.problems().concat().contains("secret"));
    }

    #[test]
    fn what_is_right_gives_no_problem() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("key");
        fs::write(&file, b"secret").expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("closed");
        let mut findings = Findings::new();
        findings.private_file("a", &file);
        findings.folder("b", &dir.path().join("new/folder"));
        findings.url("c", "https://host:7000", &["http", "https"]);
        findings.free_address("d", "127.0.0.1:0".parse().expect("an address"));
        assert_eq!(findings.problems(), [] as [String; 0]);
    }
}
