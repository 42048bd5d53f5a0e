//! What the processes of a cluster can be told.

use locus_service::{Findings, FrontConfig, ObserveConfig, Role, ServiceConfig};
use locus_store::open_store;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

/// Storage that every process of a cluster reaches.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StorageConfig {
    /// Where the archive keeps ciphertexts; a cluster only reads.
    pub(crate) store_url: String,
    /// Options of the store's back end, for example `region`.
    #[serde(default)]
    pub(crate) store_options: BTreeMap<String, String>,
    /// Where the scheduler leaves the selections of questions for the executors. Nothing there outlives its question.
    pub(crate) scratch_url: String,
    /// Options of its back end.
    #[serde(default)]
    pub(crate) scratch_options: BTreeMap<String, String>,
}

impl StorageConfig {
    fn check(&self, findings: &mut Findings) {
        findings.check("storage.store_url", open_store(&self.store_url, self.store_options.clone()).map(drop));
        findings.check("storage.scratch_url", open_store(&self.scratch_url, self.scratch_options.clone()).map(drop));
    }
}

/// The configuration file of a scheduler.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SchedulerConfig {
    /// Address at which the aggregator asks.
    pub(crate) listen: SocketAddr,
    /// Address at which executors ask for work. They are not authenticated there: only they may reach it.
    pub(crate) cluster_listen: SocketAddr,
    /// Storage.
    pub(crate) storage: StorageConfig,
    /// Longest time for a question, in seconds.
    #[serde(default = "default_query_s_max")]
    pub(crate) query_s_max: u64,
    /// In how many tasks a question is cut; twice as many as there are processors of executors is a good number.
    #[serde(default = "default_tasks")]
    pub(crate) tasks: usize,
    /// How it meets its callers.
    #[serde(default)]
    pub(crate) front: FrontConfig,
    /// How it is watched.
    #[serde(default)]
    pub(crate) observe: ObserveConfig,
}

fn default_query_s_max() -> u64 {
    60
}

fn default_tasks() -> usize {
    8
}

impl ServiceConfig for SchedulerConfig {
    const SERVICE: &'static str = "engine";

    fn observe(&self) -> &ObserveConfig {
        &self.observe
    }

    fn check(&self, findings: &mut Findings) {
        self.front.check(Role::Engine, self.listen, findings);
        self.storage.check(findings);
        if self.tasks == 0 {
            findings.check("tasks", Err::<(), _>("must be at least 1"));
        }
    }
}

/// The configuration file of an executor.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExecutorConfig {
    /// Name by which other executors reach this one.
    pub(crate) host: String,
    /// Port for partial sums; the next one is used as well.
    pub(crate) port: u16,
    /// Address to listen on.
    #[serde(default = "default_bind")]
    pub(crate) bind: IpAddr,
    /// Host and port of the scheduler's `cluster_listen`.
    pub(crate) scheduler_host: String,
    /// Its port.
    pub(crate) scheduler_port: u16,
    /// Tasks that run at the same time; all processors without it.
    #[serde(default)]
    pub(crate) processors: Option<usize>,
    /// Folder for partial sums: 64 KiB for each column and task of a question.
    pub(crate) work_dir: PathBuf,
    /// Storage.
    pub(crate) storage: StorageConfig,
    /// How it is watched.
    #[serde(default)]
    pub(crate) observe: ObserveConfig,
}

fn default_bind() -> IpAddr {
    IpAddr::V4(Ipv4Addr::LOCALHOST)
}

impl ServiceConfig for ExecutorConfig {
    const SERVICE: &'static str = "executor";

    fn observe(&self) -> &ObserveConfig {
        &self.observe
    }

    fn check(&self, findings: &mut Findings) {
        findings.folder("work_dir", &self.work_dir);
        self.storage.check(findings);
        if self.port == u16::MAX {
            findings.check("port", Err::<(), _>("the next port is used as well: use a lower one"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_configurations_parse() {
        let scheduler: SchedulerConfig = toml::from_str(include_str!("../scheduler.example.toml")).expect("it parses");
        assert_eq!((scheduler.query_s_max, scheduler.tasks), (default_query_s_max(), default_tasks()));
        let executor: ExecutorConfig = toml::from_str(include_str!("../executor.example.toml")).expect("it parses");
        assert_eq!((executor.bind, executor.scheduler_port), (default_bind(), scheduler.cluster_listen.port()));
    }

    #[test]
    fn the_configurations_of_the_manifest_parse() {
        let manifest = include_str!("../../../deploy/k8s/cluster.yaml");
        let file = |name: &str| {
            let (_, text) = manifest.split_once(&format!("\n  {name}: |\n")).expect("it is there");
            let lines = text.lines().take_while(|line| line.is_empty() || line.starts_with("    "));
            lines.map(|line| line.strip_prefix("    ").unwrap_or(line)).collect::<Vec<_>>().join("\n")
        };
        let scheduler: SchedulerConfig = toml::from_str(&file("scheduler.toml")).expect("it parses");
        let executor: ExecutorConfig = toml::from_str(&file("executor.toml")).expect("it parses");
        assert_eq!(executor.scheduler_port, scheduler.cluster_listen.port());
        assert_eq!(executor.storage.scratch_url, scheduler.storage.scratch_url);
    }
}
