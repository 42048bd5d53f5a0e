#![doc = include_str!("../SPEC.md")]

mod context;
mod dataset;
mod digest;
mod domain;
pub mod field;
pub mod merkle;
pub mod pedersen;
pub mod poseidon;
pub mod r1cs;

pub use context::{Address, DatasetContext, DatasetId, NetworkId, PersonTag};
pub use dataset::{
    Blinding, BodyDigest, DatasetBodyDigest, DatasetCommitments, GenotypeCommitment, ShareCommitment,
    ShareSetCommitment,
};
pub use digest::{Digest32, Sha3Writer, sha3_256};
