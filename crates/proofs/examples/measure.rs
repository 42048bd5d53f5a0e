//! Measures setup, proving and verifying at full size: `measure <encryption|...> [threads]`.

use getrandom::{SysRng, rand_core::UnwrapErr};
use locus_commitment::{Address, DatasetContext, DatasetId, NetworkId};
use locus_genomics::{Genotype, PackedGenotypes, PanelBlockIndex, PanelDigest, Plane, VARIANTS_PER_PANEL_BLOCK};
use locus_proofs::{
    encryption::{BlockGenotypes, EncryptionProof, EncryptionShape, EncryptionVerifier, block_blinding, encryption_shape},
    groth16::{ProvingKey, Shape, ToxicWaste},
};
use locus_rlwe::{BlockKeys, DatasetEncryptor, EncryptionNoise, Mask};
use locus_sharing::{MasterSecret, ShareIndex};
use std::{error::Error, fs, time::Instant};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Peak resident memory since the last reset, in MB.
fn peak_mb() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

fn reset_peak() {
    // Not permitted everywhere; the figure is then the peak since the start.
    let _ = fs::write("/proc/self/clear_refs", "5");
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    reset_peak();
    let start = Instant::now();
    let result = work();
    println!("{what}: {:.1} ms, peak {:.0} MB", start.elapsed().as_secs_f64() * 1e3, peak_mb());
    result
}

fn key_of(shape: impl FnOnce() -> Shape) -> Result<ProvingKey> {
    let shape = timed("rows", shape);
    for (clause, rows) in &shape.clause_rows {
        println!("  {clause}: {rows}");
    }
    println!("  {}: {} rows, domain {}, {} entries", shape.name, shape.rows.len(), shape.domain_size(), shape.rows.entry_count());
    Ok(timed("setup", || ProvingKey::setup(&shape, &ToxicWaste::development(&shape.name)))?)
}

fn encryption() -> Result<()> {
    let key = key_of(|| encryption_shape(EncryptionShape::FULL))?;
    let context = DatasetContext {
        network: NetworkId { chain_id: 31_337, registry: Address([1; 20]) },
        registrant: Address([2; 20]),
        dataset: DatasetId([3; 32]),
        panel: PanelDigest([4; 32]),
        version: 1,
    };
    let variants = VARIANTS_PER_PANEL_BLOCK as usize;
    let mut genotypes = PackedGenotypes::filled(variants, Genotype::HomRef);
    for place in 0..variants {
        genotypes.set(place, Genotype::from_low_bits(u8::try_from(place * place % 5 % 4)?));
    }
    let encryptor = DatasetEncryptor::new(&MasterSecret::from_bytes([7; 32]), &context, &genotypes);
    let secrets = encryptor.secrets();
    let (block, plane) = (PanelBlockIndex(0), Plane::Calls);
    let body = encryptor.encrypt(Mask::v1(), block, plane)?;
    let shares =
        ShareIndex::ALL.map(|share| BlockKeys::new(&context, share, secrets.seeds.of(share)).expand(block, plane));
    let noise = EncryptionNoise::expand(&secrets.encryption_noise_seed, block, plane);
    let codes: Vec<u8> = genotypes.iter().map(Genotype::code).collect();
    let blinding = block_blinding(&secrets.genotype_blinding, block);
    let mut rng = UnwrapErr(SysRng);
    let mut proof = None;
    for _ in 0..3 {
        let genotypes = BlockGenotypes { codes: codes.clone(), blinding };
        let opening = (&shares, &noise, genotypes);
        let made = timed("prove_encryption", || {
            EncryptionProof::prove(&key, &context, (block, plane), &body, opening, &mut rng)
        })?;
        proof = Some(made);
    }
    let proof = EncryptionProof::parse(&proof.ok_or("no proof")?.to_bytes())?;
    let verifier = EncryptionVerifier::new(key.verifying_key.clone());
    for _ in 0..3 {
        timed("verify (encryption, with the body)", || verifier.verify(&context, block, plane, &body, &proof))?;
    }
    Ok(())
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_default();
    match what.as_str() {
        "encryption" => encryption(),
        other => Err(format!("unknown measurement {other:?}").into()),
    }
}
