//! Commitments of a dataset: to its bodies, its key shares and its genotypes.

use crate::{
    context::DatasetContext,
    digest::{Digest32, Sha3Writer, sha3_256},
    domain::{DST_BODY, DST_DATASET_BODY, DST_GENOTYPES, DST_SHARE, DST_SHARE_SET},
    field::decode_field,
};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes of one body: 4096 little-endian `u64`.
const BODY_BYTES: usize = 32_768;
/// Bytes of a body's check slots.
const CHECK_BYTES: usize = 128;

/// Secret randomness that hides a committed value (256 bits; at least 128 are needed because
/// genotypes are guessable).
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Blinding(pub [u8; 32]);

/// Digest of one body. The check slots are hashed once more beside the hash of the whole, so that
/// they can be shown with 32 more bytes instead of the whole body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BodyDigest(pub Digest32);

impl BodyDigest {
    /// The digest of a whole body.
    pub fn of_body(body: &[u8; BODY_BYTES]) -> Self {
        let mut check_slots = [0; CHECK_BYTES];
        check_slots.copy_from_slice(&body[..CHECK_BYTES]);
        Self::of_parts(&check_slots, &Self::whole_hash(body))
    }

    /// BLAKE3 of the whole body: what opens the check slots against the digest.
    pub fn whole_hash(body: &[u8; BODY_BYTES]) -> Digest32 {
        Digest32(*blake3::hash(body).as_bytes())
    }

    /// The digest from the check slots and the hash of the whole body. That the check slots are
    /// those of the body is seen by whoever computes [`of_body`](Self::of_body): no body has the
    /// digest of check slots that are not its own.
    pub fn of_parts(check_slots: &[u8; CHECK_BYTES], whole: &Digest32) -> Self {
        Self(sha3_256(DST_BODY, &[check_slots, &whole.0]))
    }
}

/// H(b): digest of all bodies of one dataset version, in (panel block, plane) order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DatasetBodyDigest(pub Digest32);

impl DatasetBodyDigest {
    /// The digest of a dataset with these body digests, in (panel block, plane) order.
    pub fn of_bodies(bodies: &[BodyDigest]) -> Self {
        let mut writer = Sha3Writer::new(DST_DATASET_BODY);
        writer.begin(32 * bodies.len() as u64);
        for body in bodies {
            writer.extend(&body.0.0);
        }
        Self(writer.finish())
    }
}

/// Commitment to the root seed of one key share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShareCommitment(pub Digest32);

impl ShareCommitment {
    /// Commits to the root seed of share `share_index` (1, 2 or 3).
    pub fn new(context: &DatasetContext, share_index: u8, root_seed: &[u8; 32], blinding: &Blinding) -> Self {
        Self(sha3_256(DST_SHARE, &[&context.to_bytes(), &[share_index], root_seed, &blinding.0]))
    }
}

/// Commitment to all three key shares of a dataset, as the chain keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShareSetCommitment(pub Digest32);

impl ShareSetCommitment {
    /// Combines the commitments of shares 1, 2 and 3.
    pub fn new(shares: &[ShareCommitment; 3]) -> Self {
        let [first, second, third] = shares;
        Self(sha3_256(DST_SHARE_SET, &[&first.0.0, &second.0.0, &third.0.0]))
    }
}

/// Commitment to all genotypes of a dataset version. That of a proven dataset is a canonical field element, the root of
/// a tree that proofs open; any other has its highest bit set and so is none. Keyholders attest neither in place of the
/// other, so that the chain itself says which datasets are proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GenotypeCommitment(pub Digest32);

impl GenotypeCommitment {
    /// Starts a commitment to `packed_len` bytes of packed genotypes (four genotypes a byte, the
    /// first in the low bits); pass them through [`Sha3Writer::extend`] and call [`seal`](Self::seal).
    pub fn begin(context: &DatasetContext, blinding: &Blinding, packed_len: u64) -> Sha3Writer {
        let mut writer = Sha3Writer::new(DST_GENOTYPES);
        writer.part(&context.to_bytes()).part(&blinding.0).begin(packed_len);
        writer
    }

    /// The commitment over everything written since [`begin`](Self::begin).
    pub fn seal(writer: Sha3Writer) -> Self {
        let mut digest = writer.finish();
        digest.0[0] |= 0x80;
        Self(digest)
    }

    /// Whether it is that of a proven dataset.
    pub fn is_proven(&self) -> bool {
        decode_field(&self.0.0).is_ok()
    }
}

/// The three commitments of a dataset that the chain keeps unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DatasetCommitments {
    /// H(b).
    pub bodies: DatasetBodyDigest,
    /// All key shares.
    pub shares: ShareSetCommitment,
    /// All genotypes.
    pub genotypes: GenotypeCommitment,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::{Fr, encode_field};

    #[test]
    fn a_flipped_bit_anywhere_in_a_body_changes_its_digest() {
        let mut body = [7u8; BODY_BYTES];
        let digest = BodyDigest::of_body(&body);
        for place in [0, CHECK_BYTES - 1, CHECK_BYTES, BODY_BYTES / 2, BODY_BYTES - 1] {
            body[place] ^= 1;
            assert_ne!(BodyDigest::of_body(&body), digest, "byte {place}");
            body[place] ^= 1;
        }
        assert_eq!(BodyDigest::of_body(&body), digest);
    }

    #[test]
    fn check_slots_open_without_the_body() {
        let body = [3u8; BODY_BYTES];
        let whole = BodyDigest::whole_hash(&body);
        assert_eq!(BodyDigest::of_parts(&[3; CHECK_BYTES], &whole), BodyDigest::of_body(&body));
        assert_ne!(BodyDigest::of_parts(&[4; CHECK_BYTES], &whole), BodyDigest::of_body(&body));
    }

    #[test]
    fn swapping_two_bodies_changes_the_dataset_digest() {
        let first = BodyDigest::of_body(&[1; BODY_BYTES]);
        let second = BodyDigest::of_body(&[2; BODY_BYTES]);
        assert_ne!(DatasetBodyDigest::of_bodies(&[first, second]), DatasetBodyDigest::of_bodies(&[second, first]));
    }

    #[test]
    fn a_genotype_commitment_tells_whether_proofs_open_it() {
        let context = DatasetContext {
            network: crate::NetworkId { chain_id: 1, registry: crate::Address([1; 20]) },
            registrant: crate::Address([2; 20]),
            dataset: crate::DatasetId([3; 32]),
            panel: locus_genomics::PanelDigest([4; 32]),
            version: 1,
        };
        // One digest in five would be a field element by chance.
        let sealed = |byte| GenotypeCommitment::seal(GenotypeCommitment::begin(&context, &Blinding([byte; 32]), 0));
        assert!((0..64).all(|byte| !sealed(byte).is_proven()));
        let mut largest = encode_field(&-Fr::from(1u64));
        assert!(GenotypeCommitment(Digest32(largest)).is_proven());
        largest[31] += 1;
        assert!(!GenotypeCommitment(Digest32(largest)).is_proven(), "the order itself");
    }
}
