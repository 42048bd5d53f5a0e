//! A case/control study over a whole panel, as a researcher runs it.

use crate::{
    cohort::CohortFiles,
    market::BenchMarket,
    peers::output,
    row::{Bench, Goal, Measured, Row},
    timing::seconds,
};
use anyhow::Result;
use std::{fs, process::Command};

pub(crate) const ROW: Row = Row { id: "association_5000x65536", unit: "s", goal: Goal::AtMost(10.0), measure };

const PEOPLE: u32 = 5_000;
const VARIANTS: u32 = 65_536;
const CASES: &str = "HP:0000819";
const CONTROLS: &str = "not HP:0000819";

fn measure(bench: &mut Bench) -> Result<Measured> {
    let folder = bench.folder("association")?;
    let cohort = CohortFiles::simulate(&folder.join("sim"), PEOPLE, VARIANTS)?;
    let mut market = BenchMarket::start(&bench.locus, &folder, &cohort, &[])?;
    market.add_attributes(&cohort.sample_names()?)?;
    let (panel, out) = (market.path("bench.panel"), market.path("study"));
    let words = [
        "query",
        "association",
        "--cases",
        CASES,
        "--controls",
        CONTROLS,
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
    let (took, told) = seconds(|| market.run("researcher", &words))?;
    let matched = |place: usize| told["selections"][place]["matched"].as_i64().unwrap_or(0);
    let note = format!(
        "{}, {} cases, {} controls, exact tier, `locus query association` from start to report; {:.1} s to enrol; peak of `locus up`, all services \
         in one process, {:.0} MiB",
        cohort.describe(),
        matched(0),
        matched(1),
        market.enrol_seconds,
        market.rss_mib()?
    );
    let peer_value = if bench.peers.program("plink1.9") { Some(plink(&cohort, &folder)?) } else { None };
    let peer = peer_value.map_or("plink1.9 is not installed", |_| "plink1.9 --assoc, plaintext");
    Ok(Measured { value: took, peer: Some(peer.to_owned()), peer_value, note })
}

/// Seconds of the same study on plaintext.
fn plink(cohort: &CohortFiles, folder: &std::path::Path) -> Result<f64> {
    let phenotypes = folder.join("cases.txt");
    let mut text = String::new();
    for (number, name) in cohort.sample_names()?.iter().enumerate() {
        // As the bench market's attributes have it.
        text += &format!("{name} {name} {}\n", if number % 3 == 0 { 2 } else { 1 });
    }
    fs::write(&phenotypes, text)?;
    let (took, _) = seconds(|| {
        output(
            Command::new("plink1.9")
                .args(["--keep-allele-order", "--allow-no-sex", "--assoc", "--bfile"])
                .arg(&cohort.prefix)
                .arg("--pheno")
                .arg(&phenotypes)
                .arg("--out")
                .arg(folder.join("plink")),
        )
    })?;
    Ok(took)
}
