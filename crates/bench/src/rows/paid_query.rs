//! A whole paid question: quote, escrow, three keyholders, settlement, decoded table.

use crate::{
    report::figure,
    row::{Bench, Goal, Measured, Row},
    timing::{median, seconds},
};
use anyhow::Result;

pub(crate) const ROW: Row = Row { id: "paid_query", unit: "s", goal: Goal::AtMost(1.0), measure };

const VARIANTS: usize = 100;
const QUESTIONS: usize = 7;

fn measure(bench: &mut Bench) -> Result<Measured> {
    let described = bench.cohort.describe();
    let ids = bench.cohort.variant_ids()?;
    let market = bench.market()?;
    let (panel, out) = (market.path("bench.panel"), market.path("counts.tsv"));
    let mut times = Vec::new();
    for question in 0..QUESTIONS {
        // Variants from all over the panel, others in every question.
        let chosen: Vec<&str> =
            ids.iter().skip(question).step_by(ids.len() / VARIANTS).take(VARIANTS).map(String::as_str).collect();
        let file = market.path("variants.txt");
        std::fs::write(&file, chosen.join("\n") + "\n")?;
        let words = [
            "query",
            "counts",
            "--panel",
            &panel,
            "--variants",
            &file,
            "--purpose",
            "HMB",
            "--tier",
            "open",
            "--rho",
            "0.001",
            "--max-price",
            "1000",
            "--out",
            &out,
        ];
        times.push(seconds(|| market.run("researcher", &words))?.0);
    }
    let first = times.remove(0);
    let note = format!(
        "{VARIANTS} variants over {described}, open tier, `locus query counts` from start to table; median of {}; the first, which hashes every row, {} s",
        times.len(),
        figure(first),
    );
    Ok(Measured { value: median(times), note, ..Measured::default() })
}
