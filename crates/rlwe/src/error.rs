//! What can be refused.

use locus_genomics::Plane;
use locus_privacy::PrivacyError;
use locus_sharing::{KeyholderIndex, ShareIndex, SharingError};
use thiserror::Error;

/// Why a value was refused or an answer does not decode. No variant carries a secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RlweError {
    /// More packed genotypes than one panel block has.
    #[error("a panel block has at most {max} bytes of packed genotypes, not {got}: pass one block at a time")]
    BlockLength {
        /// Bytes given.
        got: usize,
        /// Most bytes.
        max: usize,
    },
    /// The panel has no such block.
    #[error("panel block {block} does not exist, the panel has {blocks}")]
    BlockOutOfRange {
        /// The block asked for.
        block: u32,
        /// Blocks of the panel.
        blocks: usize,
    },
    /// A body has another length than 32,768 bytes.
    #[error("a body has {expected} bytes, got {got}")]
    BodyLength {
        /// Bytes of a body.
        expected: usize,
        /// Bytes given.
        got: usize,
    },
    /// More datasets than one sum can hold.
    #[error("one sum holds at most {max} datasets")]
    CohortTooLarge {
        /// Most datasets.
        max: u32,
    },
    /// Sums of different shares cannot be merged.
    #[error("a sum of share {found} cannot be merged into one of share {expected}")]
    ShareMismatch {
        /// Share of the sum merged into.
        expected: ShareIndex,
        /// Share of the other sum.
        found: ShareIndex,
    },
    /// The dp noise level cannot be sampled.
    #[error("dp noise cannot be drawn")]
    DpNoise(#[source] PrivacyError),
    /// The cohort and its offset do not fit a counter.
    #[error(
        "a cohort of {cohort_size} with offset {offset} does not fit a 19-bit counter, ask for fewer variants or a larger rho"
    )]
    CounterRange {
        /// Datasets in the sum.
        cohort_size: u32,
        /// Offset T.
        offset: u64,
    },
    /// A list of values at released slots has the wrong length.
    #[error("expected {expected} values, one per released slot, got {got}")]
    ValueCount {
        /// Released slots.
        expected: usize,
        /// Values given.
        got: usize,
    },
    /// A partial decryption answers another plane.
    #[error("share {share} answers another plane than {expected:?}")]
    PlaneMismatch {
        /// The partial decryption's share.
        share: ShareIndex,
        /// The plane asked for.
        expected: Plane,
    },
    /// A partial decryption answers other slots.
    #[error("share {share} answers other slots than requested")]
    SlotMismatch {
        /// The partial decryption's share.
        share: ShareIndex,
    },
    /// The partial decryptions are not one of each share.
    #[error("the partial decryption of share {missing} is missing, another came twice")]
    SharesIncomplete {
        /// The share without a partial decryption.
        missing: ShareIndex,
    },
    /// A check slot of an answer holds more than noise: sum and shares do not belong together.
    #[error("check slot {slot} of the answer is not zero: ciphertext sum and shares are of different cohorts")]
    AnswerCheckSlot {
        /// The slot.
        slot: u32,
    },
    /// A check slot of one dataset holds more than encryption noise: its body and seeds do not
    /// belong together.
    #[error("check slot {slot} of the dataset is not zero: its body and seeds do not belong together")]
    DatasetCheckSlot {
        /// The slot.
        slot: u32,
    },
    /// A plane was decoded as the other one.
    #[error("the {plane:?} plane cannot be decoded as the {wanted:?} plane")]
    PlaneUndecodable {
        /// The plane of the answer.
        plane: Plane,
        /// The plane it was decoded as.
        wanted: Plane,
    },
    /// A decoded counter cannot come from a cohort of this size.
    #[error("slot {slot} decodes to a count that no cohort of {cohort_size} can have")]
    CountOutOfRange {
        /// The slot.
        slot: u32,
        /// Datasets in the sum.
        cohort_size: u32,
    },
    /// Sums of different keyholders were combined.
    #[error("a part of keyholder {found} cannot be combined with one of keyholder {expected}")]
    KeyholderMismatch {
        /// Keyholder of the sum combined with.
        expected: KeyholderIndex,
        /// Keyholder of the other.
        found: KeyholderIndex,
    },
    /// The zeros that hide a part cannot be drawn.
    #[error("the part of a filtered answer cannot be masked")]
    Masking(#[source] SharingError),
    /// A filtered answer needs all three keyholders.
    #[error("the part of keyholder {missing} is missing: a filtered answer needs all three keyholders")]
    PartMissing {
        /// The keyholder without a part.
        missing: KeyholderIndex,
    },
    /// A part answers another question.
    #[error("the part of keyholder {keyholder} answers another plane or other slots than requested")]
    PartMismatch {
        /// The keyholder.
        keyholder: KeyholderIndex,
    },
}
