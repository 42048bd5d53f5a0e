//! Exact counts of selected people beside exact counts of everybody, and with authenticated shares beside plain ones.

use crate::{
    row::{Bench, Goal, Measured, Row},
    timing::{median, seconds},
};
use anyhow::Result;
use std::ops::Range;

pub(crate) const ROW: Row = Row { id: "filtered_vs_unfiltered", unit: "s", goal: Goal::RatioAtMost(3.0), measure };
pub(crate) const AUTHENTICATED: Row =
    Row { id: "filtered_authenticated", unit: "s", goal: Goal::None, measure: measure_authenticated };

const QUESTIONS: usize = 4;
const PREDICATE: &str = "site = 'north' and HP:0000819";
const UNFILTERED: &[&str] = &["query", "counts"];
const FILTERED: &[&str] = &["query", "cohort", "--where", PREDICATE];
const WITH_TAGS: &[&str] = &["query", "cohort", "--where", PREDICATE, "--authenticated"];

/// Seconds that two commands took, question by question.
struct Asked {
    first: Vec<f64>,
    second: Vec<f64>,
    /// How many people match in the second.
    matched: i64,
}

fn measure(bench: &mut Bench) -> Result<Measured> {
    let described = bench.cohort.describe();
    let Asked { first: mut unfiltered, second: mut filtered, matched } =
        ask_both(bench, 0..QUESTIONS, UNFILTERED, FILTERED)?;
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

fn measure_authenticated(bench: &mut Bench) -> Result<Measured> {
    let described = bench.cohort.describe();
    let Asked { first: mut plain, second: mut authenticated, matched } =
        ask_both(bench, QUESTIONS..2 * QUESTIONS, FILTERED, WITH_TAGS)?;
    // The first questions hash every row.
    plain.remove(0);
    authenticated.remove(0);
    let note = format!(
        "{described}, {PREDICATE}, {matched} people match; `locus query cohort --authenticated` from start to table, median of {}",
        authenticated.len()
    );
    let peer = Some("`locus query cohort`, plain shares, same variants".to_owned());
    Ok(Measured { value: median(authenticated), peer, peer_value: Some(median(plain)), note })
}

/// Asks both ways about all variants but one, another in every question, so that none is answered from what is kept.
fn ask_both(bench: &mut Bench, left_out: Range<usize>, first: &[&str], second: &[&str]) -> Result<Asked> {
    let ids = bench.cohort.variant_ids()?;
    bench.add_attributes()?;
    let market = bench.market()?;
    let (panel, file, out) = (market.path("bench.panel"), market.path("variants.txt"), market.path("filtered.tsv"));
    let rest = [
        "--panel",
        &panel,
        "--variants",
        &file,
        "--purpose",
        "HMB",
        "--tier",
        "exact",
        "--max-price",
        "1000",
        "--out",
        &out,
    ];
    let mut asked = Asked { first: Vec::new(), second: Vec::new(), matched: 0 };
    for question in left_out {
        let variants = ids.iter().enumerate().filter(|(place, _)| *place != question).map(|(_, id)| id.as_str());
        std::fs::write(&file, variants.collect::<Vec<_>>().join("\n") + "\n")?;
        let (took, _) = seconds(|| market.run("researcher", &[first, &rest].concat()))?;
        asked.first.push(took);
        let (took, told) = seconds(|| market.run("researcher", &[second, &rest].concat()))?;
        asked.second.push(took);
        asked.matched = told["selections"][0]["matched"].as_i64().unwrap_or(0);
    }
    Ok(asked)
}
