//! Proofs of statement U.

use super::{
    circuit::UpdateCircuit,
    statement::{RegistryTree, UpdatePublic, UpdateShape, UpdateWitness},
};
use crate::{
    error::ProofsError,
    groth16::{PROOF_BYTES, PreparedVerifyingKey, Proof, ProvingKey, Shape, VerifyingKey},
};
use locus_commitment::field::{FieldBytes, encode_field};

/// A proof for one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpdateProof(Proof);

impl UpdateProof {
    /// The 256 bytes that contracts read.
    pub fn to_bytes(&self) -> [u8; PROOF_BYTES] {
        self.0.to_bytes()
    }

    /// Parses [`to_bytes`](Self::to_bytes) with all checks.
    ///
    /// # Errors
    /// [`ProofsError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofsError> {
        Proof::parse(bytes).map(Self)
    }

    /// Proves a batch.
    ///
    /// # Errors
    /// [`ProofsError::Unsatisfied`]; [`ProofsError::WrongSize`].
    pub fn prove(
        key: &ProvingKey,
        shape: UpdateShape,
        public: &UpdatePublic,
        witness: &UpdateWitness,
        rng: &mut impl rand_core::CryptoRng,
    ) -> Result<Self, ProofsError> {
        let sized = public.events.len() == shape.events()
            && witness.steps.len() == shape.events()
            && witness.steps.iter().all(|step| step.path.levels.len() == shape.depth());
        if !sized {
            return Err(ProofsError::WrongSize("the batch"));
        }
        key.prove(&UpdateCircuit { shape, public, witness }, rng).map(Self)
    }
}

impl UpdatePublic {
    /// The digest as a word of the contract call; the contract has every other word.
    pub fn digest_word(&self) -> FieldBytes {
        FieldBytes(encode_field(&self.digest))
    }
}

/// Verifies proofs of statement U.
pub struct UpdateVerifier(PreparedVerifyingKey);

impl UpdateVerifier {
    /// A verifier with a key.
    pub fn new(key: VerifyingKey) -> Self {
        Self(PreparedVerifyingKey::new(key))
    }

    /// Checks a batch.
    ///
    /// # Errors
    /// [`ProofsError::Rejected`].
    pub fn verify(&self, public: &UpdatePublic, proof: &UpdateProof) -> Result<(), ProofsError> {
        let holds = self.0.verify(&public.inputs().to_inputs(), &proof.0);
        if holds { Ok(()) } else { Err(ProofsError::Rejected("a registry update")) }
    }
}

/// The rows of the circuit of this size.
///
/// # Errors
/// Never: a batch of empty events fits every tree.
pub fn update_shape(shape: UpdateShape) -> Result<Shape, super::UpdateViolation> {
    let mut tree = RegistryTree::of_depth(shape.depth());
    let (public, witness) = UpdatePublic::advance(shape, &mut tree, &[])?;
    Ok(Shape::of(&UpdateCircuit { shape, public: &public, witness: &witness }))
}
