//! The most memory that the services have had after enrolment and questions.

use crate::row::{Bench, Goal, Measured, Row};
use anyhow::Result;

pub(crate) const ROW: Row = Row { id: "rss_max", unit: "MiB", goal: Goal::AtMost(256.0), measure };

fn measure(bench: &mut Bench) -> Result<Measured> {
    let described = bench.cohort.describe();
    let market = bench.market()?;
    let (panel, out) = (market.path("bench.panel"), market.path("exact.tsv"));
    let words = [
        "query",
        "counts",
        "--panel",
        &panel,
        "--purpose",
        "HMB",
        "--tier",
        "exact",
        "--max-price",
        "1000",
        "--out",
        &out,
    ];
    market.run("researcher", &words)?;
    let note = format!(
        "peak of `locus up`: archive, exchange, aggregator, three keyholders and the chain in one process, {:.0} MiB of it before the first \
         enrolment; after {described} enrolled and counted exactly",
        market.idle_rss_mib
    );
    Ok(Measured { value: market.rss_mib()?, note, ..Measured::default() })
}
