//! Why a root is not moved or a cohort not proven.

use crate::{book::BookError, cohort::CohortRefusals, panel::PanelError};
use locus_cohort::SelectionError;
use locus_commitment::field::FieldBytes;
use locus_genomics::PanelDigest;
use locus_ledger::LedgerError;
use locus_proofs::{ProofsError, cohort::CohortViolation, update::UpdateViolation};

/// Why a prover stops.
#[derive(Debug, thiserror::Error)]
pub enum ProverError {
    /// The chain cannot be read or refuses.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A key cannot be used or a proof not be made.
    #[error(transparent)]
    Proofs(#[from] ProofsError),
    /// The chain's queues and roots do not follow from each other.
    #[error(transparent)]
    Panel(#[from] PanelError),
    /// The next events lead to no root.
    #[error("the next events of the queues cannot be applied: {0}")]
    Update(#[from] UpdateViolation),
    /// Some datasets cannot be in the cohort.
    #[error(transparent)]
    Refused(#[from] CohortRefusals),
    /// The datasets are no selection.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// The statement is not true of the cohort.
    #[error("the statement does not hold: {0}")]
    Statement(#[from] CohortViolation),
    /// The record of proven cohorts cannot be used.
    #[error(transparent)]
    Book(#[from] BookError),
    /// The sizes of the circuits do not fit.
    #[error("the circuits are for trees of {update} and {cohort} levels: they must have one depth")]
    Depths {
        /// Of the update circuit.
        update: usize,
        /// Of the cohort circuit.
        cohort: usize,
    },
    /// The policy has bits that no policy has.
    #[error("the policy {0:#x} is none: take the bits of a CohortPolicy")]
    Policy(u128),
    /// The prover is for another panel.
    #[error("this prover is for panel {expected}, not for {found}")]
    OtherPanel {
        /// The prover's.
        expected: PanelDigest,
        /// The statement's.
        found: PanelDigest,
    },
    /// The tree of this root is not kept.
    #[error("root {sequence} is not among the last roots up to {present} that are kept: take a newer one")]
    UnknownRoot {
        /// The root asked for.
        sequence: u64,
        /// The present root.
        present: u64,
    },
    /// The chain has another root than the events lead to.
    #[error("root {sequence} is {found:?} on the chain, but its events lead to {expected:?}: connect to another node")]
    OtherRoot {
        /// Its number.
        sequence: u64,
        /// Where the events lead.
        expected: FieldBytes,
        /// What the chain says.
        found: FieldBytes,
    },
    /// Blocks were reorganised away again and again while they were read.
    #[error("the chain changes while it is read: try again")]
    Unsettled,
    /// The system gives no randomness.
    #[error("the operating system gives no randomness: {0}")]
    Entropy(#[from] getrandom::Error),
    /// A blocking task was cut off.
    #[error("the proof was interrupted: ask for it again")]
    Interrupted,
}
