//! The keyholders give everybody in a biobank new keys.

use crate::{
    row::{Bench, Goal, Measured, Row},
    timing::seconds,
};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

pub(crate) const ROW: Row = Row { id: "rekey_biobank", unit: "s", goal: Goal::None, measure };

fn measure(bench: &mut Bench) -> Result<Measured> {
    let described = bench.cohort.describe();
    let people = bench.cohort.sample_names()?.len();
    let market = bench.market()?;
    let (operator, before) = (market.path("market/operator.key"), market.rss_mib()?);
    let (value, told) = seconds(|| market.run("biobank", &["committee", "rekey", "--operator-key", &operator]))?;
    let registrations = told["rekeyed"].as_array().context("a list of registrations")?;
    let datasets: u64 = registrations.iter().filter_map(|registration| registration["datasets"].as_u64()).sum();
    ensure!(usize::try_from(datasets) == Ok(people), "{datasets} of {people} got new keys");
    let generations: Vec<&Value> = registrations.iter().map(|registration| &registration["generation"]).collect();
    let note = format!(
        "{described}; `locus committee rekey` against `locus up`: three keyholders draw keys and make new bodies, generation {generations:?}; peak of \
         the market {:.0} MiB, {before:.0} before",
        market.rss_mib()?
    );
    Ok(Measured { value, note, ..Measured::default() })
}
