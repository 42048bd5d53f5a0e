//! The fold against a scripted chain that reorganises.

mod rekeying;

use super::{
    script::{Misbehaviour, Script},
    *,
};
use crate::{
    amount::Amount,
    types::{Audience, Demands, OfferPrices, QueryClass, TierSet},
};
use locus_commitment::{
    DatasetBodyDigest, DatasetCommitments, DatasetId, GenotypeCommitment, PersonTag, ShareSetCommitment,
};
use locus_privacy::{Rho, Tier};

const PANEL: PanelDigest = PanelDigest([9; 32]);
const ACCOUNT: Address = Address([7; 20]);
const NOTHING: Digest32 = Digest32([0; 32]);

/// The deepest reorganisation that is tried.
const DEPTH_MAX: u64 = 64;

/// Registration number `id`, of one dataset; registrations before it have one dataset each.
fn registered(id: u64) -> MarketEvent {
    let leaf = DatasetLeaf {
        dataset: DatasetId([1; 32]),
        person: PersonTag([2; 32]),
        commitments: DatasetCommitments {
            bodies: DatasetBodyDigest(Digest32([3; 32])),
            shares: ShareSetCommitment(Digest32([4; 32])),
            genotypes: GenotypeCommitment(Digest32([5; 32])),
        },
    };
    MarketEvent::DatasetsRegistered {
        registration: RegistrationId(id),
        registrant: ACCOUNT,
        panel: PANEL,
        version: 1,
        first_slot: id - 1,
        accreditor: None,
        leaves: vec![leaf],
    }
}

fn revoked(id: u64) -> MarketEvent {
    MarketEvent::DatasetsRevoked { registration: RegistrationId(id), ordinals: vec![0] }
}

fn offered(id: u64, nonce: u64) -> MarketEvent {
    let prices = OfferPrices { counts: Amount(nonce.into()), filtered_counts: Amount(0), association: Amount(0) };
    MarketEvent::OfferPosted {
        offer: Offer {
            registration: RegistrationId(id),
            prices,
            data_use: 0,
            tiers: TierSet(1),
            audience: Audience::Anyone,
            block_start: 0,
            block_end: 1,
            condition_digest: NOTHING,
            demands: Demands::NONE,
            disclosure_digest: NOTHING,
            expiry_unix_s: u64::MAX,
            nonce,
        },
    }
}

fn withdrawn(id: u64, nonce: u64) -> MarketEvent {
    MarketEvent::OfferWithdrawn { registration: RegistrationId(id), nonce }
}

fn order(id: u8) -> OrderId {
    OrderId(Digest32([id; 32]))
}

fn opened(id: u8) -> MarketEvent {
    MarketEvent::OrderOpened {
        order_id: order(id),
        order: Order {
            researcher: ACCOUNT,
            panel: PANEL,
            selection_digest: NOTHING,
            predicate_digest: NOTHING,
            query_class: QueryClass::Counts,
            purpose: 0,
            condition_digest: NOTHING,
            tier: Tier::Open,
            rho: Rho::from_nano(1),
            max_price: Amount(100),
            hpke_key_digest: NOTHING,
            deadline_unix_s: 0,
            nonce: u64::from(id),
        },
    }
}

fn settled(id: u8, sequence: u64) -> MarketEvent {
    MarketEvent::OrderSettled {
        settlement: Settlement {
            order: order(id),
            answer_digest: NOTHING,
            cohort_digest: NOTHING,
            cohort_size: 1,
            price: Amount(40),
            payout_sequence: sequence,
            payout_root: NOTHING,
        },
    }
}

fn claimed(amount: u128) -> MarketEvent {
    MarketEvent::PayoutClaimed { account: ACCOUNT, amount }
}

/// Polls once; returns whether anything was new.
async fn poll(view: &mut ChainView, script: &Script) -> bool {
    view.poll(script).await.expect("the script answers soundly")
}

/// What a follower believes that takes every event up to the head as it comes: the control of the
/// attacks below.
#[derive(Debug, Default)]
struct Naive {
    next: u64,
    open: BTreeSet<OrderId>,
    paid: u128,
    revoked: BTreeSet<RegistrationId>,
}

impl Naive {
    async fn poll(&mut self, script: &Script) {
        let head = script.head().await.expect("the script answers").number;
        if self.next > head {
            return;
        }
        for located in script.events(self.next, head).await.expect("the script answers") {
            match located.event {
                MarketEvent::OrderOpened { order_id, .. } => {
                    self.open.insert(order_id);
                }
                MarketEvent::OrderSettled { settlement } => self.paid += settlement.price.0,
                MarketEvent::DatasetsRevoked { registration, .. } => {
                    self.revoked.insert(registration);
                }
                _ => {}
            }
        }
        self.next = head + 1;
    }
}

#[tokio::test]
async fn a_grant_acts_only_when_its_block_is_final() {
    let script = Script::new(100);
    script.finalize(100);
    let mut view = ChainView::default();
    poll(&mut view, &script).await;
    let block = script.mine(vec![registered(1)]);
    poll(&mut view, &script).await;
    assert!(view.registration(RegistrationId(1)).is_none());
    script.finalize(block);
    poll(&mut view, &script).await;
    assert!(view.registration(RegistrationId(1)).is_some());
}

#[tokio::test]
async fn an_order_reorganised_away_after_a_look_at_the_chain_is_never_answered() {
    for depth in 1..=DEPTH_MAX {
        let script = Script::new(100);
        script.finalize(100);
        let (mut view, mut naive) = (ChainView::default(), Naive::default());
        script.mine(vec![opened(1)]);
        script.mine_empty(depth - 1);
        poll(&mut view, &script).await;
        naive.poll(&script).await;
        script.reorganise(depth);
        script.finalize_all();
        poll(&mut view, &script).await;
        naive.poll(&script).await;
        assert!(view.order(&order(1)).is_none(), "depth {depth}");
        // Control: the naive follower would release an answer that nobody pays for.
        assert!(naive.open.contains(&order(1)), "depth {depth}");
    }
}

#[tokio::test]
async fn a_settlement_moved_by_a_reorganisation_pays_once() {
    for depth in 1..=DEPTH_MAX {
        let script = Script::new(99);
        script.mine(vec![registered(1), opened(1)]);
        script.finalize(100);
        let (mut view, mut naive) = (ChainView::default(), Naive::default());
        script.mine(vec![settled(1, 1)]);
        script.mine_empty(depth - 1);
        poll(&mut view, &script).await;
        naive.poll(&script).await;
        script.reorganise(depth);
        script.mine(vec![settled(1, 1), claimed(40)]);
        script.finalize_all();
        poll(&mut view, &script).await;
        naive.poll(&script).await;
        let paid: u128 = view.settlements_from(1).map(|terms| terms.price.0).sum();
        assert_eq!((paid, view.claimed(&ACCOUNT)), (40, 40), "depth {depth}");
        // Control: the naive follower has counted the same settlement twice.
        assert_eq!(naive.paid, 80, "depth {depth}");
    }
}

#[tokio::test]
async fn a_revocation_seen_once_is_honoured_even_when_its_block_is_lost() {
    for depth in 1..=DEPTH_MAX {
        let script = Script::new(99);
        let block = script.mine(vec![registered(1), registered(2)]);
        script.finalize(block);
        script.mine(vec![revoked(1)]);
        script.mine_empty(depth - 1);
        let mut view = ChainView::default();
        poll(&mut view, &script).await;
        assert!(view.is_revoked(RegistrationId(1), 0));
        script.reorganise(depth);
        script.finalize_all();
        poll(&mut view, &script).await;
        assert!(view.is_revoked(RegistrationId(1), 0), "depth {depth}");
        assert!(!view.is_revoked(RegistrationId(2), 0), "depth {depth}");
        // Control: the chain itself knows of no revocation any more.
        let mut latecomer = Naive::default();
        latecomer.poll(&script).await;
        assert!(latecomer.revoked.is_empty(), "depth {depth}");
    }
}

#[tokio::test]
async fn a_lost_withdrawal_voids_the_offer_for_ever_and_no_newer_one() {
    for depth in 1..=DEPTH_MAX {
        let script = Script::new(99);
        script.mine(vec![registered(1), offered(1, 1)]);
        script.finalize(100);
        script.mine(vec![withdrawn(1, 2)]);
        script.mine_empty(depth - 1);
        let mut view = ChainView::default();
        poll(&mut view, &script).await;
        assert!(view.is_withdrawn_since(RegistrationId(1), 100));
        script.reorganise(depth);
        script.mine_empty(5);
        script.finalize_all();
        poll(&mut view, &script).await;
        let now = view.finalized().expect("polled").number;
        assert_eq!(view.registration(RegistrationId(1)).unwrap().offer_as_of(now).unwrap().nonce, 1);
        assert!(view.is_withdrawn_since(RegistrationId(1), now), "depth {depth}: also for later orders");
        // The withdrawal may have been meant for an offer with its own number as well.
        let same = script.mine(vec![offered(1, 2)]);
        let newer = script.mine(vec![offered(1, 3)]);
        script.finalize_all();
        poll(&mut view, &script).await;
        assert!(view.is_withdrawn_since(RegistrationId(1), same), "depth {depth}");
        assert!(!view.is_withdrawn_since(RegistrationId(1), newer), "depth {depth}");
    }
}

#[tokio::test]
async fn a_final_withdrawal_voids_older_offers_only() {
    let script = Script::new(1);
    let first = script.mine(vec![registered(1), offered(1, 1)]);
    let between = script.mine(vec![withdrawn(1, 2)]);
    let second = script.mine(vec![offered(1, 3)]);
    script.finalize_all();
    let mut view = ChainView::default();
    poll(&mut view, &script).await;
    let record = view.registration(RegistrationId(1)).unwrap();
    assert!(record.offer_as_of(first).is_some() && view.is_withdrawn_since(RegistrationId(1), first));
    assert!(record.offer_as_of(between).is_none() && !view.is_withdrawn_since(RegistrationId(1), between));
    assert!(record.offer_as_of(second).is_some() && !view.is_withdrawn_since(RegistrationId(1), second));
    assert_eq!(record.next_offer_nonce(), 4);
}

#[tokio::test]
async fn repeated_and_disordered_logs_count_once() {
    let script = Script::new(10);
    script.mine(vec![registered(1), offered(1, 1), opened(1)]);
    script.mine(vec![settled(1, 1), claimed(25), claimed(15)]);
    script.finalize_all();
    script.misbehave(Misbehaviour { doubled: true, ..Default::default() });
    let (mut view, mut naive) = (ChainView::default(), Naive::default());
    assert!(poll(&mut view, &script).await);
    naive.poll(&script).await;
    assert_eq!((view.claimed(&ACCOUNT), view.settlement_count()), (40, 1));
    assert_eq!(view.registrations_on(&PANEL, 11).count(), 1);
    assert_eq!(view.registrations_on(&PANEL, 10).count(), 0);
    assert!(!poll(&mut view, &script).await, "nothing is new");
    // Control: the naive follower paid twice.
    assert_eq!(naive.paid, 80);
}

#[tokio::test]
async fn an_event_that_turns_up_late_stops_the_view() {
    let script = Script::new(9);
    script.mine(vec![registered(1), opened(1)]);
    let hidden = script.mine(vec![claimed(1)]);
    script.finalize_all();
    script.misbehave(Misbehaviour { hidden: [hidden].into(), ..Default::default() });
    let mut view = ChainView::default();
    poll(&mut view, &script).await;
    script.mine_empty(1);
    script.finalize_all();
    let late = LocatedEvent { block: hidden, time_unix_s: 0, log_index: 0, event: claimed(1) };
    script.misbehave(Misbehaviour { stray: vec![late], ..Default::default() });
    let error = view.poll(&script).await.expect_err("the node had left it out");
    assert!(matches!(error, ViewError::Inconsistent { block: 11, .. }), "{error}");
    assert_eq!(view.claimed(&ACCOUNT), 0);
}

#[tokio::test]
async fn a_revocation_is_honoured_from_whatever_block_it_turns_up_in() {
    let script = Script::new(9);
    script.mine(vec![registered(1)]);
    script.finalize_all();
    let mut view = ChainView::default();
    poll(&mut view, &script).await;
    let late = LocatedEvent { block: 3, time_unix_s: 0, log_index: 0, event: revoked(1) };
    script.mine_empty(1);
    script.finalize_all();
    script.misbehave(Misbehaviour { stray: vec![late], ..Default::default() });
    view.poll(&script).await.expect_err("the node had left it out");
    assert!(view.is_revoked(RegistrationId(1), 0));
}

#[tokio::test]
async fn events_that_a_node_leaves_out_are_missed_by_their_numbers() {
    let gaps: [(&str, Vec<MarketEvent>, Vec<MarketEvent>); 7] = [
        ("registration", vec![registered(1)], vec![registered(2)]),
        ("offer", vec![offered(1, 1)], vec![offered(1, 2)]),
        ("withdrawal", vec![withdrawn(1, 1)], vec![offered(1, 2)]),
        ("order", vec![opened(1)], vec![settled(1, 1)]),
        ("settlement", vec![settled(1, 1)], vec![settled(2, 2)]),
        ("the registration of an offer", vec![registered(1)], vec![offered(1, 1)]),
        ("the registration of a revocation", vec![registered(1)], vec![revoked(1)]),
    ];
    for (what, left_out, shown) in gaps {
        let script = Script::new(1);
        let mut before = vec![registered(1), opened(1), opened(2)];
        before.retain(|event| !left_out.contains(event));
        script.mine(before);
        let hidden = script.mine(left_out);
        let seen = script.mine(shown);
        script.finalize_all();
        let mut honest = ChainView::default();
        poll(&mut honest, &script).await;
        script.misbehave(Misbehaviour { hidden: [hidden].into(), ..Default::default() });
        let mut view = ChainView::default();
        let error = view.poll(&script).await.expect_err(what);
        assert!(matches!(error, ViewError::Inconsistent { block, .. } if block == seen), "{what}: {error}");
        // The view has kept what was sound, and goes on when the node becomes honest.
        script.misbehave(Misbehaviour::default());
        view.poll(&script).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(format!("{view:?}"), format!("{honest:?}"), "{what}");
    }
}

#[tokio::test]
async fn what_a_node_left_out_before_its_fault_showed_is_read_after_all() {
    let script = Script::new(1);
    script.mine(vec![registered(1), opened(1)]);
    let unnumbered = script.mine(vec![claimed(5)]);
    script.mine(vec![settled(1, 1)]);
    let numbered = script.mine(vec![offered(1, 1)]);
    script.mine(vec![offered(1, 2)]);
    script.finalize_all();
    script.misbehave(Misbehaviour { hidden: [unnumbered, numbered].into(), ..Default::default() });
    let mut view = ChainView::default();
    view.poll(&script).await.expect_err("an offer is missing");
    script.misbehave(Misbehaviour::default());
    poll(&mut view, &script).await;
    assert_eq!(view.claimed(&ACCOUNT), 5, "not only the event whose number was missed");
    assert_eq!(view.settlement_count(), 1);
}

#[tokio::test]
async fn two_events_in_one_place_stop_the_view() {
    let script = Script::new(9);
    let block = script.mine(vec![registered(1), claimed(1)]);
    script.finalize_all();
    let other = LocatedEvent { block, time_unix_s: block * 12, log_index: 1, event: claimed(2) };
    script.misbehave(Misbehaviour { stray: vec![other], ..Default::default() });
    let mut view = ChainView::default();
    let error = view.poll(&script).await.expect_err("one of them is made up");
    assert!(matches!(error, ViewError::Inconsistent { .. }), "{error}");
    assert_eq!(view.claimed(&ACCOUNT), 0);
}

#[tokio::test]
async fn a_snapshot_keeps_what_it_showed_while_the_view_goes_on() {
    let script = Script::new(1);
    let first = script.mine(vec![registered(1), offered(1, 1), opened(1)]);
    script.finalize_all();
    let mut view = ChainView::default();
    poll(&mut view, &script).await;
    let snapshot = view.clone();
    let shown = format!("{snapshot:?}");
    script.mine(vec![registered(2), offered(1, 2), settled(1, 1), revoked(1)]);
    script.finalize_all();
    poll(&mut view, &script).await;
    assert_eq!(format!("{snapshot:?}"), shown);
    assert_eq!(snapshot.order(&order(1)).unwrap().state, OrderState::Open);
    assert_eq!(view.registration(RegistrationId(1)).unwrap().offer_as_of(first).unwrap().nonce, 1);
    assert_eq!(view.registration(RegistrationId(1)).unwrap().next_offer_nonce(), 3);
}

#[tokio::test]
async fn pages_shrink_until_the_node_answers() {
    let script = Script::new(1);
    for id in 1..=20 {
        script.mine(vec![registered(id), offered(id, 1)]);
    }
    script.finalize_all();
    script.misbehave(Misbehaviour { events_max: Some(6), ..Default::default() });
    let mut view = ChainView::default();
    poll(&mut view, &script).await;
    assert_eq!(view.registrations().count(), 20);
    assert!(script.requests().contains(&(0, 21)), "it began with a whole page");
    // Two events in one block are too many for this node whatever the page.
    script.misbehave(Misbehaviour { events_max: Some(1), ..Default::default() });
    let error = ChainView::default().poll(&script).await.expect_err("the node never answers");
    assert!(matches!(error, ViewError::Source(_)));
}

#[tokio::test]
async fn a_changed_finalized_block_stops_the_view() {
    let script = Script::new(100);
    script.finalize(90);
    let mut view = ChainView::default();
    poll(&mut view, &script).await;
    script.reorganise(20);
    let error = view.poll(&script).await.expect_err("block 90 has another hash");
    assert!(matches!(error, ViewError::FinalizedChanged { number: 90 }));
    assert_eq!(view.finalized().map(|block| block.number), Some(90));
    script.finalize(80);
    let error = view.poll(&script).await.expect_err("finality does not go back");
    assert!(matches!(error, ViewError::FinalizedWentBack { seen: 90, now: 80 }));
}

#[tokio::test]
async fn long_chains_are_read_in_pages_and_only_once() {
    let script = Script::new(2 * EVENT_PAGE_BLOCKS + 10);
    script.finalize(2 * EVENT_PAGE_BLOCKS);
    let mut view = ChainView::default();
    poll(&mut view, &script).await;
    script.mine_empty(1);
    script.finalize_all();
    poll(&mut view, &script).await;
    let (page, head) = (EVENT_PAGE_BLOCKS, 2 * EVENT_PAGE_BLOCKS + 11);
    let expected =
        [(0, page - 1), (page, 2 * page - 1), (2 * page, 2 * page), (2 * page + 1, head - 1), (2 * page + 1, head)];
    assert_eq!(script.requests(), expected);
}
