#![doc = include_str!("../SPEC.md")]

mod book;
mod cohort;
mod domain;
mod entropy;
mod error;
mod keys;
mod mirror;
mod panel;
mod roots;
mod turn;

pub use book::{BookError, CohortBook};
pub use cohort::{CohortProver, CohortRefusals, Obstacle, ProvenCohort, refusals};
pub use error::ProverError;
pub use keys::{Circuits, MarketKeys};
pub use mirror::PanelMirror;
pub use panel::{NextBatch, PanelError, PanelTree, ROOTS_KEPT};
pub use roots::{Advanced, ProvenBatch, RootProgress, RootProver, Submitted};
pub use turn::ProvingTurn;
