#![doc = include_str!("../SPEC.md")]

mod bits;
mod body;
mod check;
mod combine;
mod constants;
mod domain;
mod encrypt;
mod error;
mod filtered;
mod interop;
mod mask;
mod noise;
mod partial;
mod rekeying;
mod released;
mod ring;
mod secret;
mod share_sum;

pub use body::{BODY_BYTES, Body};
pub use check::{check_share_values, verify_check_slots};
pub use combine::{CombinedPlane, CounterRange, SignedCounts, combine};
pub use constants::{
    COHORT_SIZE_MAX, COUNTER_BITS, ENCRYPTION_NOISE_ABS_MAX, ENCRYPTION_NOISE_MAX, ENCRYPTION_NOISE_MIN,
    FLOODING_TOTAL_TENTH_SIGMAS, HET_SHIFT, HOM_ALT_SHIFT, LOW_BITS_ABS_MAX, MISSING_SHIFT, RING_DIMENSION, SHARES,
};
pub use encrypt::{DatasetEncryptor, DatasetKeys, EncryptionNoise};
pub use error::RlweError;
pub use filtered::{FilteredPart, FilteredSum, WeightShares, combine_filtered};
pub use interop::export_aggregate;
pub use mask::Mask;
pub use noise::{DerivedNoise, NoiseInput, derive_matched_noise, derive_noise, derive_squares_noise};
pub use partial::{PartialDecryption, partial_decryption};
pub use rekeying::{RekeyingNoise, RekeyingPart};
pub use released::{released_count, released_slots, select_released};
pub use secret::{BlockKeys, SecretBits};
pub use share_sum::{ShareSum, ShareSumBuilder};
