//! The figures of a quote against tables, and against an attack that is carried out.

use crate::stream::{AesStream, seeded_words, uniform_real};
use locus_privacy::{
    NetworkParameters, PrivacyError, Rho, SigmaSquared, Tier, UniformWords,
    report::{
        Quote, QuotePrecision, QuoteRequest, Usefulness, allele_frequency_standard_error, epsilon,
        exact_membership_auc, membership_auc_bound, normal_cdf, sigma,
    },
};

fn rho(text: &str) -> Rho {
    text.parse().expect("an amount")
}

fn assert_near(name: &str, value: f64, expected: f64, tolerance: f64) {
    assert!((value - expected).abs() <= tolerance, "{name}: {value}, expected {expected} +- {tolerance}");
}

#[test]
fn the_normal_distribution_function_matches_tables() {
    for (x, expected) in
        [(0.0, 0.5), (1.0, 0.841_344_746_068_542_9), (-1.96, 0.024_997_895_148_220_44), (3.0, 0.998_650_101_968_369_9)]
    {
        assert_near("normal_cdf", normal_cdf(x), expected, 1e-15);
    }
    assert_eq!((normal_cdf(-40.0), normal_cdf(40.0)), (0.0, 1.0));
}

#[test]
fn epsilon_and_membership_bounds_match_the_published_table() {
    for (amount, epsilon_6, epsilon_8, auc) in [
        ("0.002", 0.26, 0.32, 0.518),
        ("0.01", 0.62, 0.75, 0.540),
        ("0.05", 1.47, 1.76, 0.588),
        ("0.1", 2.14, 2.54, 0.624),
        ("0.5", 5.22, 6.09, 0.760),
        ("1", 7.77, 8.98, 0.841),
    ] {
        assert_near(amount, epsilon(rho(amount), 1e-6).expect("delta"), epsilon_6, 0.006);
        assert_near(amount, epsilon(rho(amount), 1e-8).expect("delta"), epsilon_8, 0.006);
        assert_near(amount, membership_auc_bound(rho(amount)), auc, 0.0006);
    }
    assert_eq!(epsilon(Rho::ZERO, 1e-6), Ok(0.0));
    for delta in [0.0, 1.0, -1.0, f64::NAN] {
        assert!(matches!(epsilon(rho("0.1"), delta), Err(PrivacyError::QuoteInput { .. })));
    }
}

#[test]
fn allele_frequency_errors_match_the_published_table() {
    for (variants, amount, people, error, tolerance) in [
        (1, "0.01", 2504, 0.0045, 0.0001),
        (16, "0.01", 500, 0.089, 0.001),
        (100, "0.05", 2504, 0.020, 0.0005),
        (1000, "0.05", 500, 0.32, 0.005),
        (10_000, "0.05", 2504, 0.20, 0.005),
        (65_536, "0.25", 50_000, 0.011, 0.001),
    ] {
        let total = SigmaSquared::total(variants, rho(amount)).expect("positive");
        assert_near("error", allele_frequency_standard_error(total, people), error, tolerance);
    }
    assert_near("sigma", sigma(SigmaSquared::try_new(10_000, 3).expect("positive")), 57.735, 0.001);
}

#[test]
fn exact_membership_matches_the_measured_attacks() {
    for (people, variants, low, high) in [
        (500, 100, 0.65, 0.70),
        (500, 1000, 0.92, 0.922),
        (500, 10_000, 1.0, 1.0),
        (2504, 1000, 0.72, 0.73),
        (2504, 10_000, 0.97, 0.972),
        (50_000, 10_000, 0.67, 0.70),
    ] {
        let estimate = exact_membership_auc(variants, people, false);
        assert!(low - 0.02 <= estimate && estimate <= high + 0.02, "{people} x {variants}: {estimate}");
    }
    assert!(exact_membership_auc(1000, 2504, true) > exact_membership_auc(1000, 2504, false));
}

/// Flags (het, hom_alt) of a person drawn at allele frequency `frequency`.
fn person(frequency: f64, words: &mut UniformWords<AesStream>) -> [f64; 2] {
    let copies = [(); 2].map(|()| u8::from(uniform_real(words) < frequency)).iter().sum::<u8>();
    [f64::from(u8::from(copies == 1)), f64::from(u8::from(copies == 2))]
}

/// One variant's part of the log-likelihood ratio that `flags` belong to the `people` counted.
fn likelihood_ratio(flags: [f64; 2], counts: [f64; 2], frequency: f64, people: f64) -> f64 {
    let mean = [2.0 * frequency * (1.0 - frequency), frequency * frequency];
    let [a, b] = [flags[0] - mean[0], flags[1] - mean[1]];
    let [c, d] = [counts[0] - people * mean[0], counts[1] - people * mean[1]];
    let (var_het, var_hom) = (mean[0] * (1.0 - mean[0]), mean[1] * (1.0 - mean[1]));
    let cov = -mean[0] * mean[1];
    ((var_hom * a - cov * b) * c + (var_het * b - cov * a) * d) / ((var_het * var_hom - cov * cov) * people)
}

#[test]
fn a_membership_attack_on_exact_counts_is_as_good_as_quoted() {
    const PEOPLE: u32 = 120;
    const TRIALS: usize = 800;
    for variants in [60u32, 240] {
        let mut words = seeded_words(u64::from(variants));
        let mut scores = Vec::new();
        for _ in 0..TRIALS {
            let (mut inside, mut outside) = (0.0, 0.0);
            for _ in 0..variants {
                let frequency = 0.05 + 0.45 * uniform_real(&mut words);
                let member = person(frequency, &mut words);
                let stranger = person(frequency, &mut words);
                let mut counts = member;
                for _ in 1..PEOPLE {
                    let other = person(frequency, &mut words);
                    counts = [counts[0] + other[0], counts[1] + other[1]];
                }
                inside += likelihood_ratio(member, counts, frequency, f64::from(PEOPLE));
                outside += likelihood_ratio(stranger, counts, frequency, f64::from(PEOPLE));
            }
            scores.push((inside, outside));
        }
        let wins = scores.iter().flat_map(|(inside, _)| scores.iter().map(move |(_, outside)| inside > outside));
        let auc = wins.filter(|win| *win).count() as f64 / (TRIALS * TRIALS) as f64;
        // Standard error of the area at 800 trials: about 0.012.
        assert_near("area under the curve", auc, exact_membership_auc(variants, PEOPLE, false), 0.036);
    }
}

fn request(tier: Tier, cohort_size: u32, variants: u32, amount: &str) -> QuoteRequest {
    let rho = rho(amount);
    QuoteRequest { tier, cohort_size, variants, blocks: 1, has_missing_plane: true, rho, rekeyings: 0 }
}

fn noisy(request: &QuoteRequest) -> locus_privacy::report::NoisyQuote {
    match Quote::compute(request, &NetworkParameters::standard()).expect("a quote").precision {
        QuotePrecision::Noisy(noisy) => noisy,
        QuotePrecision::Exact { .. } => panic!("the quote is exact"),
    }
}

#[test]
fn an_open_quote_states_error_and_loss() {
    let asked = request(Tier::Open, 2504, 100, "0.01");
    let quote = Quote::compute(&asked, &NetworkParameters::standard()).expect("a quote");
    assert_eq!((quote.cost.dp, quote.cost.flooding.as_nano()), (rho("0.01"), 240));
    let figures = noisy(&asked);
    assert_eq!((figures.total.to_string(), figures.share.to_string()), ("10000".into(), "10000/3".into()));
    assert_eq!((figures.decode_offset, figures.rho_with_one_keyholder), (700, rho("0.03")));
    assert_eq!(figures.usefulness, Usefulness::Useful);
    assert_near("error", figures.allele_frequency_standard_error, 0.04465, 0.0001);
}

#[test]
fn a_useless_quote_says_what_would_help_and_each_remedy_works() {
    let asked = request(Tier::Vetted, 500, 1000, "0.02");
    let Usefulness::Useless { variants_max, cohort_size_min, rho_min } = noisy(&asked).usefulness else {
        panic!("an error of 0.5 passed for useful");
    };
    assert_eq!((variants_max, cohort_size_min, rho_min), (40, 2500, None));
    let people = u32::try_from(cohort_size_min).expect("small");
    for remedy in [request(Tier::Vetted, 500, variants_max, "0.02"), request(Tier::Vetted, people, 1000, "0.02")] {
        assert_eq!(noisy(&remedy).usefulness, Usefulness::Useful);
    }
    for too_little in
        [request(Tier::Vetted, 500, variants_max + 1, "0.02"), request(Tier::Vetted, people - 1, 1000, "0.02")]
    {
        assert_ne!(noisy(&too_little).usefulness, Usefulness::Useful);
    }
    let asked = request(Tier::Open, 2504, 100, "0.001");
    let Usefulness::Useless { rho_min: Some(enough), .. } = noisy(&asked).usefulness else {
        panic!("more rho would help");
    };
    let text = enough.to_string();
    assert_eq!(noisy(&request(Tier::Open, 2504, 100, &text)).usefulness, Usefulness::Useful);
}

#[test]
fn an_exact_quote_states_the_membership_test_it_allows() {
    let mut asked = request(Tier::Exact, 2504, 10_000, "0");
    (asked.has_missing_plane, asked.blocks) = (false, 3);
    let quote = Quote::compute(&asked, &NetworkParameters::standard()).expect("a quote");
    assert_eq!((quote.cost.dp, quote.cost.flooding.as_nano()), (Rho::ZERO, 360));
    asked.rekeyings = 1;
    let rekeyed = Quote::compute(&asked, &NetworkParameters::standard()).expect("a quote");
    assert_eq!(rekeyed.cost.flooding.as_nano(), 3 * 392);
    let QuotePrecision::Exact { membership_auc } = quote.precision else { panic!("the quote is noisy") };
    assert_near("area", membership_auc, 0.97, 0.02);
}

#[test]
fn quotes_that_break_a_rule_are_refused() {
    let refused = |asked: QuoteRequest| Quote::compute(&asked, &NetworkParameters::standard()).expect_err("refused");
    assert!(matches!(refused(request(Tier::Open, 0, 1, "0.01")), PrivacyError::QuoteInput { name: "cohort_size", .. }));
    assert!(matches!(refused(request(Tier::Open, 1, 0, "0.01")), PrivacyError::QuoteInput { name: "variants", .. }));
    assert!(matches!(refused(request(Tier::Open, 100, 1, "0")), PrivacyError::TierRho { .. }));
    assert!(matches!(refused(request(Tier::Exact, 1000, 1, "0.01")), PrivacyError::TierRho { .. }));
    assert!(matches!(refused(request(Tier::Open, 100, 1, "0.010000001")), PrivacyError::QueryCap { .. }));
    assert!(matches!(refused(request(Tier::Vetted, 100, 1, "0.050000001")), PrivacyError::QueryCap { .. }));
}
