//! Researchers ask often, or about cohorts that differ by one person.

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use locus_client::{account_state, revoke, statement};
use locus_genomics::{Declarations, Genotype, Purpose, PurposeCode};
use locus_ledger::Amount;
use locus_privacy::{Rho, SigmaSquared, Tier};
use locus_rlwe::SignedCounts;
use locus_service::reason_of;
use locus_tests::{
    Dataset, Market, Party, People, Stage, ask, biomedical, first_variants, now_unix_s, question_of, small_floors,
};
use std::collections::BTreeSet;

const BUYERS: usize = 10;
const ORDERS_EACH: usize = 10;
const READS_EACH: usize = 10;
const VARIANTS: u32 = 20;

/// Root of the mean square difference of counts from the truth.
fn error(counts: impl Iterator<Item = (f64, f64)>) -> f64 {
    let squares: Vec<f64> = counts.map(|(found, truth)| (found - truth).powi(2)).collect();
    (squares.iter().sum::<f64>() / squares.len() as f64).sqrt()
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_a_thousand_times_gives_one_answer_at_one_charge_and_a_hundred_prices() -> Result<()> {
    let market = Market::start_with(small_floors()).await?;
    let people = People::new(24, 40, 31);
    let input = market.read_people("everyone", &people)?;
    let batch = market.enrol(&market.biobank, &input).await?.pop().context("a batch")?;
    let rho: Rho = "0.01".parse()?;
    let question = biomedical(first_variants(&input.panel, VARIANTS)?, Tier::Open, rho);
    // Every second buyer declares another purpose, which changes nothing in the answer.
    let methods = Purpose { code: PurposeCode::MethodsDevelopment, declarations: Declarations::NONE };
    let mut buyers = Vec::new();
    for number in 0..BUYERS {
        buyers.push(market.funded_party(&format!("buyer-{number}")).await?);
    }
    let mut contents = BTreeSet::new();
    let mut reads = 0;
    let rounds = stream::iter(buyers.iter().enumerate()).map(|(number, buyer)| {
        let mut question = question.clone();
        question.purpose = if number % 2 == 0 { question.purpose } else { methods };
        repeat(&market, buyer, &input.panel, question)
    });
    // The aggregator answers four orders at a time.
    let found: Vec<_> = rounds.buffer_unordered(3).try_collect().await?;
    for (content, count) in found.into_iter().flatten() {
        contents.insert(format!("{content:?}"));
        reads += count;
    }
    assert_eq!((contents.len(), reads), (1, BUYERS * ORDERS_EACH * READS_EACH));

    // One charge a person, every order paid.
    let keys = &market.biobank.keys;
    let price: Amount = "0.24".parse()?;
    let statement = statement(&market.services, &market.network, keys, batch.registration, 3, now_unix_s()).await?;
    assert!(statement.differences.is_empty(), "{:?}", statement.differences);
    assert_eq!(statement.uses.len(), BUYERS * ORDERS_EACH);
    assert_eq!(statement.uses.iter().filter(|used| !used.rho.is_zero()).count(), 1, "charged once");
    assert_eq!(statement.budget.spent_lifetime, Rho::from_nano(rho.as_nano() + 120));
    for buyer in &buyers {
        let state = account_state(&market.services, buyer.keys.address()).await?;
        assert_eq!(state.balance.0, "1000000".parse::<Amount>()?.0 - 10 * price.0);
    }
    assert_eq!(account_state(&market.services, keys.address()).await?.earned.0, 100 * price.0);
    averaging_control(&people)
}

type Content = (Vec<Vec<u8>>, Vec<locus_client::research::VariantCounts>);

/// One buyer's orders, each answer read several times.
async fn repeat(
    market: &Market,
    buyer: &Party,
    panel: &locus_genomics::Panel,
    question: locus_client::research::Question,
) -> Result<Vec<(Content, usize)>> {
    let mut contents = Vec::new();
    for _ in 0..ORDERS_EACH {
        let bought = market.buy_as(buyer, panel, &question, "1".parse()?).await?;
        for _ in 1..READS_EACH {
            let again = ask(&market.services.query, &bought.placed, buyer, &question_of(buyer, &bought.placed)).await?;
            assert_eq!(again, bought.record, "an answer is sent again as it was");
        }
        contents.push((bought.content(), READS_EACH));
    }
    Ok(contents)
}

/// With a nonce in the name of the question, every answer has fresh noise, and the mean of a thousand
/// is the truth.
fn averaging_control(people: &People) -> Result<()> {
    let datasets = Dataset::of_people(people)?;
    let cohort: Vec<&Dataset> = datasets.iter().collect();
    let stage = Stage::new(VARIANTS, Some(SigmaSquared::per_share(VARIANTS, "0.01".parse()?)?))?;
    let truth: Vec<f64> = (0..VARIANTS).map(|variant| people.count(variant, Genotype::Het) as f64).collect();
    let mut sums = vec![0.0; truth.len()];
    let mut first = None;
    for nonce in 0..1_000 {
        let combined = stage.answer(&cohort, &Stage::tau_with_nonce(nonce))??;
        let counts = combined.decode_calls(stage.range(cohort.len())?)?;
        let het: Vec<f64> = counts.iter().map(|counts| counts.het as f64).collect();
        sums.iter_mut().zip(&het).for_each(|(sum, het)| *sum += het);
        first.get_or_insert(het);
    }
    // sigma = sqrt(20 / 0.01) = 44.7; the mean of 1,000 has a standard error of 1.41.
    let once = error(first.context("an answer")?.into_iter().zip(truth.iter().copied()));
    let averaged = error(sums.into_iter().map(|sum| sum / 1_000.0).zip(truth));
    assert!(once > 20.0, "one answer is off by {once}");
    assert!(averaged < 3.0, "a thousand answers are off by {averaged}");
    Ok(())
}

const VICTIMS: usize = 200;
const DIFFERENCED: u32 = 10;

/// The genotype whose counts are nearest to a difference of counts.
fn nearest(het: i64, hom_alt: i64) -> Genotype {
    let candidates = [(Genotype::HomRef, 0, 0), (Genotype::Het, 1, 0), (Genotype::HomAlt, 0, 1)];
    let distance = |&(_, one, two): &(Genotype, i64, i64)| (het - one).pow(2) + (hom_alt - two).pow(2);
    candidates.into_iter().min_by_key(distance).map_or(Genotype::HomRef, |(genotype, ..)| genotype)
}

/// Which part of the genotypes of 200 victims follows from answers with and without each.
fn called_by_differencing(people: &People, datasets: &[Dataset], stage: &Stage) -> Result<f64> {
    let mut right = 0;
    for victim in 0..VICTIMS {
        // Another cohort for every victim, so that no noise is used for two of them.
        let left_out = (victim + 1) % datasets.len();
        let with: Vec<&Dataset> =
            datasets.iter().enumerate().filter(|(place, _)| *place != left_out).map(|(_, dataset)| dataset).collect();
        let without: Vec<&Dataset> = with
            .iter()
            .copied()
            .filter(|dataset| dataset.context.dataset != datasets[victim].context.dataset)
            .collect();
        let differences = stage.counts(&with)?.into_iter().zip(stage.counts(&without)?);
        let called = differences.map(|(with, without): (SignedCounts, SignedCounts)| {
            nearest(with.het - without.het, with.hom_alt - without.hom_alt)
        });
        let victim = u32::try_from(victim)?;
        right += (0..).zip(called).filter(|(variant, called)| *called == people.genotype(victim, *variant)).count();
    }
    Ok(right as f64 / (VICTIMS as f64 * f64::from(DIFFERENCED)))
}

#[test]
fn two_cohorts_that_differ_by_one_person_do_not_tell_that_persons_genotypes() -> Result<()> {
    // Genotypes are uniform over three values, so guessing is right in a third of the cases.
    let people = People::new(u32::try_from(VICTIMS)? + 1, DIFFERENCED, 47);
    let datasets = Dataset::of_people(&people)?;
    let rho: Rho = "0.01".parse()?;
    let noisy = Stage::new(DIFFERENCED, Some(SigmaSquared::per_share(DIFFERENCED, rho)?))?;
    let accuracy = called_by_differencing(&people, &datasets, &noisy)?;
    // Only the answer with the victim depends on the victim: KL <= rho, total variation <= sqrt(rho/2)
    // by Pinsker, and no guess gains more than that.
    let calls = VICTIMS as f64 * f64::from(DIFFERENCED);
    let bound = 1.0 / 3.0 + (0.01f64 / 2.0).sqrt() + 3.0 * (0.25 / calls).sqrt();
    assert!(accuracy <= bound, "{accuracy} of the genotypes are called right, at most {bound} may be");
    // Control: without dp noise every genotype is called.
    let exact = called_by_differencing(&people, &datasets, &Stage::new(DIFFERENCED, None)?)?;
    assert!((exact - 1.0).abs() < f64::EPSILON, "{exact}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn people_who_leave_are_not_exposed_by_the_answers_before_and_after() -> Result<()> {
    let market = Market::start_with(small_floors()).await?;
    let people = People::new(40, DIFFERENCED, 53);
    let input = market.read_people("everyone", &people)?;
    let batch = market.enrol(&market.biobank, &input).await?.pop().context("a batch")?;
    let keys = &market.biobank.keys;
    let open = biomedical(first_variants(&input.panel, DIFFERENCED)?, Tier::Open, "0.01".parse()?);
    let exact = biomedical(first_variants(&input.panel, DIFFERENCED)?, Tier::Exact, Rho::ZERO);
    let buy = async |question| market.buy_as(&market.researcher, &input.panel, question, "1".parse()?).await;
    let all = buy(&exact).await?;
    let mut before = buy(&open).await?;
    let mut squares = Vec::new();
    for leaver in 0..4 {
        revoke(&market.services, &market.network, keys, batch.registration, &[leaver], now_unix_s()).await?;
        let after = buy(&open).await?;
        assert_eq!(after.opened.cohort_size(), 39 - leaver);
        let rows = before.opened.rows().iter().zip(after.opened.rows());
        let differences: Vec<[i64; 2]> =
            rows.map(|(with, without)| [with.het - without.het, with.hom_alt - without.hom_alt]).collect();
        let truth = (0..DIFFERENCED).map(|variant| {
            [Genotype::Het, Genotype::HomAlt].map(|one| i64::from(people.genotype(leaver, variant) == one))
        });
        assert_ne!(differences, truth.collect::<Vec<_>>(), "the difference is the leaver's genotypes");
        squares.extend(differences.iter().flatten().map(|difference| (*difference as f64).powi(2)));
        before = after;

        // Exact answers wait until five people have left.
        let placed = market.place(&market.researcher, &exact, "1".parse()?).await?;
        let refused =
            ask(&market.services.query, &placed, &market.researcher, &question_of(&market.researcher, &placed)).await;
        let status = refused.err().context("an exact answer isolates the leaver")?;
        // Only keyholders know what a batch has answered before.
        assert_eq!(reason_of(&status).as_deref(), Some("KEYHOLDER_REFUSED"), "{}", status.message());
    }
    // Both answers have noise of variance 10 / 0.01; 80 differences of it, each answer used twice.
    let ratio = squares.iter().sum::<f64>() / squares.len() as f64 / 2_000.0;
    assert!((0.25..2.6).contains(&ratio), "the noise has {ratio} of its variance");
    revoke(&market.services, &market.network, keys, batch.registration, &[4], now_unix_s()).await?;
    let rest = buy(&exact).await?;
    for (all, rest) in all.opened.rows().iter().zip(rest.opened.rows()) {
        let left = (0..5).filter(|place| people.genotype(*place, all.index.0) == Genotype::Het).count();
        assert_eq!(all.het - rest.het, i64::try_from(left)?, "five people at once");
    }
    Ok(())
}
