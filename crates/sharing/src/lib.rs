#![doc = include_str!("../SPEC.md")]

mod domain;
mod error;
mod index;
mod noise_key;
pub mod seal;
mod secret;
mod seed;
mod seed_package;

pub use error::SharingError;
pub use index::{KeyholderIndex, ReleaseAssignment, ShareIndex, holders_of, release_plan, shares_of};
pub use noise_key::{NoiseKey, NoiseKeyAgreement};
pub use seed::{DatasetSecrets, EncryptionNoiseSeed, GenotypeDigest, KeySeed, MasterSecret, SeedShares};
pub use seed_package::{
    DatasetSeeds, REGISTRATION_DATASETS_MAX, SEED_PACKAGE_DATASETS_MAX, SeedPackage, SeedPackageHeader, ShareSeed,
};
