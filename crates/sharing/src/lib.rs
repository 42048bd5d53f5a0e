#![doc = include_str!("../SPEC.md")]

mod attributes;
mod bit_check;
mod domain;
mod error;
mod index;
mod mac;
mod noise_key;
mod prss;
mod rekeying;
mod replicated;
mod ring;
pub mod seal;
mod secret;
mod seed;
mod seed_package;
mod values;

pub use attributes::{
    ATTRIBUTE_BITS_MAX, AttributeCommitment, AttributeCommitmentsDigest, AttributeEntry, AttributePackage,
    AttributePackageHeader, AttributeShareDigests, AttributeShares, attribute_share_change, attribute_share_digest,
};
pub use bit_check::{BIT_CHECK_WORDS, BitCheck, BitRules, BitSums, CoinPart, verify_bits};
pub use error::SharingError;
pub use index::{KeyholderIndex, ReleaseAssignment, ShareIndex, holders_of, other_holder, release_plan, shares_of};
pub use mac::{AuthenticatedPart, AuthenticatedVector, MacCheck, MacKey, Opening};
pub use noise_key::{NoiseKey, NoiseKeyAgreement};
pub use prss::{Prss, PrssSession, PrssStreamName};
pub use rekeying::{RekeyedShare, RekeyingContribution, RekeyingNoiseSeed, RekeyingSeed, RekeyingSession};
pub use replicated::{ProductPart, SharedVector, SumPart, open_sum};
pub use ring::RingWord;
pub use seed::{DatasetSecrets, EncryptionNoiseSeed, GenotypeDigest, KeySeed, MasterSecret, SeedShares};
pub use seed_package::{
    DatasetSeeds, REGISTRATION_DATASETS_MAX, SEED_PACKAGE_DATASETS_MAX, SeedPackage, SeedPackageHeader, ShareSeed,
};
pub use values::{SharedValues, ValuesPart};
