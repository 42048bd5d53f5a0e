//! A biobank enrols the whole cohort with one command.

use crate::row::{Bench, Goal, Measured, Row};
use anyhow::Result;

pub(crate) const ROW: Row = Row { id: "enroll_biobank", unit: "s", goal: Goal::AtMost(60.0), measure };

fn measure(bench: &mut Bench) -> Result<Measured> {
    let described = bench.cohort.describe();
    let market = bench.market()?;
    let note = format!(
        "{described}; `locus enroll --biobank` against `locus up`, from PLINK files to offers on the chain; the command took {:.0} MiB",
        market.client_rss_mib
    );
    Ok(Measured { value: market.enrol_seconds, note, ..Measured::default() })
}
