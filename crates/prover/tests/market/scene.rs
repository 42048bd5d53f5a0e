//! What is registered and on offer in the tests.
//!
//! | registration | who | datasets | places | |
//! |---|---|---|---|---|
//! | 1 | a person | 1 | 0 | 50 units |
//! | 2 | a biobank | 20 | 1 to 4 | 10 units; 7 and 13 revoked |
//! | 3 | a stranger, without commitments | 3 | 5 | 10 units |
//! | 4 | the biobank | 52 | 6 to 16, the last in shard 1 | 20 units |
//! | 5 | a person, for population origins only | 1 | 17 | 10 units |

use crate::market::{BIOBANK, Market, PERSON, STRANGER};
use locus_cohort::RegisteredDataset;
use locus_genomics::DuoTerm;
use locus_ledger::{EventSource as _, RegistrationId};
use locus_prover::{ProvenBatch, RootProver, Submitted};
use tokio::sync::OnceCell;

/// Events of the whole scene: 18 groups are registered, all are on offer, two revoked datasets are in two groups.
pub(crate) const EVENTS: u64 = 18 + 18 + 2;
pub(crate) const REGISTRATIONS: [(u64, u32); 5] = [(1, 1), (2, 20), (3, 3), (4, 52), (5, 1)];
/// Seed of the first dataset of each registration.
const SEEDS: [u64; 5] = [100, 200, 300, 400, 500];

pub(crate) async fn register(market: &Market) {
    let registrants = [PERSON, BIOBANK, STRANGER, BIOBANK, PERSON];
    for ((registrant, (number, count)), seed) in registrants.into_iter().zip(REGISTRATIONS).zip(SEEDS) {
        market.register(registrant, seed..seed + u64::from(count), number != 3).await;
    }
}

pub(crate) async fn offer(market: &Market) {
    market.offer(PERSON, 1, 1, 50, DuoTerm::GeneralResearch).await;
    market.offer(BIOBANK, 4, 1, 20, DuoTerm::GeneralResearch).await;
    market.offer(BIOBANK, 2, 1, 10, DuoTerm::NoRestriction).await;
    market.offer(STRANGER, 3, 1, 10, DuoTerm::GeneralResearch).await;
    market.offer(PERSON, 5, 1, 10, DuoTerm::PopulationOrigins).await;
}

pub(crate) async fn revoke(market: &Market) {
    market.revoke(BIOBANK, 2, &[7, 13]).await;
}

/// Everything.
pub(crate) async fn play(market: &Market) {
    register(market).await;
    offer(market).await;
    revoke(market).await;
}

/// Everything, in the root. The batches are proven once for all tests: they are the same on every market.
pub(crate) async fn play_into_root(market: &Market) -> RootProver {
    static BATCHES: OnceCell<Vec<ProvenBatch>> = OnceCell::const_new();
    play(market).await;
    let prover = market.root_prover(STRANGER).await;
    let submit = async |batch: &ProvenBatch| {
        let submitted = prover.submit(batch).await.expect("the chain answers");
        assert!(matches!(submitted, Submitted::Moved(sequence) if sequence == batch.from + 1));
    };
    let follow = async || prover.mirror().follow().await.expect("it follows");
    let prove_all = async || {
        let mut batches = Vec::new();
        while let Some(batch) = prover.prove(&follow().await).await.expect("it is proven") {
            submit(&batch).await;
            batches.push(batch);
        }
        batches
    };
    let batches = BATCHES.get_or_init(prove_all).await;
    let moved = usize::try_from(follow().await.sequence()).expect("a small number");
    for batch in &batches[moved..] {
        submit(batch).await;
    }
    prover
}

pub(crate) async fn head(market: &Market) -> u64 {
    market.ledger.head().await.expect("the chain answers").number
}

pub(crate) fn dataset(registration: u64, ordinal: u32) -> RegisteredDataset {
    RegisteredDataset { registration: RegistrationId(registration), ordinal }
}

/// The person, three of the biobank and two of its other registration, one of them in the second shard.
pub(crate) fn cohort() -> Vec<RegisteredDataset> {
    [(1, 0), (2, 0), (2, 6), (2, 19), (4, 4), (4, 51)].map(|(id, ordinal)| dataset(id, ordinal)).to_vec()
}

/// What [`cohort`] costs, in units.
pub(crate) const COHORT_PRICE: u128 = 50 + 3 * 10 + 2 * 20;

/// Seed of a dataset.
pub(crate) fn seed(dataset: &RegisteredDataset) -> u64 {
    let number = usize::try_from(dataset.registration.0).expect("a small number");
    SEEDS[number - 1] + u64::from(dataset.ordinal)
}
