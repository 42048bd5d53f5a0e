//! Proofs of statement E.

use super::{
    circuit::EncryptionCircuit,
    statement::{BlockGenotypes, EncryptionPublic, EncryptionShape, EncryptionWitness, binding},
};
use crate::{
    error::ProofsError,
    groth16::{PROOF_BYTES, PreparedVerifyingKey, Proof, ProvingKey, Shape, VerifyingKey},
};
use ark_bn254::Fr;
use ark_ff::AdditiveGroup;
use locus_commitment::{
    BodyDigest, DatasetContext,
    field::{FieldBytes, decode_field, encode_field},
};
use locus_genomics::{PanelBlockIndex, Plane};
use locus_rlwe::{Body, EncryptionNoise, SecretBits};

const WORD: usize = 32;
const WORDS: usize = 5;

/// A proof that one body is an encryption, with what it says about key shares and genotypes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncryptionProof {
    share_commitments: [Fr; 3],
    genotype_commitment: Fr,
    challenge: Fr,
    proof: Proof,
}

impl EncryptionProof {
    /// Bytes of an encoded proof: five words and three points.
    pub const BYTES: usize = WORDS * WORD + PROOF_BYTES;

    /// Share commitments 1 to 3, genotype commitment, challenge (32 bytes each, big endian), proof.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let [first, second, third] = self.share_commitments;
        let mut bytes = [0; Self::BYTES];
        let words = [first, second, third, self.genotype_commitment, self.challenge];
        for (chunk, word) in bytes.as_chunks_mut::<WORD>().0.iter_mut().zip(&words) {
            *chunk = encode_field(word);
        }
        bytes[WORDS * WORD..].copy_from_slice(&self.proof.to_bytes());
        bytes
    }

    /// Parses [`to_bytes`](Self::to_bytes) with all checks.
    ///
    /// # Errors
    /// [`ProofsError::Truncated`], [`ProofsError::NotCanonical`] or [`ProofsError::BadPoint`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofsError> {
        if bytes.len() != Self::BYTES {
            return Err(ProofsError::Truncated);
        }
        let (words, proof) = bytes.split_at(WORDS * WORD);
        let mut parsed = [Fr::ZERO; WORDS];
        for (element, chunk) in parsed.iter_mut().zip(words.as_chunks::<WORD>().0) {
            *element = decode_field(chunk).map_err(|_| ProofsError::NotCanonical)?;
        }
        let [first, second, third, genotype_commitment, challenge] = parsed;
        let share_commitments = [first, second, third];
        Ok(Self { share_commitments, genotype_commitment, challenge, proof: Proof::parse(proof)? })
    }

    /// The commitment to the bits of share `position` (0 to 2); its holders compare it with
    /// [`share_commitment_of`](Self::share_commitment_of).
    pub fn share_commitment(&self, position: usize) -> Option<FieldBytes> {
        self.share_commitments.get(position).map(|commitment| FieldBytes(encode_field(commitment)))
    }

    /// The commitment to the genotypes of the panel block.
    pub fn genotype_commitment(&self) -> FieldBytes {
        FieldBytes(encode_field(&self.genotype_commitment))
    }

    /// What a holder of share `position` computes from the expanded seed.
    pub fn share_commitment_of(position: usize, bits: &SecretBits) -> FieldBytes {
        FieldBytes(encode_field(&super::share_commitment(position, &bits.to_bytes_of_bits())))
    }

    /// Proves that `body` is the encryption of `genotypes` under these secrets.
    ///
    /// # Errors
    /// [`ProofsError::Unsatisfied`] when it is not; [`ProofsError::CarryOutOfRange`], rarely.
    pub fn prove(
        key: &ProvingKey,
        context: &DatasetContext,
        (block, plane): (PanelBlockIndex, Plane),
        body: &Body,
        (shares, noise, genotypes): (&[SecretBits; 3], &EncryptionNoise, BlockGenotypes),
        rng: &mut impl rand_core::CryptoRng,
    ) -> Result<Self, ProofsError> {
        let mut witness = EncryptionWitness {
            shares: shares.each_ref().map(SecretBits::to_bytes_of_bits),
            noise: noise.values().collect(),
            genotypes,
            carries: Vec::new(),
        };
        let binding = binding(context, block, plane, &body.digest());
        let shape = EncryptionShape::FULL;
        let public =
            EncryptionPublic::complete(shape, binding, plane, block, body.coefficients().to_vec(), &mut witness)?;
        Self::prove_statement(key, shape, &public, &witness, rng)
    }

    pub(crate) fn prove_statement(
        key: &ProvingKey,
        shape: EncryptionShape,
        public: &EncryptionPublic,
        witness: &EncryptionWitness,
        rng: &mut impl rand_core::CryptoRng,
    ) -> Result<Self, ProofsError> {
        let proof = key.prove(&EncryptionCircuit::new(shape, public, witness), rng)?;
        Ok(Self {
            share_commitments: public.share_commitments,
            genotype_commitment: public.genotype_commitment,
            challenge: public.challenge,
            proof,
        })
    }
}

/// Verifies proofs of statement E.
pub struct EncryptionVerifier {
    shape: EncryptionShape,
    key: PreparedVerifyingKey,
}

impl EncryptionVerifier {
    /// A verifier with the key of the full size.
    pub fn new(key: VerifyingKey) -> Self {
        Self::of_shape(EncryptionShape::FULL, key)
    }

    pub(crate) fn of_shape(shape: EncryptionShape, key: VerifyingKey) -> Self {
        Self { shape, key: PreparedVerifyingKey::new(key) }
    }

    /// Checks that `body` is an encryption for this context, panel block and plane. Digest and value
    /// at the challenge are computed from the body's bytes.
    ///
    /// # Errors
    /// [`ProofsError::Rejected`].
    pub fn verify(
        &self,
        context: &DatasetContext,
        block: PanelBlockIndex,
        plane: Plane,
        body: &Body,
        proof: &EncryptionProof,
    ) -> Result<(), ProofsError> {
        let digest: BodyDigest = body.digest();
        self.verify_bound(binding(context, block, plane, &digest), plane, body.coefficients(), proof)
    }

    pub(crate) fn verify_bound(
        &self,
        binding: Fr,
        plane: Plane,
        body: &[u64],
        proof: &EncryptionProof,
    ) -> Result<(), ProofsError> {
        let public = EncryptionPublic {
            binding,
            plane,
            share_commitments: proof.share_commitments,
            genotype_commitment: proof.genotype_commitment,
            challenge: proof.challenge,
            body: body.to_vec(),
        };
        let sized = body.len() == self.shape.ring_dimension();
        if sized && self.key.verify(&public.inputs(self.shape), &proof.proof) {
            Ok(())
        } else {
            Err(ProofsError::Rejected("a ciphertext body"))
        }
    }
}

/// The rows of the circuit of this size.
pub fn encryption_shape(shape: EncryptionShape) -> Shape {
    let length = shape.ring_dimension();
    let witness = EncryptionWitness {
        shares: [(); 3].map(|()| vec![0; length]),
        noise: vec![0; length],
        genotypes: BlockGenotypes { codes: vec![0; shape.variants()], blinding: Fr::ZERO },
        carries: vec![0; length],
    };
    let public = EncryptionPublic {
        binding: Fr::ZERO,
        plane: Plane::Calls,
        share_commitments: [Fr::ZERO; 3],
        genotype_commitment: Fr::ZERO,
        challenge: Fr::ZERO,
        body: vec![0; length],
    };
    Shape::of(&EncryptionCircuit::new(shape, &public, &witness))
}
