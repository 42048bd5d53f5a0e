//! The relay between scripted keyholders, some of which lie.

use super::*;
use crate::{
    answers::Answers,
    relay::release::{Expected, Signatures},
};
use locus_cohort::{AnswerPlan, Cohort, Eligible, Member as CohortMember, PanelShape};
use locus_commitment::{DatasetBodyDigest, DatasetId, Digest32, NetworkId, PersonTag};
use locus_genomics::{PanelDigest, VariantSelection};
use locus_ledger::{AccountKey, Amount, RegistrationId, Settlement};
use locus_privacy::{Rho, Tier};
use locus_service::{Connector, Listen, ServerHandle, ServerOptions, connect_service, serve};
use locus_sharing::{
    release_plan,
    seal::{ENCAPSULATION_BYTES, TAG_BYTES},
};
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};
use tonic::{Request, service::Routes};

mod scripted;

use scripted::{Lie, Script, ScriptedKeyholder};

const NETWORK: NetworkId = NetworkId { chain_id: 31_337, registry: Address([0xaa; 20]) };
const ORDER: OrderId = OrderId(Digest32([0x0d; 32]));
const PANEL: PanelDigest = PanelDigest([0x9a; 32]);

fn contracts() -> Contracts {
    let address = |byte| Address([byte; 20]);
    Contracts { network: NETWORK, token: address(1), offer_book: address(2), escrow: address(3), verifier: address(4) }
}

/// What a keyholder signs with.
pub(crate) fn key(keyholder: KeyholderIndex) -> AccountKey {
    AccountKey::from_bytes(&[keyholder.get(); 32]).expect("a valid key")
}

/// Three people asked about five variants in two blocks.
pub(crate) fn answering() -> Answering {
    let member = |slot: u8| CohortMember {
        registration: RegistrationId(1),
        ordinal: u32::from(slot),
        slot: u64::from(slot),
        dataset: DatasetId([slot; 32]),
        version: 1,
        rekeyings: 0,
        person: PersonTag([slot; 32]),
        bodies: DatasetBodyDigest(Digest32([slot; 32])),
        registrant: Address([7; 20]),
        price: Amount(10),
    };
    let eligible = Eligible { members: (0..3).map(member).collect(), ..Eligible::default() };
    let cohort = Cohort::try_new(&eligible, &BTreeSet::new()).expect("three people");
    let selection = VariantSelection::try_from_ranges(PANEL, 5_000, [0..3, 4_080..4_082]).expect("five variants");
    let shape = PanelShape { digest: PANEL, complete_calls: false };
    let plan = AnswerPlan::try_new(NETWORK, shape, &selection, Tier::Open, Rho::from_nano(10_000_000), &cohort, None);
    Answering { cohort, plan: plan.expect("a small question"), proven: None }
}

/// Three honest keyholders of a market, asked [`answering`] for this order.
pub(crate) async fn honest_keyholders(order: OrderId, contracts: Contracts) -> [ServerHandle; 3] {
    let serving = KeyholderIndex::ALL.map(|index| async move {
        let mut script = Script::new(index, Lie::None, answering());
        (script.order, script.contracts) = (order, contracts);
        let routes = Routes::new(ScriptedKeyholder(Arc::new(script)).into_server());
        serve(routes, Listen::InProcess, ServerOptions::default()).await.expect("serves")
    });
    <[ServerHandle; 3]>::try_from(join_all(serving).await).expect("three servers")
}

/// Three scripted keyholders behind real gRPC connections, and the committee that knows them.
struct Stage {
    committee: Committee,
    scripts: [Arc<Script>; 3],
    answering: Answering,
    answers: Answers,
    _folder: tempfile::TempDir,
    _servers: Vec<ServerHandle>,
}

impl Stage {
    /// Everybody is honest except one keyholder.
    async fn with(liar: u8, lie: Lie) -> Self {
        Self::set(|index| if index.get() == liar { lie } else { Lie::None }).await
    }

    async fn set(lie_of: impl Fn(KeyholderIndex) -> Lie) -> Self {
        let answering = answering();
        let mut servers = Vec::new();
        let mut members = Vec::new();
        let mut scripts = Vec::new();
        for index in KeyholderIndex::ALL {
            let script = Arc::new(Script::new(index, lie_of(index), answering.clone()));
            let connector = if script.lie == Lie::IsDown {
                // A port that nobody listens on.
                Connector::Url("http://127.0.0.1:1".to_owned())
            } else {
                let routes = Routes::new(ScriptedKeyholder(script.clone()).into_server());
                let server = serve(routes, Listen::InProcess, ServerOptions::default()).await.expect("serves");
                let connector = server.connector();
                servers.push(server);
                connector
            };
            let channel = connect_service(&connector).expect("a valid address");
            members.push(Member { index, signer: key(index).address(), client: KeyholderClient::new(channel) });
            scripts.push(script);
        }
        let folder = tempfile::tempdir().expect("a scratch folder");
        let answers = Answers::open(&folder.path().join("aggregator.redb")).expect("opens");
        let limits = Limits { prepare_wait_s: 1, ..Limits::default() };
        let members = <[Member; 3]>::try_from(members).ok().expect("three members");
        Self {
            committee: Committee { contracts: contracts(), limits, members },
            scripts: <[Arc<Script>; 3]>::try_from(scripts).ok().expect("three scripts"),
            answering,
            answers,
            _folder: folder,
            _servers: servers,
        }
    }

    async fn run(&self) -> Result<(Agreed, Signatures), AggregatorError> {
        let question = pb::Question { order_id: ORDER.0.0.to_vec().into(), ..Default::default() };
        let preparations = self.committee.prepare(&ORDER, &question).await?;
        let agreed = self.committee.commit(&question, &preparations, &ORDER, &self.answering).await?;
        self.committee.release(&ORDER, &agreed, &self.answering, &self.answers).await?;
        let signed = self.committee.sign(&ORDER, &agreed, &self.answering, Expected::Next(1)).await?;
        Ok((agreed, signed))
    }

    fn releases(&self) -> u32 {
        self.scripts.iter().map(|script| script.releases.load(Ordering::SeqCst)).sum()
    }
}

#[tokio::test]
async fn honest_keyholders_release_every_share_once_and_sign() {
    let stage = Stage::with(1, Lie::None).await;
    let (agreed, released) = stage.run().await.expect("everybody is honest");
    assert!(!agreed.is_degraded());
    assert_eq!(released.signatures.len(), 3);
    assert_eq!(released.settlement.map(|settlement| settlement.payout_sequence), Some(1));
    for block in [0, 1] {
        let plan = &stage.answering.plan.blocks()[block as usize];
        stage
            .answers
            .put_sums(&ORDER, &[locus_wire::pb::query::BlockAnswer { block: plan.block.0, ..Default::default() }])
            .expect("writes");
        let stored = stage.answers.block_from(&ORDER, block).expect("reads").expect("a block");
        let shares: Vec<(u32, u32)> = stored.shares.iter().map(|share| (share.share, share.keyholder)).collect();
        assert_eq!(shares, [(1, 3), (2, 1), (3, 2)]);
    }
}

#[tokio::test]
async fn with_one_keyholder_down_the_other_two_answer_and_the_answer_is_degraded() {
    for absent in 1..=3 {
        let stage = Stage::with(absent, Lie::IsDown).await;
        let (agreed, released) = stage.run().await.expect("two are enough");
        assert!(agreed.is_degraded());
        assert_eq!(released.signatures.len(), 2);
        assert!(released.signatures.iter().all(|(keyholder, _)| keyholder.get() != absent));
    }
}

#[tokio::test]
async fn one_keyholder_alone_cannot_answer() {
    let stage = Stage::set(|index| if index.get() == 2 { Lie::None } else { Lie::IsDown }).await;
    match stage.run().await {
        Err(AggregatorError::TooFewKeyholders { answering: 1, reasons }) => {
            assert!(reasons.contains("keyholder 1") && reasons.contains("keyholder 3"), "{reasons}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(stage.releases(), 0);
}

#[tokio::test]
async fn a_keyholder_that_is_too_slow_to_prepare_counts_as_down() {
    let stage = Stage::with(2, Lie::NeverPrepares).await;
    let (agreed, _) = stage.run().await.expect("two are enough");
    assert_eq!(agreed.absent().map(KeyholderIndex::get), Some(2));
}

#[tokio::test]
async fn a_keyholder_whose_view_is_behind_is_asked_again_until_it_caught_up() {
    let stage = Stage::with(3, Lie::LagsTwice).await;
    let (agreed, _) = stage.run().await.expect("it catches up");
    assert!(!agreed.is_degraded());
}

#[tokio::test]
async fn a_refusal_of_one_keyholder_ends_the_answer() {
    let stage = Stage::with(1, Lie::Refuses).await;
    match stage.run().await {
        Err(AggregatorError::Keyholder { keyholder, status }) => {
            assert_eq!((keyholder.get(), status.code()), (1, tonic::Code::FailedPrecondition));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(stage.releases(), 0);
}

#[tokio::test]
async fn no_lie_before_the_release_leads_to_a_release() {
    let lies = [
        (Lie::PreparesForAnotherOrder, "a preparation of another keyholder or order"),
        (Lie::PreparesAsAnother, "a preparation of another keyholder or order"),
        (Lie::UnsignedPreparation, "a preparation without its signature"),
        (Lie::UnsortedExclusions, "slots out of order"),
        (Lie::CommitsToAnotherCohort, "a commitment to another cohort"),
        (Lie::CommitsToAnotherAnswer, "a commitment to another answer"),
        (Lie::CommitsToOtherBlocks, "a commitment to other blocks"),
        (Lie::UnsignedCommitment, "a commitment without its signature"),
    ];
    for (lie, expected) in lies {
        for liar in 1..=3 {
            let stage = Stage::with(liar, lie).await;
            match stage.run().await {
                Err(AggregatorError::KeyholderMessage { keyholder, what }) => {
                    assert_eq!((keyholder.get(), what), (liar, expected), "{lie:?}");
                }
                other => panic!("{lie:?} of {liar}: {other:?}"),
            }
            assert_eq!(stage.releases(), 0, "{lie:?} of {liar}");
        }
    }
}

#[tokio::test]
async fn two_holders_with_different_partial_decryptions_are_named_and_nothing_is_released() {
    for liar in 1..=3 {
        let stage = Stage::with(liar, Lie::CommitsToAnotherShare).await;
        match stage.run().await {
            Err(AggregatorError::Disagreement { first, second, .. }) => {
                assert!(first.get() == liar || second.get() == liar);
            }
            other => panic!("liar {liar}: {other:?}"),
        }
        assert_eq!(stage.releases(), 0);
    }
}

#[tokio::test]
async fn a_release_other_than_the_one_asked_for_is_no_answer() {
    let lies = [
        (Lie::ReleasesTooFew, "too few shares"),
        (Lie::ReleasesTwice, "a share that it was not asked for"),
        (Lie::ReleasesAnothersShare, "a share that it was not asked for"),
        (Lie::ReleasesShortShare, "a sealed share of a wrong length"),
        (Lie::ReleasesAgain, "a message that has no place in a release"),
        (Lie::SettlesForMore, "a settlement on other terms"),
        (Lie::SettlesOutOfTurn, "a settlement on other terms"),
        (Lie::UnsignedSettlement, "a settlement without its signature"),
    ];
    for (lie, expected) in lies {
        let stage = Stage::with(2, lie).await;
        match stage.run().await {
            Err(AggregatorError::KeyholderMessage { keyholder, what }) => {
                assert_eq!((keyholder.get(), what), (2, expected), "{lie:?}");
            }
            other => panic!("{lie:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn keyholders_with_different_payout_roots_settle_nothing() {
    let stage = Stage::with(3, Lie::SettlesWithAnotherRoot).await;
    match stage.run().await {
        Err(AggregatorError::Disagreement { second, what, .. }) => {
            assert_eq!((second.get(), what), (3, "payout roots"));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_keyholder_that_cannot_sign_yet_still_releases() {
    let stage = Stage::with(1, Lie::CannotSettleYet).await;
    let (_, released) = stage.run().await.expect("shares are complete");
    let signers: Vec<u8> = released.signatures.iter().map(|(keyholder, _)| keyholder.get()).collect();
    assert_eq!(signers, [2, 3]);
}

#[tokio::test]
async fn a_keyholder_that_missed_settlements_is_sent_the_table_of_earnings_page_by_page() {
    use locus_wire::pb::{
        exchange::{Earning, ListEarningsResponse},
        keyholder::import_payouts_request::{Header, Page, Part},
    };
    let stage = Stage::with(1, Lie::MissedSettlements).await;
    let (_, released) = stage.run().await.expect("shares are complete");
    assert_eq!(released.behind.iter().map(|keyholder| keyholder.get()).collect::<Vec<_>>(), [1]);
    assert_eq!(released.signatures.len(), 2);

    let earning = |account: u8| Earning { account: vec![account; 20].into(), cumulative: "5".to_owned() };
    let table = [1, 2, 3, 4, 5].map(earning);
    let pages = |after: bytes::Bytes| {
        let rest: Vec<Earning> = table.iter().filter(|earning| earning.account > after).cloned().collect();
        let page = ListEarningsResponse { payout_sequence: 9, is_last: rest.len() <= 2, earnings: rest };
        std::future::ready(Ok(ListEarningsResponse {
            earnings: page.earnings[..page.earnings.len().min(2)].to_vec(),
            ..page
        }))
    };
    stage.committee.carry_payouts(pages, &released.behind).await;
    let received = |place: usize| stage.scripts[place].imported.lock().expect("no test panics inside").clone();
    let page =
        |accounts: &[u8]| Part::Page(Page { earnings: accounts.iter().map(|account| earning(*account)).collect() });
    let header = Part::Header(Header { payout_sequence: 9 });
    assert_eq!(received(0), [header, page(&[1, 2]), page(&[3, 4]), page(&[5])]);
    assert!(received(1).is_empty() && received(2).is_empty(), "the others know it");
}

#[tokio::test]
async fn a_participant_that_goes_away_is_named() {
    let stage = Stage::with(2, Lie::GoneAtCommit).await;
    match stage.run().await {
        Err(AggregatorError::KeyholderGone(keyholder)) => assert_eq!(keyholder.get(), 2),
        other => panic!("{other:?}"),
    }
    assert_eq!(stage.releases(), 0);
}
