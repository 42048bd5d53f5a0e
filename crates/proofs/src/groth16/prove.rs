//! Proving.

use super::{
    Assignment, Circuit, Proof, ProvingKey, assign, domain_of,
    msm::{Scalars, multiply},
};
use crate::error::ProofsError;
use ark_bn254::Fr;
use ark_ec::CurveGroup;
use ark_ff::{AdditiveGroup, PrimeField};
use ark_poly::EvaluationDomain;
use rayon::prelude::*;
use zeroize::{Zeroize, Zeroizing};

/// A uniform scalar: 64 random bytes reduced, so that the bias is below 2^-256.
pub(crate) fn random_scalar(rng: &mut impl rand_core::CryptoRng) -> Fr {
    let mut bytes = Zeroizing::new([0; 64]);
    rng.fill_bytes(&mut bytes[..]);
    Fr::from_le_bytes_mod_order(&bytes[..])
}

/// Values of (a * b - c) on the coset of the domain where its vanishing polynomial is constant:
/// the odd powers of a root of unity of twice the domain's order. The sides are used up.
pub(crate) fn witness_quotient(sides: [Vec<Fr>; 3], inputs: &[Fr], size: usize) -> Result<Vec<Fr>, ProofsError> {
    let domain = domain_of(size)?;
    let shift = domain_of(2 * size)?.group_gen();
    let coset = domain.get_coset(shift).ok_or(ProofsError::CircuitTooLarge(size))?;
    let [mut a, mut b, mut c] = sides;
    a.extend_from_slice(inputs);
    for side in [&mut a, &mut b, &mut c] {
        side.resize(size, Fr::ZERO);
        domain.ifft_in_place(side);
        coset.fft_in_place(side);
    }
    a.par_iter_mut().zip(&b).zip(&c).for_each(|((a, b), c)| *a = *a * b - c);
    b.zeroize();
    c.zeroize();
    Ok(a)
}

impl ProvingKey {
    /// Proves a circuit's statement and checks the proof.
    ///
    /// # Errors
    /// [`ProofsError::Unsatisfied`] naming the first clause that the witness violates;
    /// [`ProofsError::WrongKey`] when this key is another circuit's.
    pub fn prove(&self, circuit: &impl Circuit, rng: &mut impl rand_core::CryptoRng) -> Result<Proof, ProofsError> {
        let assignment = assign(circuit);
        if let Some(unsatisfied) = assignment.unsatisfied {
            return Err(ProofsError::Unsatisfied { clause: unsatisfied.clause });
        }
        let inputs = circuit.public_inputs();
        let proof = self.prove_assignment(assignment, rng)?;
        if self.verifying_key.verify(&inputs, &proof) { Ok(proof) } else { Err(ProofsError::WrongKey) }
    }

    /// Proves values without looking whether they hold; a proof of values that do not, does not
    /// verify. The values are used up as they are no longer needed, for proving takes much memory.
    ///
    /// # Errors
    /// [`ProofsError::WrongKey`] when the key is for another number of variables.
    pub fn prove_assignment(
        &self,
        mut assignment: Assignment,
        rng: &mut impl rand_core::CryptoRng,
    ) -> Result<Proof, ProofsError> {
        let inputs = self.verifying_key.inputs_g1.len();
        let size = self.quotient_g1.len();
        let fits = assignment.variables.len() == self.a_g1.len() && assignment.sides[0].len() + inputs <= size;
        if !fits {
            return Err(ProofsError::WrongKey);
        }
        let (r, s) = (random_scalar(rng), random_scalar(rng));
        let quotient_part = {
            let sides = std::mem::take(&mut assignment.sides);
            let mut quotient = witness_quotient(sides, &assignment.variables[..inputs], size)?;
            let scalars = Scalars::new(quotient.par_iter().map(|value| value.into_bigint()));
            quotient.zeroize();
            drop(quotient);
            multiply(&self.quotient_g1, &scalars, 0)
        };
        let scalars = Scalars::new(assignment.variables.par_iter().map(|value| value.into_bigint()));
        drop(assignment);
        let private_part = multiply(&self.private_g1, &scalars, inputs);
        let a = multiply(&self.a_g1, &scalars, 0) + self.verifying_key.alpha_g1 + self.delta_g1 * r;
        let b_g1 = multiply(&self.b_g1, &scalars, 0) + self.beta_g1 + self.delta_g1 * s;
        let b = multiply(&self.b_g2, &scalars, 0) + self.verifying_key.beta_g2 + self.verifying_key.delta_g2 * s;
        let c = private_part + quotient_part + a * s + b_g1 * r - self.delta_g1 * (r * s);
        Ok(Proof { a: a.into_affine(), b: b.into_affine(), c: c.into_affine() })
    }
}
