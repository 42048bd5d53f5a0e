//! A person's account under crashes, replays, clocks that go back, lost disks and peers.

use locus_privacy::{
    BUDGET_YEAR_S, ChargeName, ChargeOutcome, ChargeRequest, NetworkParameters, PersonBudget, PrivacyError, Rho,
    RhoCost, Tier,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

const START: u64 = 1_900_000_000;

fn request(name: u8, tier: Tier, dp_nano: u64, at_unix_s: u64) -> ChargeRequest {
    let cost = RhoCost { dp: Rho::from_nano(dp_nano), flooding: Rho::from_nano(120) };
    ChargeRequest { name: ChargeName([name; 32]), tier, cost, at_unix_s }
}

fn charge(account: &mut PersonBudget, request: ChargeRequest) -> Result<ChargeOutcome, PrivacyError> {
    account.charge(&request, &NetworkParameters::standard())
}

/// An account with `count` open charges of rho 0.01 - 120 nano, flooding included 0.01, one a second.
fn account_with(count: u8) -> PersonBudget {
    let mut account = PersonBudget::new();
    for name in 0..count {
        let made = charge(&mut account, request(name, Tier::Open, 9_999_880, START + u64::from(name)));
        assert_eq!(made, Ok(ChargeOutcome::Charged));
    }
    account
}

#[test]
fn the_same_question_is_charged_once() {
    let mut account = PersonBudget::new();
    let asked = request(1, Tier::Open, 5_000_000, START);
    assert_eq!(charge(&mut account, asked), Ok(ChargeOutcome::Charged));
    let charged = account.clone();
    for (tier, at_unix_s) in [(Tier::Open, START), (Tier::Vetted, START + 1), (Tier::Open, START + 2 * BUDGET_YEAR_S)] {
        assert_eq!(charge(&mut account, request(1, tier, 5_000_000, at_unix_s)), Ok(ChargeOutcome::AlreadyCharged));
    }
    assert_eq!(account, charged);
    assert!(matches!(
        charge(&mut account, request(1, Tier::Open, 5_000_001, START)),
        Err(PrivacyError::ChargeGrown { .. })
    ));
    assert_eq!(account, charged);
}

#[test]
fn a_year_cap_frees_each_charge_after_exactly_365_days() {
    let mut account = account_with(10);
    let year_later = START + BUDGET_YEAR_S;
    assert_eq!(account.spent_in_year(START + 9).to_string(), "0.1");
    assert!(matches!(
        charge(&mut account, request(20, Tier::Open, 1_000, year_later - 1)),
        Err(PrivacyError::YearCap { .. })
    ));
    // Only the first charge is a year old.
    assert_eq!(account.spent_in_year(year_later).to_string(), "0.09");
    assert_eq!(charge(&mut account, request(20, Tier::Open, 9_999_880, year_later)), Ok(ChargeOutcome::Charged));
    assert!(charge(&mut account, request(21, Tier::Open, 1_000, year_later)).is_err());
}

#[test]
fn a_clock_that_goes_back_frees_nothing() {
    let mut account = account_with(10);
    for at_unix_s in [0, START - BUDGET_YEAR_S, START] {
        assert_eq!(account.spent_in_year(at_unix_s).to_string(), "0.1");
        assert!(matches!(
            charge(&mut account, request(20, Tier::Open, 1_000, at_unix_s)),
            Err(PrivacyError::YearCap { .. })
        ));
    }
    // A charge made by a late clock counts from the latest time seen.
    assert_eq!(charge(&mut account, request(20, Tier::Vetted, 1_000, 5)), Ok(ChargeOutcome::Charged));
    let (_, made) = account.charges().last().expect("charges");
    assert_eq!(made.at_unix_s, START + 9);
}

#[test]
fn an_older_copy_of_an_account_has_room_until_the_charges_of_a_peer_are_merged_in() {
    let mut account = account_with(10);
    let asked = request(20, Tier::Open, 1_000, START + 20);
    assert!(matches!(charge(&mut account, asked), Err(PrivacyError::YearCap { .. })));
    // Control: a copy made after three charges would pay again for what was spent since.
    let mut restored = PersonBudget::parse(&account_with(3).to_bytes()).expect("canonical");
    assert_eq!(charge(&mut restored.clone(), asked), Ok(ChargeOutcome::Charged));
    restored.merge(&account).expect("fits");
    assert!(matches!(charge(&mut restored, asked), Err(PrivacyError::YearCap { .. })));
}

#[test]
fn the_lifetime_cap_outlasts_every_year() {
    let mut account = PersonBudget::new();
    let mut made = 0u8;
    let refusal = loop {
        let at_unix_s = START + u64::from(made) * BUDGET_YEAR_S / 5;
        match charge(&mut account, request(made, Tier::Open, 9_999_880, at_unix_s)) {
            Ok(_) => made += 1,
            Err(refusal) => break refusal,
        }
    };
    assert_eq!((made, account.spent_in_lifetime().to_string()), (50, "0.5".to_owned()));
    assert!(matches!(refusal, PrivacyError::LifetimeCap { tier: Tier::Open, .. }), "{refusal}");
    assert!(charge(&mut account, request(100, Tier::Open, 1, u64::MAX)).is_err());
}

#[test]
fn vetted_buyers_have_wider_caps_and_use_up_the_open_ones() {
    let mut account = PersonBudget::new();
    for name in 0..10 {
        assert_eq!(charge(&mut account, request(name, Tier::Vetted, 49_999_880, START)), Ok(ChargeOutcome::Charged));
    }
    let parameters = NetworkParameters::standard();
    assert_eq!(account.left(START, Tier::Vetted, &parameters).year, Rho::ZERO);
    assert_eq!(account.left(START, Tier::Open, &parameters).lifetime, Rho::ZERO);
    assert_eq!(account.left(START, Tier::Vetted, &parameters).lifetime.to_string(), "2");
    assert!(charge(&mut account, request(99, Tier::Open, 1, START + BUDGET_YEAR_S)).is_err());
}

#[test]
fn one_question_cannot_exceed_the_query_cap() {
    let mut account = PersonBudget::new();
    for (tier, most) in [(Tier::Open, 10_000_000), (Tier::Vetted, 50_000_000)] {
        assert!(matches!(charge(&mut account, request(99, tier, most + 1, START)), Err(PrivacyError::QueryCap { .. })));
        assert_eq!(charge(&mut account, request(tier.code(), tier, most, START)), Ok(ChargeOutcome::Charged));
    }
}

#[test]
fn exact_answers_are_recorded_and_pay_for_flooding_alone() {
    let mut account = PersonBudget::new();
    assert_eq!(charge(&mut account, request(1, Tier::Exact, 0, START)), Ok(ChargeOutcome::Charged));
    assert_eq!((account.exact_uses(), account.spent_in_lifetime()), (1, Rho::from_nano(120)));
    assert!(matches!(charge(&mut account, request(2, Tier::Exact, 1, START)), Err(PrivacyError::TierRho { .. })));
    assert!(matches!(charge(&mut account, request(2, Tier::Open, 0, START)), Err(PrivacyError::TierRho { .. })));
}

#[test]
fn checking_changes_nothing_and_agrees_with_charging() {
    let parameters = NetworkParameters::standard();
    let mut account = account_with(9);
    for asked in [
        request(50, Tier::Open, 9_999_880, START),
        request(51, Tier::Open, 9_999_881, START),
        request(3, Tier::Open, 1, 0),
    ] {
        let before = account.clone();
        let expected = account.check(&asked, &parameters);
        assert_eq!(account, before);
        assert_eq!(account.charge(&asked, &parameters), expected);
    }
}

/// A name and the change that makes an encoding bad.
type Corruption = (&'static str, fn(&mut Vec<u8>));

#[test]
fn encodings_that_are_not_canonical_are_refused() {
    let account = account_with(3);
    let good = account.to_bytes();
    assert_eq!(good.len(), 13 + 3 * 49);
    assert_eq!(PersonBudget::parse(&good), Ok(account));
    let bad: [Corruption; 9] = [
        ("another version", |bytes| bytes[0] = 0),
        ("a wrong count", |bytes| bytes[9] = 2),
        ("a huge count", |bytes| bytes[9..13].fill(255)),
        ("a byte too many", |bytes| bytes.push(0)),
        ("a missing byte", |bytes| bytes.truncate(bytes.len() - 1)),
        ("names out of order", |bytes| bytes[13] = 200),
        ("a name twice", |bytes| bytes.copy_within(13..45, 13 + 49)),
        ("an unknown tier", |bytes| *bytes.last_mut().expect("bytes") = 0),
        ("a charge from the future", |bytes| bytes[1..9].fill(0)),
    ];
    for (name, corrupt) in bad {
        let mut bytes = good.clone();
        corrupt(&mut bytes);
        assert!(PersonBudget::parse(&bytes).is_err(), "{name}");
    }
    for length in 0..good.len() {
        assert!(PersonBudget::parse(&good[..length]).is_err(), "{length} bytes");
    }
    let mut overflowing = good;
    for start in [13, 62] {
        overflowing[start + 40..start + 48].fill(255);
    }
    assert_eq!(PersonBudget::parse(&overflowing), Err(PrivacyError::RhoRange));
}

#[test]
fn a_full_account_refuses_new_charges_and_still_knows_the_old_ones() {
    let parameters = NetworkParameters::standard();
    let mut account = PersonBudget::new();
    let exact = |name: u32| {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&name.to_be_bytes());
        let cost = RhoCost { dp: Rho::ZERO, flooding: Rho::from_nano(120) };
        ChargeRequest { name: ChargeName(bytes), tier: Tier::Exact, cost, at_unix_s: START }
    };
    // Filled through the encoding, because charging one by one sums the account each time.
    let mut bytes = vec![1];
    bytes.extend(START.to_le_bytes());
    bytes.extend(16_384u32.to_le_bytes());
    for name in 0..16_384 {
        bytes.extend(exact(name).name.0);
        bytes.extend(START.to_le_bytes());
        bytes.extend(120u64.to_le_bytes());
        bytes.push(Tier::Exact.code());
    }
    let full = PersonBudget::parse(&bytes).expect("canonical");
    account.merge(&full).expect("fits");
    assert_eq!(account.charge(&exact(16_384), &parameters), Err(PrivacyError::AccountFull(16_384)));
    assert_eq!(account.charge(&exact(5), &parameters), Ok(ChargeOutcome::AlreadyCharged));
}

/// One step of a keyholder's life.
#[derive(Debug, Clone)]
enum Op {
    /// Answer a question; the process dies at this point of charge, store, release.
    Answer { name: u8, tier: Tier, dp_nano: u64, dies: Dies },
    /// The clock moves; negative: back.
    MoveClock { by_s: i64 },
    /// The disk is replaced by an older copy, then the peers' accounts are merged in.
    RestoreSnapshot { age: usize },
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Dies {
    Never,
    BeforeStoring,
    BeforeReleasing,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let tier = prop_oneof![3 => Just(Tier::Open), 2 => Just(Tier::Vetted), 1 => Just(Tier::Exact)];
    let dies = prop_oneof![4 => Just(Dies::Never), 1 => Just(Dies::BeforeStoring), 1 => Just(Dies::BeforeReleasing)];
    let year = i64::try_from(BUDGET_YEAR_S).expect("small");
    let answer = (0u8..30, tier, 1u64..40_000_000, dies).prop_map(|(name, tier, nano, dies)| Op::Answer {
        name,
        tier,
        // One question, one cost: the amount is a function of the name, as it is of tau.
        dp_nano: if tier == Tier::Exact { 0 } else { 1 + nano / (1 + u64::from(name)) },
        dies,
    });
    let op = prop_oneof![
        8 => answer,
        2 => (-year..year).prop_map(|by_s| Op::MoveClock { by_s }),
        1 => (0usize..5).prop_map(|age| Op::RestoreSnapshot { age }),
    ];
    prop::collection::vec(op, 1..60)
}

/// A keyholder with a durable account, its snapshots, and a peer that charges the same answers.
struct Keyholder {
    parameters: NetworkParameters,
    now_unix_s: u64,
    durable: Vec<u8>,
    snapshots: Vec<Vec<u8>>,
    peer: PersonBudget,
    released: BTreeMap<ChargeName, Rho>,
}

impl Keyholder {
    fn new() -> Self {
        Self {
            parameters: NetworkParameters::standard(),
            now_unix_s: START,
            durable: PersonBudget::new().to_bytes(),
            snapshots: Vec::new(),
            peer: PersonBudget::new(),
            released: BTreeMap::new(),
        }
    }

    fn account(&self) -> PersonBudget {
        PersonBudget::parse(&self.durable).expect("what was stored is canonical")
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::MoveClock { by_s } => self.now_unix_s = self.now_unix_s.saturating_add_signed(*by_s),
            Op::RestoreSnapshot { age } => {
                let kept = self.snapshots.len().checked_sub(1 + age).map(|place| self.snapshots[place].clone());
                self.durable = kept.unwrap_or_else(|| PersonBudget::new().to_bytes());
                let mut account = self.account();
                account.merge(&self.peer).expect("fits");
                self.durable = account.to_bytes();
            }
            Op::Answer { name, tier, dp_nano, dies } => {
                self.answer(&request(*name, *tier, *dp_nano, self.now_unix_s), *dies);
            }
        }
        self.snapshots.push(self.durable.clone());
    }

    fn answer(&mut self, asked: &ChargeRequest, dies: Dies) {
        let mut account = self.account();
        if account.charge(asked, &self.parameters).is_err() || dies == Dies::BeforeStoring {
            return;
        }
        self.durable = account.to_bytes();
        // The peer stores its own charge before either releases.
        self.peer.merge(&account).expect("fits");
        if dies == Dies::BeforeReleasing {
            return;
        }
        let cost = asked.cost.total().expect("fits");
        let released = self.released.entry(asked.name).or_default();
        *released = (*released).max(cost);
    }
}

/// The most that was charged in any 365 days, found by trying every start.
fn most_in_a_year(account: &PersonBudget) -> u64 {
    let charges: Vec<_> = account.charges().map(|(_, charge)| charge).collect();
    let within = |start: u64| {
        let in_year = charges.iter().filter(|charge| (start..start + BUDGET_YEAR_S).contains(&charge.at_unix_s));
        in_year.map(|charge| charge.rho.as_nano()).sum()
    };
    charges.iter().map(|charge| within(charge.at_unix_s)).max().unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn spent_never_decreases_and_everything_released_is_charged(ops in ops()) {
        let mut keyholder = Keyholder::new();
        let mut spent = Rho::ZERO;
        for op in &ops {
            keyholder.apply(op);
            let account = keyholder.account();
            prop_assert!(account.spent_in_lifetime() >= spent, "after {:?}", op);
            spent = account.spent_in_lifetime();
            let charged: BTreeMap<_, _> = account.charges().collect();
            for (name, cost) in &keyholder.released {
                prop_assert!(charged.get(name).is_some_and(|charge| charge.rho >= *cost), "{} was released", name);
            }
        }
        // The widest caps bound what happened, in the lifetime and in any year.
        prop_assert!(spent.as_nano() <= 2_500_000_000);
        prop_assert!(most_in_a_year(&keyholder.account()) <= 500_000_000);
    }
}

fn accounts() -> impl Strategy<Value = PersonBudget> {
    let asked = (0u8..12, 1u64..5_000_000, 0..3 * BUDGET_YEAR_S);
    prop::collection::vec(asked, 0..15).prop_map(|charges| {
        let mut account = PersonBudget::new();
        for (name, nano, after_s) in charges {
            // Refusals (a name charged for less, a cap) leave the account as it was.
            let _ = charge(&mut account, request(name, Tier::Vetted, nano, START + after_s));
        }
        account
    })
}

fn merged(first: &PersonBudget, second: &PersonBudget) -> PersonBudget {
    let mut union = first.clone();
    union.merge(second).expect("fits");
    union
}

proptest! {
    #[test]
    fn merging_loses_nothing_and_its_order_does_not_matter(a in accounts(), b in accounts(), c in accounts(), later_s in 0..4 * BUDGET_YEAR_S) {
        let union = merged(&a, &b);
        for account in [&a, &b] {
            prop_assert!(union.spent_in_lifetime() >= account.spent_in_lifetime());
            let now = START + later_s;
            if account.time_max_unix_s() == union.time_max_unix_s() || now >= union.time_max_unix_s() {
                prop_assert!(union.spent_in_year(now) >= account.spent_in_year(now));
            }
        }
        prop_assert_eq!(&merged(&b, &a), &union);
        prop_assert_eq!(&merged(&union, &a), &union);
        prop_assert_eq!(merged(&union, &c), merged(&a, &merged(&b, &c)));
    }

    #[test]
    fn storing_and_parsing_an_account_is_exact(account in accounts()) {
        prop_assert_eq!(PersonBudget::parse(&account.to_bytes()), Ok(account));
    }

    #[test]
    fn parsing_any_bytes_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(account) = PersonBudget::parse(&bytes) {
            prop_assert_eq!(account.to_bytes(), bytes);
        }
    }
}
