//! Verifying a proof of encryption, with everything that is computed from the body.

use crate::{
    proving::{dataset, key_of},
    row::{Bench, Goal, Measured, Row},
    timing::fastest,
};
use anyhow::Result;
use getrandom::{SysRng, rand_core::UnwrapErr};
use locus_genomics::{PanelBlockIndex, Plane, VARIANTS_PER_PANEL_BLOCK};
use locus_proofs::{Statement, dataset::EncryptionProver, encryption::EncryptionVerifier};
use locus_rlwe::{DatasetKeys, Mask};
use locus_sharing::{GenotypeDigest, MasterSecret};

pub(crate) const ROW: Row = Row { id: "verify", unit: "ms", goal: Goal::AtMost(3.0), measure };

const RUNS: usize = 50;

fn measure(_: &mut Bench) -> Result<Measured> {
    let (key, _) = key_of(Statement::Encryption)?;
    let verifier = EncryptionVerifier::new(key.verifying_key.clone());
    let context = dataset();
    let packed = vec![0b10_01_00_01; VARIANTS_PER_PANEL_BLOCK as usize / 4];
    let digest = GenotypeDigest::of_packed(&packed);
    let keys = DatasetKeys::derive(&MasterSecret::from_bytes([7; 32]), &context, &digest);
    let (block, plane) = (PanelBlockIndex(0), Plane::Calls);
    let body = keys.encrypt(Mask::v1(), block, plane, &packed)?;
    let prover = EncryptionProver::new(key);
    let proof = prover.prove(&context, &keys, (block, plane), (&packed, &body), &mut UnwrapErr(SysRng))?;
    let value = 1e3 * fastest(RUNS, || Ok(verifier.verify(&context, block, plane, &body, &proof)?))?;
    let note = "statement E: hash of the body, value at the challenge, four pairings; one processor".to_owned();
    Ok(Measured { value, note, ..Measured::default() })
}
