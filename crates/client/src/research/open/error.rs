//! Why an answer is not believed.

use super::SIGNATURES_MIN;
use locus_cohort::PlanRefusal;
use locus_ledger::Amount;
use locus_sharing::{KeyholderIndex, ShareIndex};
use std::path::PathBuf;

/// An answer that is not the one that was ordered and paid.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// The file is damaged or something else.
    #[error("{path} is not an undamaged answer file of this version: fetch the answer again, it costs nothing", path = path.display())]
    NotAnAnswerFile {
        /// The file.
        path: PathBuf,
    },
    /// The order was not answered yet.
    #[error("the file holds an order without an answer: fetch the answer first")]
    NotAnswered,
    /// Another market.
    #[error("the answer belongs to the market with registry {0}, not to this one: use the folder it was bought with")]
    OtherNetwork(locus_commitment::Address),
    /// Another panel.
    #[error("the order asks about panel {0}: give that panel")]
    OtherPanel(locus_genomics::PanelDigest),
    /// Parts that belong to different orders.
    #[error("the {0} is not that of the order: the answer is for something else, report it to the market's operators")]
    OtherOrder(&'static str),
    /// Another key.
    #[error("the answer is sealed to the key {ordered}, not to yours: use the keys that placed the order")]
    OtherKey {
        /// Digest of the key named by the order.
        ordered: locus_commitment::Digest32,
    },
    /// The price is above the limit.
    #[error("the settled price {price} is above the order's maximum {max_price}: report it to the market's operators")]
    AboveMaximum {
        /// Settled.
        price: Amount,
        /// Ordered.
        max_price: Amount,
    },
    /// Too few keyholders vouch for the settlement.
    #[error(
        "only {valid} keyholders have signed the settlement, {SIGNATURES_MIN} are needed: the answer proves nothing, fetch it again"
    )]
    TooFewSignatures {
        /// Valid signatures.
        valid: usize,
    },
    /// The question cannot have been asked.
    #[error("the order cannot be answered as it stands: {0}")]
    Plan(#[from] PlanRefusal),
    /// The signed answer digest is not the one of this question.
    #[error(
        "the keyholders signed an answer to another question than the one ordered: report it to the market's operators"
    )]
    OtherQuestion,
    /// A keyholder has released something else than its peer computed.
    #[error(
        "share {share} of panel block {block} is not what keyholder {witness} computed for it: one of the keyholders has altered the answer, report it to the market's operators"
    )]
    Altered {
        /// The panel block.
        block: u32,
        /// The share.
        share: ShareIndex,
        /// Its holder who did not release it.
        witness: KeyholderIndex,
    },
    /// What the cohort's ciphertexts are said to add up to is false.
    #[error(
        "the sums of the cohort's ciphertexts {0}: fetch them again, and if they stay so, report it to the market's operators"
    )]
    CohortSums(&'static str),
    /// The keyholders contradict each other about how many people a selection has.
    #[error(
        "the keyholders state different numbers of people for selection {selection} of the filter: one of them has altered the answer, report it to the market's operators"
    )]
    Matched {
        /// Place of the selection in the filter.
        selection: u32,
    },
    /// The blocks are not those of the question.
    #[error(
        "panel block {block} of the answer does not have the parts that the question asks for: fetch the answer again"
    )]
    Parts {
        /// The panel block.
        block: u32,
    },
}
