//! Measures setup, proving and verifying at full size:
//! `RAYON_NUM_THREADS=2 measure <encryption|disclosure|cohort|update|pedersen>`.

use getrandom::{SysRng, rand_core::UnwrapErr};
use locus_commitment::{
    Address, DatasetContext, DatasetId, NetworkId,
    field::Fr,
    pedersen::{CiphertextCommitment, Generators},
};
use locus_genomics::{
    Declarations, DuoTerm, Genotype, PackedGenotypes, PanelBlockIndex, PanelDigest, Plane, Purpose, PurposeCode,
    VARIANTS_PER_PANEL_BLOCK, VariantIndex,
};
use locus_proofs::{
    cohort::{
        CohortPolicy, CohortProof, CohortPublic, CohortShape, CohortState, CohortVerifier, CohortWitness, Provenance,
        QueryTier, cohort_shape,
    },
    disclosure::{
        DisclosureContext, DisclosureProof, DisclosureShape, DisclosureVerifier, GenotypeClaim, GenotypeTree,
        disclosure_shape,
    },
    encryption::{
        BlockGenotypes, EncryptionProof, EncryptionShape, EncryptionVerifier, block_blinding, encryption_shape,
        genotype_commitment,
    },
    groth16::{ProvingKey, Shape, ToxicWaste},
    registry::{Group, GroupOffer},
    update::{RegistryEvent, RegistryTree, UpdateProof, UpdatePublic, UpdateShape, UpdateVerifier, update_shape},
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

/// Processor time of this process in ms, all threads together.
fn cpu_ms() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |place: usize| fields.get(place).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) * 10.0
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    reset_peak();
    let (cpu, start) = (cpu_ms(), Instant::now());
    let result = work();
    let wall = start.elapsed().as_secs_f64() * 1e3;
    println!("{what}: {wall:.1} ms, cpu {:.0} ms, peak {:.0} MB", cpu_ms() - cpu, peak_mb());
    result
}

fn key_of(shape: impl FnOnce() -> Shape) -> Result<ProvingKey> {
    let shape = timed("rows", shape);
    for (clause, rows) in &shape.clause_rows {
        println!("  {clause}: {rows}");
    }
    println!(
        "  {}: {} rows, domain {}, {} entries",
        shape.name,
        shape.rows.len(),
        shape.domain_size(),
        shape.rows.entry_count()
    );
    Ok(timed("setup", || ProvingKey::setup(&shape, &ToxicWaste::development(&shape.name)))?)
}

fn context() -> DatasetContext {
    DatasetContext {
        network: NetworkId { chain_id: 31_337, registry: Address([1; 20]) },
        registrant: Address([2; 20]),
        dataset: DatasetId([3; 32]),
        panel: PanelDigest([4; 32]),
        version: 1,
    }
}

fn encryption() -> Result<()> {
    let key = key_of(|| encryption_shape(EncryptionShape::FULL))?;
    let context = context();
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

/// The genotypes of a synthetic panel block.
fn block_of(number: u32) -> BlockGenotypes {
    let code = |place: u32| u8::try_from((place * place + number) % 5 % 4).unwrap_or(0);
    BlockGenotypes { codes: (0..VARIANTS_PER_PANEL_BLOCK).map(code).collect(), blinding: Fr::from(number + 9) }
}

fn disclosure() -> Result<()> {
    let key = key_of(|| disclosure_shape(DisclosureShape::FULL))?;
    let tree = GenotypeTree::new(&(0..6).map(|number| genotype_commitment(&block_of(number))).collect::<Vec<_>>())?;
    let variant = VariantIndex(3 * VARIANTS_PER_PANEL_BLOCK + 1234);
    let code = block_of(3).codes[1234];
    let claim = if code == 0 { GenotypeClaim::DOES_NOT_CARRY } else { GenotypeClaim::CARRIES };
    let dataset = context();
    let context = DisclosureContext {
        dataset,
        verifier: b"sponsor".to_vec(),
        purpose: "trial".to_owned(),
        nonce: [1; 32],
        expiry_unix_s: 1,
        claims: vec![(variant, claim)],
    };
    let verifier = DisclosureVerifier::new(key.verifying_key.clone());
    for _ in 0..3 {
        let proof = timed("prove_disclosure", || {
            DisclosureProof::prove(&key, &context, &tree, block_of, &mut UnwrapErr(SysRng))
        })?;
        timed("verify (disclosure)", || verifier.verify(&context, &tree.commitment(), &proof))?;
    }
    Ok(())
}

/// A group of five people on offer.
fn group_of(generators: &Generators, place: u32) -> Group {
    let commitments: Vec<CiphertextCommitment> = (0..5)
        .map(|member| CiphertextCommitment::of_body(generators, &[u64::from(place) * 7919 + member + 1]))
        .collect();
    let offer = GroupOffer {
        prices: [u64::from(place) + 100, 1, 1],
        condition: Fr::from(0u64),
        data_use: DuoTerm::GeneralResearch.bit(),
        tiers: 7,
        accredited_only: false,
        named_only: false,
        expiry_day: 20_000,
    };
    Group { offer, accredited: true, ..Group::registered(&commitments, 1, 5 * place) }
}

fn cohort() -> Result<()> {
    let shape = CohortShape::FULL;
    let key = key_of(|| cohort_shape(shape))?;
    let generators = Generators::expand(0, 0);
    let mut tree = RegistryTree::new();
    // 204 groups of five and four people of one more: 1,024 people in one shard.
    for place in 0..205 {
        tree.apply(&RegistryEvent::Register { place, group: group_of(&generators, place) })?;
    }
    let groups = tree.shard(shape.shard_levels(), 0);
    let mut selected: Vec<[bool; 5]> = groups.iter().map(|group| [group.is_some(); 5]).collect();
    selected[204][4] = false;
    let purpose = Purpose { code: PurposeCode::Biomedical, declarations: Declarations::NONE };
    let policy = CohortPolicy::new(&purpose, QueryTier::Open, 0, false, Provenance::default(), 20_000);
    let path = tree.path(shape.shard_levels(), 0);
    let witness = CohortWitness { groups, selected, blinding: Fr::from(5u64), path };
    let before = CohortState::empty();
    let after = witness.advance(&before, 0, policy);
    println!("  cohort of {} people", after.size);
    let (condition, price_max) = (Fr::from(0u64), 1_000);
    let public = CohortPublic { root: tree.root(), shard: 0, policy, condition, price_max, before, after };
    let verifier = CohortVerifier::new(key.verifying_key.clone());
    for _ in 0..3 {
        let proof =
            timed("prove_cohort", || CohortProof::prove(&key, shape, &public, &witness, &mut UnwrapErr(SysRng)))?;
        timed("verify (cohort)", || verifier.verify(&public, &proof))?;
    }
    Ok(())
}

fn update() -> Result<()> {
    let shape = UpdateShape::FULL;
    let rows = timed("rows of update", || update_shape(shape))?;
    let key = key_of(|| rows)?;
    let generators = Generators::expand(0, 0);
    let mut tree = RegistryTree::new();
    let events: Vec<RegistryEvent> = (0..64)
        .map(|number| RegistryEvent::Register { place: number * 37, group: group_of(&generators, number) })
        .collect();
    let (public, witness) = UpdatePublic::advance(shape, &mut tree, &events)?;
    let verifier = UpdateVerifier::new(key.verifying_key.clone());
    for _ in 0..3 {
        let proof =
            timed("prove_update", || UpdateProof::prove(&key, shape, &public, &witness, &mut UnwrapErr(SysRng)))?;
        timed("verify (update)", || verifier.verify(&public, &proof))?;
    }
    Ok(())
}

/// Commitments of whole datasets: six panel blocks.
fn pedersen() -> Result<()> {
    let generators =
        timed("generators of 6 blocks", || (0..6).map(|block| Generators::expand(block, 0)).collect::<Vec<_>>());
    let body: Vec<u64> = (1..=4096u64).map(|slot| slot.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
    let people = 16;
    let of_dataset = || {
        let bodies = generators.iter().map(|generators| CiphertextCommitment::of_body(generators, &body));
        bodies.fold(CiphertextCommitment::empty(), |sum, next| sum.plus(&next))
    };
    let sum = timed("pedersen of 16 people, 6 blocks each", || {
        (0..people).fold(CiphertextCommitment::empty(), |sum, _| sum.plus(&of_dataset()))
    });
    let totals: Vec<u128> = body.iter().map(|value| u128::from(*value) * 16).collect();
    let opened = timed("open a sum over 6 blocks", || {
        let bodies = generators.iter().map(|generators| CiphertextCommitment::of_sum(generators, &totals));
        bodies.fold(CiphertextCommitment::empty(), |sum, next| sum.plus(&next))
    });
    if sum.opens_like(&opened) { Ok(()) } else { Err("the sum does not open".into()) }
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_default();
    match what.as_str() {
        "encryption" => encryption(),
        "disclosure" => disclosure(),
        "cohort" => cohort(),
        "update" => update(),
        "pedersen" => pedersen(),
        other => Err(format!("unknown measurement {other:?}").into()),
    }
}
