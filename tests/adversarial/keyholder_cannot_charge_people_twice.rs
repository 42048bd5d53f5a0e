//! A keyholder falsifies what it multiplies, so that the evaluation is given up and made again: nobody is charged for
//! that beyond what an honest evaluation costs.

use anyhow::{Context as _, Result, ensure};
use locus_client::{Statement, statement};
use locus_ledger::OrderId;
use locus_phenotype::Predicate;
use locus_privacy::{Rho, Tier};
use locus_service::reason_of;
use locus_sharing::KeyholderIndex;
use locus_tests::{
    Carried, Falsifier, Market, People, about, filter_of, first_variants, made_up_input, made_up_schema, now_unix_s,
    question_of, selected_counts, small_floors,
};
use locus_wire::pb::keyholder as pb;
use tonic::Status;

/// What is asked, each by one order: of one kind and so at one cost, with one round of products.
const HONEST: &str = "sex = 'F' and age >= 40";
const FALSIFIED: [(&str, u8); 3] =
    [("sex = 'M' and age >= 40", 1), ("sex = 'M' and age >= 60", 2), ("sex = 'F' and age >= 60", 3)];
/// Five of six people.
const IN_PLAIN: &str = "not (sex = 'M' and age >= 60)";
/// People whose statements are read.
const ASKED: [u32; 3] = [0, 7, 149];
const VARIANTS: u32 = 5;

#[tokio::test(flavor = "multi_thread")]
async fn an_evaluation_that_was_falsified_is_made_again_for_what_an_honest_one_costs() -> Result<()> {
    let market = Market::start_with(small_floors()).await?;
    let people = People::new(300, VARIANTS, 97);
    let input = market.read_people("everyone", &people)?;
    let registration = market.enrol(&market.biobank, &input).await?.pop().context("a batch")?.registration;
    market.add_attributes(&market.biobank, registration, &made_up_input(&people)?).await?;
    let schema = made_up_schema()?;
    let (services, network, keys) = (&market.services, &market.network, &market.biobank.keys);
    let order = async |text: &str| {
        let filter = filter_of(&[text], &schema)?.authenticated(true);
        let question = about(filter, first_variants(&input.panel, VARIANTS)?, Tier::Exact, Rho::ZERO);
        market.place(&market.researcher, &question, "5".parse()?).await
    };
    // What the people were charged so far, as all keyholders have it in their books.
    let charged = async || -> Result<Vec<(usize, Rho, Rho)>> {
        let mut charged = Vec::new();
        for ordinal in ASKED {
            let Statement { uses, budget, differences, unreachable, .. } =
                statement(services, network, keys, registration, ordinal, now_unix_s()).await?;
            ensure!(differences.is_empty() && unreachable.is_empty(), "{differences:?}");
            charged.push((uses.len(), budget.spent_year, budget.spent_lifetime));
        }
        Ok(charged)
    };

    let placed = order(HONEST).await?;
    market.collect(&market.researcher, &input.panel, placed).await?;
    let once = charged().await?;
    ensure!(once.iter().all(|(uses, _, spent)| *uses == 1 && !spent.is_zero()), "{once:?}");

    for (orders, (text, cheat)) in (2..).zip(FALSIFIED) {
        let placed = order(text).await?;
        let asked = question_of(&market.researcher, &placed);
        let cheat = KeyholderIndex::try_new(cheat)?;
        let falsifier = learn_session(&market, &asked, cheat, placed.order_id).await?;
        for _ in 0..2 {
            let ended = evaluate_falsely(&market, &asked, &falsifier).await;
            let status = ended.err().context("a falsified evaluation has ended well")?;
            ensure!(reason_of(&status).as_deref() == Some("EVALUATION_FALSIFIED"), "{status}");
        }
        let bought = market.collect(&market.researcher, &input.panel, placed).await?;
        let predicate = Predicate::parse(text, &schema)?;
        let [counts] = bought.opened.selections() else { panic!("one selection") };
        for row in &counts.rows {
            let truth = selected_counts(&people, &predicate, row.index.0)?;
            ensure!([counts.matched, row.het, row.hom_alt] == truth, "variant {}", row.index.0);
        }
        let now = charged().await?;
        for ((uses, year, lifetime), (_, year_once, lifetime_once)) in now.iter().zip(&once) {
            let times = |rho: &Rho| Rho::from_nano(orders * rho.as_nano());
            ensure!(*uses as u64 == orders, "{uses} uses after {orders} orders");
            ensure!((*year, *lifetime) == (times(year_once), times(lifetime_once)), "after {orders} orders: {now:?}");
        }
    }

    // Control: a plain evaluation of the noisy tiers ends well with the same falsification in it.
    let one = first_variants(&input.panel, 1)?;
    let question = about(filter_of(&[IN_PLAIN], &schema)?, one, Tier::Open, "0.01".parse()?);
    let placed = market.place(&market.researcher, &question, "5".parse()?).await?;
    let asked = question_of(&market.researcher, &placed);
    let falsifier = learn_session(&market, &asked, KeyholderIndex::try_new(2)?, placed.order_id).await?;
    ensure!(evaluate_falsely(&market, &asked, &falsifier).await?.commitments.len() == 3);
    Ok(())
}

/// An attempt that ends with the first message of `cheat`, which then has the name of the answer in its book.
async fn learn_session(
    market: &Market,
    asked: &pb::Question,
    cheat: KeyholderIndex,
    order: OrderId,
) -> Result<Falsifier> {
    let prepared = market.prepare_all(asked).await?;
    let carry = |piece: pb::RoundPiece| (piece.from_keyholder != u32::from(cheat.get())).then_some(piece);
    market.evaluate_with(asked, &prepared, carry).await?;
    market.falsifier(cheat, order)
}

/// An attempt in which one keyholder falsifies its first message.
async fn evaluate_falsely(market: &Market, asked: &pb::Question, falsifier: &Falsifier) -> Result<Carried, Status> {
    let prepared = market.prepare_all(asked).await?;
    let attempt = prepared.iter().map(|preparation| preparation.attempt).max().unwrap_or(0);
    let carry = |piece| Some(falsifier.falsify(attempt, piece).expect("the cheat has the keys"));
    market.evaluate_with(asked, &prepared, carry).await
}
