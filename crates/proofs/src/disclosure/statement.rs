//! Statement D in plain Rust.

use crate::{
    domain::DST_DISCLOSURE_BINDING,
    encryption::{BlockGenotypes, genotype_commitment},
    error::ProofsError,
};
use ark_bn254::Fr;
use locus_commitment::{
    DatasetContext,
    field::{FieldBytes, decode_field, encode_field, field_of_digest},
    merkle::{LEVEL_BITS, MerklePath, MerkleTree},
    poseidon::values_per_element,
    sha3_256,
};
use locus_genomics::{Genotype, VARIANTS_PER_PANEL_BLOCK, VariantIndex};
use thiserror::Error;

/// Levels of the tree over a dataset's panel blocks: 4096 blocks.
pub const BLOCK_TREE_DEPTH: usize = 3;

/// Size of the circuit: variants of a panel block. Small ones are for tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DisclosureShape {
    variants: usize,
}

impl DisclosureShape {
    /// The size in use: 4080.
    pub const FULL: Self = Self { variants: VARIANTS_PER_PANEL_BLOCK as usize };

    /// A size for tests, 1 to 4080.
    ///
    /// # Errors
    /// [`ProofsError::WrongSize`].
    pub fn try_new(variants: usize) -> Result<Self, ProofsError> {
        if (1..=VARIANTS_PER_PANEL_BLOCK as usize).contains(&variants) {
            Ok(Self { variants })
        } else {
            Err(ProofsError::WrongSize("the panel block"))
        }
    }

    /// Variants of a panel block.
    pub fn variants(self) -> usize {
        self.variants
    }

    /// Field elements that hold a block's codes.
    pub(crate) fn elements(self) -> usize {
        self.variants.div_ceil(values_per_element(2))
    }
}

/// A set of genotypes, one bit a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GenotypeClaim(u8);

impl GenotypeClaim {
    /// Has the alternate allele.
    pub const CARRIES: Self = Self(0b0110);
    /// Has two reference alleles.
    pub const DOES_NOT_CARRY: Self = Self(0b0001);
    /// Has two alternate alleles.
    pub const HOM_ALT: Self = Self(0b0100);

    /// A set of genotypes without missing.
    ///
    /// # Errors
    /// [`ProofsError::WrongSize`] for the empty set and for one that includes missing.
    pub fn try_from_bits(bits: u8) -> Result<Self, ProofsError> {
        if (1..=0b0111).contains(&bits) { Ok(Self(bits)) } else { Err(ProofsError::WrongSize("the claim")) }
    }

    /// One bit a genotype code.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Whether a genotype is in the set.
    pub fn contains(self, genotype: Genotype) -> bool {
        self.0 >> genotype.code() & 1 == 1
    }
}

/// To whom, what for and until when something is disclosed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisclosureContext {
    /// The dataset.
    pub dataset: DatasetContext,
    /// Name or key of the verifier; at most what both sides agreed on.
    pub verifier: Vec<u8>,
    /// What the verifier may use it for.
    pub purpose: String,
    /// Nonce from the verifier, so that it knows the disclosure is fresh.
    pub nonce: [u8; 32],
    /// Last second of validity, Unix time.
    pub expiry_unix_s: u64,
    /// All variants and claims that are disclosed together, in order.
    pub claims: Vec<(VariantIndex, GenotypeClaim)>,
}

impl DisclosureContext {
    /// The field element that every proof of the disclosure is bound to.
    pub fn binding(&self) -> Fr {
        let list: Vec<u8> = self
            .claims
            .iter()
            .flat_map(|(variant, claim)| [variant.0.to_le_bytes().as_slice(), &[claim.bits()]].concat())
            .collect();
        let parts: [&[u8]; 6] = [
            &self.dataset.to_bytes(),
            &self.verifier,
            self.purpose.as_bytes(),
            &self.nonce,
            &self.expiry_unix_s.to_le_bytes(),
            &list,
        ];
        field_of_digest(&sha3_256(DST_DISCLOSURE_BINDING, &parts))
    }
}

/// The commitments to all panel blocks of a proven dataset.
pub struct GenotypeTree(MerkleTree);

impl GenotypeTree {
    /// The tree over block commitments in block order.
    ///
    /// # Errors
    /// [`ProofsError::WrongSize`] for more than 4096 blocks.
    pub fn new(blocks: &[Fr]) -> Result<Self, ProofsError> {
        let mut tree = MerkleTree::new(BLOCK_TREE_DEPTH);
        for (place, block) in (0u32..).zip(blocks) {
            if !tree.set(place, *block) {
                return Err(ProofsError::WrongSize("the list of panel blocks"));
            }
        }
        Ok(Self(tree))
    }

    /// The tree over the block commitments that encryption proofs show, in block order: how a verifier
    /// of those proofs recomputes the dataset's genotype commitment.
    ///
    /// # Errors
    /// [`ProofsError::NotCanonical`]; [`ProofsError::WrongSize`] for more than 4096 blocks.
    pub fn of_commitments(blocks: &[FieldBytes]) -> Result<Self, ProofsError> {
        let decoded: Result<Vec<Fr>, _> = blocks.iter().map(|block| decode_field(&block.0)).collect();
        Self::new(&decoded.map_err(|_| ProofsError::NotCanonical)?)
    }

    /// The dataset's genotype commitment.
    pub fn root(&self) -> Fr {
        self.0.root()
    }

    /// The same as the chain keeps it.
    pub fn commitment(&self) -> FieldBytes {
        FieldBytes(encode_field(&self.root()))
    }

    /// The path of a panel block.
    pub fn path(&self, block: u32) -> MerklePath {
        self.0.path(0, block)
    }
}

/// The public part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisclosurePublic {
    /// Genotype commitment of the dataset.
    pub dataset: Fr,
    /// Place of the variant in the panel.
    pub variant: VariantIndex,
    /// What is claimed of it.
    pub claim: GenotypeClaim,
    /// [`DisclosureContext::binding`].
    pub binding: Fr,
}

/// The private part.
#[derive(Clone)]
pub struct DisclosureWitness {
    /// The genotypes of the variant's panel block.
    pub genotypes: BlockGenotypes,
    /// From the block's commitment to the dataset's.
    pub path: MerklePath,
}

/// The clause a statement violates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DisclosureViolation {
    /// D1.
    #[error("D1: the panel block has another number of genotypes, or one that is no two-bit code")]
    Genotypes,
    /// D2.
    #[error("D2: the block commitment is not under the dataset's commitment")]
    Path,
    /// D3.
    #[error("D3: the place is outside the panel")]
    Place,
    /// D4.
    #[error("D4: the genotype is not among those claimed")]
    Claim,
}

impl DisclosurePublic {
    /// Panel block of the variant and position in it.
    pub(crate) fn block_and_position(&self, shape: DisclosureShape) -> (u32, usize) {
        let per_block = u32::try_from(shape.variants()).unwrap_or(VARIANTS_PER_PANEL_BLOCK);
        (self.variant.0 / per_block, (self.variant.0 % per_block) as usize)
    }

    /// The public inputs of the circuit.
    pub fn inputs(&self) -> Vec<Fr> {
        vec![self.dataset, Fr::from(self.variant.0), Fr::from(self.claim.bits()), self.binding]
    }

    /// Checks every clause in plain Rust; D5 has nothing to check but the input itself.
    ///
    /// # Errors
    /// The first clause violated.
    pub fn check(&self, shape: DisclosureShape, witness: &DisclosureWitness) -> Result<(), DisclosureViolation> {
        let codes = &witness.genotypes.codes;
        if codes.len() != shape.variants() || codes.iter().any(|code| *code > 3) {
            return Err(DisclosureViolation::Genotypes);
        }
        let (block, position) = self.block_and_position(shape);
        if u64::from(block) >> (LEVEL_BITS * BLOCK_TREE_DEPTH) != 0 {
            return Err(DisclosureViolation::Place);
        }
        let leaf = genotype_commitment(&witness.genotypes);
        let depth = witness.path.levels.len();
        if depth != BLOCK_TREE_DEPTH || witness.path.root(block, leaf) != Some(self.dataset) {
            return Err(DisclosureViolation::Path);
        }
        let genotype = Genotype::from_low_bits(codes[position]);
        if self.claim.contains(genotype) { Ok(()) } else { Err(DisclosureViolation::Claim) }
    }
}
