//! A keyholder that was down while others settled.

use super::*;
use crate::{
    store::{AnswerRecord, Outcome},
    testing::Committee,
};
use locus_commitment::Digest32;
use locus_ledger::{Amount, OrderId};
use locus_privacy::{ChargeName, ChargeRequest, NetworkParameters, Rho, RhoCost, Tier};
use locus_wire::{convert, pb::exchange::Earning as Message};

const PRICE: u128 = 10;

/// Two people who earn alternately, ten units an order.
struct Scene {
    committee: Committee,
    earners: [Address; 2],
    earned: BTreeMap<Address, u128>,
    orders: Vec<OrderId>,
}

impl Scene {
    async fn new() -> Self {
        let committee = Committee::deploy().await;
        let earners = [committee.register(21).await, committee.register(22).await];
        Self { committee, earners, earned: BTreeMap::new(), orders: Vec::new() }
    }

    async fn open(&mut self) -> (OrderId, Address) {
        let number = self.orders.len() as u64 + 1;
        let order = self.committee.open_order(number, PRICE).await;
        self.orders.push(order);
        (order, self.earners[self.orders.len() % 2])
    }

    /// One more order, in which `present` take part, from its opening to its settlement.
    async fn settle(&mut self, present: &[&Keyholder]) {
        let (order, earner) = self.open().await;
        for keyholder in present {
            answer(keyholder, order, earner);
        }
        *self.earned.entry(earner).or_default() += PRICE;
        let earned: Vec<_> = self.earned.iter().map(|(account, amount)| (*account, *amount)).collect();
        self.committee.settle(order, self.orders.len() as u64, PRICE, &earned).await;
        for keyholder in present {
            keyholder.poll_chain().await.expect("the chain can be followed");
        }
    }

    /// The table as an exchange would publish it.
    fn table(&self) -> Vec<Message> {
        messages(&self.earned)
    }
}

fn messages(earned: &BTreeMap<Address, u128>) -> Vec<Message> {
    let message = |(account, amount): (&Address, &u128)| {
        convert::Earning { account: *account, cumulative: Amount(*amount) }.into()
    };
    earned.iter().map(message).collect()
}

/// Stores an answer whose settlement pays `earner`.
fn answer(keyholder: &Keyholder, order: OrderId, earner: Address) {
    let payee = Payee { account: earner.0.to_vec().into(), amount: PRICE.to_string() };
    let charge = ChargeRequest {
        name: ChargeName(order.0.0),
        tier: Tier::Open,
        cost: RhoCost { dp: Rho::from_nano(1_000), flooding: Rho::from_nano(120) },
        at_unix_s: 1_900_000_000,
    };
    let record = AnswerRecord {
        order: order.0,
        charge,
        also: &[],
        members: &[],
        exact: Default::default(),
        question: Digest32([1; 32]),
        budget_exclusions: BTreeSet::new(),
        use_record: Default::default(),
        outcome: Outcome::Answer {
            answer: &StoredAnswer { payees: vec![payee], price: PRICE.to_string(), ..Default::default() },
            times_prepared: 0,
        },
    };
    keyholder.store().commit_answer(&record, &NetworkParameters::standard()).expect("it commits");
}

fn known(keyholder: &Keyholder) -> u64 {
    keyholder.store().payout_table().expect("it reads").sequence
}

/// Takes in a table of one page as of settlement `sequence`.
async fn import(keyholder: &Keyholder, sequence: u64, table: &[Message]) -> Result<u64, KeyholderError> {
    let Some(mut import) = keyholder.begin_import(sequence).await? else { return Ok(known(keyholder)) };
    import.take(table)?;
    keyholder.finish_import(import)
}

async fn keyholders(scene: &Scene, dirs: &[tempfile::TempDir; 2]) -> (Keyholder, Keyholder) {
    (scene.committee.keyholder(1, dirs[0].path()).await, scene.committee.keyholder(2, dirs[1].path()).await)
}

fn folders() -> [tempfile::TempDir; 2] {
    [1, 2].map(|_| tempfile::tempdir().expect("a folder"))
}

#[tokio::test]
async fn a_keyholder_that_took_part_in_every_settlement_follows_them_alone() {
    let (mut scene, dirs) = (Scene::new().await, folders());
    let (first, _) = keyholders(&scene, &dirs).await;
    for _ in 0..3 {
        scene.settle(&[&first]).await;
    }
    first.follow_settlements().expect("it knows all payees");
    let table = first.store().payout_table().expect("it reads");
    assert_eq!((table.sequence, table.earned), (3, scene.earned.clone()));
}

#[tokio::test]
async fn a_keyholder_that_missed_settlements_signs_again_after_an_import() {
    for missed in [1, 2, 5] {
        let (mut scene, dirs) = (Scene::new().await, folders());
        let (first, second) = keyholders(&scene, &dirs).await;
        scene.settle(&[&first, &second]).await;
        for _ in 0..missed {
            scene.settle(&[&first]).await;
        }
        scene.settle(&[&first, &second]).await;
        let last = missed + 2;
        // Control: without the table it is stuck, though it answered the newest order itself.
        let error = second.follow_settlements().expect_err("it does not know who was paid");
        assert!(matches!(error, KeyholderError::PayoutsMissing { sequence: 2, known: 1 }), "{error}");

        assert_eq!(import(&second, last, &scene.table()).await.expect("the table of the chain"), last);
        scene.settle(&[&first, &second]).await;
        second.follow_settlements().expect("nothing is missing any more");
        first.follow_settlements().expect("it never missed anything");
        let (ours, theirs) = (first.store().payout_table(), second.store().payout_table());
        assert_eq!(ours.expect("it reads"), theirs.expect("it reads"), "{missed} missed");
    }
}

#[tokio::test]
async fn an_import_of_an_older_table_is_completed_from_own_answers() {
    let (mut scene, dirs) = (Scene::new().await, folders());
    let (first, second) = keyholders(&scene, &dirs).await;
    scene.settle(&[&first]).await;
    scene.settle(&[&first]).await;
    let older = scene.table();
    scene.settle(&[&first, &second]).await;
    assert_eq!(import(&second, 2, &older).await.expect("the table of settlement 2"), 3);
    assert_eq!(import(&second, 2, &[]).await.expect("known already"), 3, "a repetition changes nothing");
}

#[tokio::test]
async fn an_exchange_that_lies_about_earnings_is_refused_and_changes_nothing() {
    let (mut scene, dirs) = (Scene::new().await, folders());
    let (first, second) = keyholders(&scene, &dirs).await;
    for _ in 0..3 {
        scene.settle(&[&first]).await;
    }
    let [one, other] = scene.earners;
    let honest = scene.earned.clone();
    let changed = |change: &dyn Fn(&mut BTreeMap<Address, u128>)| {
        let mut table = honest.clone();
        change(&mut table);
        messages(&table)
    };
    let lies: [(&str, Vec<Message>); 6] = [
        ("more for one", changed(&|table| *table.entry(one).or_default() += 1)),
        (
            "moved between two",
            changed(&|table| {
                *table.entry(one).or_default() -= 1;
                *table.entry(other).or_default() += 1;
            }),
        ),
        ("an account left out", changed(&|table| table.retain(|account, _| *account != other))),
        ("a stranger added", changed(&|table| table.extend([(Address([0x77; 20]), 1)]))),
        ("nobody", Vec::new()),
        ("an account twice", [scene.table(), scene.table()].concat()),
    ];
    for (what, table) in &lies {
        import(&second, 3, table).await.expect_err(what);
        assert_eq!(known(&second), 0, "{what}");
    }
    // The table of another settlement is a lie too, and one that was not made yet cannot be checked.
    let error = import(&second, 2, &scene.table()).await.expect_err("it is that of settlement 3");
    assert!(matches!(error, KeyholderError::PayoutRoot(2)), "{error}");
    let error = import(&second, 4, &scene.table()).await.expect_err("there are three");
    assert!(matches!(error, KeyholderError::NotFinal(_)), "{error}");
    // Control: the honest table is taken.
    assert_eq!(import(&second, 3, &scene.table()).await.expect("honest"), 3);
}
