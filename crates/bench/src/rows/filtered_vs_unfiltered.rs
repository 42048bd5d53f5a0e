//! Exact counts of selected people beside exact counts of everybody.

use crate::{
    row::{Bench, Goal, Measured, Row},
    timing::{median, seconds},
};
use anyhow::Result;

pub(crate) const ROW: Row = Row { id: "filtered_vs_unfiltered", unit: "s", goal: Goal::RatioAtMost(3.0), measure };

const QUESTIONS: usize = 4;
const PREDICATE: &str = "site = 'north' and HP:0000819";

fn measure(bench: &mut Bench) -> Result<Measured> {
    let described = bench.cohort.describe();
    let ids = bench.cohort.variant_ids()?;
    bench.add_attributes()?;
    let market = bench.market()?;
    let (panel, file, out) = (market.path("bench.panel"), market.path("variants.txt"), market.path("filtered.tsv"));
    let rest = ["--panel", &panel, "--variants", &file, "--purpose", "HMB", "--tier", "exact", "--max-price", "1000"];
    let (mut filtered, mut unfiltered) = (Vec::new(), Vec::new());
    let mut matched = 0;
    for question in 0..QUESTIONS {
        // All variants but one, another in every question, so that none is answered from what is kept.
        let asked = ids.iter().enumerate().filter(|(place, _)| *place != question).map(|(_, id)| id.as_str());
        std::fs::write(&file, asked.collect::<Vec<_>>().join("\n") + "\n")?;
        let (took, _) =
            seconds(|| market.run("researcher", &[&["query", "counts", "--out", &out], &rest[..]].concat()))?;
        unfiltered.push(took);
        let cohort = ["query", "cohort", "--where", PREDICATE, "--out", &out];
        let (took, told) = seconds(|| market.run("researcher", &[&cohort[..], &rest[..]].concat()))?;
        filtered.push(took);
        matched = told["selections"][0]["matched"].as_i64().unwrap_or(0);
    }
    // The first questions hash every row.
    let (first, unfiltered) = (unfiltered.remove(0), median(unfiltered));
    let note = format!(
        "{described}, {PREDICATE}, {matched} people match; `locus query cohort` from start to table, median of {}; the first unfiltered one, which \
         hashes every row, {first:.2} s",
        filtered.len() - 1
    );
    filtered.remove(0);
    let peer = Some("`locus query counts`, same variants".to_owned());
    Ok(Measured { value: median(filtered), peer, peer_value: Some(unfiltered), note })
}
