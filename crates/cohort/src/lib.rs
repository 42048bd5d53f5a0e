#![doc = include_str!("../SPEC.md")]

mod eligible;
mod members;
mod plan;

pub use eligible::{Eligible, ExclusionReason, eligible};
pub use members::{Cohort, CohortRefusal, Member};
pub use plan::{
    AnswerPlan, BlockPlan, DST_SEALED_SHARE, NOISE_EPOCH, NamedCohort, PanelShape, PlanRefusal, SHARE_DIGEST_BYTES,
    sealed_share_associated_data, share_digest, vouched_share,
};
