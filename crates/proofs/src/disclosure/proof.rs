//! Proofs of statement D.

use super::{
    circuit::DisclosureCircuit,
    statement::{
        BLOCK_TREE_DEPTH, DisclosureContext, DisclosurePublic, DisclosureShape, DisclosureWitness, GenotypeClaim,
        GenotypeTree,
    },
};
use crate::{
    encryption::BlockGenotypes,
    error::ProofsError,
    groth16::{PROOF_BYTES, PreparedVerifyingKey, Proof, ProvingKey, Shape, VerifyingKey},
};
use ark_bn254::Fr;
use ark_ff::AdditiveGroup;
use locus_commitment::{
    field::{FieldBytes, decode_field},
    merkle::{ARITY, MerklePath},
};
use locus_genomics::VariantIndex;

/// Most variants in one disclosure.
const CLAIMS_MAX: usize = 1024;

/// One proof for each claim of a disclosure, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisclosureProof(Vec<Proof>);

impl DisclosureProof {
    /// 256 bytes a claim.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(Proof::to_bytes).collect()
    }

    /// Parses [`to_bytes`](Self::to_bytes) with all checks.
    ///
    /// # Errors
    /// [`ProofsError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofsError> {
        let count = bytes.len() / PROOF_BYTES;
        if !bytes.len().is_multiple_of(PROOF_BYTES) || !(1..=CLAIMS_MAX).contains(&count) {
            return Err(ProofsError::Truncated);
        }
        Ok(Self(bytes.chunks(PROOF_BYTES).map(Proof::parse).collect::<Result<_, _>>()?))
    }

    /// Proves all claims of a disclosure. `opening` gives the genotypes of a panel block.
    ///
    /// # Errors
    /// [`ProofsError::Unsatisfied`] when a claim is not true; [`ProofsError::WrongSize`].
    pub fn prove(
        key: &ProvingKey,
        context: &DisclosureContext,
        tree: &GenotypeTree,
        opening: impl FnMut(u32) -> BlockGenotypes,
        rng: &mut impl rand_core::CryptoRng,
    ) -> Result<Self, ProofsError> {
        Self::prove_shape(key, DisclosureShape::FULL, context, tree, opening, rng)
    }

    pub(crate) fn prove_shape(
        key: &ProvingKey,
        shape: DisclosureShape,
        context: &DisclosureContext,
        tree: &GenotypeTree,
        mut opening: impl FnMut(u32) -> BlockGenotypes,
        rng: &mut impl rand_core::CryptoRng,
    ) -> Result<Self, ProofsError> {
        if !(1..=CLAIMS_MAX).contains(&context.claims.len()) {
            return Err(ProofsError::WrongSize("the list of claims"));
        }
        let binding = context.binding();
        let mut proofs = Vec::with_capacity(context.claims.len());
        for (variant, claim) in &context.claims {
            let public = DisclosurePublic { dataset: tree.root(), variant: *variant, claim: *claim, binding };
            let (block, _) = public.block_and_position(shape);
            let witness = DisclosureWitness { genotypes: opening(block), path: tree.path(block) };
            if witness.genotypes.codes.len() != shape.variants() {
                return Err(ProofsError::WrongSize("the panel block"));
            }
            proofs.push(key.prove(&DisclosureCircuit { shape, public: &public, witness: &witness }, rng)?);
        }
        Ok(Self(proofs))
    }
}

/// Verifies proofs of statement D.
pub struct DisclosureVerifier(PreparedVerifyingKey);

impl DisclosureVerifier {
    /// A verifier with the key of the full size.
    pub fn new(key: VerifyingKey) -> Self {
        Self(PreparedVerifyingKey::new(key))
    }

    /// Checks every claim of a disclosure against the genotype commitment that the chain keeps. The
    /// caller checks expiry and nonce.
    ///
    /// # Errors
    /// [`ProofsError::Rejected`]; [`ProofsError::NotCanonical`] for a commitment that is no field
    /// element, as those of datasets without proofs are.
    pub fn verify(
        &self,
        context: &DisclosureContext,
        commitment: &FieldBytes,
        proof: &DisclosureProof,
    ) -> Result<(), ProofsError> {
        let dataset = decode_field(&commitment.0).map_err(|_| ProofsError::NotCanonical)?;
        let binding = context.binding();
        let holds = |((variant, claim), proof): (&(VariantIndex, GenotypeClaim), &Proof)| {
            let public = DisclosurePublic { dataset, variant: *variant, claim: *claim, binding };
            self.0.verify(&public.inputs(), proof)
        };
        let complete = !context.claims.is_empty() && context.claims.len() == proof.0.len();
        if complete && context.claims.iter().zip(&proof.0).all(holds) {
            Ok(())
        } else {
            Err(ProofsError::Rejected("a disclosure"))
        }
    }
}

/// The rows of the circuit of this size.
pub fn disclosure_shape(shape: DisclosureShape) -> Shape {
    let public = DisclosurePublic {
        dataset: Fr::ZERO,
        variant: VariantIndex(0),
        claim: GenotypeClaim::CARRIES,
        binding: Fr::ZERO,
    };
    let witness = DisclosureWitness {
        genotypes: BlockGenotypes { codes: vec![0; shape.variants()], blinding: Fr::ZERO },
        path: MerklePath { levels: vec![[Fr::ZERO; ARITY]; BLOCK_TREE_DEPTH] },
    };
    Shape::of(&DisclosureCircuit { shape, public: &public, witness: &witness })
}
