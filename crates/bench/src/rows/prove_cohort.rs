//! Statement C: 1,024 consenting people of one shard were summed and are paid.

use crate::{
    proving::{RUNS, group_of, key_of, peak_mb},
    row::{Bench, Goal, Measured, Row},
    timing::fastest,
};
use anyhow::Result;
use getrandom::{SysRng, rand_core::UnwrapErr};
use locus_commitment::{field::Fr, pedersen::Generators};
use locus_genomics::{Declarations, Purpose, PurposeCode};
use locus_proofs::{
    Statement,
    cohort::{CohortPolicy, CohortProof, CohortPublic, CohortShape, CohortState, CohortWitness, Provenance, QueryTier},
    update::{RegistryEvent, RegistryTree},
};

pub(crate) const ROW: Row = Row { id: "prove_cohort", unit: "s", goal: Goal::AtMost(12.0), measure };

/// Groups of five people; one person of the last is left out.
const GROUPS: u32 = 205;

fn measure(_: &mut Bench) -> Result<Measured> {
    let (key, size) = key_of(Statement::Cohort)?;
    let shape = CohortShape::FULL;
    let generators = Generators::expand(0, 0);
    let mut tree = RegistryTree::new();
    for place in 0..GROUPS {
        tree.apply(&RegistryEvent::Register { place, group: group_of(&generators, place) })?;
    }
    let groups = tree.shard(shape.shard_levels(), 0);
    let mut selected: Vec<[bool; 5]> = groups.iter().map(|group| [group.is_some(); 5]).collect();
    selected[GROUPS as usize - 1][4] = false;
    let purpose = Purpose { code: PurposeCode::Biomedical, declarations: Declarations::NONE };
    let policy = CohortPolicy::new(&purpose, QueryTier::Open, 0, false, Provenance::default(), 20_000);
    let path = tree.path(shape.shard_levels(), 0);
    let witness = CohortWitness { groups, selected, blinding: Fr::from(5u64), path };
    let before = CohortState::empty();
    let after = witness.advance(&before, 0, policy);
    let (condition, price_max) = (Fr::from(0u64), 1_000);
    let people = after.size;
    let public = CohortPublic { root: tree.root(), shard: 0, policy, condition, price_max, before, after };
    let prove = || Ok(CohortProof::prove(&key, shape, &public, &witness, &mut UnwrapErr(SysRng)).map(drop)?);
    let (value, peak) = peak_mb(|| fastest(RUNS, prove))?;
    Ok(Measured { value, note: format!("{people} people, {size}, peak {peak:.0} MB"), ..Measured::default() })
}
