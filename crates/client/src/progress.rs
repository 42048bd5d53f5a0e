//! How far long work has come.

use std::fmt;

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Reading genotypes and committing to them.
    Committing,
    /// Encrypting and uploading; counts bodies.
    Uploading,
    /// Encrypting, proving and uploading; counts bodies.
    Proving,
    /// The archive stores what was uploaded.
    Storing,
    /// The keyholders check seeds against bodies.
    CheckingKeys,
    /// The keyholders sign.
    Attesting,
    /// The registration is put on the chain.
    Registering,
    /// Waiting until the chain cannot take it back.
    WaitingForFinality,
    /// The archive makes the datasets readable.
    Publishing,
    /// The offer is put on the chain.
    Offering,
    /// Sharing attributes among the keyholders; counts datasets, three times.
    SharingAttributes,
    /// The keyholders check the shares of attributes.
    CheckingAttributes,
    /// The keyholders agree on who is counted.
    AgreeingOnCohort,
    /// The aggregator sums ciphertexts.
    Summing,
    /// The keyholders find out, without seeing it, who is selected.
    Filtering,
    /// The keyholders release their shares.
    Releasing,
    /// The cohort is proven on the chain.
    ProvingCohort,
    /// The contributors are paid.
    Settling,
    /// Fetching what the cohort's ciphertexts add up to.
    Opening,
    /// Something that this client has no word for.
    Working,
}

impl Stage {
    /// The stage of an upload that the archive names.
    pub(crate) fn of_upload(name: &str) -> Self {
        match name {
            "storing" => Self::Storing,
            "checking keys" => Self::CheckingKeys,
            "attesting" => Self::Attesting,
            _ => Self::Working,
        }
    }

    /// The stage of an enrolment of attributes that the archive names.
    pub(crate) fn of_attributes(name: &str) -> Self {
        match name {
            "sharing" => Self::SharingAttributes,
            "checking" => Self::CheckingAttributes,
            _ => Self::Working,
        }
    }

    /// The stage of an answer that the query service names.
    pub(crate) fn of_answer(name: &str) -> Self {
        match name {
            "waiting for finality" => Self::WaitingForFinality,
            "agreeing on the cohort" => Self::AgreeingOnCohort,
            "summing" => Self::Summing,
            "filtering" => Self::Filtering,
            "releasing" => Self::Releasing,
            "proving the cohort" => Self::ProvingCohort,
            "settling" => Self::Settling,
            _ => Self::Working,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Committing => "committing",
            Self::Uploading => "encrypting and uploading",
            Self::Proving => "proving and uploading",
            Self::Storing => "storing",
            Self::CheckingKeys => "checking keys",
            Self::Attesting => "attesting",
            Self::Registering => "registering",
            Self::WaitingForFinality => "waiting for finality",
            Self::Publishing => "publishing",
            Self::Offering => "offering",
            Self::SharingAttributes => "sharing attributes",
            Self::CheckingAttributes => "checking shares",
            Self::AgreeingOnCohort => "agreeing on the cohort",
            Self::Summing => "summing",
            Self::Filtering => "filtering",
            Self::Releasing => "releasing",
            Self::ProvingCohort => "proving the cohort",
            Self::Settling => "settling",
            Self::Opening => "fetching the cohort's sums",
            Self::Working => "working",
        })
    }
}

/// Receives progress; called from several threads, often, and must return at once.
pub trait Progress: Send + Sync {
    /// `done` of `total` pieces of a stage are finished; a total of 0 means unknown.
    fn report(&self, stage: Stage, done: u64, total: u64);
}

/// Every function of these arguments receives progress.
impl<F: Fn(Stage, u64, u64) + Send + Sync> Progress for F {
    fn report(&self, stage: Stage, done: u64, total: u64) {
        self(stage, done, total);
    }
}

/// Ignores progress.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn report(&self, _stage: Stage, _done: u64, _total: u64) {}
}
