//! Clauses 17 and 18: what an order requires of everybody who is counted.

use locus_commitment::{Digest32, sha3_256};
use locus_genomics::VariantIndex;
use locus_proofs::disclosure::GenotypeClaim;

/// Most claims of an order, and most that one document discloses.
pub const CLAIMS_MAX: usize = 32;
/// Bytes of a claim: variant (4), genotypes (1).
const CLAIM_BYTES: usize = 5;
const PROVEN_ONLY: u8 = 1;
const DST_PREDICATE: &str = "locus/cohort/predicate/v1";
/// The sets of genotypes that can be claimed.
const CLAIMABLE: [GenotypeClaim; 3] = [GenotypeClaim::CARRIES, GenotypeClaim::DOES_NOT_CARRY, GenotypeClaim::HOM_ALT];

/// A claim about a genome: its genotype at a variant is one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DisclosedClaim {
    /// Place of the variant in the panel.
    pub variant: VariantIndex,
    /// Which genotypes.
    pub genotypes: GenotypeClaim,
}

impl DisclosedClaim {
    /// Whether it says what `required` says, or more: two alternate alleles are also one.
    pub fn implies(&self, required: &Self) -> bool {
        self.variant == required.variant && self.genotypes.bits() & !required.genotypes.bits() == 0
    }
}

/// Why claims cannot stand together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClaimsError {
    /// Too many.
    #[error("{0} claims are too many: name at most {CLAIMS_MAX} variants")]
    TooMany(usize),
    /// Two about one variant.
    #[error("two claims are about the same variant, number {0} of the panel: name each variant once")]
    Twice(u32),
    /// About no variant of the panel.
    #[error("a claim is about variant number {variant}, but the panel has {variant_count}")]
    NotOnPanel {
        /// The variant.
        variant: u32,
        /// Variants of the panel.
        variant_count: u32,
    },
    /// A set of genotypes that has no name.
    #[error("a claim is that a variant is carried, lacked or homozygous, and nothing else")]
    Genotypes,
    /// Bytes that are not the encoding.
    #[error("these bytes are not in canonical form: encode them with this version's client")]
    Bytes,
}

/// What an order requires of every dataset that is counted. Part of what the order names; all is public.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Requirements {
    proven_only: bool,
    disclosed: Vec<DisclosedClaim>,
}

impl Requirements {
    /// These requirements, claims in any order.
    ///
    /// # Errors
    /// [`ClaimsError`].
    pub fn try_new(proven_only: bool, disclosed: Vec<DisclosedClaim>, variant_count: u32) -> Result<Self, ClaimsError> {
        Ok(Self { proven_only, disclosed: ordered(disclosed, variant_count)? })
    }

    /// Reads [`to_bytes`](Self::to_bytes) with all checks.
    ///
    /// # Errors
    /// [`ClaimsError`].
    pub fn parse(bytes: &[u8], variant_count: u32) -> Result<Self, ClaimsError> {
        let Some((flags, claims)) = bytes.split_first() else { return Ok(Self::default()) };
        let parsed = Self::try_new(*flags == PROVEN_ONLY, parse_claims(claims)?, variant_count)?;
        if parsed.to_bytes() == bytes { Ok(parsed) } else { Err(ClaimsError::Bytes) }
    }

    /// The canonical bytes: none without requirements; otherwise 1 for proven datasets only, else 0, and the
    /// claims by ascending variant, each as variant (4, little endian) and one bit a genotype code (1).
    pub fn to_bytes(&self) -> Vec<u8> {
        if self.is_none() {
            return Vec::new();
        }
        let mut bytes = vec![if self.proven_only { PROVEN_ONLY } else { 0 }];
        bytes.extend(claim_bytes(&self.disclosed));
        bytes
    }

    /// Whether anybody may be counted.
    pub fn is_none(&self) -> bool {
        !self.proven_only && self.disclosed.is_empty()
    }

    /// Whether only datasets registered with proofs are counted.
    pub fn proven_only(&self) -> bool {
        self.proven_only
    }

    /// What every dataset counted must have disclosed, ascending by variant.
    pub fn disclosed(&self) -> &[DisclosedClaim] {
        &self.disclosed
    }

    /// Whether a dataset that discloses `claims` has disclosed all that is required.
    pub fn are_met_by(&self, claims: &[DisclosedClaim]) -> bool {
        self.disclosed.iter().all(|required| claims.iter().any(|claim| claim.implies(required)))
    }
}

/// What an order names as its predicate: zeros without filter and requirements, the filter's digest without
/// requirements, else a digest over both.
pub fn predicate_digest(filter: Option<Digest32>, requirements: &Requirements) -> Digest32 {
    let filter = filter.unwrap_or(Digest32([0; 32]));
    if requirements.is_none() { filter } else { sha3_256(DST_PREDICATE, &[&filter.0, &requirements.to_bytes()]) }
}

/// Claims by ascending variant, one a variant, all of them on the panel.
pub(crate) fn ordered(mut claims: Vec<DisclosedClaim>, variant_count: u32) -> Result<Vec<DisclosedClaim>, ClaimsError> {
    if claims.len() > CLAIMS_MAX {
        return Err(ClaimsError::TooMany(claims.len()));
    }
    claims.sort();
    if let Some(pair) = claims.windows(2).find(|pair| pair[0].variant == pair[1].variant) {
        return Err(ClaimsError::Twice(pair[0].variant.0));
    }
    if let Some(outside) = claims.iter().find(|claim| claim.variant.0 >= variant_count) {
        return Err(ClaimsError::NotOnPanel { variant: outside.variant.0, variant_count });
    }
    if claims.iter().all(|claim| CLAIMABLE.contains(&claim.genotypes)) {
        Ok(claims)
    } else {
        Err(ClaimsError::Genotypes)
    }
}

pub(crate) fn claim_bytes(claims: &[DisclosedClaim]) -> Vec<u8> {
    let bytes = |claim: &DisclosedClaim| {
        let [a, b, c, d] = claim.variant.0.to_le_bytes();
        [a, b, c, d, claim.genotypes.bits()]
    };
    claims.iter().flat_map(bytes).collect()
}

/// Claims in the order in which they stand.
pub(crate) fn parse_claims(bytes: &[u8]) -> Result<Vec<DisclosedClaim>, ClaimsError> {
    let (claims, rest) = bytes.as_chunks::<CLAIM_BYTES>();
    if !rest.is_empty() {
        return Err(ClaimsError::Bytes);
    }
    if claims.len() > CLAIMS_MAX {
        return Err(ClaimsError::TooMany(claims.len()));
    }
    let claim = |[a, b, c, d, genotypes]: &[u8; CLAIM_BYTES]| {
        let genotypes = GenotypeClaim::try_from_bits(*genotypes).map_err(|_| ClaimsError::Genotypes)?;
        Ok(DisclosedClaim { variant: VariantIndex(u32::from_le_bytes([*a, *b, *c, *d])), genotypes })
    };
    claims.iter().map(claim).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(variant: u32, genotypes: GenotypeClaim) -> DisclosedClaim {
        DisclosedClaim { variant: VariantIndex(variant), genotypes }
    }

    const CARRIES: GenotypeClaim = GenotypeClaim::CARRIES;
    const LACKS: GenotypeClaim = GenotypeClaim::DOES_NOT_CARRY;
    const HOM_ALT: GenotypeClaim = GenotypeClaim::HOM_ALT;

    #[test]
    fn requirements_have_one_encoding_and_no_other_bytes_are_read() {
        let claims = vec![claim(7, LACKS), claim(2, CARRIES)];
        let both = Requirements::try_new(true, claims, 8).expect("requirements");
        let bytes = both.to_bytes();
        assert_eq!(bytes, [1, 2, 0, 0, 0, 0b0110, 7, 0, 0, 0, 0b0001]);
        assert_eq!(Requirements::parse(&bytes, 8), Ok(both));
        assert_eq!(Requirements::parse(&[], 8), Ok(Requirements::default()));
        let reversed = [&bytes[..1], &bytes[6..], &bytes[1..6]].concat();
        for (wrong, error) in [
            (reversed, ClaimsError::Bytes),
            (vec![0], ClaimsError::Bytes),
            (vec![2], ClaimsError::Bytes),
            (bytes[..10].to_vec(), ClaimsError::Bytes),
            ([&bytes[..], &bytes[6..]].concat(), ClaimsError::Twice(7)),
            (vec![1, 8, 0, 0, 0, 1], ClaimsError::NotOnPanel { variant: 8, variant_count: 8 }),
            (vec![1, 2, 0, 0, 0, 0b0111], ClaimsError::Genotypes),
            (vec![1, 2, 0, 0, 0, 0b1000], ClaimsError::Genotypes),
            (vec![1; 1 + 5 * (CLAIMS_MAX + 1)], ClaimsError::TooMany(CLAIMS_MAX + 1)),
        ] {
            assert_eq!(Requirements::parse(&wrong, 8), Err(error), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_disclosed_must_say_all_that_is_required() {
        let required = |claims| Requirements::try_new(false, claims, 9).expect("requirements");
        let carries = required(vec![claim(2, CARRIES)]);
        assert!(carries.are_met_by(&[claim(1, LACKS), claim(2, CARRIES)]));
        assert!(carries.are_met_by(&[claim(2, HOM_ALT)]), "two alleles are also one");
        assert!(!required(vec![claim(2, HOM_ALT)]).are_met_by(&[claim(2, CARRIES)]));
        assert!(!carries.are_met_by(&[claim(2, LACKS)]));
        assert!(!carries.are_met_by(&[claim(1, CARRIES)]));
        assert!(!required(vec![claim(2, CARRIES), claim(3, LACKS)]).are_met_by(&[claim(2, CARRIES)]));
        assert!(!carries.are_met_by(&[]));
    }

    #[test]
    fn an_order_names_its_requirements() {
        let filter = Some(Digest32([5; 32]));
        let proven = Requirements::try_new(true, Vec::new(), 9).expect("requirements");
        let other = Requirements::try_new(true, vec![claim(2, CARRIES)], 9).expect("requirements");
        assert_eq!(predicate_digest(None, &Requirements::default()), Digest32([0; 32]));
        assert_eq!(predicate_digest(filter, &Requirements::default()), Digest32([5; 32]));
        let names = [(None, &proven), (None, &other), (filter, &proven), (filter, &other)];
        let names: std::collections::BTreeSet<Digest32> =
            names.into_iter().map(|(filter, requirements)| predicate_digest(filter, requirements)).collect();
        assert_eq!(names.len(), 4);
    }
}
