//! Checking a kept answer about a whole panel, with everything that comes with it.

use crate::{
    row::{Bench, Goal, Measured, Row},
    timing::{median, seconds},
};
use anyhow::{Result, ensure};

pub(crate) const ROW: Row = Row { id: "verify_answer", unit: "s", goal: Goal::AtMost(2.0), measure };

const RUNS: usize = 5;

fn measure(bench: &mut Bench) -> Result<Measured> {
    let described = bench.cohort.describe();
    let market = bench.proven_market()?;
    let (panel, out, answer) = (market.path("bench.panel"), market.path("whole.tsv"), market.path("whole.answer"));
    let question = ["--panel", &panel, "--purpose", "HMB", "--tier", "exact", "--max-price", "1000", "--out", &out];
    let (bought, _) = seconds(|| market.run("researcher", &[&["query", "counts"], &question[..]].concat()))?;
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let check = ["verify", "answer", &answer, "--table", &out];
        let (took, told) = seconds(|| market.run("researcher", &check))?;
        ensure!(told["proven_cohort"]["ciphertexts_opened"] == true, "the cohort's commitment was not opened");
        times.push(took);
    }
    let note = format!(
        "{described}, all variants, exact; `locus verify answer` from start to end: signatures, question, the sums of all ciphertexts against the \
         commitment that the chain has proven, shares, check slots, table; median of {RUNS}. Buying it took {bought:.0} s, most of it proofs"
    );
    Ok(Measured { value: median(times), note, ..Measured::default() })
}
