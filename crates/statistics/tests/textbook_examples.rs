//! Known answers, edges and refusals.

use locus_statistics::*;

fn group(hom_ref: u64, het: u64, hom_alt: u64) -> ClassCounts {
    ClassCounts::exact(hom_ref + het + hom_alt, het, hom_alt, 0).expect("they add up")
}

fn close(left: f64, right: f64) -> bool {
    (left - right).abs() <= 1e-9 * right.abs().max(1e-300)
}

#[test]
fn fisher_knows_the_lady_tasting_tea() {
    let tea = AlleleTable { cases: [3, 1], controls: [1, 3] };
    assert!(close(fisher_exact(&tea), 34.0 / 70.0));
    let all = AlleleTable { cases: [4, 0], controls: [0, 4] };
    assert!(close(fisher_exact(&all), 2.0 / 70.0));
    let nothing = AlleleTable { cases: [0, 0], controls: [0, 7] };
    assert!(close(fisher_exact(&nothing), 1.0));
}

#[test]
fn hardy_weinberg_enumerates_small_samples() {
    // Three people, three copies of each allele: 1 or 3 het, with probabilities 12/20 and 8/20.
    assert!(close(hardy_weinberg_exact(&group(1, 1, 1)).expect("exact"), 1.0));
    assert!(close(hardy_weinberg_exact(&group(0, 3, 0)).expect("exact"), 8.0 / 20.0));
    assert!(close(hardy_weinberg_exact(&group(9, 0, 0)).expect("exact"), 1.0));
    assert!(close(hardy_weinberg_exact(&group(0, 0, 0)).expect("exact"), 1.0));
}

#[test]
fn exact_and_chi_squared_hardy_weinberg_agree_on_large_samples() {
    let counts = group(4_900, 4_150, 950);
    let exact = hardy_weinberg_exact(&counts).expect("exact");
    let approximate = hardy_weinberg_test(&counts).expect("two alleles").p_value;
    assert!((exact - approximate).abs() < 0.01, "{exact} {approximate}");
}

#[test]
fn a_variant_nobody_carries_has_no_test() {
    let groups = CaseControl { cases: group(50, 0, 0), controls: group(70, 0, 0) };
    assert_eq!(trend_test(&groups), None);
    assert_eq!(allelic_test(&groups), None);
    assert_eq!(genotypic_test(&groups), None);
    assert_eq!(allelic_odds_ratio(&groups), None);
    assert_eq!(mantel_haenszel(&[groups]), None);
    assert_eq!(hardy_weinberg_test(&groups.cases), None);
}

#[test]
fn an_empty_group_has_no_test() {
    let groups = CaseControl { cases: group(0, 0, 0), controls: group(70, 5, 1) };
    assert_eq!(trend_test(&groups), None);
    assert_eq!(genotypic_test(&groups), None);
    assert_eq!(mantel_haenszel(&[groups]), None);
}

#[test]
fn exact_tests_refuse_noisy_counts() {
    let noise = CountNoise::try_new(4.0, 0.0, 0.0).expect("a variance");
    let noisy = ClassCounts::noisy(100, 20, 3, 0, noise);
    assert_eq!(hardy_weinberg_exact(&noisy), Err(StatisticsError::NoisyCounts));
    let groups = CaseControl { cases: noisy, controls: group(80, 18, 2) };
    assert_eq!(AlleleTable::of_groups(&groups), Err(StatisticsError::NoisyCounts));
    let negative = ClassCounts::noisy(100, -5, 2, 0, noise);
    assert_eq!(allelic_odds_ratio(&CaseControl { cases: negative, controls: negative }), None);
}

#[test]
fn values_that_cannot_be_are_refused() {
    assert!(ClassCounts::exact(10, 6, 5, 0).is_err());
    assert!(ClassCounts::exact(10, u64::MAX, 1, 0).is_err());
    for variance in [-1.0, f64::NAN, f64::INFINITY] {
        assert!(CountNoise::try_new(variance, 0.0, 0.0).is_err());
        assert!(TraitNoise::try_new(0.0, variance).is_err());
    }
    assert!(ConfidenceLevel::try_new(1.0).is_err());
    assert!(TraitScale::try_new(0.0, 0.0, 8).is_err() && TraitScale::try_new(0.0, 1.0, 17).is_err());
}

#[test]
fn more_noise_never_makes_a_result_more_significant() {
    let with = |variance: f64| {
        let noise = CountNoise::try_new(variance, variance, variance).expect("a variance");
        let groups = CaseControl {
            cases: ClassCounts::noisy(500, 180, 40, 5, noise),
            controls: ClassCounts::noisy(700, 190, 30, 3, noise),
        };
        [
            trend_test(&groups),
            allelic_test(&groups),
            dominant_test(&groups),
            recessive_test(&groups),
            genotypic_test(&groups),
        ]
        .map(|outcome| outcome.expect("both groups vary").p_value)
    };
    let levels = [0.0, 1.0, 100.0, 2_500.0].map(with);
    for pair in levels.windows(2) {
        for (less, more) in pair[0].iter().zip(&pair[1]) {
            assert!(less < more, "{pair:?}");
        }
    }
}

#[test]
fn lambda_is_one_for_the_median_of_the_null_distribution() {
    assert!((genomic_inflation(&[0.0, 0.454_936_423_119_572_7, 9.0]).expect("statistics") - 1.0).abs() < 1e-12);
    assert_eq!(genomic_inflation(&[]), None);
    assert_eq!(median(&[3.0, f64::NAN, 1.0]), Some(2.0));
}

#[test]
fn a_trait_summed_by_bit_planes_is_the_trait_summed() {
    let scale = TraitScale::try_new(-2.0, 0.5, 4).expect("a scale");
    let values = [-9.0, -2.0, -0.3, 0.0, 1.26, 5.5, 77.0];
    let quantised = values.map(|value| scale.quantise(value));
    assert_eq!(quantised, [0, 0, 3, 4, 7, 15, 15]);
    let plane = |bit: u32| quantised.iter().map(|value| i64::from(value >> bit & 1)).sum();
    let planes: Vec<i64> = (0..4).map(plane).collect();
    assert_eq!(scale.sum_of_planes(&planes), Ok(44));
    assert_eq!(scale.sum_of_planes(&planes[1..]), Err(StatisticsError::PlaneCount { expected: 4, got: 3 }));
    assert!(close(scale.plane_noise(2.0), 2.0 * (1.0 + 4.0 + 16.0 + 64.0)));
}
