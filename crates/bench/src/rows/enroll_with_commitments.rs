//! A biobank enrols the whole cohort in a market that settles on proven cohorts.

use crate::row::{Bench, Goal, Measured, Row};
use anyhow::Result;

pub(crate) const ROW: Row = Row { id: "enroll_with_commitments", unit: "s", goal: Goal::AtMost(120.0), measure };

fn measure(bench: &mut Bench) -> Result<Measured> {
    let described = bench.cohort.describe();
    let market = bench.proven_market()?;
    let note = format!(
        "{described}; `locus enroll --biobank` against `locus up --proven-cohorts`, with a Pedersen commitment to everybody's ciphertexts, which \
         the archive checks; the command took {:.0} MiB",
        market.client_rss_mib
    );
    Ok(Measured { value: market.enrol_seconds, note, ..Measured::default() })
}
