//! Payouts are checked from the chain and a table that the exchange hands over: whatever is changed in what is checked,
//! the check says so.

use anyhow::{Context as _, Result};
use locus_client::{
    claim,
    payout::{CheckedPayouts, PayeesFrom, PayoutError, PayoutRecord, check_payouts},
    revoke,
};
use locus_commitment::{Address, Digest32};
use locus_genomics::Panel;
use locus_ledger::{Amount, Chain, Contracts, Ledger, MarketEvent, Order, QueryClass, RegistrationId, Settlement};
use locus_privacy::{NetworkParameterValues, Rho, Tier};
use locus_tests::{Market, People, biomedical, first_variants, now_unix_s, small_floors, terms};
use std::collections::BTreeMap;

const BIOBANK: u32 = 30;
const CLINIC: u32 = 25;
const VARIANTS: u32 = 10;
const DAY_S: u64 = 86_400;

async fn read(market: &Market) -> Result<PayoutRecord> {
    let ledger = Ledger::open(Chain::embedded(market.node.chain().clone(), None), *market.node.contracts()).await?;
    Ok(PayoutRecord::read(&ledger, &market.services).await?)
}

async fn buy(market: &Market, panel: &Panel, rho_nano: u64) -> Result<Settlement> {
    let question = biomedical(first_variants(panel, VARIANTS)?, Tier::Open, Rho::from_nano(rho_nano));
    let quote = market.quote(panel, &market.researcher, &question).await?;
    let max_price = quote.price.checked_mul(2).context("a price")?;
    Ok(*market.buy_as(&market.researcher, panel, &question, max_price).await?.verified.settlement())
}

/// Four orders: the biobank alone; without it, since its people's privacy is spent; both, less those who left; and the
/// same again. The biobank has claimed what it had earned in between.
async fn market_with_payouts() -> Result<Market> {
    let parameters = NetworkParameterValues { rho_year_max: Rho::from_nano(15_001_000), ..small_floors() };
    let market = Market::start_with(parameters).await?;
    let people = People::new(BIOBANK, VARIANTS, 7);
    let input = market.read_people("people", &people)?;
    market.enrol(&market.biobank, &input).await?;
    buy(&market, &input.panel, 10_000_000).await?;
    let more = market.read_more_people("more", &people.next(CLINIC), &input.panel)?;
    let mut dearer = terms(&input.panel)?;
    dearer.prices.counts = "0.02".parse()?;
    market.enrol_on_terms(&market.clinic, &more, dearer).await?;
    buy(&market, &input.panel, 10_000_000).await?;
    claim(&market.services, market.biobank.keys.address()).await?;
    let (services, network, keys) = (&market.services, &market.network, &market.biobank.keys);
    revoke(services, network, keys, RegistrationId(1), &[3, 4], now_unix_s()).await?;
    buy(&market, &input.panel, 2_000_000).await?;
    buy(&market, &input.panel, 2_000_001).await?;
    Ok(market)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_everybody_earned_follows_from_offers_signatures_and_roots() -> Result<()> {
    let market = market_with_payouts().await?;
    let record = read(&market).await?;
    let checked = check_payouts(&record, market.node.contracts()).await?;
    let from: Vec<_> = checked.settlements().iter().map(|one| one.payees.as_ref().map(|(from, _)| *from)).collect();
    let (cohort, roots) = (Some(PayeesFrom::Cohort), Some(PayeesFrom::Roots));
    assert_eq!(from, [cohort, roots, cohort, cohort], "the chain does not say whose privacy was spent");

    let cents = |count: u128| Amount(count * 10u128.pow(16));
    let (biobank, clinic) = (market.biobank.keys.address(), market.clinic.keys.address());
    let payees: Vec<_> =
        checked.settlements().iter().filter_map(|one| one.payees.clone()).map(|(_, all)| all).collect();
    let both = BTreeMap::from([(biobank, cents(28)), (clinic, cents(50))]);
    let alone = |account, amount| BTreeMap::from([(account, amount)]);
    assert_eq!(payees, [alone(biobank, cents(30)), alone(clinic, cents(50)), both.clone(), both]);

    let owed = checked.account(biobank);
    assert_eq!((owed.earned, owed.claimed, owed.claimable()), (cents(86), cents(30), cents(56)));
    assert_eq!(owed.payments.iter().map(|(sequence, ..)| *sequence).collect::<Vec<_>>(), [1, 3, 4]);
    assert!(owed.proof.context("it earned something")?.verify(&checked.root()));
    let nobody = checked.account(Address([9; 20]));
    assert!(nobody.proof.is_none() && nobody.payments.is_empty() && nobody.claimable() == Amount::ZERO);
    assert_eq!((checked.settled_total(), checked.claimed_total()), (cents(236), cents(30)));
    nothing_can_be_changed(&record, market.node.contracts()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn payouts_on_proven_cohorts_are_checked_with_the_cohorts() -> Result<()> {
    let market = Market::start_proven(small_floors()).await?;
    let input = market.read_people("people", &People::new(BIOBANK, VARIANTS, 7))?;
    let mut terms = terms(&input.panel)?;
    // Whatever the time of day, the offer holds to the end of this one.
    terms.expiry_unix_s = now_unix_s() + 2 * DAY_S;
    market.enrol_on_terms(&market.biobank, &input, terms).await?;
    buy(&market, &input.panel, 10_000_000).await?;
    let record = read(&market).await?;
    let checked = check_payouts(&record, market.node.contracts()).await?;
    let payees = checked.settlements()[0].payees.as_ref().map(|(from, payees)| (*from, payees.len()));
    assert_eq!(payees, Some((PayeesFrom::Cohort, 1)));
    assert!(record.settlements[0].cohort.is_some());
    for (what, changed) in changed_cohorts(&record) {
        let refused = check_payouts(&changed, market.node.contracts()).await;
        assert!(refused.is_err(), "{what} can be changed");
    }
    nothing_can_be_changed(&record, market.node.contracts()).await
}

/// The record with one bit of one part changed, for every part.
type Changed = Vec<(String, PayoutRecord)>;

async fn nothing_can_be_changed(record: &PayoutRecord, contracts: &Contracts) -> Result<()> {
    check_payouts(record, contracts).await.context("control: the record as it is")?;
    for (what, changed) in [changed_settlements(record), changed_orders(record), changed_tables(record)].concat() {
        let refused = check_payouts(&changed, contracts).await;
        assert!(refused.is_err(), "{what} can be changed");
    }
    // What a cohort follows from: changed, its digest is another one, or its price.
    let honest = check_payouts(record, contracts).await?;
    for (what, changed) in changed_cohort_parts(record) {
        let recomputed = |checked: &CheckedPayouts| {
            let from_cohort = |from: &PayeesFrom| *from == PayeesFrom::Cohort;
            checked
                .settlements()
                .iter()
                .filter(|one| one.payees.as_ref().is_some_and(|(from, _)| from_cohort(from)))
                .count()
        };
        let found = check_payouts(&changed, contracts).await;
        assert!(found.map_or(0, |checked| recomputed(&checked)) < recomputed(&honest), "{what} can be changed");
    }
    let mut other = *contracts;
    other.escrow.0[0] ^= 1;
    let elsewhere = check_payouts(record, &other).await;
    assert!(matches!(elsewhere, Err(PayoutError::TooFewSignatures { valid: 0, .. })), "{elsewhere:?}");
    Ok(())
}

fn with(record: &PayoutRecord, change: impl FnOnce(&mut PayoutRecord)) -> PayoutRecord {
    let mut changed = record.clone();
    change(&mut changed);
    changed
}

fn flip(digest: &mut Digest32, bit: usize) {
    digest.0[bit / 8] ^= 1 << (bit % 8);
}

/// Every way to change one part of a settlement.
fn settlement_changes() -> Vec<(String, Box<dyn Fn(&mut Settlement)>)> {
    let mut changes: Vec<(String, Box<dyn Fn(&mut Settlement)>)> = vec![
        ("its cohort's size".to_owned(), Box::new(|settlement| settlement.cohort_size ^= 1)),
        ("its price".to_owned(), Box::new(|settlement| settlement.price.0 ^= 1)),
        ("its number".to_owned(), Box::new(|settlement| settlement.payout_sequence ^= 1)),
    ];
    for bit in (0..256).step_by(37) {
        changes.push((format!("bit {bit} of its order"), Box::new(move |one| flip(&mut one.order.0, bit))));
        changes.push((format!("bit {bit} of its answer"), Box::new(move |one| flip(&mut one.answer_digest, bit))));
        changes.push((format!("bit {bit} of its cohort"), Box::new(move |one| flip(&mut one.cohort_digest, bit))));
        changes.push((format!("bit {bit} of its root"), Box::new(move |one| flip(&mut one.payout_root, bit))));
    }
    changes
}

/// Settlements changed where the events show them, in the transactions, and in both; and their signatures.
fn changed_settlements(record: &PayoutRecord) -> Changed {
    let mut all = Vec::new();
    let is_settled = |place: &usize| matches!(record.events[*place].event, MarketEvent::OrderSettled { .. });
    let places: Vec<usize> = (0..record.events.len()).filter(is_settled).collect();
    for (number, place) in places.into_iter().enumerate() {
        for (what, change) in settlement_changes() {
            let in_event = |record: &mut PayoutRecord| {
                if let MarketEvent::OrderSettled { settlement } = &mut record.events[place].event {
                    change(settlement);
                }
            };
            let in_transaction = |record: &mut PayoutRecord| change(&mut record.settlements[number].settlement);
            all.push((format!("settlement {number}: {what} in the event"), with(record, in_event)));
            all.push((format!("settlement {number}: {what} in the transaction"), with(record, in_transaction)));
            let both = |record: &mut PayoutRecord| {
                in_event(record);
                in_transaction(record);
            };
            all.push((format!("settlement {number}: {what} in both"), with(record, both)));
        }
        let signatures = &record.settlements[number].signatures.0;
        for signed in 0..signatures.len() {
            for byte in (0..65).step_by(8) {
                let change = |record: &mut PayoutRecord| record.settlements[number].signatures.0[signed].1[byte] ^= 1;
                all.push((format!("settlement {number}: byte {byte} of signature {signed}"), with(record, change)));
            }
            let change = |record: &mut PayoutRecord| record.settlements[number].signatures.0[signed].0 ^= 1;
            all.push((format!("settlement {number}: the signer {signed}"), with(record, change)));
        }
        let one = |record: &mut PayoutRecord| record.settlements[number].signatures.0.truncate(1);
        all.push((format!("settlement {number}: a single signature"), with(record, one)));
        let left_out = |record: &mut PayoutRecord| drop(record.settlements.remove(number));
        all.push((format!("settlement {number}: no transaction"), with(record, left_out)));
    }
    all
}

fn changed_orders(record: &PayoutRecord) -> Changed {
    let changes: [(&str, fn(&mut Order)); 13] = [
        ("researcher", |order| order.researcher.0[7] ^= 1),
        ("panel", |order| order.panel.0[31] ^= 1),
        ("selection", |order| flip(&mut order.selection_digest, 200)),
        ("predicate", |order| flip(&mut order.predicate_digest, 3)),
        ("class", |order| order.query_class = QueryClass::FilteredCounts),
        ("purpose", |order| order.purpose ^= 1),
        ("condition", |order| flip(&mut order.condition_digest, 99)),
        ("tier", |order| order.tier = Tier::Vetted),
        ("rho", |order| order.rho = Rho::from_nano(order.rho.as_nano() ^ 1)),
        ("highest price", |order| order.max_price.0 ^= 1),
        ("key", |order| flip(&mut order.hpke_key_digest, 255)),
        ("deadline", |order| order.deadline_unix_s ^= 1),
        ("nonce", |order| order.nonce ^= 1),
    ];
    let mut all = Vec::new();
    for place in 0..record.events.len() {
        for (what, change) in &changes {
            let changed = with(record, |record| {
                if let MarketEvent::OrderOpened { order, .. } = &mut record.events[place].event {
                    change(order);
                }
            });
            if changed.events[place] != record.events[place] {
                all.push((format!("the {what} of the order of event {place}"), changed));
            }
        }
    }
    all
}

fn changed_tables(record: &PayoutRecord) -> Changed {
    let mut all: Changed = vec![
        ("the number of the table".to_owned(), with(record, |record| record.table.sequence ^= 1)),
        ("the number of settlements".to_owned(), with(record, |record| record.sequence ^= 1)),
        ("what the escrow holds".to_owned(), with(record, |record| record.held = Amount(1))),
        ("a stranger's earnings".to_owned(), {
            with(record, |record| record.table.earned.extend([(Address([5; 20]), Amount(1))]))
        }),
    ];
    for bit in (0..256).step_by(5) {
        all.push((format!("bit {bit} of the root"), with(record, |record| flip(&mut record.root, bit))));
    }
    for account in record.table.earned.keys() {
        for bit in 0..64 {
            let more = |record: &mut PayoutRecord| {
                if let Some(earned) = record.table.earned.get_mut(account) {
                    earned.0 ^= 1 << bit;
                }
            };
            all.push((format!("bit {bit} of the earnings of {account}"), with(record, more)));
        }
        let mut other = *account;
        other.0[19] ^= 1;
        let renamed = |record: &mut PayoutRecord| {
            let earned = record.table.earned.remove(account).unwrap_or(Amount::ZERO);
            record.table.earned.insert(other, earned);
        };
        all.push((format!("the name of {account}"), with(record, renamed)));
    }
    for place in 0..record.events.len() {
        let claimed = with(record, |record| {
            if let MarketEvent::PayoutClaimed { amount, .. } = &mut record.events[place].event {
                *amount += 10u128.pow(18);
            }
        });
        if claimed.events[place] != record.events[place] {
            all.push((format!("the claim of event {place}"), claimed));
        }
    }
    all
}

/// Datasets and prices: a digest that the keyholders signed names the first, a price that they signed sums the second.
fn changed_cohort_parts(record: &PayoutRecord) -> Changed {
    let mut all = Vec::new();
    for place in 0..record.events.len() {
        let mut push = |what: &str, change: &dyn Fn(&mut MarketEvent)| {
            let changed = with(record, |record| change(&mut record.events[place].event));
            if changed.events[place] != record.events[place] {
                all.push((format!("{what} of event {place}"), changed));
            }
        };
        push("a dataset", &|event| {
            if let MarketEvent::DatasetsRegistered { leaves, .. } = event {
                leaves[0].dataset.0[0] ^= 1;
            }
        });
        push("a ciphertext", &|event| {
            if let MarketEvent::DatasetsRegistered { leaves, .. } = event {
                flip(&mut leaves[0].commitments.bodies.0, 17);
            }
        });
        push("the owner", &|event| {
            if let MarketEvent::DatasetsRegistered { registrant, .. } = event {
                registrant.0[0] ^= 1;
            }
        });
        push("a price", &|event| {
            if let MarketEvent::OfferPosted { offer } = event {
                offer.prices.counts.0 ^= 1 << 40;
            }
        });
    }
    all
}

/// What a proven settlement says of its cohort.
fn changed_cohorts(record: &PayoutRecord) -> Changed {
    use locus_ledger::{Cohort, CohortChoice};
    let changes: [(&str, fn(&mut CohortChoice, &mut Cohort)); 11] = [
        ("the root", |choice, _| choice.sequence ^= 1),
        ("the day", |choice, _| choice.day ^= 1),
        ("accredited only", |choice, _| choice.accredited_only ^= true),
        ("proven only", |choice, _| choice.proven_only ^= true),
        ("the highest price", |choice, _| choice.price_max_units ^= 1),
        ("the shard", |_, cohort| cohort.shard ^= 1),
        ("the size", |_, cohort| cohort.size ^= 1),
        ("the price", |_, cohort| cohort.total_price_units ^= 1),
        ("x", |_, cohort| cohort.commitment[0].0[31] ^= 1),
        ("y", |_, cohort| cohort.commitment[1].0[31] ^= 1),
        ("who it is", |_, cohort| cohort.payouts.0[0] ^= 1),
    ];
    let change_one = |(what, change): &(&str, fn(&mut CohortChoice, &mut Cohort))| {
        let changed = with(record, |record| {
            if let Some((choice, cohort)) = &mut record.settlements[0].cohort {
                change(choice, cohort);
            }
        });
        ((*what).to_owned(), changed)
    };
    changes.iter().map(change_one).collect()
}
