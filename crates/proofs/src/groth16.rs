//! The proof system of [[Groth16]] over BN254.
//!
//! Keys have the layout of circom and snarkjs: gamma is one, and the quotient is committed to by its
//! values on a coset, so that keys from an ordinary ceremony and proofs of other provers fit.
//!
//! The prover needs no matrices: a circuit's [`Assignment`] already holds the three sides of every
//! row. Proofs can be re-randomised by anybody; never use proof bytes as an identifier.
//!
//! [Groth16]: https://ia.cr/2016/260

use crate::error::ProofsError;
use ark_bn254::{Bn254, Fr, G1Affine, G2Affine};
use ark_ec::{AffineRepr, pairing::Pairing};
use ark_poly::{EvaluationDomain, Radix2EvaluationDomain};
use locus_commitment::r1cs::{Builder, Linear, Mode, Rows};

mod encoding;
mod msm;
mod prove;
mod setup;
mod verify;

pub use encoding::{PROOF_BYTES, proof_words};
pub(crate) use prove::random_scalar;
pub use setup::ToxicWaste;
pub use verify::PreparedVerifyingKey;

pub use locus_commitment::r1cs::Assignment;

/// A statement with a witness, as rows.
pub trait Circuit {
    /// Name of the circuit and its size, as in key files.
    fn name(&self) -> String;
    /// The public inputs in order.
    fn public_inputs(&self) -> Vec<Fr>;
    /// Writes the rows. Which rows must not depend on any value.
    fn synthesize(&self, builder: &mut Builder, inputs: &[Linear]);
}

/// The rows of a circuit, the same for all statements.
pub struct Shape {
    /// Name of the circuit.
    pub name: String,
    /// All rows.
    pub rows: Rows,
    /// Public inputs.
    pub public_inputs: usize,
    /// Variables with the constant one and the public inputs.
    pub variables: usize,
    /// Rows of each clause.
    pub clause_rows: Vec<(&'static str, usize)>,
}

impl Shape {
    /// The shape of a circuit.
    pub fn of(circuit: &impl Circuit) -> Self {
        let (mut builder, inputs) = Builder::new(Mode::Shape, &circuit.public_inputs());
        circuit.synthesize(&mut builder, &inputs);
        Self {
            name: circuit.name(),
            public_inputs: builder.public_input_count(),
            variables: builder.variable_count(),
            clause_rows: builder.clause_rows().to_vec(),
            rows: builder.into_rows(),
        }
    }

    /// Size of the evaluation domain: rows and public inputs, up to a power of two.
    pub fn domain_size(&self) -> usize {
        (self.rows.len() + self.public_inputs + 1).next_power_of_two()
    }
}

/// The values of a circuit for its statement and witness.
pub fn assign(circuit: &impl Circuit) -> Assignment {
    let (mut builder, inputs) = Builder::new(Mode::Assign, &circuit.public_inputs());
    circuit.synthesize(&mut builder, &inputs);
    builder.into_assignment()
}

/// What a verifier needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyingKey {
    /// alpha.
    pub alpha_g1: G1Affine,
    /// beta.
    pub beta_g2: G2Affine,
    /// gamma.
    pub gamma_g2: G2Affine,
    /// delta.
    pub delta_g2: G2Affine,
    /// One point for the constant and one for each public input.
    pub inputs_g1: Vec<G1Affine>,
}

/// What a prover needs.
pub struct ProvingKey {
    /// The verifier's part.
    pub verifying_key: VerifyingKey,
    pub(crate) beta_g1: G1Affine,
    pub(crate) delta_g1: G1Affine,
    /// By variable.
    pub(crate) a_g1: Vec<G1Affine>,
    /// By variable.
    pub(crate) b_g1: Vec<G1Affine>,
    /// By variable.
    pub(crate) b_g2: Vec<G2Affine>,
    /// By private variable.
    pub(crate) private_g1: Vec<G1Affine>,
    /// By place in the domain.
    pub(crate) quotient_g1: Vec<G1Affine>,
}

impl ProvingKey {
    /// Whether the lists have lengths that fit each other.
    pub(crate) fn is_consistent(&self) -> bool {
        let variables = self.a_g1.len();
        let inputs = self.verifying_key.inputs_g1.len();
        [self.b_g1.len(), self.b_g2.len(), self.private_g1.len() + inputs].iter().all(|length| *length == variables)
            && self.quotient_g1.len().is_power_of_two()
    }
}

/// A proof: three points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof {
    pub(crate) a: G1Affine,
    pub(crate) b: G2Affine,
    pub(crate) c: G1Affine,
}

pub(crate) type Domain = Radix2EvaluationDomain<Fr>;

/// The domain of this size.
pub(crate) fn domain_of(size: usize) -> Result<Domain, ProofsError> {
    Domain::new(size).ok_or(ProofsError::CircuitTooLarge(size))
}

/// Pairing check: the product over all pairs is one.
pub(crate) fn pairs_to_one(g1: &[G1Affine], g2: &[G2Affine]) -> bool {
    use ark_ff::One;
    Bn254::multi_pairing(g1, g2).0.is_one()
}

/// Whether a point from outside may be used: on the curve, of prime order, not the neutral element.
pub(crate) fn is_sound_g1(point: &G1Affine) -> bool {
    !point.is_zero() && point.is_on_curve()
}

/// As [`is_sound_g1`]; this group has a cofactor.
pub(crate) fn is_sound_g2(point: &G2Affine) -> bool {
    !point.is_zero() && point.is_on_curve() && point.is_in_correct_subgroup_assuming_on_curve()
}

#[cfg(test)]
pub(crate) mod tests;
