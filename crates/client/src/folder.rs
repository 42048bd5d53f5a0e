//! Where the client keeps its own files.

use crate::enrol::EnrolmentRecords;
use locus_ledger::OrderId;
use std::path::{Path, PathBuf};

/// The layout of a client's data folder, clause 2 of the specification.
#[derive(Debug, Clone)]
pub struct DataFolder {
    root: PathBuf,
}

impl DataFolder {
    /// The folder `root`, which need not exist.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_path_buf() }
    }

    /// The keys.
    pub fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    /// The remembered market.
    pub fn network_file(&self) -> PathBuf {
        self.root.join("network.bin")
    }

    /// What was enrolled from here.
    pub fn enrolments(&self) -> EnrolmentRecords {
        EnrolmentRecords::new(&self.root.join("enrolments.jsonl"))
    }

    /// Orders placed from here.
    pub fn orders(&self) -> PathBuf {
        self.root.join("orders")
    }

    /// The answer to an order.
    pub fn answer_file(&self, order: OrderId) -> PathBuf {
        self.root.join("answers").join(format!("{order}.answer"))
    }
}
