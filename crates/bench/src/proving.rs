//! What the rows about proofs share: keys, memory, and the statements that are proven.

use anyhow::{Context as _, Result};
use locus_commitment::{
    Address, DatasetContext, DatasetId, NetworkId,
    field::Fr,
    pedersen::{CiphertextCommitment, Generators},
};
use locus_genomics::{DuoTerm, PanelDigest, VARIANTS_PER_PANEL_BLOCK};
use locus_proofs::{
    Statement,
    encryption::BlockGenotypes,
    groth16::{ProvingKey, ToxicWaste},
    registry::{Group, GroupOffer},
};
use std::fs;

/// Proofs made for one figure; the fastest counts.
pub(crate) const RUNS: usize = 3;

/// The development key of a statement, and the size of its circuit in words. Provers have no rows, so they are not kept.
pub(crate) fn key_of(statement: Statement) -> Result<(ProvingKey, String)> {
    let shape = statement.shape()?;
    let key = ProvingKey::setup(&shape, &ToxicWaste::development(&shape.name))?;
    Ok((key, format!("{} rows, domain {}", shape.rows.len(), shape.domain_size())))
}

/// Runs `work` and returns the largest memory of this process meanwhile, in MB; what it held before counts.
pub(crate) fn peak_mb<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    // Not permitted everywhere; the figure is then the peak since the start.
    let _ = fs::write("/proc/self/clear_refs", "5");
    let result = work()?;
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM")).context("no peak")?;
    let kb: f64 = line.split_whitespace().nth(1).context("no peak")?.parse()?;
    Ok((result, kb / 1024.0))
}

pub(crate) fn dataset() -> DatasetContext {
    DatasetContext {
        network: NetworkId { chain_id: 31_337, registry: Address([1; 20]) },
        registrant: Address([2; 20]),
        dataset: DatasetId([3; 32]),
        panel: PanelDigest([4; 32]),
        version: 1,
    }
}

/// The genotypes of a synthetic panel block.
pub(crate) fn block_of(number: u32) -> BlockGenotypes {
    let code = |place: u32| u8::try_from((place * place + number) % 5 % 4).unwrap_or(0);
    BlockGenotypes { codes: (0..VARIANTS_PER_PANEL_BLOCK).map(code).collect(), blinding: Fr::from(number + 9) }
}

/// A group of five people on offer.
pub(crate) fn group_of(generators: &Generators, place: u32) -> Group {
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
