//! The noise of the open tier, measured on many distinct questions through the whole market.

use anyhow::{Context as _, Result, ensure};
use locus_client::{enrol::EnrolInput, post_offer, research::VariantCounts, revoke, statement, withdraw_offer};
use locus_genomics::{Genotype, VariantIndex, VariantSelection};
use locus_ledger::{Amount, RegistrationId};
use locus_privacy::{NetworkParameterValues, Rho, Tier};
use locus_tests::{Bought, Market, People, biomedical, first_variants, now_unix_s, small_floors, terms};

const VARIANTS: u32 = 600;
/// How many standard errors a measured figure may be off: at five the tests fail by chance once in
/// two million times.
const STANDARD_ERRORS: f64 = 5.0;
/// A chi-square of nine degrees of freedom is larger with probability 10^-7.
const CHI_SQUARE_MAX: f64 = 50.0;
/// Borders of ten equally likely parts of the standard normal distribution.
const DECILES: [f64; 9] =
    [-1.281_552, -0.841_621, -0.524_401, -0.253_347, 0.0, 0.253_347, 0.524_401, 0.841_621, 1.281_552];

struct Asked {
    people: People,
    input: EnrolInput,
    registration: RegistrationId,
}

/// Errors of an answer in units of the standard deviation that its price of privacy states.
fn normalised(rows: &[VariantCounts], truth: impl Fn(u32, Genotype) -> i64, rho: Rho) -> Vec<f64> {
    let sigma = (rows.len() as f64 / (rho.as_nano() as f64 * 1e-9)).sqrt();
    let errors = rows.iter().flat_map(|row| {
        [row.het - truth(row.index.0, Genotype::Het), row.hom_alt - truth(row.index.0, Genotype::HomAlt)]
    });
    errors.map(|error| error as f64 / sigma).collect()
}

fn mean_square(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>() / values.len() as f64
}

async fn buy(market: &Market, asked: &Asked, selection: VariantSelection, rho: Rho) -> Result<Bought> {
    let tier = if rho.is_zero() { Tier::Exact } else { Tier::Open };
    let question = biomedical(selection, tier, rho);
    market.buy_as(&market.researcher, &asked.input.panel, &question, "1".parse()?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_distinct_questions_are_independent_and_as_large_as_stated() -> Result<()> {
    let parameters = NetworkParameterValues {
        rho_query_max: "1".parse()?,
        rho_year_max: "100".parse()?,
        rho_lifetime_max: "100".parse()?,
        ..small_floors()
    };
    let market = Market::start_with(parameters).await?;
    let mut cohorts = Vec::new();
    for (name, seed) in [("first", 101), ("second", 103)] {
        let people = People::new(30, VARIANTS, seed);
        let input = market.read_people(name, &people)?;
        let batch = market.enrol(&market.biobank, &input).await?.pop().context("a batch")?;
        cohorts.push(Asked { people, input, registration: batch.registration });
    }

    let mut errors: Vec<Vec<f64>> = Vec::new();
    for gone in [0u32, 1] {
        for asked in &cohorts {
            if gone > 0 {
                let keys = &market.biobank.keys;
                revoke(&market.services, &market.network, keys, asked.registration, &[0], now_unix_s()).await?;
            }
            let truth = |variant, genotype| {
                let left = gone > 0 && asked.people.genotype(0, variant) == genotype;
                asked.people.count(variant, genotype) - i64::from(left)
            };
            let digest = asked.input.panel.digest();
            for (range, rho) in [(0..200, "0.01"), (100..450, "0.1"), (0..600, "1"), (0..600, "0.05")] {
                let selection = VariantSelection::try_from_ranges(digest, VARIANTS, [range])?;
                let rho: Rho = rho.parse()?;
                let answer = buy(&market, asked, selection, rho).await?;
                let found = normalised(answer.opened.rows(), truth, rho);
                let ratio = mean_square(&found);
                let tolerance = STANDARD_ERRORS * (2.0 / found.len() as f64).sqrt();
                assert!((ratio - 1.0).abs() < tolerance, "rho {rho}: {ratio} of the variance stated");
                errors.push(found);
            }
        }
        if gone == 0 {
            // Control: without noise there is no error, so the truth compared with is the truth.
            let exact = buy(&market, &cohorts[0], VariantSelection::all(&cohorts[0].input.panel), Rho::ZERO).await?;
            let truth = |variant, genotype| cohorts[0].people.count(variant, genotype);
            let found = normalised(exact.opened.rows(), truth, Rho::from_nano(1));
            assert!(found.iter().all(|error| *error == 0.0));
        }
    }

    let all: Vec<f64> = errors.concat();
    let count = all.len() as f64;
    let mean = all.iter().sum::<f64>() / count;
    assert!(mean.abs() < STANDARD_ERRORS / count.sqrt(), "mean {mean}");
    let ratio = mean_square(&all);
    assert!((ratio - 1.0).abs() < STANDARD_ERRORS * (2.0 / count).sqrt(), "{ratio} of the variance stated");
    let mut parts = [0.0f64; 10];
    for error in &all {
        parts[DECILES.iter().filter(|border| *error >= **border).count()] += 1.0;
    }
    let expected = count / 10.0;
    let chi_square: f64 = parts.iter().map(|part| (part - expected).powi(2) / expected).sum();
    assert!(chi_square < CHI_SQUARE_MAX, "chi-square {chi_square} of {parts:?}");
    // Two questions about the same variants, whatever else they share, have unrelated noise.
    for (place, left) in errors.iter().enumerate() {
        for right in errors[place + 1..].iter().filter(|right| right.len() == left.len()) {
            let correlation = left.iter().zip(right).map(|(left, right)| left * right).sum::<f64>() / left.len() as f64;
            assert!(correlation.abs() < 1.2 * STANDARD_ERRORS / (left.len() as f64).sqrt(), "{correlation}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_question_written_in_any_order_has_one_answer_and_one_charge() -> Result<()> {
    let market = Market::start_with(small_floors()).await?;
    let people = People::new(24, 60, 107);
    let input = market.read_people("everyone", &people)?;
    let registration = market.enrol(&market.biobank, &input).await?.pop().context("a batch")?.registration;
    let asked = Asked { people, input, registration };
    let panel = &asked.input.panel;
    let rho: Rho = "0.01".parse()?;
    let indices: Vec<u32> = vec![3, 50, 7, 8, 9, 21];
    let mut contents = Vec::new();
    let orders: [Vec<u32>; 3] =
        [indices.clone(), indices.iter().rev().copied().collect(), [&indices[2..], &indices[..4]].concat()];
    for order in orders {
        let selection = VariantSelection::from_indices(panel, order.into_iter().map(VariantIndex))?;
        contents.push(buy(&market, &asked, selection, rho).await?.content());
    }
    let ids: Vec<String> = indices
        .iter()
        .filter_map(|index| panel.variant(VariantIndex(*index)))
        .map(|variant| variant.to_string())
        .collect();
    let named = VariantSelection::from_ids(panel, ids.iter().map(String::as_str))?;
    contents.push(buy(&market, &asked, named, rho).await?.content());
    assert!(contents.windows(2).all(|pair| pair[0] == pair[1]));
    let keys = &market.biobank.keys;
    let spent = statement(&market.services, &market.network, keys, asked.registration, 9, now_unix_s()).await?;
    assert_eq!(spent.budget.spent_lifetime, Rho::from_nano(rho.as_nano() + 120));
    assert_eq!(spent.uses.len(), 4);
    // Control: one variant more is another question, with other noise and a charge of its own.
    let more = VariantSelection::from_indices(panel, indices.iter().copied().chain([22]).map(VariantIndex))?;
    let other = buy(&market, &asked, more, rho).await?;
    assert_ne!(other.content().1[..6], contents[0].1[..6]);
    let spent = statement(&market.services, &market.network, keys, asked.registration, 9, now_unix_s()).await?;
    assert_eq!(spent.budget.spent_lifetime, Rho::from_nano(2 * (rho.as_nano() + 120)));
    Ok(())
}

/// An offer that stood, was withdrawn and stands again.
#[tokio::test(flavor = "multi_thread")]
async fn people_who_come_back_are_counted_again() -> Result<()> {
    let market = Market::start_with(small_floors()).await?;
    let people = People::new(30, 20, 7);
    let input = market.read_people("first", &people)?;
    market.enrol(&market.biobank, &input).await?;
    let later = market.read_more_people("second", &people.next(30), &input.panel)?;
    let second = market.enrol(&market.clinic, &later).await?.pop().context("a batch")?.registration;
    let question = biomedical(first_variants(&input.panel, 20)?, Tier::Open, "0.005".parse()?);
    let buy = || market.buy_as(&market.researcher, &input.panel, &question, "1".parse().unwrap_or(Amount::ZERO));
    let both = buy().await?;
    let keys = &market.clinic.keys;
    withdraw_offer(&market.services, &market.network, keys, second).await?;
    let one = buy().await?;
    post_offer(&market.services, &market.network, keys, second, &terms(&input.panel)?).await?;
    let back = buy().await?;
    let sizes = [&both, &one, &back].map(|bought| bought.opened.cohort_size());
    ensure!(sizes == [60, 30, 60], "{sizes:?} people were counted");
    ensure!(both.content() == back.content(), "the same people, the same answer");
    Ok(())
}
