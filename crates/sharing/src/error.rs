//! What can go wrong with shares, seeds and sealed messages.

use crate::index::{KeyholderIndex, ShareIndex};
use thiserror::Error;

/// Why a value was refused. No variant carries a secret, and opening a sealed message says only
/// that it failed, not where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SharingError {
    /// Share indices are 1, 2 and 3.
    #[error("share index {0} does not exist, use 1, 2 or 3")]
    UnknownShare(u8),
    /// Keyholder indices are 1, 2 and 3.
    #[error("keyholder index {0} does not exist, use 1, 2 or 3")]
    UnknownKeyholder(u8),
    /// A keyholder was given a share that it must not hold.
    #[error("keyholder {keyholder} does not hold share {share}")]
    NotAHolder {
        /// The keyholder named.
        keyholder: KeyholderIndex,
        /// The share named.
        share: ShareIndex,
    },
    /// The bytes are no X-Wing public key.
    #[error("not a sealing public key: expected 1216 bytes that encode an x-wing key")]
    BadPublicKey,
    /// A sealed message is shorter than its fixed parts or longer than the limit.
    #[error("a sealed message has {min} to {max} bytes, got {got}")]
    SealedLength {
        /// Fewest bytes.
        min: usize,
        /// Most bytes.
        max: usize,
        /// Bytes given.
        got: usize,
    },
    /// The application string of a sealed message exceeds what HPKE takes.
    #[error("the info string of a sealed message is limited to {max} bytes, got {got}")]
    InfoLength {
        /// Most bytes.
        max: usize,
        /// Bytes given.
        got: usize,
    },
    /// Sealing failed inside HPKE.
    #[error("sealing failed, check the recipient's public key")]
    Seal,
    /// Wrong key, wrong associated data or altered bytes.
    #[error("the sealed message does not open with this key and these associated data")]
    Open,
    /// An opened message has another length than its header demands.
    #[error("an opened message must have {expected} bytes, got {got}")]
    PayloadLength {
        /// Bytes the header demands.
        expected: usize,
        /// Bytes found.
        got: usize,
    },
    /// A seed package must name a non-empty range inside one registration.
    #[error("datasets {first}..{first}+{count} are no seed package: 1 to 1024 datasets, ordinals below 4096")]
    PackageRange {
        /// First ordinal.
        first: u32,
        /// Number of datasets.
        count: u32,
    },
    /// The number of datasets given differs from the header's count.
    #[error("the header announces {expected} datasets, got {got}")]
    PackageCount {
        /// Datasets announced.
        expected: u32,
        /// Datasets given.
        got: usize,
    },
    /// Vectors of different lengths, or a message of another length than expected.
    #[error("expected {expected} shared values, got {got}")]
    VectorLength {
        /// Values expected.
        expected: usize,
        /// Values given.
        got: usize,
    },
    /// Shares of different keyholders were combined.
    #[error("shares of keyholder {found} cannot be combined with those of keyholder {expected}")]
    KeyholderMismatch {
        /// Keyholder of the vector combined with.
        expected: KeyholderIndex,
        /// Keyholder of the other vector.
        found: KeyholderIndex,
    },
    /// A sum of attribute bits is used that was not among the inputs.
    #[error("the shares of a sum of attribute bits are missing")]
    MissingInput,
    /// A gate was given pseudorandom values twice in one attempt.
    #[error("gate {gate} has had its random values in this attempt, start a new attempt")]
    GateReused {
        /// The gate.
        gate: u32,
    },
    /// Shares of attribute bits do not add up to bits of which exactly one of each attribute is set.
    #[error("the attribute shares are not valid bits, the contributor has to share them again")]
    InvalidBits,
    /// The check values of authenticated shares do not add up to zero.
    #[error("a product was computed wrongly, the answer is withheld")]
    MacMismatch,
    /// An attribute bit is neither 0 nor 1.
    #[error("attribute bit {place} is neither 0 nor 1")]
    NotABit {
        /// Its place.
        place: usize,
    },
    /// Too many attribute bits for one dataset.
    #[error("a dataset has at most {max} attribute bits, got {got}")]
    TooManyBits {
        /// Most bits.
        max: usize,
        /// Bits given.
        got: usize,
    },
}
