//! The stored half of a ciphertext.

use crate::{
    constants::{CHECK_SLOT_COUNT, RING_DIMENSION},
    error::RlweError,
};
use locus_commitment::BodyDigest;

/// Bytes of a body: 4096 coefficients of 8 bytes.
pub const BODY_BYTES: usize = 8 * RING_DIMENSION;

/// The body b = a * s + e + flags of one (dataset, panel block, plane).
#[derive(Clone, PartialEq, Eq)]
pub struct Body(Box<[u64; RING_DIMENSION]>);

impl Body {
    pub(crate) fn new(coefficients: Box<[u64; RING_DIMENSION]>) -> Self {
        Self(coefficients)
    }

    /// Parses 32,768 bytes; every such string is a body.
    pub fn parse(bytes: &[u8]) -> Result<Self, RlweError> {
        let (expected, got) = (BODY_BYTES, bytes.len());
        if got != expected {
            return Err(RlweError::BodyLength { expected, got });
        }
        let mut coefficients = Box::new([0; RING_DIMENSION]);
        for (coefficient, chunk) in coefficients.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *coefficient = u64::from_le_bytes(*chunk);
        }
        Ok(Self(coefficients))
    }

    /// The encoding that [`parse`](Self::parse) reads: coefficients little endian.
    pub fn to_bytes(&self) -> Box<[u8; BODY_BYTES]> {
        let mut bytes = Box::new([0; BODY_BYTES]);
        for (chunk, coefficient) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(self.0.iter()) {
            *chunk = coefficient.to_le_bytes();
        }
        bytes
    }

    /// The coefficients, one per slot.
    pub fn coefficients(&self) -> &[u64; RING_DIMENSION] {
        &self.0
    }

    /// The coefficients of the check slots.
    pub fn check_slots(&self) -> [u64; CHECK_SLOT_COUNT] {
        core::array::from_fn(|slot| self.0[slot])
    }

    /// The digest that the dataset commits to.
    pub fn digest(&self) -> BodyDigest {
        BodyDigest::of_body(&self.to_bytes())
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Body({})", self.digest().0)
    }
}
