//! Why a command stops, and with which exit code.

use crate::{
    commands::{DeployError, RootsError},
    node::NodeError,
};
use locus_client::{
    ClientError, FileError, KeystoreError,
    enrol::{AttributeError, EnrolError},
    research::{AnswerError, AssociationError},
};
use locus_genomics::{DataUseError, PanelDecodeError, PanelTextError, SelectionError};
use locus_intake::IntakeError;
use locus_ledger::Amount;
use locus_service::{AuthorityError, ServeError, TlsError};
use std::{
    io,
    path::{Path, PathBuf},
};

/// A command that did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The command line asks for something that cannot be.
    #[error("{0}")]
    Usage(String),
    /// The client refused or was refused.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Genotypes or sites cannot be read.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// A key of the proofs cannot be used.
    #[error(transparent)]
    Proofs(#[from] locus_proofs::ProofsError),
    /// Keys of a market that settles on proven cohorts cannot be used.
    #[error("{0}")]
    Proving(Box<locus_aggregator::ProverError>),
    /// The market does not start or stopped by itself.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The market is not deployed.
    #[error(transparent)]
    Deploy(#[from] DeployError),
    /// A root is not moved or shown.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// A certificate is not issued.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// Authorities cannot be read.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A service cannot be addressed.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// A variant list does not fit the panel.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// Data use terms contradict each other.
    #[error(transparent)]
    DataUse(#[from] DataUseError),
    /// A file cannot be read or written.
    #[error("cannot use {path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is no panel.
    #[error("{path} is not a panel file ({source}): make one with `locus panel build` or fetch one with `locus panel fetch`", path = path.display())]
    PanelFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: PanelDecodeError,
    },
    /// No such panel anywhere.
    #[error("{0} is neither a panel file nor the digest or name of a published panel: see `locus panel list`")]
    NoSuchPanel(String),
    /// Several panels of one name.
    #[error("several published panels are called {0}: give the digest, see `locus panel list`")]
    AmbiguousPanel(String),
    /// Nobody has attributes.
    #[error("no dataset of this market has attributes yet: ask about whole cohorts with `locus query counts`")]
    NoSchema,
    /// The quote is above the limit.
    #[error(
        "the answer costs {price} tokens, more than --max-price {max_price}: nothing was paid; raise it or ask about fewer people"
    )]
    TooExpensive {
        /// What it costs.
        price: Amount,
        /// What is offered.
        max_price: Amount,
    },
    /// The table is not what the answer says.
    #[error("{table} is not what the answer says: the first difference is in line {line}", table = table.display())]
    OtherTable {
        /// The table.
        table: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// An individual that the enrolment does not name.
    #[error(
        "registration {registration} has no individual called {sample} in the records of this folder: see `locus export`"
    )]
    UnknownSample {
        /// The registration.
        registration: u64,
        /// As given.
        sample: String,
    },
    /// A file is no attribute schema.
    #[error("{path} is not an attribute schema: {source}", path = path.display())]
    SchemaFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: locus_phenotype::SchemaError,
    },
    /// The demo found something that is not as it must be.
    #[error("the demo failed: {0}")]
    Demo(String),
    /// The runtime does not start.
    #[error("the runtime does not start: {0}")]
    Runtime(#[source] io::Error),
    /// Standard output is closed or full.
    #[error("cannot write the result: {0}")]
    Output(#[source] io::Error),
    /// A background task was cut off.
    #[error("the work was interrupted: run the same command again")]
    Interrupted,
}

/// Errors of the client's parts are errors of the client.
macro_rules! through_client {
    ($($part:ty),*) => {
        $(impl From<$part> for CommandError {
            fn from(error: $part) -> Self {
                Self::Client(error.into())
            }
        })*
    };
}

through_client!(KeystoreError, FileError, EnrolError, AttributeError, AnswerError, AssociationError);

impl From<PanelTextError> for CommandError {
    fn from(error: PanelTextError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl CommandError {
    /// Why the file at `path` cannot be used.
    pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::File { path, source }
    }

    /// 2 for a command line that cannot be, 1 for everything else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            _ => 1,
        }
    }
}
