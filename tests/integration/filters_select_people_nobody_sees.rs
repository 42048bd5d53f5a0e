//! Questions about people whom attributes select that no service and no keyholder can read.

use anyhow::{Context as _, Result, ensure};
use locus_client::{
    account_state,
    research::{AskedFilter, Question, association_table, trait_filter},
    revoke,
};
use locus_genomics::Genotype;
use locus_ledger::RegistrationId;
use locus_phenotype::{AttributeSchema, Predicate};
use locus_privacy::{Rho, Tier};
use locus_proofs::registry::PRICE_UNIT;
use locus_report::Method;
use locus_tests::{
    Bought, Market, People, about, biomedical, filter_of, first_variants, made_up_bmi, made_up_input, made_up_schema,
    now_unix_s, selected_counts, small_floors, terms,
};
use std::sync::Arc;

/// People, and variants of their panel: enough of these for exact counts.
const EXACT: (u32, u32) = (150, 30);
/// Variants of a regression.
const VARIANTS_REGRESSED: u32 = 5;
/// Fewer people, each with commitments to their ciphertexts.
const PROVEN: (u32, u32) = (100, 4);
const DAY_S: u64 = 86_400;
/// Many people and few variants, so that noise leaves half of the people above the floor.
const NOISY: (u32, u32) = (400, 3);

struct Scene {
    market: Market,
    people: People,
    panel: Arc<locus_genomics::Panel>,
    registration: RegistrationId,
    schema: Arc<AttributeSchema>,
}

/// People with attributes, one call in sixteen missing.
async fn scene((count, variants): (u32, u32)) -> Result<Scene> {
    scene_in(Market::start_with(small_floors()).await?, (count, variants)).await
}

async fn scene_in(market: Market, (count, variants): (u32, u32)) -> Result<Scene> {
    let people = People { missing: true, ..People::new(count, variants, 61) };
    let input = market.read_people("everyone", &people)?;
    let mut terms = terms(&input.panel)?;
    // Whatever the time of day, the offer holds to the end of this one, as proofs of cohorts ask.
    terms.expiry_unix_s += DAY_S;
    let batch = market.enrol_on_terms(&market.biobank, &input, terms).await?.pop().context("a batch")?;
    let added = market.add_attributes(&market.biobank, batch.registration, &made_up_input(&people)?).await?;
    ensure!(added.dataset_count == count && added.matched == count as usize);
    Ok(Scene { market, people, panel: input.panel, registration: batch.registration, schema: made_up_schema()? })
}

impl Scene {
    fn filter(&self, texts: &[&str]) -> Result<AskedFilter> {
        filter_of(texts, &self.schema)
    }

    fn question(&self, texts: &[&str], tier: Tier, rho: Rho) -> Result<Question> {
        Ok(about(self.filter(texts)?, first_variants(&self.panel, self.people.variants)?, tier, rho))
    }

    async fn buy(&self, question: &Question) -> Result<Bought> {
        self.market.buy_as(&self.market.researcher, &self.panel, question, "5".parse()?).await
    }

    fn check(&self, bought: &Bought, texts: &[&str]) -> Result<()> {
        let selections = bought.opened.selections();
        ensure!(selections.len() == texts.len() && bought.opened.rows().is_empty());
        for (counts, text) in selections.iter().zip(texts) {
            let predicate = Predicate::parse(text, &self.schema)?;
            ensure!(counts.rows.len() == self.people.variants as usize, "{text}");
            for row in &counts.rows {
                let truth = selected_counts(&self.people, &predicate, row.index.0)?;
                ensure!([counts.matched, row.het, row.hom_alt] == truth, "{text}, variant {}", row.index.0);
            }
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filtered_counts_are_those_of_the_people_selected() -> Result<()> {
    let scene = scene(EXACT).await?;
    for text in ["sex = 'F'", "sex = 'F' and HP:0000819", "not (HP:0000819) and (age >= 60 or sex = 'M')"] {
        let bought = scene.buy(&scene.question(&[text], Tier::Exact, Rho::ZERO)?).await?;
        scene.check(&bought, &[text])?;
        ensure!(bought.opened.cohort_size() == 150, "everybody scanned is in the cohort");
    }
    // Several selections in one pass.
    let groups = ["HP:0000819 and age >= 40", "not (HP:0000819) and age >= 40", "sex = 'M'"];
    let bought = scene.buy(&scene.question(&groups, Tier::Exact, Rho::ZERO)?).await?;
    scene.check(&bought, &groups)
}

/// The chain proves who consents, at the price of filtered questions; the keyholders count whom the filter selects.
#[tokio::test(flavor = "multi_thread")]
async fn filtered_questions_settle_on_proven_cohorts() -> Result<()> {
    let scene = scene_in(Market::start_proven(small_floors()).await?, PROVEN).await?;
    let groups = ["HP:0000819", "not (HP:0000819)"];
    let asked = ["sex = 'F'"];
    for texts in [&asked[..], &groups[..]] {
        let bought = scene.buy(&scene.question(texts, Tier::Exact, Rho::ZERO)?).await?;
        scene.check(&bought, texts)?;
        let evidence = bought.verified.cohort().context("it settled on a proven cohort")?;
        ensure!(evidence.cohort.size == u64::from(PROVEN.0), "everybody scanned is in it, and paid");
        ensure!(!bought.verified.is_cohort_opened(), "nobody sees the sums of a filtered answer");
        let settlement = bought.verified.settlement();
        ensure!(evidence.cohort.total_price_units * PRICE_UNIT == settlement.price.0);
    }
    // Those who leave are in no later cohort, and not counted.
    let (market, keys) = (&scene.market, &scene.market.biobank.keys);
    revoke(&market.services, &market.network, keys, scene.registration, &[0, 2, 4, 6, 8, 10], now_unix_s()).await?;
    let women = scene.buy(&scene.question(&asked, Tier::Exact, Rho::ZERO)?).await?;
    let evidence = women.verified.cohort().context("it settled on a proven cohort")?;
    ensure!(evidence.cohort.size == u64::from(PROVEN.0) - 6);
    ensure!(women.opened.selections()[0].matched == i64::from(PROVEN.0 / 2 - 6), "every second person is a woman");

    let earned = account_state(&market.services, keys.address()).await?.earned;
    ensure!(earned.0 == u128::from(3 * PROVEN.0 - 6) * 10u128.pow(16), "{earned}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_filtered_answer_is_noisy_and_always_the_same() -> Result<()> {
    let scene = scene(NOISY).await?;
    let question = scene.question(&["sex = 'F'"], Tier::Open, "0.01".parse()?)?;
    let first = scene.buy(&question).await?;
    let again = scene.buy(&question).await?;
    let counts = |bought: &Bought| bought.opened.selections().to_vec();
    ensure!(counts(&first) == counts(&again), "the same question has the same noise");
    let predicate = Predicate::parse("sex = 'F'", &scene.schema)?;
    let rows = &first.opened.selections()[0].rows;
    let mut off = 0;
    for row in rows {
        off += i32::from([row.het, row.hom_alt] != selected_counts(&scene.people, &predicate, row.index.0)?[1..]);
    }
    // Noise of sigma 20: that it is zero twice at a variant has a probability of 1 in 2500.
    ensure!(off > 1, "only {off} of {} variants have noise", rows.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn authenticated_evaluation_gives_the_same_counts_with_the_same_noise() -> Result<()> {
    let scene = scene(NOISY).await?;
    let text = "sex = 'F' or age >= 40";
    let plain = scene.question(&[text], Tier::Open, "0.01".parse()?)?;
    let bought = [scene.buy(&plain).await?, scene.buy(&authenticated(&plain)?).await?];
    let [by_plain, by_authenticated] = &bought;
    // Two orders of one answer, by whose name noise is drawn and people are charged.
    let predicates = bought.each_ref().map(|bought| bought.verified.order().predicate_digest);
    ensure!(predicates[0] != predicates[1], "keyholders and researcher must agree on how it is evaluated");
    ensure!(by_plain.verified.plan().digest() == by_authenticated.verified.plan().digest());
    ensure!(by_plain.opened.selections() == by_authenticated.opened.selections());
    let predicate = Predicate::parse(text, &scene.schema)?;
    let counts = &by_plain.opened.selections()[0];
    let mut off = 0;
    for row in &counts.rows {
        let truth = selected_counts(&scene.people, &predicate, row.index.0)?;
        off += i32::from([counts.matched, row.het, row.hom_alt] != truth);
    }
    ensure!(off > 0, "there is no noise that could differ");
    for (bought, is_authenticated) in bought.iter().zip([false, true]) {
        let filter = bought.verified.filter().context("a filter")?;
        ensure!(filter.filter().is_authenticated() == is_authenticated);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn authenticated_counts_and_sums_of_a_trait_are_exact() -> Result<()> {
    let scene = scene(EXACT).await?;
    let text = "not (HP:0000819) and (age >= 60 or sex = 'M')";
    let asked = authenticated(&scene.question(&[text], Tier::Exact, Rho::ZERO)?)?;
    scene.check(&scene.buy(&asked).await?, &[text])?;
    let bmi = scene.schema.find_named("bmi").context("an attribute")?;
    let women = Predicate::parse("sex = 'F'", &scene.schema)?;
    let filter = trait_filter(bmi, Some(&women), scene.schema.clone(), false)?;
    let plain = about(filter, first_variants(&scene.panel, VARIANTS_REGRESSED)?, Tier::Exact, Rho::ZERO);
    let by_authenticated = scene.buy(&authenticated(&plain)?).await?;
    let by_plain = scene.buy(&plain).await?;
    ensure!(by_authenticated.opened.selections() == by_plain.opened.selections());
    let squares: Vec<_> = by_plain.opened.selections().iter().filter_map(|counts| counts.square_sum).collect();
    ensure!(squares.len() == 1 && squares[0] > 0, "the sum of squares is there");
    Ok(())
}

/// The question, evaluated with authenticated shares.
fn authenticated(question: &Question) -> Result<Question> {
    let filter = question.filter.clone().context("a filter")?;
    Ok(Question { filter: Some(filter.authenticated(true)), ..question.clone() })
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_people_are_not_counted_and_everybody_is_paid_the_same() -> Result<()> {
    let scene = scene(EXACT).await?;
    let few = scene.question(&["sex = 'F' and HP:0000819 and age < 40"], Tier::Exact, Rho::ZERO)?;
    let refused = scene.buy(&few).await.expect_err("fewer than twenty match");
    ensure!(format!("{refused:#}").contains("too few people match selection 0"), "{refused:#}");

    // Who matches changes nothing that anybody else sees: price, cohort and payouts are the same.
    let women = scene.buy(&scene.question(&["sex = 'F'"], Tier::Exact, Rho::ZERO)?).await?;
    let men = scene.buy(&scene.question(&["sex = 'M'"], Tier::Exact, Rho::ZERO)?).await?;
    let public = |bought: &Bought| {
        let settlement = bought.verified.settlement();
        (settlement.price, settlement.cohort_digest, settlement.cohort_size)
    };
    ensure!(public(&women) == public(&men));
    let sizes = |bought: &Bought| -> Vec<usize> {
        bought.record.blocks.iter().flat_map(|block| &block.shares).map(|share| share.sealed.len()).collect()
    };
    ensure!(sizes(&women) == sizes(&men) && women.record.blocks.iter().all(|block| block.planes.is_empty()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn people_without_attributes_are_left_out_and_changed_attributes_are_another_question() -> Result<()> {
    let scene = scene(NOISY).await?;
    let later = scene.people.next(20);
    let input = scene.market.read_more_people("later", &later, &scene.panel)?;
    scene.market.enrol(&scene.market.biobank, &input).await?;
    let question = scene.question(&["sex = 'F'"], Tier::Open, "0.01".parse()?)?;
    let before = scene.buy(&question).await?;
    ensure!(before.opened.cohort_size() == 400, "twenty have no attributes");

    // The same people with one other attribute: the noise is another, or the difference would be that person.
    let changed = made_up_input(&People { numbers: 0..399, ..scene.people.clone() })?;
    scene.market.add_attributes(&scene.market.biobank, scene.registration, &changed).await?;
    let after = scene.buy(&question).await?;
    ensure!(after.opened.cohort_size() == 400);
    ensure!(after.verified.plan().digest() != before.verified.plan().digest());
    let rows = |bought: &Bought| bought.opened.selections()[0].rows.clone();
    let same = rows(&before).iter().zip(&rows(&after)).filter(|(one, other)| one == other).count();
    ensure!(same < 2, "{same} variants have the counts that they had before");

    // Whole cohorts are counted as ever.
    let whole = biomedical(first_variants(&scene.panel, 2)?, Tier::Open, "0.01".parse()?);
    ensure!(scene.buy(&whole).await?.opened.cohort_size() == 420);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quantity_is_regressed_on_genotypes_as_in_the_plain() -> Result<()> {
    let scene = scene(EXACT).await?;
    let bmi = scene.schema.find_named("bmi").context("an attribute")?;
    let women = Predicate::parse("sex = 'F'", &scene.schema)?;
    let filter = trait_filter(bmi, Some(&women), scene.schema.clone(), false)?;
    let question = about(filter, first_variants(&scene.panel, VARIANTS_REGRESSED)?, Tier::Exact, Rho::ZERO);
    let bought = scene.buy(&question).await?;
    let asked = bought.verified.filter().context("a filter")?;
    let table = association_table(&bought.opened, asked, &scene.panel, Method::Linear)?;
    let people: Vec<(u32, f64)> = (0..)
        .zip(scene.people.numbers.clone())
        .filter(|(_, number)| number % 2 == 0)
        .map(|(place, number)| (place, made_up_bmi(number)))
        .collect();
    for (row, variant) in table.rows.iter().zip(0..) {
        let called: Vec<(f64, f64)> = people
            .iter()
            .filter_map(|(place, bmi)| match scene.people.genotype(*place, variant) {
                Genotype::Missing => None,
                genotype => Some((f64::from(genotype.code()), *bmi)),
            })
            .collect();
        let slope = slope_of(&called);
        let found = row.effect.context("a fit")?.estimate;
        ensure!((found - slope).abs() < 1e-9, "variant {variant}: {found}, in the plain {slope}");
    }
    ensure!(table.rows.len() == VARIANTS_REGRESSED as usize);
    Ok(())
}

/// Least squares, from its definition.
fn slope_of(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / count, y + point.1 / count));
    let covariation: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    covariation / points.iter().map(|point| (point.0 - x).powi(2)).sum::<f64>()
}
