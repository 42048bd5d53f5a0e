//! Contributors: encrypt genomes at home, have them registered, put them on offer.
//!
//! Everything random derives from the master secret and the genotypes, the number of the batch too.
//! So the same people enrolled again give the same bytes, and an enrolment that was cut off goes on
//! by running it again.

mod attributes;
mod batch;
mod produce;
mod records;
mod submit;

pub use attributes::{AttributeError, AttributeInput, AttributesAdded, add_attributes};
pub(crate) use records::EnrolmentEvent;
pub use records::{AttributesRecord, EnrolledDataset, EnrolmentRecord, EnrolmentRecords};
pub use submit::{EnrolOptions, Enrolled, enrol};
#[cfg(test)]
pub(crate) use {
    batch::{BatchIdentity, PreparedBatch},
    produce::UploadJob,
};

use crate::keystore::AccreditorKeys;
use locus_commitment::{Address, Digest32, PersonTag};
use locus_genomics::Panel;
use locus_intake::{Cohort, GenotypeSpool, IntakeError};
use locus_ledger::AccountError;
use locus_rlwe::RlweError;
use locus_sharing::SharingError;
use std::{error::Error, sync::Arc};

/// Most datasets of one registration.
pub const BATCH_DATASETS_MAX: u32 = locus_privacy::BATCH_SIZE_MAX;

/// Genotypes to enrol.
#[derive(Debug, Clone)]
pub struct EnrolInput {
    /// The panel that they are aligned to.
    pub panel: Arc<Panel>,
    /// The genotypes.
    pub genotypes: Arc<GenotypeSpool>,
    /// Name of each individual in the source, in the order of the genotypes. Names stay here.
    pub samples: Vec<String>,
}

impl EnrolInput {
    /// What was read from a file, with the panel it was read against.
    pub fn of_cohort(panel: Arc<Panel>, cohort: Cohort) -> Self {
        let samples = cohort.samples.iter().map(|sample| sample.as_str().to_owned()).collect();
        Self { panel, genotypes: Arc::new(cohort.spool), samples }
    }

    /// The place of an individual by name.
    pub fn position(&self, sample: &str) -> Option<u32> {
        u32::try_from(self.samples.iter().position(|name| name == sample)?).ok()
    }
}

/// Who enrols.
#[derive(Clone)]
pub enum Contributor {
    /// A person enrols one genome, their own; the budget is that of the account.
    Person {
        /// Their place in the genotypes.
        individual: u32,
    },
    /// An institution enrols everybody in the genotypes, in batches, and an accreditor vouches.
    Biobank {
        /// Who vouches.
        accreditor: Arc<dyn Accreditor>,
    },
}

/// Someone on the market's list who vouches that datasets are what they claim to be. It names the
/// people, so that nobody counts twice and each has one privacy budget.
pub trait Accreditor: Send + Sync {
    /// The account on the list.
    fn address(&self) -> Address;

    /// The tag of the person whom the source calls `sample`.
    fn person_tag(&self, sample: &str) -> PersonTag;

    /// Signs the accreditation of a registration.
    ///
    /// # Errors
    /// Why the accreditor refuses or cannot sign.
    fn sign(&self, accreditation: &Digest32) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>>;
}

impl Accreditor for AccreditorKeys {
    fn address(&self) -> Address {
        self.account().address()
    }

    fn person_tag(&self, sample: &str) -> PersonTag {
        Self::person_tag(self, sample)
    }

    fn sign(&self, accreditation: &Digest32) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
        Ok(self.account().sign_digest(accreditation)?.to_bytes().to_vec())
    }
}

/// Why genotypes cannot be enrolled.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// Nobody to enrol.
    #[error("there is nobody to enrol: the source has no individuals")]
    Nobody,
    /// Genotypes of another panel.
    #[error("the genotypes are not aligned to this panel: read the source against the panel that is enrolled")]
    OtherPanel,
    /// Names and genotypes do not correspond.
    #[error("the source names {samples} individuals and has genotypes of {people}: read it again")]
    SampleCount {
        /// Names.
        samples: usize,
        /// Individuals.
        people: u32,
    },
    /// One name twice.
    #[error("individual {0} occurs twice: give each person one row, a person counts once")]
    DuplicateSample(String),
    /// No such individual.
    #[error("the source has no individual number {individual}: it has {people}")]
    NoSuchIndividual {
        /// Asked for, from 0.
        individual: u32,
        /// In the source.
        people: u32,
    },
    /// A missing call on a panel without a missing plane.
    #[error(
        "individual {sample} has missing calls, but the panel declares complete calls: build the panel without that declaration"
    )]
    MissingCalls {
        /// The individual.
        sample: String,
    },
    /// The genotypes cannot be read.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// A body cannot be proven.
    #[error(transparent)]
    Proofs(#[from] locus_proofs::ProofsError),
    /// A person without a prover.
    #[error("a person's genome is enrolled with proofs: load the market's proving key first")]
    ProverMissing,
    /// Encryption failed.
    #[error(transparent)]
    Rlwe(#[from] RlweError),
    /// Sealing failed.
    #[error(transparent)]
    Sharing(#[from] SharingError),
    /// The registrant's key failed.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// No randomness to seal with.
    #[error(transparent)]
    Entropy(#[from] crate::entropy::EntropyError),
    /// The accreditor does not sign.
    #[error("the accreditor did not sign: {0}")]
    Accreditor(#[source] Box<dyn Error + Send + Sync>),
    /// The archive answered for something else.
    #[error(
        "the archive's receipt is for another registration than the one uploaded: report it to the market's operators"
    )]
    OtherReceipt,
    /// An attestation is not the keyholder's.
    #[error(
        "the attestation of keyholder {keyholder} is not valid: if its committee has changed, remove the remembered market and enrol again"
    )]
    Attestation {
        /// The keyholder.
        keyholder: u8,
    },
    /// The receiver of an upload went away; its own error says why.
    #[error("the upload was cut off: run the same command again")]
    Stopped,
}
