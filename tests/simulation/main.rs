//! Markets under faults: services of one market, each in a runtime of its own, users who enrol, sell, buy, revoke and
//! erase, an admin who has datasets get new keys, and mishaps in between, all drawn from a seed.
//!
//! What goes wrong: connections between any two parties break after any byte in either direction, so that requests
//! and answers are lost and requests are repeated, and are slow; any service dies at any point where it waits and
//! starts again from its files, at once or later; bits of stored objects flip and objects are missing, until they are
//! repaired; clocks of services are up to 40 s apart; users give up waiting and repeat what they began. In every third
//! run the chain is a node with 64 blocks that are not final, any number of which are taken back at any time; what was
//! in them is included again, in the same order, at once or later.
//!
//! What does not: the chain neither fails nor forgets what was sent to it (`crates/ledger/src/view/tests.rs` and its
//! conformance tests on a node do that), disks keep what was synchronised (`crates/store/tests`, `services/keyholder/src/store`),
//! messages of one connection keep their order, and nobody lies (`tests/adversarial`). Only ciphertexts with
//! their indexes and sums go missing: without the newest manifest the one before would be continued, and an archive that
//! starts while a panel is missing looks for it at its next start only.
//!
//! What must hold, whatever happens: an answer counts everybody who consented throughout and nobody who did not, once
//! each, but may leave out whom a re-keying began to give new keys while the order was open; an order has one answer; its price is what was agreed, paid once and earned once; statements name every use
//! once, and nothing that was not consented to. After the last fault everything that was begun comes to its end within
//! a minute, and a new question is answered.

mod actor;
mod admin;
mod cluster;
mod link;
mod model;
mod node;
mod operation;
mod plant;
mod random;
mod run;
mod template;

use anyhow::{Context as _, Result, ensure};
use plant::{PLANTS, Plant};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};
use template::Template;
use tokio::runtime::Builder;

/// Runs of the test command, four minutes on two processors.
const SEEDS: u64 = 1_000;
/// Says how many runs instead.
const SEEDS_VARIABLE: &str = "LOCUS_SIMULATION_SEEDS";
/// Runs at the same time: most of a run is waiting.
const AT_ONCE: usize = 12;
/// Runs in which a planted bug has to be found.
const PLANT_SEEDS: u64 = 60;
/// Names one seed to be run, and nothing else.
const SEED_VARIABLE: &str = "LOCUS_SIMULATION_SEED";

/// Runs a seed in a runtime of its own.
fn run_seed(template: &Template, seed: u64, plant: Option<Plant>) -> Result<BTreeMap<String, u32>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(run::run(template, seed, plant));
    runtime.shutdown_background();
    ended
}

fn make_template() -> Result<Template> {
    Builder::new_multi_thread().enable_all().build()?.block_on(Template::make())
}

/// Runs seeds from `first` on until `count` are done or one fails; the lowest that failed.
fn run_seeds(
    template: &Template,
    count: u64,
    plant: Option<Plant>,
) -> (BTreeMap<String, u32>, Option<(u64, anyhow::Error)>) {
    let next = AtomicU64::new(0);
    let ended = Mutex::new((BTreeMap::new(), None::<(u64, anyhow::Error)>));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= count {
                        break;
                    }
                    let done = run_seed(template, seed, plant);
                    let mut ended = ended.lock().unwrap_or_else(PoisonError::into_inner);
                    match done {
                        Ok(deeds) => {
                            for (deed, times) in deeds {
                                *ended.0.entry(deed).or_insert(0) += times;
                            }
                        }
                        Err(error) => {
                            next.store(count, Ordering::Relaxed);
                            if ended.1.as_ref().is_none_or(|(lowest, _)| seed < *lowest) {
                                ended.1 = Some((seed, error));
                            }
                        }
                    }
                }
            });
        }
    });
    ended.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn markets_under_faults_keep_their_promises() -> Result<()> {
    let template = make_template()?;
    if let Ok(seed) = std::env::var(SEED_VARIABLE) {
        tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).init();
        let ended = run_seed(&template, seed.parse()?, None)?;
        println!("{ended:#?}");
        return Ok(());
    }
    let seeds = std::env::var(SEEDS_VARIABLE).map_or(Ok(SEEDS), |seeds| seeds.parse())?;
    let (ended, failed) = run_seeds(&template, seeds, None);
    if let Some((seed, error)) = failed {
        let again = format!("{SEED_VARIABLE}={seed} cargo test --release --test simulation markets_under");
        return Err(error.context(again));
    }
    println!("{ended:#?}");
    let times = |what: &str| ended.get(what).copied().unwrap_or(0);
    // Enough goes well and enough goes wrong for the checks to mean something.
    ensure!(u64::from(times("answered")) > seeds, "{ended:?}");
    ensure!(u64::from(times("transactions taken back")) > seeds / 6, "{ended:?}");
    for deed in ["enrolment", "revocation", "erasure", "price", "claim", "statement", "re-keying"] {
        for end in ["done", "unknown"] {
            ensure!(times(&format!("{deed} {end}")) > 0, "no {deed} {end}: {ended:?}");
        }
    }
    Ok(())
}

#[test]
fn planted_bugs_are_found() -> Result<()> {
    let template = make_template()?;
    for plant in PLANTS {
        let (_, failed) = run_seeds(&template, PLANT_SEEDS, Some(plant));
        let (seed, error) = failed.with_context(|| format!("{plant:?} is not found in {PLANT_SEEDS} runs"))?;
        let told = format!("{error:#}");
        ensure!(
            plant.signs().iter().any(|sign| told.contains(sign)),
            "{plant:?} is not what seed {seed} found: {told}"
        );
    }
    Ok(())
}
