//! Statement D: a registered genome carries one variant.

use crate::{
    proving::{RUNS, block_of, dataset, key_of, peak_mb},
    row::{Bench, Goal, Measured, Row},
    timing::fastest,
};
use anyhow::Result;
use getrandom::{SysRng, rand_core::UnwrapErr};
use locus_genomics::{VARIANTS_PER_PANEL_BLOCK, VariantIndex};
use locus_proofs::{
    Statement,
    disclosure::{DisclosureContext, DisclosureProof, GenotypeClaim, GenotypeTree},
    encryption::genotype_commitment,
};

pub(crate) const ROW: Row = Row { id: "prove_disclosure", unit: "s", goal: Goal::AtMost(0.15), measure };

fn measure(_: &mut Bench) -> Result<Measured> {
    let (key, size) = key_of(Statement::Disclosure)?;
    let tree = GenotypeTree::new(&(0..6).map(|number| genotype_commitment(&block_of(number))).collect::<Vec<_>>())?;
    let variant = VariantIndex(3 * VARIANTS_PER_PANEL_BLOCK + 1234);
    let claim = if block_of(3).codes[1234] == 0 { GenotypeClaim::DOES_NOT_CARRY } else { GenotypeClaim::CARRIES };
    let context = DisclosureContext {
        dataset: dataset(),
        verifier: b"sponsor".to_vec(),
        purpose: "trial".to_owned(),
        nonce: [1; 32],
        expiry_unix_s: 1,
        claims: vec![(variant, claim)],
    };
    let prove = || Ok(DisclosureProof::prove(&key, &context, &tree, block_of, &mut UnwrapErr(SysRng)).map(drop)?);
    let (value, peak) = peak_mb(|| fastest(RUNS, prove))?;
    Ok(Measured { value, note: format!("one variant, {size}, peak {peak:.0} MB"), ..Measured::default() })
}
