//! A market with proofs: the scene of the contracts' tests, played through this crate with the same
//! real proofs. On the embedded chain only, because a registration of 1,270 datasets in one
//! transaction is more than Anvil takes.

use crate::{
    backend::{Backend, account, key},
    market::{BIOBANK, KEYHOLDERS, Market, PANEL, PERSON, RESEARCHER, STRANGER, earnings, leaf, refusal, sign},
};
use alloy_primitives::hex;
use locus_commitment::{Digest32, field::FieldBytes};
use locus_ledger::{
    Amount, Audience, Ciphertexts, Cohort, CohortChoice, CohortId, CohortStatement, CohortStep, EventSource as _,
    Offer, OfferPrices, OperationQueue, Order, OrderStatus, PROOF_BYTES, ProofDeployment, ProvenRegistry, QueryClass,
    QueuedOperation, Registration, RegistrationId, RootBatch, Settlement, SettlementSignatures, TierSet, VerifierKey,
    cohort_id, committed_leaves_hash, next_slices, order_id,
};
use serde_json::Value;
use std::path::Path;

/// Time of the scene: the day of its order is 20,833.
const START_UNIX_S: u64 = 1_800_000_000;
const ORDER_DAY: u16 = 20_833;
const EXPIRY_UNIX_S: u64 = 20_901 * 86_400 - 1;
const PRICE_UNIT: u128 = 10_000_000_000;
const TOKEN: u128 = 1_000_000_000_000_000_000;
const BATCH_EVENTS: usize = 64;
const BATCHES: u64 = 5;

/// The proofs and what they are about.
struct Scene(Value);

impl Scene {
    fn read() -> Self {
        let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo names it");
        let path = Path::new(&package).join("contracts/test/fixtures/registry_scene.json");
        Self(serde_json::from_str(&std::fs::read_to_string(path).expect("the file is there")).expect("it is JSON"))
    }

    fn at(&self, path: &str) -> &Value {
        self.0.pointer(path).unwrap_or_else(|| panic!("the scene has no {path}"))
    }

    fn bytes(&self, path: &str) -> Vec<u8> {
        hex::decode(self.at(path).as_str().expect("a text")).expect("hexadecimal")
    }

    fn word(&self, path: &str) -> FieldBytes {
        FieldBytes(self.bytes(path).try_into().expect("32 bytes"))
    }

    fn proof(&self, path: &str) -> [u8; PROOF_BYTES] {
        self.bytes(&format!("{path}/proof")).try_into().expect("256 bytes")
    }

    fn key(&self, name: &str) -> VerifierKey {
        VerifierKey {
            contract_bytes: self.bytes(&format!("/{name}/key")),
            id: Digest32(self.word(&format!("/{name}/keyId")).0),
            development: true,
        }
    }

    fn deployment(&self) -> ProofDeployment {
        ProofDeployment {
            update_key: self.key("updateKey"),
            cohort_key: self.key("cohortKey"),
            batch_events: 64,
            empty_root: self.word("/emptyRoot"),
            root_age_max_s: 6 * 3_600,
        }
    }

    fn ciphertexts(&self, points: std::ops::Range<usize>) -> Ciphertexts {
        let coordinate = |place: usize| self.word(&format!("/points/{place}"));
        Ciphertexts {
            commitments: points.map(|place| [coordinate(2 * place), coordinate(2 * place + 1)]).collect(),
            proven: true,
        }
    }

    fn step(&self, number: usize) -> CohortStep {
        let path = format!("/cohorts/{number}");
        let number = |name: &str| self.at(&format!("{path}/{name}")).as_u64().expect("a number");
        let word = |name: &str| self.word(&format!("{path}/{name}"));
        CohortStep {
            cohort: Cohort {
                shard: u32::try_from(number("shard")).expect("a small number"),
                size: number("size"),
                total_price_units: number("totalPrice").into(),
                commitment: [word("pointX"), word("pointY")],
                payouts: word("payouts"),
            },
            digest: word("digest"),
            proof: self.proof(&path),
        }
    }

    fn condition_digest(&self) -> Digest32 {
        Digest32(self.word("/conditionDigest").0)
    }

    fn statement(&self) -> CohortStatement {
        let policy = self.at("/policy").as_str().and_then(|text| text.strip_prefix("0x")).expect("hexadecimal");
        let mut condition = [0; 32];
        condition[1..].copy_from_slice(&self.condition_digest().0[..31]);
        CohortStatement {
            panel: PANEL,
            sequence: BATCHES,
            policy: u128::from_str_radix(policy, 16).expect("hexadecimal"),
            condition: FieldBytes(condition),
            price_max_units: self.price_max(),
        }
    }

    fn price_max(&self) -> u64 {
        self.at("/priceMax").as_u64().expect("a number")
    }
}

async fn register_committed(market: &Market, registrant: u8, seeds: std::ops::Range<u64>, ciphertexts: &Ciphertexts) {
    let leaves: Vec<_> = seeds.clone().map(leaf).collect();
    let batch = market.batch(registrant, seeds.start, leaves.clone());
    let leaves_hash = committed_leaves_hash(&leaves, ciphertexts);
    let registration = Registration { leaves_hash, ..batch.registration };
    let batch = market.sign_batch(&key(registrant), registration, leaves, 3);
    let registered = market.ledger.register_committed_datasets(
        &batch.registration,
        &batch.leaves,
        ciphertexts,
        &batch.registrant_signature,
        &batch.accreditor_signature,
        &batch.attestations,
    );
    registered.await.expect("the batch is registered");
}

async fn revoke(market: &Market, registrant: u8, registration: u64, ordinals: &[u32]) {
    let (registration, deadline) = (RegistrationId(registration), market.deadline());
    let digest = market.contracts().revocation_signing_hash(registration, ordinals, deadline);
    let signature = sign(&key(registrant), &digest);
    market.ledger.revoke_datasets(registration, ordinals, deadline, &signature).await.expect("revoked");
}

fn offer(market: &Market, registration: u64, nonce: u64, prices: [u128; 3]) -> Offer {
    let [counts, filtered_counts, association] = prices.map(Amount);
    Offer {
        prices: OfferPrices { counts, filtered_counts, association },
        audience: Audience::Anyone,
        tiers: TierSet(3),
        expiry_unix_s: EXPIRY_UNIX_S,
        ..market.offer(RegistrationId(registration), nonce, 0)
    }
}

/// One person (registration 1), a biobank without commitments (2), and a clinic (3).
async fn play(market: &Market, scene: &Scene) {
    register_committed(market, PERSON, 1..2, &scene.ciphertexts(0..1)).await;
    market.register(STRANGER, 10_000, 1_270).await;
    register_committed(market, BIOBANK, 0x1000..0x1007, &scene.ciphertexts(1..8)).await;
    revoke(market, BIOBANK, 3, &[1, 6]).await;
    revoke(market, STRANGER, 2, &[0]).await;
    market.post(PERSON, &offer(market, 1, 1, [TOKEN, 2 * TOKEN, 3 * TOKEN])).await.expect("posted");
    let later = Offer { data_use: 1 << 1, ..offer(market, 1, 2, [3 * TOKEN, 5 * TOKEN, 7 * TOKEN]) };
    market.post(PERSON, &later).await.expect("posted");
    let clinic = Offer {
        data_use: 1 << 3,
        audience: Audience::AccreditedResearchers,
        condition_digest: scene.condition_digest(),
        ..offer(market, 3, 1, [10 * PRICE_UNIT, 20 * PRICE_UNIT, 30 * PRICE_UNIT])
    };
    market.post(BIOBANK, &clinic).await.expect("posted");
}

/// The operations of one queue from a number on.
fn waiting(operations: &[QueuedOperation], queue: OperationQueue, from: u64) -> Vec<QueuedOperation> {
    operations.iter().filter(|operation| operation.queue == queue && operation.index >= from).cloned().collect()
}

/// The next batch as a prover makes it from what the chain shows.
async fn next_batch(proven: &ProvenRegistry, operations: &[QueuedOperation], scene: &Scene, number: u64) -> RootBatch {
    let taken = proven.taken_operations(PANEL).await.expect("the roots answer");
    assert_eq!(taken.sequence, number);
    let registry = waiting(operations, OperationQueue::Registry, taken.registry.operations);
    let registry = next_slices(&registry, &taken.registry, BATCH_EVENTS).expect("they follow");
    let used: usize = registry.iter().map(|slice| slice.heads.len()).sum();
    let offers = waiting(operations, OperationQueue::Offers, taken.offers.operations);
    let offers = next_slices(&offers, &taken.offers, BATCH_EVENTS - used).expect("they follow");
    let path = format!("/updates/{number}");
    RootBatch {
        registry,
        offers,
        root: scene.word(&format!("{path}/root")),
        digest: scene.word(&format!("{path}/digest")),
    }
}

async fn advance_all(market: &Market, scene: &Scene) -> ProvenRegistry {
    let proven = ProvenRegistry::open(market.ledger.clone()).await.expect("the market has roots");
    assert_eq!(proven.root_at(PANEL, 0).await.unwrap(), scene.word("/emptyRoot"));
    assert_eq!(proven.missing_since_unix_s(PANEL, 0).await.unwrap(), Some(START_UNIX_S));
    let head = market.ledger.head().await.unwrap().number;
    let operations = proven.queued_operations(PANEL, 0, head).await.expect("the queues are read");
    assert_eq!(operations.len(), 8);
    for number in 0..BATCHES {
        let batch = next_batch(&proven, &operations, scene, number).await;
        let proof = scene.proof(&format!("/updates/{number}"));
        let changed = RootBatch { digest: batch.root, ..batch.clone() };
        assert_eq!(refusal(proven.advance_roots(PANEL, &changed, &proof).await), "RegistryRootsBadProof");
        let (_, sequence) = proven.advance_roots(PANEL, &batch, &proof).await.expect("the root moves");
        assert_eq!(sequence, number + 1);
        assert_eq!(proven.root_at(PANEL, sequence).await.unwrap(), batch.root);
        assert_eq!(refusal(proven.advance_roots(PANEL, &batch, &proof).await), "RegistryRootsOtherEvents");
    }
    assert_eq!(proven.missing_since_unix_s(PANEL, BATCHES).await.unwrap(), None);
    tells_what_every_batch_took(&proven, scene, market.ledger.head().await.unwrap().number).await;
    proven
}

/// 260 events of registrations and revocations, then four of offers.
async fn tells_what_every_batch_took(proven: &ProvenRegistry, scene: &Scene, head: u64) {
    let moves = proven.root_moves(PANEL, 0, head).await.expect("the moves are read");
    let taken: Vec<_> = moves.iter().map(|step| (step.sequence, step.registry_events, step.offer_events)).collect();
    assert_eq!(taken, [(1, 64, 0), (2, 64, 0), (3, 64, 0), (4, 64, 0), (5, 4, 4)]);
    for (number, step) in moves.iter().enumerate() {
        assert_eq!(step.root, scene.word(&format!("/updates/{number}/root")));
        assert!(step.block <= head);
    }
    assert_eq!(proven.root_moves(PANEL, moves[3].block, moves[4].block).await.unwrap(), moves[3..]);
}

fn order(market: &Market, scene: &Scene) -> Order {
    Order {
        query_class: QueryClass::FilteredCounts,
        purpose: 3,
        condition_digest: scene.condition_digest(),
        ..market.order(1, 10 * TOKEN)
    }
}

fn endorse(market: &Market, settlement: &Settlement, cohort: &CohortId) -> SettlementSignatures {
    let digest = market.contracts().proven_settlement_signing_hash(settlement, cohort);
    SettlementSignatures(
        [1, 3].map(|index: u8| (index, sign(&key(KEYHOLDERS[usize::from(index) - 1]), &digest))).into(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_settles_on_a_cohort_that_real_proofs_prove() {
    let scene = Scene::read();
    let market = Market::deploy_with_proofs(&Backend::embedded_from(START_UNIX_S), &scene.deployment()).await;
    play(&market, &scene).await;
    let proven = advance_all(&market, &scene).await;

    let (statement, first, second) = (scene.statement(), scene.step(0), scene.step(1));
    let changed = CohortStep { cohort: Cohort { size: first.cohort.size + 1, ..first.cohort }, ..first };
    let forged = proven.prove_cohort(&statement, &Cohort::empty(), &[changed]).await;
    assert_eq!(refusal(forged), "CohortVerifierBadProof");
    let cohort = second.cohort;
    let id = cohort_id(&statement, &cohort);
    assert!(!proven.is_cohort_proven(&id).await.unwrap());
    proven.prove_cohort(&statement, &Cohort::empty(), &[first]).await.expect("proven");
    proven.prove_cohort(&statement, &first.cohort, &[second]).await.expect("proven");
    assert!(proven.is_cohort_proven(&id).await.unwrap());

    let order = order(&market, &scene);
    market.ledger.mint(account(RESEARCHER), order.max_price).await.expect("the admin mints");
    let permit = market.permit(order.max_price.0).await;
    market.open_signed(&order, Some(&permit)).await.expect("the order opens");
    let price = cohort.total_price_units * PRICE_UNIT;
    let settlement = Settlement {
        cohort_size: u32::try_from(cohort.size).unwrap(),
        ..market.settlement(order_id(&order), 1, price, &earnings(&[(PERSON, 5 * TOKEN)]))
    };
    let choice = CohortChoice {
        sequence: BATCHES,
        day: ORDER_DAY,
        accredited_only: false,
        proven_only: true,
        price_max_units: scene.price_max(),
    };
    let plain = market.endorse(&settlement, &[1, 3]);
    let refused = proven.settle_on_cohort(&settlement, &order, &choice, &cohort, &plain).await;
    assert_eq!(refusal(refused), "CommitteeVerifierBadSignature");
    let other = CohortChoice { proven_only: false, ..choice };
    let signed = endorse(&market, &settlement, &id);
    let refused = proven.settle_on_cohort(&settlement, &order, &other, &cohort, &signed).await;
    assert_eq!(refusal(refused), "CohortVerifierNotProven");
    proven.settle_on_cohort(&settlement, &order, &choice, &cohort, &signed).await.expect("settled");
    assert_eq!(market.ledger.order_status(order_id(&order)).await.unwrap(), OrderStatus::Settled);
    assert_eq!(market.balance(account(RESEARCHER)).await, 10 * TOKEN - price);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_market_of_committees_has_queues_but_no_roots() {
    let market = Market::deploy(&Backend::embedded()).await;
    market.register(PERSON, 1, 1).await;
    assert!(ProvenRegistry::open(market.ledger.clone()).await.is_err());
    let summary = market.ledger.registration_summary(RegistrationId(1)).await.unwrap();
    assert_eq!((summary.dataset_count, summary.first_group), (1, 0));
}
