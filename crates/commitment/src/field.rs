//! Elements of the scalar field of BN254: what circuits compute with.

use crate::digest::{Digest32, sha3_256};
use ark_ff::{BigInteger, PrimeField};

pub use ark_bn254::Fr;

/// A field element as 32 big-endian bytes, below the field's order: a word of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldBytes(pub [u8; 32]);

/// Why bytes are no field element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the 32 bytes are not below the order of the field: pass the canonical representative")]
pub struct NotCanonical;

/// The canonical encoding, 32 bytes big endian.
pub fn encode_field(element: &Fr) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(&element.into_bigint().to_bytes_be());
    bytes
}

/// Parses the encoding of [`encode_field`].
///
/// # Errors
/// [`NotCanonical`] for a number that is not below the order.
pub fn decode_field(bytes: &[u8; 32]) -> Result<Fr, NotCanonical> {
    let element = Fr::from_be_bytes_mod_order(bytes);
    if encode_field(&element) == *bytes { Ok(element) } else { Err(NotCanonical) }
}

/// The first 248 bits of a digest as a field element; 124 bits of collision resistance remain.
pub fn field_of_digest(digest: &Digest32) -> Fr {
    Fr::from_be_bytes_mod_order(&digest.0[..31])
}

/// The field element that separates the uses of a hash inside circuits.
pub fn domain_tag(dst: &str) -> Fr {
    field_of_digest(&sha3_256(dst, &[]))
}

/// A small signed integer as a field element.
pub fn signed(value: i128) -> Fr {
    if value < 0 { -Fr::from(value.unsigned_abs()) } else { Fr::from(value.unsigned_abs()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoding_round_trips_and_refuses_the_order_and_above() {
        let minus_one = -Fr::from(1u64);
        let mut bytes = encode_field(&minus_one);
        assert_eq!(decode_field(&bytes), Ok(minus_one));
        bytes[31] += 1;
        assert_eq!(decode_field(&bytes), Err(NotCanonical), "the order itself");
        assert_eq!(decode_field(&[0xff; 32]), Err(NotCanonical));
        assert_eq!(signed(-5) + Fr::from(5u64), Fr::from(0u64));
    }
}
