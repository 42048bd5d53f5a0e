//! What an update of a view of a million datasets costs: time to fold a block in and to publish the
//! snapshot, and memory for every earlier snapshot that somebody still holds.
//!
//! `cargo run --release -p locus-ledger --example view_of_a_million_datasets [DATASETS]`

use locus_commitment::{
    Address, DatasetBodyDigest, DatasetCommitments, DatasetId, Digest32, GenotypeCommitment, PersonTag,
    ShareSetCommitment,
};
use locus_genomics::PanelDigest;
use locus_ledger::{
    Amount, Audience, BlockRef, ChainView, DatasetLeaf, Demands, EventSource, LocatedEvent, MarketEvent, Offer,
    OfferPrices, RegistrationId, TierSet, ViewFollower,
};
use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

const PANEL: PanelDigest = PanelDigest([9; 32]);
const UPDATES: u64 = 1_000;

/// A chain of one event a block, all of them final.
#[derive(Clone)]
struct Script(Arc<Mutex<Blocks>>);

struct Blocks {
    /// Number of the first of `events`; block 0 is empty.
    first: u64,
    events: Vec<MarketEvent>,
}

#[derive(Debug, thiserror::Error)]
#[error("the script has no such block")]
struct NoBlock;

impl Script {
    /// Replaces all blocks, which were read, by these.
    fn replace(&self, events: Vec<MarketEvent>) {
        let mut blocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        blocks.first += blocks.events.len() as u64;
        blocks.events = events;
    }

    fn newest(&self) -> BlockRef {
        let blocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        block_ref((blocks.first + blocks.events.len() as u64).saturating_sub(1))
    }
}

fn block_ref(number: u64) -> BlockRef {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&number.to_le_bytes());
    BlockRef { number, hash: Digest32(hash) }
}

impl EventSource for Script {
    type Error = NoBlock;

    async fn head(&self) -> Result<BlockRef, NoBlock> {
        Ok(self.newest())
    }

    async fn finalized(&self) -> Result<BlockRef, NoBlock> {
        Ok(self.newest())
    }

    async fn block(&self, number: u64) -> Result<BlockRef, NoBlock> {
        Ok(block_ref(number))
    }

    async fn events(&self, from: u64, to: u64) -> Result<Vec<LocatedEvent>, NoBlock> {
        let blocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let numbered = (blocks.first..).zip(&blocks.events).filter(|(block, _)| (from..=to).contains(block));
        let located = numbered.map(|(block, event)| LocatedEvent {
            block,
            time_unix_s: block,
            log_index: 0,
            event: event.clone(),
        });
        Ok(located.collect())
    }
}

fn word(seed: u64, kind: u8) -> [u8; 32] {
    let mut bytes = [kind; 32];
    bytes[..8].copy_from_slice(&seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    bytes
}

fn leaf(seed: u64) -> DatasetLeaf {
    DatasetLeaf {
        dataset: DatasetId(word(seed, 1)),
        person: PersonTag(word(seed, 2)),
        commitments: DatasetCommitments {
            bodies: DatasetBodyDigest(Digest32(word(seed, 3))),
            shares: ShareSetCommitment(Digest32(word(seed, 4))),
            genotypes: GenotypeCommitment(Digest32(word(seed, 5))),
        },
    }
}

fn registered(id: u64, batch_size: u64) -> MarketEvent {
    let first_slot = (id - 1) * batch_size;
    MarketEvent::DatasetsRegistered {
        registration: RegistrationId(id),
        registrant: Address([7; 20]),
        panel: PANEL,
        version: 1,
        first_slot,
        accreditor: None,
        leaves: (first_slot..first_slot + batch_size).map(leaf).collect(),
    }
}

fn offered(registration: u64, nonce: u64) -> MarketEvent {
    let price = Amount(u128::from(nonce));
    MarketEvent::OfferPosted {
        offer: Offer {
            registration: RegistrationId(registration),
            prices: OfferPrices { counts: price, filtered_counts: price, association: price },
            data_use: 1,
            tiers: TierSet(1),
            audience: Audience::Anyone,
            block_start: 0,
            block_end: 1,
            condition_digest: Digest32([0; 32]),
            demands: Demands::NONE,
            disclosure_digest: Digest32([0; 32]),
            expiry_unix_s: u64::MAX,
            nonce,
        },
    }
}

/// What an update does.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Offer,
    Revocation,
    Registration,
}

/// Update number `update` of this kind.
fn change(view: &ChainView, kind: Kind, update: u64, batch_size: u64) -> MarketEvent {
    let registrations = view.registration_count();
    let somebody = RegistrationId(update.wrapping_mul(7_919) % registrations + 1);
    match kind {
        Kind::Offer => offered(somebody.0, view.registration(somebody).map_or(1, |record| record.next_offer_nonce())),
        Kind::Revocation => {
            let ordinals = vec![u32::try_from(update % batch_size).unwrap_or(0)];
            MarketEvent::DatasetsRevoked { registration: somebody, ordinals }
        }
        Kind::Registration => registered(registrations + 1, batch_size),
    }
}

fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1_024
}

async fn measure(datasets: u64, batch_size: u64) -> Result<(), Box<dyn std::error::Error>> {
    let before = resident_bytes();
    let script = Script(Arc::new(Mutex::new(Blocks { first: 1, events: Vec::new() })));
    let registrations = datasets / batch_size;
    let follower = ViewFollower::start(script.clone(), Duration::from_secs(86_400));
    let began = Instant::now();
    // A thousand blocks at a time, so that the script itself takes no memory.
    for first in (1..=registrations).step_by(1_000) {
        let last = registrations.min(first + 999);
        script.replace((first..=last).map(|id| registered(id, batch_size)).collect());
        follower.refreshed().await?;
    }
    script.replace(Vec::new());
    let building = began.elapsed();
    let built = resident_bytes();
    println!("{datasets} datasets in {registrations} registrations:");
    println!("  first read             {building:.2?}, {} MB resident", built.saturating_sub(before) / 1_000_000);

    for kind in [Kind::Offer, Kind::Revocation, Kind::Registration] {
        measure_updates(&script, &follower, kind, batch_size).await?;
    }

    let began = Instant::now();
    let newest = follower.snapshot();
    let seen: usize = newest.registrations_on(&PANEL, u64::MAX).map(|record| record.leaves.len()).sum();
    println!("  a walk over all        {:.2?} for {seen} datasets", began.elapsed());
    Ok(())
}

/// Many updates of a kind, while every snapshot so far is still held.
async fn measure_updates(
    script: &Script,
    follower: &ViewFollower,
    kind: Kind,
    batch_size: u64,
) -> Result<(), Box<dyn std::error::Error>> {
    let before = resident_bytes();
    let mut kept: Vec<Arc<ChainView>> = Vec::new();
    let (mut elapsed, mut slowest) = (Duration::ZERO, Duration::ZERO);
    for update in 0..UPDATES {
        script.replace(vec![change(&follower.snapshot(), kind, update, batch_size)]);
        let began = Instant::now();
        kept.push(follower.refreshed().await?);
        elapsed += began.elapsed();
        slowest = slowest.max(began.elapsed());
    }
    let bytes = resident_bytes().saturating_sub(before) / UPDATES;
    let mean = elapsed / u32::try_from(UPDATES)?;
    let name = format!("{kind:?}");
    println!("  update: {name:<14} {mean:.1?} on average, slowest {slowest:.1?}, {bytes} bytes for a snapshot kept");
    Ok(())
}

/// What an update would cost with a map that is copied for every snapshot.
fn measure_copy(registrations: u64) {
    let shared = Arc::new(());
    let map: BTreeMap<u64, Arc<()>> = (0..registrations).map(|id| (id, shared.clone())).collect();
    let before = resident_bytes();
    let began = Instant::now();
    let copy = map.clone();
    let elapsed = began.elapsed();
    let megabytes = resident_bytes().saturating_sub(before) / 1_000_000;
    println!("  a plain map of {} references, copied: {elapsed:.1?}, {megabytes} MB", copy.len());
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let datasets = std::env::args().nth(1).map_or(Ok(1_000_000), |text| text.parse())?;
    measure(datasets, 4_000).await?;
    measure(datasets, 1).await?;
    measure_copy(datasets);
    Ok(())
}
