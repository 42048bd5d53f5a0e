//! Verifying.

use super::{Proof, VerifyingKey, pairs_to_one};
use ark_bn254::{Bn254, Fr, G1Affine, G1Projective, G2Affine};
use ark_ec::{
    CurveGroup, VariableBaseMSM,
    pairing::{Pairing, PairingOutput},
};

impl VerifyingKey {
    /// Whether a proof is right for these public inputs; false for a wrong number of inputs.
    pub fn verify(&self, inputs: &[Fr], proof: &Proof) -> bool {
        let Some(input_point) = self.input_point(inputs) else { return false };
        pairs_to_one(
            &[proof.a, -self.alpha_g1, -input_point, -proof.c],
            &[proof.b, self.beta_g2, self.gamma_g2, self.delta_g2],
        )
    }

    /// The combination of the public inputs; `None` for a wrong number of them.
    fn input_point(&self, inputs: &[Fr]) -> Option<G1Affine> {
        let (constant, points) = self.inputs_g1.split_first()?;
        if points.len() != inputs.len() {
            return None;
        }
        let sum: G1Projective = G1Projective::msm(points, inputs).ok()? + constant;
        Some(sum.into_affine())
    }
}

/// A verifying key with everything computed that does not depend on the proof.
pub struct PreparedVerifyingKey {
    key: VerifyingKey,
    alpha_beta: PairingOutput<Bn254>,
    gamma: <Bn254 as Pairing>::G2Prepared,
    delta: <Bn254 as Pairing>::G2Prepared,
}

impl PreparedVerifyingKey {
    /// Prepares a key.
    pub fn new(key: VerifyingKey) -> Self {
        let alpha_beta = Bn254::pairing(key.alpha_g1, key.beta_g2);
        let prepare = |point: G2Affine| <Bn254 as Pairing>::G2Prepared::from(-point);
        Self { alpha_beta, gamma: prepare(key.gamma_g2), delta: prepare(key.delta_g2), key }
    }

    /// The key.
    pub fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// As [`VerifyingKey::verify`], in three pairings instead of four.
    pub fn verify(&self, inputs: &[Fr], proof: &Proof) -> bool {
        let Some(input_point) = self.key.input_point(inputs) else { return false };
        let g1: [<Bn254 as Pairing>::G1Prepared; 3] = [proof.a.into(), input_point.into(), proof.c.into()];
        let g2 = [proof.b.into(), self.gamma.clone(), self.delta.clone()];
        Bn254::multi_pairing(g1, g2) == self.alpha_beta
    }
}
