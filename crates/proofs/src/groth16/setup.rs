//! Key generation by one party.

use super::{ProvingKey, Shape, VerifyingKey, domain_of};
use crate::{domain::DST_DEVELOPMENT_KEYS, error::ProofsError};
use ark_bn254::{Fr, G1Affine, G1Projective, G2Projective};
use ark_ec::{CurveGroup, PrimeGroup, scalar_mul::BatchMulPreprocessing};
use ark_ff::{AdditiveGroup, Field, PrimeField};
use ark_poly::EvaluationDomain;
use locus_commitment::{r1cs::Side, sha3_256};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The secrets of a setup. Whoever knows them proves anything.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct ToxicWaste {
    alpha: Fr,
    beta: Fr,
    delta: Fr,
    tau: Fr,
}

impl ToxicWaste {
    /// Fresh secrets.
    pub fn generate(rng: &mut impl rand_core::CryptoRng) -> Self {
        let [alpha, beta, delta, tau] = [(); 4].map(|()| super::random_scalar(rng));
        Self { alpha, beta, delta, tau }
    }

    /// The published secrets of a circuit's development key: derived from its name, so that every
    /// machine makes the same key. Such a key proves nothing to anybody.
    pub fn development(circuit: &str) -> Self {
        let [alpha, beta, delta, tau] = ["alpha", "beta", "delta", "tau"].map(|part| {
            let halves =
                [0u8, 1].map(|half| sha3_256(DST_DEVELOPMENT_KEYS, &[circuit.as_bytes(), part.as_bytes(), &[half]]).0);
            Fr::from_be_bytes_mod_order(&halves.concat())
        });
        Self { alpha, beta, delta, tau }
    }
}

/// The three polynomials of every variable at tau.
struct AtTau {
    a: Vec<Fr>,
    b: Vec<Fr>,
    c: Vec<Fr>,
}

impl AtTau {
    fn of(shape: &Shape, tau: Fr) -> Result<Self, ProofsError> {
        let lagrange = domain_of(shape.domain_size())?.evaluate_all_lagrange_coefficients(tau);
        let mut sides = [(); 3].map(|()| vec![Fr::ZERO; shape.variables]);
        for (side, values) in Side::ALL.into_iter().zip(&mut sides) {
            for (row, weight) in lagrange.iter().enumerate().take(shape.rows.len()) {
                for (variable, coefficient) in shape.rows.entries(side, row) {
                    values[variable as usize] += coefficient * weight;
                }
            }
        }
        let [mut a, b, c] = sides;
        // One more row for the constant and each public input makes their polynomials independent.
        for (value, weight) in a.iter_mut().zip(&lagrange[shape.rows.len()..]).take(shape.public_inputs + 1) {
            *value += weight;
        }
        Ok(Self { a, b, c })
    }
}

impl ProvingKey {
    /// Makes the key of a circuit from secrets.
    ///
    /// # Errors
    /// [`ProofsError::CircuitTooLarge`]; [`ProofsError::DegenerateSetup`] for secrets that no random
    /// choice gives.
    pub fn setup(shape: &Shape, waste: &ToxicWaste) -> Result<Self, ProofsError> {
        let size = shape.domain_size();
        let at_tau = AtTau::of(shape, waste.tau)?;
        let delta_inverse = waste.delta.inverse().ok_or(ProofsError::DegenerateSetup)?;
        let in_verifier = shape.public_inputs + 1;
        let combined: Vec<Fr> = (0..shape.variables)
            .map(|place| waste.beta * at_tau.a[place] + waste.alpha * at_tau.b[place] + at_tau.c[place])
            .collect();
        let private: Vec<Fr> = combined[in_verifier..].iter().map(|value| *value * delta_inverse).collect();
        let twice = domain_of(2 * size)?.evaluate_all_lagrange_coefficients(waste.tau);
        let quotient: Vec<Fr> = twice.iter().skip(1).step_by(2).map(|value| *value * delta_inverse).collect();

        let g1 = BatchMulPreprocessing::new(G1Projective::generator(), shape.variables.max(size));
        let g2 = BatchMulPreprocessing::new(G2Projective::generator(), shape.variables);
        let one_g1 = |scalar: Fr| -> G1Affine { (G1Projective::generator() * scalar).into_affine() };
        let one_g2 = |scalar: Fr| (G2Projective::generator() * scalar).into_affine();
        let verifying_key = VerifyingKey {
            alpha_g1: one_g1(waste.alpha),
            beta_g2: one_g2(waste.beta),
            gamma_g2: one_g2(Fr::ONE),
            delta_g2: one_g2(waste.delta),
            inputs_g1: g1.batch_mul(&combined[..in_verifier]),
        };
        Ok(Self {
            verifying_key,
            beta_g1: one_g1(waste.beta),
            delta_g1: one_g1(waste.delta),
            a_g1: g1.batch_mul(&at_tau.a),
            b_g1: g1.batch_mul(&at_tau.b),
            b_g2: g2.batch_mul(&at_tau.b),
            private_g1: g1.batch_mul(&private),
            quotient_g1: g1.batch_mul(&quotient),
        })
    }
}
