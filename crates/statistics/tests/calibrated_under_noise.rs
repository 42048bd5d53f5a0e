//! Under the null hypothesis tests reject at their level also when the counts carry noise, and far
//! too often when the noise is not allowed for (positive control).

use aes::{
    Aes256,
    cipher::{KeyIvInit, StreamCipher},
};
use ctr::Ctr128BE;
use locus_privacy::{DiscreteGaussian, SigmaSquared, UniformBytes, UniformWords};
use locus_statistics::*;

struct AesStream(Ctr128BE<Aes256>);

impl UniformBytes for AesStream {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
        self.0.apply_keystream(bytes);
    }
}

/// A reproducible world: genotypes, traits, and noise from the sampler that answers use.
struct World {
    words: UniformWords<AesStream>,
    noise: DiscreteGaussian,
    variance: f64,
}

/// Level of the tests.
const LEVEL: f64 = 0.05;
/// Simulated variants. The standard error of a rejection rate of 0.05 is 0.0034.
const VARIANTS: usize = 4_000;
/// Most rejections of a calibrated test: 0.05 and three standard errors.
const CALIBRATED: f64 = LEVEL + 3.0 * 0.0035;
/// Least rejections of a calibrated test; less would waste power.
const NOT_WASTEFUL: f64 = 0.03;

impl World {
    fn new(seed: u8, sigma: u32) -> Self {
        let words = UniformWords::new(AesStream(Ctr128BE::new(&[seed; 32].into(), &[0; 16].into())));
        let variance = u128::from(sigma) * u128::from(sigma);
        let noise = DiscreteGaussian::try_new(SigmaSquared::try_new(variance, 1).expect("positive")).expect("in range");
        Self { words, noise, variance: f64::from(sigma * sigma) }
    }

    fn uniform(&mut self) -> f64 {
        f64::from(self.words.next_word()) / 4_294_967_296.0
    }

    /// Genotypes in Hardy-Weinberg proportions.
    fn genotype(&mut self, frequency: f64) -> usize {
        usize::from(self.uniform() < frequency) + usize::from(self.uniform() < frequency)
    }

    fn noisy(&mut self, value: i64) -> i64 {
        value + self.noise.sample(&mut self.words)
    }

    /// Released counts of `people` people, whose number is released with noise as well, as counts
    /// that declare their noise and as counts that do not.
    fn group(&mut self, people: i64, frequency: f64) -> [ClassCounts; 2] {
        let mut classes = [0i64; 3];
        for _ in 0..people {
            classes[self.genotype(frequency)] += 1;
        }
        let [size, het, hom_alt] = [people, classes[1], classes[2]].map(|value| self.noisy(value));
        let noise = CountNoise::try_new(self.variance, 0.0, self.variance).expect("a variance");
        [noise, CountNoise::NONE].map(|noise| ClassCounts::noisy(size, het, hom_alt, 0, noise))
    }

    fn frequency(&mut self) -> f64 {
        0.15 + 0.35 * self.uniform()
    }
}

/// Shares of p-values below the level.
fn rejected(p_values: &[Option<f64>]) -> f64 {
    let count = p_values.iter().flatten().filter(|p_value| **p_value < LEVEL).count();
    f64::from(u32::try_from(count).expect("small")) / f64::from(u32::try_from(p_values.len()).expect("small"))
}

/// p-values of `test` with noise declared and with noise ignored.
fn simulate<T>(test: impl Fn(&T) -> Option<f64>, mut worlds: impl FnMut() -> [T; 2]) -> [f64; 2] {
    let mut p_values = [Vec::new(), Vec::new()];
    for _ in 0..VARIANTS {
        for (kind, world) in worlds().iter().enumerate() {
            p_values[kind].push(test(world));
        }
    }
    p_values.map(|p_values| rejected(&p_values))
}

fn check(name: &str, [declared, ignored]: [f64; 2]) {
    eprintln!("{name}: {declared:.4} rejected with the noise allowed for, {ignored:.4} without");
    assert!(declared <= CALIBRATED, "{name} rejects {declared} of true null hypotheses");
    assert!(declared >= NOT_WASTEFUL, "{name} rejects only {declared}");
    assert!(ignored > 2.0 * LEVEL, "{name} should reject far too often without the correction, not {ignored}");
}

fn case_control(world: &mut World, frequency: f64) -> [CaseControl; 2] {
    let cases = world.group(300, frequency);
    let controls = world.group(500, frequency);
    [0, 1].map(|kind| CaseControl { cases: cases[kind], controls: controls[kind] })
}

#[test]
fn case_control_tests_are_calibrated() {
    let mut world = World::new(1, 12);
    let groups: Vec<[CaseControl; 2]> = (0..VARIANTS)
        .map(|_| {
            let frequency = world.frequency();
            case_control(&mut world, frequency)
        })
        .collect();
    type Test = fn(&CaseControl) -> Option<ChiSquared>;
    let tests: [(&str, Test); 5] = [
        ("trend", trend_test),
        ("allelic", allelic_test),
        ("dominant", dominant_test),
        ("recessive", recessive_test),
        ("genotypic", genotypic_test),
    ];
    for (name, test) in tests {
        let mut next = groups.iter().copied();
        let rates = simulate(|group| test(group).map(|outcome| outcome.p_value), || next.next().expect("one each"));
        check(name, rates);
    }
}

#[test]
fn the_trend_test_without_noise_is_calibrated_and_lambda_is_one() {
    let mut world = World::new(2, 12);
    let mut statistics = [Vec::new(), Vec::new()];
    for _ in 0..VARIANTS {
        let frequency = world.frequency();
        for (kind, groups) in case_control(&mut world, frequency).iter().enumerate() {
            statistics[kind].extend(trend_test(groups).map(|outcome| outcome.statistic));
        }
    }
    let [declared, ignored] = statistics.map(|values| genomic_inflation(&values).expect("statistics"));
    assert!((declared - 1.0).abs() < 0.1, "lambda {declared}");
    assert!(ignored > 1.5, "lambda without the correction is {ignored}");
}

#[test]
fn stratified_tests_are_calibrated() {
    let mut world = World::new(3, 8);
    let rates = simulate(
        |strata: &Vec<CaseControl>| mantel_haenszel(strata).map(|outcome| outcome.test.p_value),
        || {
            let mut strata = [Vec::new(), Vec::new()];
            for size in [150, 250] {
                let frequency = world.frequency();
                let cases = world.group(size, frequency);
                let controls = world.group(400 - size, frequency);
                for (kind, strata) in strata.iter_mut().enumerate() {
                    strata.push(CaseControl { cases: cases[kind], controls: controls[kind] });
                }
            }
            strata
        },
    );
    check("Cochran-Mantel-Haenszel", rates);
}

#[test]
fn hardy_weinberg_is_calibrated() {
    let mut world = World::new(4, 12);
    let rates = simulate(
        |counts: &ClassCounts| hardy_weinberg_test(counts).map(|outcome| outcome.p_value),
        || {
            let frequency = world.frequency();
            world.group(600, frequency)
        },
    );
    check("Hardy-Weinberg", rates);
}

#[test]
fn odds_ratio_intervals_cover_one() {
    let mut world = World::new(5, 12);
    // An interval counts like a p-value: 0, a rejection, when it misses 1.
    let coverage = |odds: Option<OddsRatio>| {
        let interval = odds.and_then(|odds| odds.interval(ConfidenceLevel::USUAL));
        interval.map(|(low, high)| if (low..=high).contains(&1.0) { 1.0 } else { 0.0 })
    };
    let rates = simulate(
        |groups: &CaseControl| coverage(allelic_odds_ratio(groups)),
        || {
            let frequency = world.frequency();
            case_control(&mut world, frequency)
        },
    );
    check("odds ratio interval", rates);
}

#[test]
fn regression_is_calibrated() {
    let mut world = World::new(6, 10);
    let scale = TraitScale::try_new(0.0, 1.0, 6).expect("a scale");
    let rates =
        simulate(|sums: &TraitSums| linear_regression(sums).map(|fit| fit.p_value), || trait_sums(&mut world, scale));
    check("regression", rates);
}

/// Sums over 600 people of a trait of 6 bits that no genotype changes, every plane with noise.
fn trait_sums(world: &mut World, scale: TraitScale) -> [TraitSums; 2] {
    let frequency = world.frequency();
    let (mut classes, mut planes) = ([0i64; 3], [[0i64; 6]; 3]);
    let (mut sum, mut square_sum) = (0i64, 0i64);
    for _ in 0..600 {
        let genotype = world.genotype(frequency);
        let value = scale.quantise(20.0 * (world.uniform() + world.uniform() + world.uniform()));
        classes[genotype] += 1;
        for (bit, plane) in planes[genotype].iter_mut().enumerate() {
            *plane += i64::from(value >> bit & 1);
        }
        sum += i64::from(value);
        square_sum += i64::from(value) * i64::from(value);
    }
    let [het, hom_alt] = [classes[1], classes[2]].map(|count| world.noisy(count));
    let class_sums = [1, 2].map(|genotype| {
        let noisy: Vec<i64> = planes[genotype].iter().map(|count| world.noisy(*count)).collect();
        as_f64(scale.sum_of_planes(&noisy).expect("one count a bit"))
    });
    let people = world.noisy(600);
    let sum = as_f64(world.noisy(sum));
    let variance = world.variance;
    let declared = CountNoise::try_new(variance, 0.0, variance).expect("a variance");
    let trait_noise = TraitNoise::try_new(scale.plane_noise(variance), variance).expect("variances");
    [(declared, trait_noise), (CountNoise::NONE, TraitNoise::NONE)].map(|(noise, trait_noise)| TraitSums {
        classes: ClassCounts::noisy(people, het, hom_alt, 0, noise),
        sum,
        het_sum: class_sums[0],
        hom_alt_sum: class_sums[1],
        square_sum: as_f64(square_sum),
        noise: trait_noise,
    })
}

#[expect(clippy::cast_precision_loss, reason = "small sums")]
fn as_f64(value: i64) -> f64 {
    value as f64
}
