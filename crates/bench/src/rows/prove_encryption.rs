//! Statement E: one body is an encryption, against snarkjs with the same key and witness.

use crate::{
    peers::output,
    proving::{RUNS, dataset, key_of, peak_mb},
    row::{Bench, Goal, Measured, Row},
    timing::{fastest, seconds},
};
use anyhow::Result;
use getrandom::{SysRng, rand_core::UnwrapErr};
use locus_genomics::{Genotype, PackedGenotypes, PanelBlockIndex, Plane, VARIANTS_PER_PANEL_BLOCK};
use locus_proofs::{
    Statement,
    circom::{write_wtns, write_zkey},
    dataset::block_genotypes,
    encryption::{EncryptionCircuit, EncryptionPublic, EncryptionShape, EncryptionWitness, binding},
    groth16::assign,
};
use locus_rlwe::{DatasetKeys, Mask, SecretBits};
use locus_sharing::{GenotypeDigest, MasterSecret};
use std::{fs, process::Command};

pub(crate) const ROW: Row = Row { id: "prove_encryption", unit: "s", goal: Goal::AtMost(0.7), measure };

fn measure(bench: &mut Bench) -> Result<Measured> {
    let (key, size) = key_of(Statement::Encryption)?;
    let context = dataset();
    let kinds = [Genotype::HomRef, Genotype::Het, Genotype::HomAlt];
    let variants = 0..VARIANTS_PER_PANEL_BLOCK as usize;
    let genotypes: PackedGenotypes = variants.map(|variant| kinds[variant * 7 % 3]).collect();
    let packed = genotypes.as_bytes();
    let keys = DatasetKeys::derive(&MasterSecret::from_bytes([7; 32]), &context, &GenotypeDigest::of_packed(packed));
    let (block, plane) = (PanelBlockIndex(0), Plane::Calls);
    let body = keys.encrypt(Mask::v1(), block, plane, packed)?;
    let mut witness = EncryptionWitness {
        shares: keys.share_bits(block, plane).each_ref().map(SecretBits::to_bytes_of_bits),
        noise: keys.noise(block, plane).values().collect(),
        genotypes: block_genotypes(&keys.secrets().genotype_blinding, block, packed)?,
        carries: Vec::new(),
    };
    let full = EncryptionShape::FULL;
    let bound = binding(&context, block, plane, &body.digest());
    let public = EncryptionPublic::complete(full, bound, plane, block, body.coefficients().to_vec(), &mut witness)?;
    let circuit = EncryptionCircuit::new(full, &public, &witness);
    let prove = || fastest(RUNS, || Ok(key.prove(&circuit, &mut UnwrapErr(SysRng)).map(drop)?));
    let (value, peak) = peak_mb(prove)?;
    let note = format!("one panel block and plane, {size}, peak {peak:.0} MB");
    let mut measured = Measured { value, note, ..Measured::default() };
    let Some(program) = bench.snarkjs() else {
        measured.peer = Some("snarkjs: absent".to_owned());
        return Ok(measured);
    };
    let folder = bench.folder("snarkjs")?;
    fs::write(folder.join("key.zkey"), write_zkey(&key, &Statement::Encryption.shape()?))?;
    fs::write(folder.join("witness.wtns"), write_wtns(&assign(&circuit)))?;
    let words = ["groth16", "prove", "key.zkey", "witness.wtns", "proof.json", "public.json"];
    let (peer, _) = seconds(|| output(Command::new("node").arg(program).args(words).current_dir(&folder)))?;
    measured.peer = Some("snarkjs, same key and witness".to_owned());
    measured.peer_value = Some(peer);
    Ok(measured)
}
