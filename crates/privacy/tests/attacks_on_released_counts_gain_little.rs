//! Attacks on who is in a cohort and what they carry, with nothing but released counts: the likelihood ratio of
//! Homer et al. (2008) and Sankararaman et al. (2009), the beacon test of Shringarpure and Bustamante (2015), and
//! a cohort of accomplices around one victim. Each works on exact counts, its control.

use crate::stream::{AesStream, seeded_words, uniform_real};
use locus_privacy::{
    DiscreteGaussian, Rho, SigmaSquared, UniformWords,
    report::{normal_cdf, sigma},
};

const SEEDS: [u64; 3] = [1, 2, 3];

/// Whether each of some people is het and whether hom_alt at each variant.
type People = Vec<Vec<[bool; 2]>>;

/// A study: its members, others of the same population, and the frequencies that everybody knows.
struct Study {
    frequencies: Vec<f64>,
    members: People,
    others: People,
}

impl Study {
    fn simulate(members: usize, others: usize, frequencies: Vec<f64>, words: &mut UniformWords<AesStream>) -> Self {
        let mut people = |count: usize| -> People {
            (0..count).map(|_| frequencies.iter().map(|frequency| genotype(*frequency, words)).collect()).collect()
        };
        let (members, others) = (people(members), people(others));
        Self { frequencies, members, others }
    }

    /// (het, hom_alt) counts of the members, with this noise on each.
    fn release(&self, noise: Option<&DiscreteGaussian>, words: &mut UniformWords<AesStream>) -> Vec<[f64; 2]> {
        let mut draw = || noise.map_or(0, |noise| (0..3).map(|_| noise.sample(words)).sum::<i64>());
        (0..self.frequencies.len())
            .map(|variant| {
                [0, 1].map(|kind| {
                    let count = self.members.iter().filter(|person| person[variant][kind]).count();
                    real(i64::try_from(count).expect("small") + draw())
                })
            })
            .collect()
    }

    /// Area under the curve of a score that should be high for members.
    fn auc(&self, score: impl Fn(&[[bool; 2]]) -> f64) -> f64 {
        let mut scores: Vec<(f64, bool)> = self.members.iter().map(|person| (score(person), true)).collect();
        scores.extend(self.others.iter().map(|person| (score(person), false)));
        scores.sort_by(|left, right| left.0.total_cmp(&right.0));
        let (mut below, mut wins) = (0.0, 0.0);
        for group in scores.chunk_by(|left, right| left.0 == right.0) {
            let inside = real(group.iter().filter(|(_, is_member)| *is_member).count());
            let outside = real(group.len()) - inside;
            wins += inside * (below + outside / 2.0);
            below += outside;
        }
        wins / (real(self.members.len()) * real(self.others.len()))
    }
}

fn real<N: TryInto<i64>>(number: N) -> f64 {
    let number = number.try_into().ok().and_then(|number| i32::try_from(number).ok());
    f64::from(number.expect("a small number"))
}

fn genotype(frequency: f64, words: &mut UniformWords<AesStream>) -> [bool; 2] {
    match (uniform_real(words) < frequency, uniform_real(words) < frequency) {
        (true, true) => [false, true],
        (false, false) => [false, false],
        _ => [true, false],
    }
}

/// Allele frequencies of common variants.
fn common(count: usize, words: &mut UniformWords<AesStream>) -> Vec<f64> {
    (0..count).map(|_| 0.05 + 0.45 * uniform_real(words)).collect()
}

/// A third of the noise that the tiers put on every counter of so many variants.
fn share_noise(variants: usize, rho: &str) -> (DiscreteGaussian, f64) {
    let rho: Rho = rho.parse().expect("an amount");
    let variants = u32::try_from(variants).expect("small");
    let share = SigmaSquared::per_share(variants, rho).expect("positive");
    let total = SigmaSquared::total(variants, rho).expect("positive");
    (DiscreteGaussian::try_new(share).expect("in range"), sigma(total).powi(2))
}

/// Gaussian log-likelihood ratio of "this person is in the cohort" over "is not", for counts with noise of
/// this variance.
fn likelihood_ratio(person: &[[bool; 2]], counts: &[[f64; 2]], frequencies: &[f64], people: f64, noise: f64) -> f64 {
    let of_variant = |((person, counts), frequency): ((&[bool; 2], &[f64; 2]), &f64)| {
        let expected = [2.0 * frequency * (1.0 - frequency), frequency * frequency];
        (0..2)
            .map(|kind| {
                let probability = expected[kind];
                let variance = people * probability * (1.0 - probability) + noise;
                let outside = counts[kind] - people * probability;
                let inside = counts[kind] - (people - 1.0) * probability - f64::from(u8::from(person[kind]));
                (outside * outside - inside * inside) / (2.0 * variance)
            })
            .sum::<f64>()
    };
    person.iter().zip(counts).zip(frequencies).map(of_variant).sum()
}

/// T12: 2,500 people tried a seed, 500 of them members, 1,000 variants.
#[test]
fn noisy_counts_tell_little_about_membership_and_exact_ones_much() {
    for seed in SEEDS {
        let mut words = seeded_words(seed);
        let frequencies = common(1_000, &mut words);
        let study = Study::simulate(500, 2_000, frequencies, &mut words);
        let attack = |counts: &[[f64; 2]], noise: f64| {
            study.auc(|person| likelihood_ratio(person, counts, &study.frequencies, 500.0, noise))
        };
        let exact = attack(&study.release(None, &mut words), 0.0);
        assert!(exact >= 0.88, "the control: seed {seed}, AUC {exact}");
        for (rho, auc_max) in [("0.01", 0.54), ("0.05", 0.59), ("0.25", 0.69)] {
            let (share, variance) = share_noise(1_000, rho);
            let auc = attack(&study.release(Some(&share), &mut words), variance);
            assert!(auc <= auc_max + 0.03, "seed {seed}, rho {rho}: AUC {auc}");
        }
    }
}

/// T13: 5,000 rare variants, of which a beacon says whether anybody carries them.
#[test]
fn whether_anybody_carries_a_rare_variant_betrays_no_member_through_the_noise() {
    for seed in SEEDS {
        let mut words = seeded_words(seed);
        // A member's private variants are the evidence: frequencies about one in a thousand alleles.
        let frequencies: Vec<f64> = (0..5_000).map(|_| 0.000_1 + 0.001_5 * uniform_real(&mut words)).collect();
        let study = Study::simulate(500, 2_000, frequencies, &mut words);
        let attack = |counts: &[[f64; 2]]| {
            let answers: Vec<bool> = counts.iter().map(|[het, hom_alt]| het + hom_alt > 0.5).collect();
            let share_of_yes = real(answers.iter().filter(|yes| **yes).count()) / real(answers.len());
            study.auc(|person| {
                let carried = person.iter().zip(&study.frequencies).zip(&answers);
                let carried = carried.filter(|((person, _), _)| person[0] || person[1]);
                carried
                    .map(|((_, frequency), yes)| {
                        // Chance that someone among 499 others carries it, or that noise says so.
                        let by_others = (1.0 - (1.0 - frequency).powi(998)).max(share_of_yes / 2.0);
                        if *yes { -by_others.ln() } else { -4.0 }
                    })
                    .sum()
            })
        };
        let exact = attack(&study.release(None, &mut words));
        assert!(exact >= 0.90, "the control: seed {seed}, AUC {exact}");
        let (share, _) = share_noise(5_000, "0.01");
        let noisy = attack(&study.release(Some(&share), &mut words));
        assert!(noisy <= 0.55, "seed {seed}: AUC {noisy}");
    }
}

/// T14: 99 accomplices who know their own genomes, and one victim.
#[test]
fn accomplices_learn_a_victims_genotypes_no_better_than_the_noise_allows() {
    const VARIANTS: usize = 20_000;
    for seed in SEEDS {
        let mut words = seeded_words(seed);
        let frequencies = common(VARIANTS, &mut words);
        let study = Study::simulate(100, 0, frequencies, &mut words);
        let (victim, accomplices) = study.members.split_first().expect("a hundred people");
        let accuracy = |counts: &[[f64; 2]]| {
            let is_right = |variant: usize| {
                let known = real(accomplices.iter().filter(|person| person[variant][0]).count());
                (counts[variant][0] - known > 0.5) == victim[variant][0]
            };
            real((0..VARIANTS).filter(|variant| is_right(*variant)).count()) / real(VARIANTS)
        };
        assert!((accuracy(&study.release(None, &mut words)) - 1.0).abs() < f64::EPSILON, "the control");
        // A question about 16 variants has the least noise that an open answer can have on many of them.
        for (asked, rho) in [(16, "0.01"), (1_000, "0.01"), (1_000, "0.05")] {
            let (share, variance) = share_noise(asked, rho);
            let measured = accuracy(&study.release(Some(&share), &mut words));
            let bound = normal_cdf(1.0 / (2.0 * variance.sqrt()));
            let standard_error = (0.25 / real(VARIANTS)).sqrt();
            assert!(measured <= bound + 3.0 * standard_error, "{asked} variants, rho {rho}: {measured} over {bound}");
        }
    }
}
