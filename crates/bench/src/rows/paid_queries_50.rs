//! Fifty small paid questions a second, for two minutes, on one machine.

use crate::{
    cohort::CohortFiles,
    crowd::{self, Researcher},
    market::BenchMarket,
    report::figure,
    row::{Bench, Goal, Measured, Row},
    timing::within,
};
use anyhow::{Context as _, Result, ensure};
use locus_client::{
    ClientError, NoProgress,
    research::{OrderTerms, PlacedOrder, fetch_answer, open_answer, place_order, quote},
};
use locus_ledger::Amount;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    runtime::Runtime,
    task::JoinSet,
    time::{Instant, sleep_until},
};

pub(crate) const ROW: Row = Row { id: "paid_queries_50", unit: "queries/s", goal: Goal::RatioAtLeast(0.99), measure };

const PEOPLE: u32 = 128;
const VARIANTS: u32 = 4_000;
const OFFERED_PER_S: u32 = 50;
const SECONDS: u32 = 120;
/// Each has one question under way at a time.
const RESEARCHERS: usize = 64;
/// Privacy loss of one, in billionths.
const RHO_NANO: u64 = 1_000_000;
/// Questions that differ, as many as a person's budget of a year holds at that loss. A question that was answered before
/// costs its people no privacy, and is paid all the same.
const QUESTIONS: u32 = 99;

/// What happened to the questions that one researcher took.
#[derive(Default)]
struct Seen {
    /// From when a question was due until its answer was opened.
    seconds: Vec<f64>,
    steps: BTreeMap<&'static str, f64>,
    refused_as_busy: u32,
    errors: Vec<String>,
}

fn measure(bench: &mut Bench) -> Result<Measured> {
    let folder = bench.folder("load")?;
    let cohort = CohortFiles::simulate(&folder.join("sim"), PEOPLE, VARIANTS)?;
    let market = BenchMarket::start(&bench.locus, &folder, &cohort, &[])?;
    let runtime = Runtime::new()?;
    let funds = Amount::from_tokens(100_000).context("an amount")?;
    let researchers = crowd::gather(&runtime, &market, RESEARCHERS, Some(funds))?;
    let before = market.rss_now_mib()?;
    let (asked, half_way) = std::thread::scope(|scope| {
        let half_way = scope.spawn(|| {
            std::thread::sleep(Duration::from_secs(u64::from(SECONDS / 2)));
            market.rss_now_mib()
        });
        (runtime.block_on(ask_all(researchers)), half_way.join())
    });
    let (took, seen) = asked?;
    let half_way = half_way.map_err(|_| anyhow::anyhow!("memory cannot be measured"))??;
    let (after, most) = (market.rss_now_mib()?, market.rss_mib()?);
    let errors: Vec<&String> = seen.iter().flat_map(|seen| &seen.errors).collect();
    ensure!(errors.is_empty(), "{} questions failed, the first with: {}", errors.len(), errors[0]);
    let busy: u32 = seen.iter().map(|seen| seen.refused_as_busy).sum();
    let answered: usize = seen.iter().map(|seen| seen.seconds.len()).sum();
    let mut steps: BTreeMap<&str, f64> = BTreeMap::new();
    for (step, seconds) in seen.iter().flat_map(|seen| &seen.steps) {
        *steps.entry(step).or_default() += seconds / answered as f64;
    }
    let steps: Vec<String> = steps.iter().map(|(step, seconds)| format!("{step} {} s", figure(*seconds))).collect();
    let times: Vec<f64> = seen.into_iter().flat_map(|seen| seen.seconds).collect();
    let note = format!(
        "{answered} questions of one variant over {} answered and paid in {} s by {RESEARCHERS} researchers, {QUESTIONS} of them different, \
         open tier, from quote to opened answer; half within {} s, 99% within {} s of when they were due; on average {}; no error, \
         {busy} refused as busy and asked again; `locus up` held {before:.0} MiB before, {half_way:.0} MiB half way, {after:.0} MiB after, {most:.0} MiB at most; \
         services, chain and researchers share the processors",
        cohort.describe(),
        figure(took),
        figure(within(50, times.clone())),
        figure(within(99, times)),
        steps.join(", "),
    );
    let value = answered as f64 / took.max(f64::from(SECONDS));
    let peer = Some("offered".to_owned());
    Ok(Measured { value, peer, peer_value: Some(f64::from(OFFERED_PER_S)), note })
}

/// Offers questions at fixed times to whoever is free. Seconds from the first until the last was answered.
async fn ask_all(researchers: Vec<Researcher>) -> Result<(f64, Vec<Seen>)> {
    let next = Arc::new(AtomicU32::new(0));
    let started = Instant::now();
    let mut asking = JoinSet::new();
    for researcher in researchers {
        let next = next.clone();
        asking.spawn(async move {
            let mut seen = Seen::default();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let due = started + Duration::from_secs(1) / OFFERED_PER_S * number;
                let is_over = started.elapsed() >= Duration::from_secs(u64::from(SECONDS));
                if number >= OFFERED_PER_S * SECONDS || is_over {
                    return Ok(seen);
                }
                sleep_until(due).await;
                if let Err(error) = buy(&researcher, number % QUESTIONS, &mut seen).await {
                    seen.errors.push(format!("{error:#}"));
                    continue;
                }
                seen.seconds.push(due.elapsed().as_secs_f64());
            }
        });
    }
    let seen: Result<Vec<Seen>> = asking.join_all().await.into_iter().collect();
    Ok((started.elapsed().as_secs_f64(), seen?))
}

/// Buys the answer to a question, as `locus query counts` does.
async fn buy(researcher: &Researcher, variant: u32, seen: &mut Seen) -> Result<()> {
    let Researcher { services, keystore, orders, network, panel } = researcher;
    let question = researcher.question([variant], RHO_NANO)?;
    let mut step = Steps { seen, since: Instant::now() };
    let quoted = quote(services, network, panel, keystore.address(), &question).await?;
    step.done("quote");
    let now_unix_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let terms = OrderTerms { max_price: quoted.price, lifetime_s: None };
    let placed = place_order(services, network, keystore, &question, &terms, orders, now_unix_s).await?;
    step.done("order");
    let record = fetch(researcher, &placed, step.seen).await?;
    step.done("answer");
    let (verified, opened) = open_answer(&record, panel, network, keystore.sealing_key())?;
    ensure!(
        verified.settlement().cohort_size == PEOPLE && opened.rows().len() == 1,
        "the answer is not that to the question"
    );
    step.done("opening");
    Ok(())
}

/// Fetches an answer, again and again while the market says that it has too much to do.
async fn fetch(
    researcher: &Researcher,
    placed: &PlacedOrder,
    seen: &mut Seen,
) -> Result<locus_wire::pb::query::AnswerRecord> {
    let file = researcher.orders.with_file_name(format!("{}.answer", placed.order_id));
    loop {
        match fetch_answer(&researcher.services, &researcher.keystore, placed, &file, &NoProgress).await {
            Ok(record) => return Ok(record),
            Err(ClientError::Call(error)) if error.is_busy() => seen.refused_as_busy += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Adds up how long steps take.
struct Steps<'a> {
    seen: &'a mut Seen,
    since: Instant,
}

impl Steps<'_> {
    fn done(&mut self, step: &'static str) {
        *self.seen.steps.entry(step).or_default() += self.since.elapsed().as_secs_f64();
        self.since = Instant::now();
    }
}
