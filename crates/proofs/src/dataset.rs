//! What a contributor proves of a whole dataset: statement E of every body, and the genotype commitment
//! that all of them, and statement D, open.

use crate::{
    disclosure::GenotypeTree,
    encryption::{BlockGenotypes, EncryptionProof, block_blinding, genotype_commitment},
    error::ProofsError,
    groth16::ProvingKey,
};
use locus_commitment::{Blinding, DatasetContext, Digest32, GenotypeCommitment};
use locus_genomics::{PanelBlockIndex, Plane, VARIANTS_PER_PANEL_BLOCK};
use locus_rlwe::{Body, DatasetKeys};

/// Bytes of the packed genotypes of a whole panel block.
const PACKED_BLOCK_BYTES: usize = VARIANTS_PER_PANEL_BLOCK as usize / 4;
const _: () = assert!(VARIANTS_PER_PANEL_BLOCK.is_multiple_of(4));

/// The genotypes of one panel block as the proofs see them. `packed` has four to a byte, the first in
/// the low bits; variants past its end are homozygous reference, as in the encryption.
///
/// # Errors
/// [`ProofsError::WrongSize`] for more genotypes than a panel block has.
pub fn block_genotypes(
    blinding: &Blinding,
    block: PanelBlockIndex,
    packed: &[u8],
) -> Result<BlockGenotypes, ProofsError> {
    if packed.len() > PACKED_BLOCK_BYTES {
        return Err(ProofsError::WrongSize("the panel block"));
    }
    let mut codes: Vec<u8> = packed.iter().flat_map(|byte| [0, 2, 4, 6].map(|shift| byte >> shift & 3)).collect();
    codes.resize(VARIANTS_PER_PANEL_BLOCK as usize, 0);
    Ok(BlockGenotypes { codes, blinding: block_blinding(blinding, block) })
}

/// The tree over the block commitments of a dataset; `packed` has the genotypes of the whole panel.
///
/// # Errors
/// [`ProofsError::WrongSize`] for more than 4096 panel blocks.
pub fn genotype_tree(blinding: &Blinding, packed: &[u8]) -> Result<GenotypeTree, ProofsError> {
    let blocks = (0..).map(PanelBlockIndex).zip(packed.chunks(PACKED_BLOCK_BYTES));
    let commitment = |(block, packed)| Ok(genotype_commitment(&block_genotypes(blinding, block, packed)?));
    GenotypeTree::new(&blocks.map(commitment).collect::<Result<Vec<_>, ProofsError>>()?)
}

impl GenotypeTree {
    /// The genotype commitment of a proven dataset, as its leaf on the chain has it.
    pub fn leaf_commitment(&self) -> GenotypeCommitment {
        GenotypeCommitment(Digest32(self.commitment().0))
    }
}

/// Proves statement E for the bodies of datasets.
pub struct EncryptionProver(ProvingKey);

impl EncryptionProver {
    /// A prover with the key of the full size.
    pub fn new(key: ProvingKey) -> Self {
        Self(key)
    }

    /// Proves that `body` is the encryption of a panel block's genotypes under the dataset's keys. Uses
    /// all processors, for about a second of one.
    ///
    /// # Errors
    /// [`ProofsError::Unsatisfied`] when it is not; [`ProofsError::CarryOutOfRange`], rarely.
    pub fn prove(
        &self,
        context: &DatasetContext,
        keys: &DatasetKeys,
        (block, plane): (PanelBlockIndex, Plane),
        (packed, body): (&[u8], &Body),
        rng: &mut impl rand_core::CryptoRng,
    ) -> Result<EncryptionProof, ProofsError> {
        let genotypes = block_genotypes(&keys.secrets().genotype_blinding, block, packed)?;
        let (shares, noise) = (keys.share_bits(block, plane), keys.noise(block, plane));
        EncryptionProof::prove(&self.0, context, (block, plane), body, (&shares, &noise, genotypes), rng)
    }
}
