//! The privacy that is claimed, audited: two cohorts that differ in one person are encrypted, summed, decrypted and decoded
//! many times, and the best test of which cohort an answer is about is no better than the quoted bound.

use anyhow::{Context as _, Result};
use locus_genomics::Genotype;
use locus_privacy::{Rho, RhoCost, SigmaSquared, report::membership_auc_bound};
use locus_tests::{Dataset, People, Stage};
use std::{ops::Range, thread};

/// Answers about each cohort.
const ANSWERS: u64 = 6_000;
/// How far the measured area may be from the true one: Hoeffding's bound, less than one run in a million is further off.
const SLACK: f64 = 0.035;

/// Two cohorts with one person exchanged, whose genotypes at the first variant differ most: heterozygous in the first,
/// homozygous in the second, which moves two counters.
fn neighbours() -> Result<[Vec<Dataset>; 2]> {
    let people = People::new(40, 1, 5);
    let datasets = Dataset::of_people(&people)?;
    let with = |genotype| {
        let place = (2..40).find(|place| people.genotype(*place, 0) == genotype).context("a person")?;
        let members = [0, 1, place as usize].map(|place| datasets[place].clone());
        Ok::<_, anyhow::Error>(members.to_vec())
    };
    Ok([with(Genotype::Het)?, with(Genotype::HomAlt)?])
}

/// What the likelihood ratio of a Gaussian grows with, in the answers that these numbers name.
fn scores(stage: &Stage, cohort: &[Dataset], answers: Range<u64>) -> Result<Vec<i64>> {
    let cohort: Vec<&Dataset> = cohort.iter().collect();
    let score = |number| {
        let combined = stage.answer(&cohort, &Stage::tau_with_nonce(number))??;
        let counts = combined.decode_calls(stage.range(cohort.len())?)?;
        let row = counts.first().context("a variant")?;
        Ok(row.hom_alt - row.het)
    };
    answers.map(score).collect()
}

/// Area under the curve of the test between the two cohorts with noise of this variance in each share.
fn area(dp_share: SigmaSquared) -> Result<f64> {
    let (stage, [left, right]) = (Stage::new(1, Some(dp_share))?, neighbours()?);
    let (left, right) = thread::scope(|scope| {
        let first = scope.spawn(|| scores(&stage, &left, 0..ANSWERS));
        let second = scores(&stage, &right, ANSWERS..2 * ANSWERS);
        (first.join().expect("it ended"), second)
    });
    // Each answer is in one pair, so that the pairs are independent.
    let won = |(left, right): (i64, i64)| if right > left { 1.0 } else { f64::from(u8::from(right == left)) / 2.0 };
    let pairs = left?.into_iter().zip(right?);
    Ok(pairs.map(won).sum::<f64>() / ANSWERS as f64)
}

#[test]
fn answers_tell_neighbouring_cohorts_apart_no_better_than_the_bound() -> Result<()> {
    let noise = SigmaSquared::try_new(10, 3)?;
    // The loss that one variant with this noise is charged, without that of the flooding.
    let charged = RhoCost::of_release(1, Some(noise), 1, 0)?.dp;
    assert_eq!(charged, "0.1".parse::<Rho>()?);
    let bound = membership_auc_bound(charged);
    let measured = area(noise)?;
    assert!(measured - SLACK <= bound, "an area of {measured} is above the bound {bound}");
    assert!(
        measured + SLACK >= bound,
        "an area of {measured} is below {bound}, which a Gaussian reaches: the test is blind"
    );
    // Control: half the noise is noticed.
    let half = area(SigmaSquared::try_new(10, 12)?)?;
    assert!(half - SLACK > bound, "half the noise gives an area of {half} only");
    Ok(())
}
