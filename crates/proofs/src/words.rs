//! Many public values behind three public inputs.
//!
//! A contract pays about 6,200 gas for each public input, and cannot afford Poseidon. So a circuit
//! with public words w_1 .. w_n has the inputs (d, c, f): d is a Poseidon hash that fixes the words
//! inside the circuit, c = keccak256(domain, d, w_1, ..., w_n) modulo r is computed by the contract
//! from the words it wants to see, and f = w_1 c^(n-1) + ... + w_n likewise.
//!
//! The circuit checks d and f on its own words v. If v differs from w, the polynomials of v and w
//! differ; d fixes v before c is known, so they meet at c with probability below n / r. Without d a
//! prover could choose a free word of v after c, and satisfy the one equation with false words.

use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, PrimeField};
use locus_commitment::{
    field::encode_field,
    r1cs::{Builder, Linear},
    sha3_256,
};
use sha3::{Digest as _, Keccak256};

/// Public inputs (d, c, f) for public words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WordInputs {
    /// Poseidon hash of the words (or of what determines them).
    pub digest: Fr,
    /// Point of evaluation.
    pub challenge: Fr,
    /// The words' polynomial at the challenge.
    pub evaluation: Fr,
}

impl WordInputs {
    /// What the contract computes from the digest it is given and the words it expects.
    pub fn new(dst: &str, digest: Fr, words: &[Fr]) -> Self {
        let mut hasher = Keccak256::new();
        hasher.update(domain_word(dst));
        hasher.update(encode_field(&digest));
        for word in words {
            hasher.update(encode_field(word));
        }
        let challenge = Fr::from_be_bytes_mod_order(&hasher.finalize());
        Self { digest, challenge, evaluation: evaluate(words, challenge) }
    }

    /// The public inputs in order.
    pub fn to_inputs(self) -> Vec<Fr> {
        vec![self.digest, self.challenge, self.evaluation]
    }
}

/// The constant that starts the contract's hash: SHA3-256 of the domain string.
pub fn domain_word(dst: &str) -> [u8; 32] {
    sha3_256(dst, &[]).0
}

fn evaluate(words: &[Fr], challenge: Fr) -> Fr {
    words.iter().fold(Fr::ZERO, |sum, word| sum * challenge + word)
}

/// Enforces that `digest` and the words' polynomial are what the inputs (d, c, f) say.
pub(crate) fn enforce(builder: &mut Builder, inputs: &[Linear], digest: &Linear, words: &[Linear]) {
    builder.enforce_equal(digest, &inputs[0]);
    let mut sum = Linear::zero();
    for word in words {
        sum = builder.multiply(&sum, &inputs[1]).plus(word);
    }
    builder.enforce_equal(&sum, &inputs[2]);
}
