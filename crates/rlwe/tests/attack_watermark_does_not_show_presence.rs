//! A contributor chooses extreme encryption noise and later tests whether an answer contains it:
//! on hidden cohorts that would reveal who matched.

mod support;

use locus_genomics::Plane;
use locus_rlwe::{EncryptionNoise, Mask, NoiseInput, ShareSum, partial_decryption, select_released};
use locus_sharing::ShareIndex;
use support::{BLOCK, Prng, all_slots, body_sum, low_bits, noise_key, people, refs, share_sum, tau};

const QUERIES: u64 = 1000;

struct Watermarked {
    /// Cohort sum at all slots, with the watermark in place of the contributor's own noise.
    body_sum: Vec<u64>,
    share_sums: [ShareSum; 3],
    watermark: Vec<i64>,
}

fn watermarked_cohort() -> Watermarked {
    let population = people(50, 4080);
    let cohort = refs(&population);
    let mut prng = Prng(5);
    let watermark: Vec<i64> = (0..4096).map(|_| if prng.below(2) == 0 { -8 } else { 7 }).collect();
    let mut sum = body_sum(&cohort, BLOCK, Plane::Calls);
    let honest = EncryptionNoise::expand(&population[0].secrets.encryption_noise_seed, BLOCK, Plane::Calls);
    for (value, (chosen, drawn)) in sum.iter_mut().zip(watermark.iter().zip(honest.values())) {
        *value = value.wrapping_add((chosen - drawn).cast_unsigned());
    }
    let share_sums = ShareIndex::ALL.map(|share| share_sum(&cohort, share, BLOCK, Plane::Calls));
    Watermarked { body_sum: sum.to_vec(), share_sums, watermark }
}

impl Watermarked {
    /// What the researcher finds below the counters.
    fn residual(&self, parts: &[Vec<u64>; 3]) -> Vec<i64> {
        let mut values = self.body_sum.clone();
        for part in parts {
            values.iter_mut().zip(part).for_each(|(value, share)| *value = value.wrapping_sub(*share));
        }
        values.iter().map(|value| low_bits(*value)).collect()
    }

    /// Inner product of residual and watermark, centred: without the watermark its expectation is 0.
    fn score(&self, residual: &[i64]) -> f64 {
        let centre = self.watermark.iter().sum::<i64>() as f64 / 4096.0;
        self.watermark.iter().zip(residual).map(|(mark, value)| (*mark as f64 - centre) * *value as f64).sum()
    }

    fn energy(&self) -> f64 {
        let centre = self.watermark.iter().sum::<i64>() as f64 / 4096.0;
        self.watermark.iter().map(|mark| (*mark as f64 - centre).powi(2)).sum()
    }
}

#[test]
fn a_thousand_answers_do_not_show_a_watermark_that_one_unflooded_answer_shows() {
    let cohort = watermarked_cohort();
    let slots = all_slots();
    let exact = cohort.share_sums.each_ref().map(|sum| select_released(&slots, &Mask::v1().multiply(sum)));
    // Control. Others' encryption noise has variance 85 / 4 a person.
    let others = (49.0 * 85.0 / 4.0f64).sqrt();
    let control = cohort.score(&cohort.residual(&exact)) / (others * cohort.energy().sqrt());
    assert!(control > 5.0, "control: z = {control}");
    let mut score = 0.0;
    for query in 0..QUERIES {
        let tau = tau(query);
        let parts = cohort.share_sums.each_ref().map(|sum| {
            let key = noise_key(sum.share());
            let noise = NoiseInput { noise_key: &key, tau: &tau, dp_share: None };
            let partial = partial_decryption(Mask::v1(), sum, Plane::Calls, &slots, noise).expect("no dp noise");
            partial.values().to_vec()
        });
        score += cohort.score(&cohort.residual(&parts));
    }
    // Three floodings of sigma 2^21 a slot and answer.
    let flooding = (3.0 * QUERIES as f64).sqrt() * 2f64.powi(21);
    let z = score / (flooding * cohort.energy().sqrt());
    assert!(z.abs() < 3.0, "z = {z}");
    // What the watermark itself adds to z: far below what any number of paid answers can resolve.
    let expected = QUERIES as f64 * cohort.energy() / (flooding * cohort.energy().sqrt());
    assert!(expected < 0.01, "{expected}");
}
