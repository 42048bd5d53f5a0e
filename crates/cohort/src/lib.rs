#![doc = include_str!("../SPEC.md")]

mod disclosure;
mod eligible;
mod members;
mod plan;
mod proven;
mod requirements;
mod selection;

pub use disclosure::{
    DISCLOSURE_BYTES_MAX, DisclosureBook, DisclosureDocument, DisclosureRefusal, OfferedDisclosure, disclosure_digest,
    offer_disclosure_context,
};
pub use eligible::{CohortQuestion, Eligible, ExclusionReason, Market, eligible, eligible_for_any_blocks};
pub use members::{Cohort, CohortRefusal, Member};
pub use plan::{
    AnswerPlan, BlockPlan, DST_SEALED_SHARE, FilterShape, NOISE_EPOCH, NamedCohort, PanelShape, PlanRefusal,
    SHARE_DIGEST_BYTES, SelectionShape, TOTAL_BYTES, attributes_digest, sealed_share_associated_data, share_digest,
    vouched_share,
};
pub use proven::{cohort_statement, order_day, settlement_signing_hash};
pub use requirements::{CLAIMS_MAX, ClaimsError, DisclosedClaim, Requirements, predicate_digest};
pub use selection::{
    RegisteredDataset, RegisteredGroups, Selection, SelectionError, ShardSelection, groups_of_registrations,
};
