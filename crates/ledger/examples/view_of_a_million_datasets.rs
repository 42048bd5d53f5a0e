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
    Amount, Audience, BlockRef, ChainView, DatasetLeaf, EventSource, LocatedEvent, MarketEvent, Offer, OfferPrices,
    RegistrationId, TierSet, ViewFollower,
};
use std::{
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
            expiry_unix_s: u64::MAX,
            nonce,
        },
    }
}

/// What changes in update number `update` of a market of `registrations`.
fn change(update: u64, registrations: u64, batch_size: u64) -> MarketEvent {
    let somebody = RegistrationId(update.wrapping_mul(7_919) % registrations + 1);
    match update % 3 {
        0 => offered(somebody.0, 1),
        1 => MarketEvent::DatasetsRevoked {
            registration: somebody,
            ordinals: vec![u32::try_from(update % batch_size).unwrap_or(0)],
        },
        _ => registered(registrations + update / 3 + 1, batch_size),
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

    let mut kept: Vec<Arc<ChainView>> = Vec::new();
    let mut slowest = Duration::ZERO;
    let began = Instant::now();
    for update in 0..UPDATES {
        script.replace(vec![change(update, registrations, batch_size)]);
        let began = Instant::now();
        kept.push(follower.refreshed().await?);
        slowest = slowest.max(began.elapsed());
    }
    let elapsed = began.elapsed();
    let grown = resident_bytes().saturating_sub(built);
    println!("  {UPDATES} updates           {:.2?} each, slowest {slowest:.2?}", elapsed / 1_000);
    println!("  {} snapshots kept    {} bytes each", kept.len(), grown / UPDATES);

    let began = Instant::now();
    let newest = follower.snapshot();
    let seen: usize = newest.registrations_on(&PANEL, u64::MAX).map(|record| record.leaves.len()).sum();
    println!("  a walk over all        {:.2?} for {seen} datasets", began.elapsed());
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let datasets = std::env::args().nth(1).map_or(Ok(1_000_000), |text| text.parse())?;
    measure(datasets, 4_000).await?;
    measure(datasets, 1).await
}
