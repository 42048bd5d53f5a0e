//! Proofs of statement C.

use super::{
    circuit::CohortCircuit,
    statement::{CohortPolicy, CohortPublic, CohortShape, CohortState, CohortWitness},
};
use crate::{
    error::ProofsError,
    groth16::{PROOF_BYTES, PreparedVerifyingKey, Proof, ProvingKey, Shape, VerifyingKey},
    registry::GROUP_SIZE,
};
use ark_bn254::Fr;
use ark_ff::AdditiveGroup;
use locus_commitment::{
    field::{FieldBytes, encode_field},
    merkle::{ARITY, MerklePath},
};

/// A proof for one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CohortProof(Proof);

impl CohortProof {
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

    /// Proves a statement.
    ///
    /// # Errors
    /// [`ProofsError::Unsatisfied`] when it is not true; [`ProofsError::WrongSize`].
    pub fn prove(
        key: &ProvingKey,
        shape: CohortShape,
        public: &CohortPublic,
        witness: &CohortWitness,
        rng: &mut impl rand_core::CryptoRng,
    ) -> Result<Self, ProofsError> {
        let sized = witness.groups.len() == shape.groups()
            && witness.selected.len() == shape.groups()
            && witness.path.levels.len() == shape.levels_above();
        if !sized {
            return Err(ProofsError::WrongSize("the shard"));
        }
        key.prove(&CohortCircuit { shape, public, witness }, rng).map(Self)
    }
}

impl CohortPublic {
    /// The digest as a word of the contract call; the contract has or computes every other word.
    pub fn digest_word(&self) -> FieldBytes {
        FieldBytes(encode_field(&self.inputs().digest))
    }
}

/// Verifies chains of proofs of statement C.
pub struct CohortVerifier(PreparedVerifyingKey);

impl CohortVerifier {
    /// A verifier with a key.
    pub fn new(key: VerifyingKey) -> Self {
        Self(PreparedVerifyingKey::new(key))
    }

    /// Checks one shard.
    ///
    /// # Errors
    /// [`ProofsError::Rejected`].
    pub fn verify(&self, public: &CohortPublic, proof: &CohortProof) -> Result<(), ProofsError> {
        let holds = self.0.verify(&public.inputs().to_inputs(), &proof.0);
        if holds { Ok(()) } else { Err(ProofsError::Rejected("a cohort")) }
    }

    /// Checks a chain of shards on one statement and gives its last state. Shards must ascend, so
    /// that none is counted twice.
    ///
    /// # Errors
    /// [`ProofsError::Rejected`].
    pub fn verify_chain(&self, links: &[(CohortPublic, CohortProof)]) -> Result<CohortState, ProofsError> {
        let mut state = CohortState::empty();
        let mut previous: Option<&CohortPublic> = None;
        for (public, proof) in links {
            let follows = previous.is_none_or(|previous| {
                public.shard > previous.shard
                    && (public.root, public.policy, public.condition, public.price_max)
                        == (previous.root, previous.policy, previous.condition, previous.price_max)
            });
            if !follows || public.before != state {
                return Err(ProofsError::Rejected("a chain of cohorts"));
            }
            self.verify(public, proof)?;
            state = public.after;
            previous = Some(public);
        }
        Ok(state)
    }
}

/// The rows of the circuit of this size.
pub fn cohort_shape(shape: CohortShape) -> Shape {
    let public = CohortPublic {
        root: Fr::ZERO,
        shard: 0,
        policy: CohortPolicy(0),
        condition: Fr::ZERO,
        price_max: 0,
        before: CohortState::empty(),
        after: CohortState::empty(),
    };
    let witness = CohortWitness {
        groups: vec![None; shape.groups()],
        selected: vec![[false; GROUP_SIZE]; shape.groups()],
        blinding: Fr::ZERO,
        path: MerklePath { levels: vec![[Fr::ZERO; ARITY]; shape.levels_above()] },
    };
    Shape::of(&CohortCircuit { shape, public: &public, witness: &witness })
}
