//! Pedersen commitment to all ciphertexts of one person on six panel blocks.

use crate::{
    row::{Bench, Goal, Measured, Row},
    timing::fastest,
};
use anyhow::Result;
use locus_commitment::pedersen::{CiphertextCommitment, Generators};
use std::hint::black_box;

/// 2,504 people in two minutes.
pub(crate) const ROW: Row = Row { id: "commit_dataset", unit: "ms", goal: Goal::AtMost(48.0), measure };

const PEOPLE: usize = 8;
const BLOCKS: u32 = 6;

fn measure(_: &mut Bench) -> Result<Measured> {
    let generators: Vec<Generators> = (0..BLOCKS).map(|block| Generators::expand(block, 0)).collect();
    let body: Vec<u64> = (1..=4096u64).map(|slot| slot.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
    let commit = || {
        for _ in 0..PEOPLE {
            let bodies = generators.iter().map(|generators| CiphertextCommitment::of_body(generators, &body));
            black_box(bodies.fold(CiphertextCommitment::empty(), |sum, next| sum.plus(&next)));
        }
        Ok(())
    };
    let value = 1e3 * fastest(2, commit)? / PEOPLE as f64;
    let note = "six panel blocks, one plane; not part of an enrolment yet".to_owned();
    Ok(Measured { value, note, ..Measured::default() })
}
