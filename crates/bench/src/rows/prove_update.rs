//! Statement U: 64 registrations move the root of the registry.

use crate::{
    proving::{RUNS, group_of, key_of, peak_mb},
    row::{Bench, Goal, Measured, Row},
    timing::fastest,
};
use anyhow::Result;
use getrandom::{SysRng, rand_core::UnwrapErr};
use locus_commitment::pedersen::Generators;
use locus_proofs::{
    Statement,
    update::{RegistryEvent, RegistryTree, UpdateProof, UpdatePublic, UpdateShape},
};

pub(crate) const ROW: Row = Row { id: "prove_update", unit: "s", goal: Goal::AtMost(8.0), measure };

/// Groups lie apart, so that their paths share little.
const STRIDE: u32 = 37;

fn measure(_: &mut Bench) -> Result<Measured> {
    let (key, size) = key_of(Statement::Update)?;
    let shape = UpdateShape::FULL;
    let generators = Generators::expand(0, 0);
    let mut tree = RegistryTree::new();
    let register = |number| RegistryEvent::Register { place: number * STRIDE, group: group_of(&generators, number) };
    let events: Vec<RegistryEvent> = (0..64).map(register).collect();
    let (public, witness) = UpdatePublic::advance(shape, &mut tree, &events)?;
    let prove = || Ok(UpdateProof::prove(&key, shape, &public, &witness, &mut UnwrapErr(SysRng)).map(drop)?);
    let (value, peak) = peak_mb(|| fastest(RUNS, prove))?;
    Ok(Measured { value, note: format!("64 events, {size}, peak {peak:.0} MB"), ..Measured::default() })
}
