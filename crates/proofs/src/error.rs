//! What can go wrong with proofs and keys.

use std::path::PathBuf;
use thiserror::Error;

/// Why a proof, key or statement was refused. No variant carries a secret.
#[derive(Debug, Error)]
pub enum ProofsError {
    /// The witness does not satisfy the statement.
    #[error("the witness violates clause {clause}")]
    Unsatisfied {
        /// The first clause violated.
        clause: &'static str,
    },
    /// A proof does not verify.
    #[error("the proof of {0} does not verify")]
    Rejected(&'static str),
    /// A key of another circuit.
    #[error("the proving key belongs to another circuit: make or load the key of this one")]
    WrongKey,
    /// A circuit beyond the field's roots of unity.
    #[error("a circuit with a domain of {0} rows is too large")]
    CircuitTooLarge(usize),
    /// Setup secrets that are zero.
    #[error("the setup secrets are degenerate: draw others")]
    DegenerateSetup,
    /// Bytes of the wrong length.
    #[error("the bytes have the wrong length")]
    Truncated,
    /// A number not below its field's order.
    #[error("a number is not canonical: it must be below the order of its field")]
    NotCanonical,
    /// A point that is neutral, off its curve or outside its subgroup.
    #[error("a point is not in its group")]
    BadPoint,
    /// A statement or witness with parts of the wrong size.
    #[error("{0} has the wrong size for this circuit")]
    WrongSize(&'static str),
    /// A carry of an encryption does not fit its range (probability 2^-25 a block).
    #[error("a carry of panel block {block} is out of range: encrypt the dataset under its next version")]
    CarryOutOfRange {
        /// The panel block.
        block: u32,
    },
    /// A file that is no key file of this version.
    #[error("{0} is no key file of this version: delete it and make the key again")]
    KeyFile(PathBuf),
    /// A key file whose content is not what its name and id say.
    #[error("{path} holds another key than {expected}: delete it and make the key again")]
    KeyMismatch {
        /// The file.
        path: PathBuf,
        /// The id asked for.
        expected: String,
    },
    /// A folder without the keys of a market.
    #[error("{0} lacks keys of this market's circuits: copy those of its ceremony there")]
    Missing(PathBuf),
    /// A development key where a production key is needed.
    #[error("the key of {0} is a development key: its secrets are public, use a key from a ceremony")]
    DevelopmentKey(String),
    /// A file of another tool that cannot be read.
    #[error("the {format} file is malformed: {reason}")]
    Foreign {
        /// The format.
        format: &'static str,
        /// What is wrong.
        reason: &'static str,
    },
    /// Reading or writing failed.
    #[error("cannot access {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}
