//! Cohorts of consenting datasets are proven, kept and settled on; others are refused, by the prover, the circuit and
//! the contract.

use crate::{
    chain::{Backend, START_UNIX_S, account, key},
    market::{
        KEYHOLDERS, LAST_DAY, Market, OTHER_PROVER, PANEL, PRICE_UNIT, RESEARCHER, STRANGER, TODAY, commitment,
        coordinates, keys, refusal, sign,
    },
    scene::{self, COHORT_PRICE, REGISTRATIONS, cohort, dataset, seed},
};
use locus_cohort::{RegisteredDataset, Selection, SelectionError, cohort_statement, groups_of_registrations};
use locus_commitment::{
    Digest32,
    field::{FieldBytes, decode_field},
    pedersen::CiphertextCommitment,
};
use locus_genomics::{Declarations, Purpose, PurposeCode};
use locus_ledger::{
    Amount, Cohort, CohortChoice, CohortEvidence, CohortId, CohortStatement, CohortStep, Order, OrderStatus,
    PayoutTree, PermitSignature, PermitTerms, ProvenRegistry, QueryClass, RegistrationId, Settlement,
    SettlementSignatures, cohort_id, order_id,
};
use locus_privacy::{Rho, Tier};
use locus_proofs::{
    ProofsError,
    cohort::{CohortPolicy, CohortProof, CohortPublic, CohortState, CohortViolation, CohortWitness},
    update::RegistryTree,
};
use locus_prover::{CohortBook, CohortProver, Obstacle, PanelTree, ProverError, refusals};
use std::collections::BTreeMap;

/// Most that a dataset costs in the cohort, in units.
const PRICE_MAX: u64 = 50;

/// A market whose root has the whole scene, and a prover.
struct Stage {
    market: Market,
    prover: CohortProver,
    panel: PanelTree,
}

impl Stage {
    async fn set() -> Self {
        let market = Market::deploy(Backend::embedded()).await;
        let roots = scene::play_into_root(&market).await;
        let panel = roots.mirror().follow().await.expect("it follows");
        let prover = market.cohort_prover(roots.mirror(), CohortBook::in_memory().expect("memory is there"));
        Self { market, prover, panel }
    }

    fn registry(&self) -> &ProvenRegistry {
        self.prover.mirror().registry()
    }

    fn choice(&self) -> CohortChoice {
        CohortChoice {
            sequence: self.panel.sequence(),
            day: TODAY,
            accredited_only: false,
            proven_only: true,
            price_max_units: PRICE_MAX,
        }
    }

    fn statement(&self) -> CohortStatement {
        statement_of(&order(), self.choice()).expect("there is such a purpose")
    }

    async fn refused(&self, statement: &CohortStatement, datasets: &[RegisteredDataset]) -> Vec<Obstacle> {
        match self.prover.prove(statement, datasets, |_, _| panic!("nothing is proven")).await {
            Err(ProverError::Refused(refused)) => refused.0.into_iter().map(|(_, obstacle)| obstacle).collect(),
            other => panic!("not refused: {other:?}"),
        }
    }
}

fn order() -> Order {
    Order {
        researcher: account(RESEARCHER),
        panel: PANEL,
        selection_digest: Digest32([1; 32]),
        predicate_digest: Digest32([0; 32]),
        query_class: QueryClass::Counts,
        purpose: Purpose { code: PurposeCode::GeneralResearch, declarations: Declarations::NONE }.to_bits(),
        condition_digest: Digest32([0; 32]),
        tier: Tier::Open,
        rho: Rho::from_nano(1_000_000),
        max_price: Amount(1_000 * PRICE_UNIT),
        hpke_key_digest: Digest32([2; 32]),
        deadline_unix_s: START_UNIX_S + 3_600,
        nonce: 1,
    }
}

/// The statement of an order of an accredited researcher.
fn statement_of(order: &Order, choice: CohortChoice) -> Option<CohortStatement> {
    cohort_statement(order, &CohortEvidence { choice, researcher_accredited: true, cohort: Cohort::empty() })
}

fn shard_groups() -> usize {
    keys().market.circuits().cohort().groups()
}

/// Where a keyholder finds datasets: from registrations alone.
fn keyholders_selection(datasets: &[RegisteredDataset]) -> Result<Selection, SelectionError> {
    let groups = groups_of_registrations(REGISTRATIONS.map(|(id, count)| (RegistrationId(id), count)));
    Selection::try_new(datasets.iter().copied(), |id| groups.get(&id).copied())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cohort_over_several_shards_is_proven_once_and_kept() {
    let stage = Stage::set().await;
    let (statement, datasets) = (stage.statement(), cohort());
    let mut heard = Vec::new();
    let proven = stage.prover.prove(&statement, &datasets, |done, total| heard.push((done, total))).await;
    let proven = proven.expect("all consent");
    assert_eq!(heard, [(0, 2), (1, 2), (2, 2)]);
    assert!(stage.registry().is_cohort_proven(&proven.id()).await.unwrap());
    let sums = proven.cohort();
    assert_eq!((sums.shard, sums.size, sums.total_price_units), (1, 6, COHORT_PRICE));
    let commitments = datasets.iter().map(|dataset| commitment(seed(dataset)));
    let total = commitments.fold(CiphertextCommitment::empty(), |sum, next| sum.plus(&next));
    assert_eq!(sums.commitment, coordinates(&total), "the sum opens to the bodies of exactly these");

    let selection = keyholders_selection(&datasets).unwrap();
    assert_eq!(selection.check(shard_groups(), &sums, &proven.blindings), Ok(()));
    let mut others = datasets.clone();
    others[1] = dataset(2, 1);
    let others = keyholders_selection(&others).unwrap();
    assert_eq!(others.check(shard_groups(), &sums, &proven.blindings), Err(SelectionError::Payouts));

    // The order in which datasets are named does not matter, and nothing is proven again.
    let shuffled: Vec<_> = datasets.iter().rev().copied().collect();
    let head = scene::head(&stage.market).await;
    let again = stage.prover.prove(&statement, &shuffled, |_, _| panic!("it was proven")).await.unwrap();
    assert!(again == proven);
    assert_eq!(scene::head(&stage.market).await, head, "nothing is sent again");
    let fewer = stage.prover.prove(&statement, &datasets[..3], |_, _| {}).await.unwrap();
    assert!(fewer.id() != proven.id() && fewer.cohort().size == 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_cohort_is_sent_again_where_the_chain_does_not_have_it() {
    let stage = Stage::set().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cohorts.redb");
    let mirror = stage.prover.mirror();
    let (statement, datasets) = (stage.statement(), cohort());
    // A market without a paying account: the proof is made and kept, and cannot be sent.
    let reader = locus_ledger::Ledger::open(
        match &stage.market.backend {
            Backend::Embedded(chain) => locus_ledger::Chain::embedded(chain.clone(), None),
            Backend::Anvil(_) => unreachable!(),
        },
        *stage.market.ledger.contracts(),
    );
    let reader = ProvenRegistry::open(reader.await.unwrap()).await.unwrap();
    let poor = locus_prover::PanelMirror::new(reader, PANEL, keys().market.circuits().depth());
    let prover = stage.market.cohort_prover(&std::sync::Arc::new(poor), CohortBook::open(&file).unwrap());
    let outcome = prover.prove(&statement, &datasets, |_, _| {}).await;
    assert!(matches!(outcome, Err(ProverError::Ledger(locus_ledger::LedgerError::NoSender))), "{outcome:?}");
    drop(prover);

    let prover = stage.market.cohort_prover(mirror, CohortBook::open(&file).unwrap()).with_steps_per_transaction(1);
    let head = scene::head(&stage.market).await;
    let proven = prover.prove(&statement, &datasets, |_, _| panic!("it was proven")).await.expect("it is sent");
    assert!(stage.registry().is_cohort_proven(&proven.id()).await.unwrap());
    assert_eq!(scene::head(&stage.market).await, head + 2, "a transaction for each shard");
    let first = cohort_id(&statement, &proven.steps[0].cohort);
    assert!(stage.registry().is_cohort_proven(&first).await.unwrap(), "each goes on from a proven cohort");
}

/// The datasets as the circuit has them, in shard 0, whether they may be selected or not.
fn shard_zero(
    tree: &RegistryTree,
    statement: &CohortStatement,
    datasets: &[RegisteredDataset],
) -> (CohortPublic, CohortWitness) {
    let shape = keys().market.circuits().cohort();
    let groups = groups_of_registrations(REGISTRATIONS.map(|(id, count)| (RegistrationId(id), count)));
    let mut selected = vec![[false; 5]; shape.groups()];
    for dataset in datasets {
        let ordinal = usize::try_from(dataset.ordinal).expect("a small number");
        let first = usize::try_from(groups[&dataset.registration].first_group).expect("a small number");
        selected[first + ordinal / 5][ordinal % 5] = true;
    }
    let blinding = decode_field(&[7; 32]).expect("it is canonical");
    let path = tree.path(shape.shard_levels(), 0);
    let witness = CohortWitness { groups: tree.shard(shape.shard_levels(), 0), selected, blinding, path };
    let policy = CohortPolicy::from_bits(statement.policy).expect("it is a policy");
    let before = CohortState::empty();
    let after = witness.advance(&before, 0, policy);
    let condition = decode_field(&statement.condition.0).expect("it is canonical");
    let price_max = statement.price_max_units;
    (CohortPublic { root: tree.root(), shard: 0, policy, condition, price_max, before, after }, witness)
}

/// The clause for which there is no proof of these datasets, if there is none.
fn unprovable(
    tree: &RegistryTree,
    statement: &CohortStatement,
    datasets: &[RegisteredDataset],
) -> Option<&'static str> {
    let (public, witness) = shard_zero(tree, statement, datasets);
    let shape = keys().market.circuits().cohort();
    let mut rng = rand_core::UnwrapErr(getrandom::SysRng);
    match CohortProof::prove(&keys().cohort, shape, &public, &witness, &mut rng) {
        Ok(_) => None,
        Err(ProofsError::Unsatisfied { clause }) => Some(clause),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dataset_that_does_not_consent_is_refused_by_prover_and_circuit() {
    let stage = Stage::set().await;
    let tree = stage.panel.tree();
    let (statement, good) = (stage.statement(), vec![dataset(1, 0), dataset(2, 0)]);
    let with = |bad: RegisteredDataset| [good.clone(), vec![bad]].concat();
    assert_eq!(unprovable(tree, &statement, &good), None, "the control");
    stage.prover.prove(&statement, &good, |_, _| {}).await.expect("the control");

    let cheaper = CohortStatement { price_max_units: PRICE_MAX - 1, ..statement };
    let on = |choice: CohortChoice| statement_of(&order(), choice).unwrap();
    let too_late = on(CohortChoice { day: LAST_DAY + 1, ..stage.choice() });
    let accredited = on(CohortChoice { accredited_only: true, ..stage.choice() });
    let anything = on(CohortChoice { proven_only: false, ..stage.choice() });
    let offer = Obstacle::Offer;
    let cases = [
        (statement, dataset(2, 7), Obstacle::Revoked, "C4 selected datasets"),
        (cheaper, dataset(2, 1), offer(CohortViolation::Price), "C7 expiry and price"),
        (too_late, dataset(2, 1), offer(CohortViolation::Expired), "C7 expiry and price"),
        (accredited, dataset(2, 1), offer(CohortViolation::Provenance), "C6 tier, audience, provenance"),
    ];
    for (statement, bad, obstacle, clause) in cases {
        assert_eq!(stage.refused(&statement, &with(bad)).await[0], obstacle);
        assert_eq!(unprovable(tree, &statement, &with(bad)), Some(clause));
    }
    // The person is what is too dear and not accredited; without it both statements hold.
    for statement in [cheaper, accredited] {
        assert_eq!(unprovable(tree, &statement, &[dataset(2, 1)]), None);
    }
    // Registration 5 is in shard 1, where the circuit is the same.
    assert_eq!(stage.refused(&statement, &with(dataset(5, 0))).await, [offer(CohortViolation::DataUse)]);
    assert_eq!(stage.refused(&statement, &with(dataset(2, 0))).await, [Obstacle::Duplicate]);
    for absent in [dataset(2, 20), dataset(1, 1), dataset(9, 0)] {
        assert_eq!(stage.refused(&statement, &with(absent)).await, [Obstacle::NotRegistered]);
    }
    // Without a commitment nothing is proven either; a statement that does not ask for it has the neutral point.
    assert_eq!(stage.refused(&anything, &with(dataset(3, 0))).await, [Obstacle::Uncommitted]);
    assert_eq!(unprovable(tree, &statement, &with(dataset(3, 0))), Some("C6 tier, audience, provenance"));
    let both = stage.refused(&statement, &[dataset(2, 13), dataset(1, 0), dataset(3, 2)]).await;
    assert_eq!(both, [Obstacle::Revoked, Obstacle::Uncommitted], "all are named");
    let nobody = stage.prover.prove(&statement, &[], |_, _| {}).await;
    assert!(matches!(nobody, Err(ProverError::Selection(SelectionError::Empty))));
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_are_about_a_root_that_is_there_and_has_what_was_in_it() {
    let stage = Stage::set().await;
    let under = |sequence| CohortStatement { sequence, ..stage.statement() };
    let obstacles = |sequence, datasets: &[RegisteredDataset]| {
        let refused = refusals(&stage.panel, &under(sequence), datasets).expect("the tree is kept");
        refused.0.into_iter().map(|(_, obstacle)| obstacle).collect::<Vec<_>>()
    };
    // Batches of eight: registrations and the two revocations, then offers.
    assert_eq!(obstacles(0, &[dataset(1, 0)]), [Obstacle::NotRegistered]);
    assert_eq!(obstacles(2, &[dataset(1, 0), dataset(2, 7)]), [Obstacle::NotOnOffer; 2]);
    assert_eq!(obstacles(5, &[dataset(1, 0), dataset(2, 7)]), [Obstacle::Revoked]);
    let unknown = stage.panel.sequence() + 1;
    let refused = stage.prover.prove(&under(unknown), &cohort(), |_, _| {}).await;
    assert!(matches!(refused, Err(ProverError::UnknownRoot { sequence, .. }) if sequence == unknown));
    let other = CohortStatement { panel: locus_genomics::PanelDigest([1; 32]), ..stage.statement() };
    let refused = stage.prover.prove(&other, &cohort(), |_, _| {}).await;
    assert!(matches!(refused, Err(ProverError::OtherPanel { .. })));
    let other = CohortStatement { policy: 1 << 90, ..stage.statement() };
    assert!(matches!(stage.prover.prove(&other, &cohort(), |_, _| {}).await, Err(ProverError::Policy(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_sums_are_refused_by_the_contract() {
    let stage = Stage::set().await;
    let statement = stage.statement();
    let tree = stage.panel.tree();
    let good = [dataset(1, 0), dataset(2, 0)];
    let (public, witness) = shard_zero(tree, &statement, &good);
    let shape = keys().market.circuits().cohort();
    let mut rng = rand_core::UnwrapErr(getrandom::SysRng);
    let proof = CohortProof::prove(&keys().cohort, shape, &public, &witness, &mut rng).unwrap();
    let selection = keyholders_selection(&good).unwrap();
    let blindings = BTreeMap::from([(0, FieldBytes([7; 32]))]);
    let total = commitment(seed(&good[0])).plus(&commitment(seed(&good[1])));
    let honest = CohortStep {
        cohort: Cohort {
            shard: 0,
            size: 2,
            total_price_units: 60,
            commitment: coordinates(&total),
            payouts: selection.payouts(shard_groups(), &blindings).unwrap(),
        },
        digest: public.digest_word(),
        proof: proof.to_bytes(),
    };
    let registry = stage.market.seen_by(OTHER_PROVER).await;
    let prove = async |step: CohortStep| registry.prove_cohort(&statement, &Cohort::empty(), &[step]).await;
    let others: [(&str, fn(&mut Cohort)); 4] = [
        ("number of people", |cohort| cohort.size += 1),
        ("total price", |cohort| cohort.total_price_units -= 1),
        ("payouts", |cohort| cohort.payouts.0[31] ^= 1),
        ("sum of commitments", |cohort| cohort.commitment = coordinates(&commitment(77))),
    ];
    for (what, change) in others {
        let mut step = honest;
        change(&mut step.cohort);
        assert_eq!(refusal(prove(step).await), "CohortVerifierBadProof", "{what}");
    }
    let cheaper = CohortStatement { price_max_units: PRICE_MAX - 1, ..statement };
    let other = registry.prove_cohort(&cheaper, &Cohort::empty(), &[honest]).await;
    assert_eq!(refusal(other), "CohortVerifierBadProof", "another statement");
    let twice = registry.prove_cohort(&statement, &Cohort::empty(), &[honest, honest]).await;
    assert_eq!(refusal(twice), "CohortVerifierBadShard", "everybody counted twice");
    prove(honest).await.expect("the honest step is proven");
    let twice = registry.prove_cohort(&statement, &honest.cohort, &[honest]).await;
    assert_eq!(refusal(twice), "CohortVerifierBadShard");
}

async fn open(market: &Market, order: &Order) {
    let ledger = &market.ledger;
    ledger.mint(order.researcher, order.max_price).await.expect("the admin mints");
    let nonce = ledger.permit_nonce(order.researcher).await.expect("the token answers");
    let deadline_unix_s = order.deadline_unix_s;
    let terms = PermitTerms { owner: order.researcher, value: order.max_price, nonce, deadline_unix_s };
    let name = ledger.token_name().await.expect("the token answers");
    let digest = ledger.contracts().permit_signing_hash(&terms, &name);
    let signature = key(RESEARCHER).sign_digest(&digest).expect("keys sign").to_bytes();
    let permit = PermitSignature { value: order.max_price, deadline_unix_s, signature };
    let signature = sign(&key(RESEARCHER), &ledger.contracts().order_signing_hash(order));
    ledger.open_order(order, &signature, Some(&permit)).await.expect("the order opens");
}

fn endorse(market: &Market, settlement: &Settlement, cohort: &CohortId) -> SettlementSignatures {
    let digest = market.ledger.contracts().proven_settlement_signing_hash(settlement, cohort);
    SettlementSignatures(
        [1, 3].map(|index: u8| (index, sign(&key(KEYHOLDERS[usize::from(index) - 1]), &digest))).into(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_settles_on_the_cohort_that_keyholders_checked() {
    let stage = Stage::set().await;
    let (market, order) = (&stage.market, order());
    open(market, &order).await;
    let proven = stage.prover.prove(&stage.statement(), &cohort(), |_, _| {}).await.expect("all consent");
    let selection = keyholders_selection(&cohort()).unwrap();
    selection.check(shard_groups(), &proven.cohort(), &proven.blindings).expect("it is the keyholders' cohort");

    let payouts = PayoutTree::build(BTreeMap::from([(account(STRANGER), Amount(COHORT_PRICE * PRICE_UNIT))]));
    let settlement = Settlement {
        order: order_id(&order),
        answer_digest: Digest32([3; 32]),
        cohort_digest: Digest32([4; 32]),
        cohort_size: 6,
        price: Amount(COHORT_PRICE * PRICE_UNIT),
        payout_sequence: 1,
        payout_root: payouts.root(),
    };
    let settle = async |settlement: Settlement, cohort: Cohort| {
        let signatures = endorse(market, &settlement, &cohort_id(&proven.statement, &cohort));
        stage.registry().settle_on_cohort(&settlement, &order, &stage.choice(), &cohort, &signatures).await
    };
    let sums = proven.cohort();
    let larger = Settlement { cohort_size: 7, ..settlement };
    assert_eq!(refusal(settle(larger, sums).await), "CohortVerifierOtherSums");
    let dearer = Settlement { price: Amount(settlement.price.0 + 1), ..settlement };
    assert_eq!(refusal(settle(dearer, sums).await), "CohortVerifierOtherSums");
    let others: [fn(&mut Cohort); 2] =
        [|cohort| cohort.payouts.0[31] ^= 1, |cohort| cohort.commitment = coordinates(&commitment(77))];
    for change in others {
        let mut changed = sums;
        change(&mut changed);
        assert_eq!(refusal(settle(settlement, changed).await), "CohortVerifierNotProven");
    }
    settle(settlement, sums).await.expect("settled");
    assert_eq!(market.ledger.order_status(settlement.order).await.unwrap(), OrderStatus::Settled);
}
