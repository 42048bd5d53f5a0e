//! A thousand researchers who ask for quotes at the same time.

use crate::{
    crowd::{self, Researcher},
    report::figure,
    row::{Bench, Goal, Measured, Row},
    timing::{seconds, within},
};
use anyhow::{Result, ensure};
use locus_client::{ClientError, research::quote};
use std::{sync::Arc, time::Instant};
use tokio::{runtime::Runtime, sync::Barrier, task::JoinSet};

pub(crate) const ROW: Row = Row { id: "quotes_1000", unit: "quotes/s", goal: Goal::None, measure };

const RESEARCHERS: usize = 1_000;
/// Quotes that each asks for, one after the other.
const QUOTES: u32 = 5;

/// What one researcher saw.
#[derive(Default)]
struct Seen {
    seconds: Vec<f64>,
    refused_as_busy: u32,
    errors: Vec<String>,
}

fn measure(bench: &mut Bench) -> Result<Measured> {
    let described = bench.cohort.describe();
    let market = bench.market()?;
    let runtime = Runtime::new()?;
    let researchers = crowd::gather(&runtime, market, RESEARCHERS, None)?;
    let before = market.rss_now_mib()?;
    let (took, seen) = seconds(|| runtime.block_on(ask_all(researchers)))?;
    let grown = market.rss_now_mib()? - before;
    let errors: Vec<&String> = seen.iter().flat_map(|seen| &seen.errors).collect();
    ensure!(errors.is_empty(), "{} quotes failed, the first with: {}", errors.len(), errors[0]);
    let busy: u32 = seen.iter().map(|seen| seen.refused_as_busy).sum();
    let times: Vec<f64> = seen.into_iter().flat_map(|seen| seen.seconds).collect();
    let value = times.len() as f64 / took;
    let note = format!(
        "{RESEARCHERS} researchers at once, {QUOTES} quotes each, every one over a connection of its own, on {described}; half of the \
         quotes within {} s, 99% within {} s, connecting included; no error, {busy} refused as busy and asked again; `locus up` held \
         {before:.0} MiB before and {grown:.0} MiB more after; services and researchers share the processors",
        figure(within(50, times.clone())),
        figure(within(99, times)),
    );
    Ok(Measured { value, note, ..Measured::default() })
}

async fn ask_all(researchers: Vec<Researcher>) -> Result<Vec<Seen>> {
    let together = Arc::new(Barrier::new(researchers.len()));
    let mut asking = JoinSet::new();
    for (number, researcher) in (0..).zip(researchers) {
        let together = together.clone();
        asking.spawn(async move {
            together.wait().await;
            ask(&researcher, number).await
        });
    }
    asking.join_all().await.into_iter().collect()
}

async fn ask(researcher: &Researcher, number: u32) -> Result<Seen> {
    let mut seen = Seen::default();
    let variants = researcher.panel.variant_count();
    for round in 0..QUOTES {
        let question = researcher.question([(number * QUOTES + round) % variants], 1_000_000)?;
        let address = researcher.keystore.address();
        let started = Instant::now();
        loop {
            match quote(&researcher.services, &researcher.network, &researcher.panel, address, &question).await {
                Ok(_) => break seen.seconds.push(started.elapsed().as_secs_f64()),
                Err(ClientError::Call(error)) if error.is_busy() => seen.refused_as_busy += 1,
                Err(error) => break seen.errors.push(error.to_string()),
            }
        }
    }
    Ok(seen)
}
