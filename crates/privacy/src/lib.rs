#![doc = include_str!("../SPEC.md")]

mod bernoulli;
mod budget;
mod cohort;
mod domain;
mod error;
mod exact;
mod floor;
mod gaussian;
mod parameters;
mod question;
pub mod report;
mod rho;
mod sigma;
mod uniform;

pub use budget::{
    BUDGET_YEAR_S, BudgetLeft, CHARGES_MAX, Charge, ChargeName, ChargeOutcome, ChargeRequest, PersonBudget,
};
pub use cohort::{CohortDigest, CohortDigestWriter, CohortEntry};
pub use error::PrivacyError;
pub use exact::{ExactCohort, ExactGroup, ExactMember, ExactRefinement};
pub use floor::MatchFloor;
pub use gaussian::{DiscreteGaussian, FLOODING_SIGMA_LOG2, FLOODING_SIGMA_SQUARED};
pub use parameters::{BATCH_SIZE_MAX, NetworkParameterValues, NetworkParameters, Tier, TierCaps};
pub use question::{AnswerDigest, LAYOUT_VERSION, PREDICATE_BYTES_MAX, PredicateBytes, Question, SlotMask, Tau};
pub use rho::{NOISE_DISTANCES, REKEYINGS_MAX, Rho, RhoCost};
pub use sigma::SigmaSquared;
pub use uniform::{UniformBytes, UniformWords};
