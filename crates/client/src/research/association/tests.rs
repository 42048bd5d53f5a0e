use super::*;
use crate::research::{
    StudyFacts,
    scripted::{Scene, person},
    study_files, study_of,
};
use locus_genomics::Genotype;
use locus_privacy::Rho;
use locus_report::{CohortCounts, Effect};
use locus_statistics::{mantel_haenszel, trend_test};

const ASKED: [u32; 6] = [0, 1, 7, 4079, 4080, 4089];

fn exact(scene: &Scene, variant: u32, people: &[u32]) -> ClassCounts {
    let [het, hom_alt, missing] =
        scene.counts(variant, people).map(|count| u64::try_from(count).expect("not negative"));
    ClassCounts::exact(people.len() as u64, het, hom_alt, missing).expect("they add up")
}

fn case_control(scene: &Scene, strata: Option<&str>) -> AskedFilter {
    let strata = strata.map(|name| scene.schema.find_named(name).expect("an attribute"));
    let (cases, controls) = (scene.predicate("smoker"), scene.predicate("not smoker"));
    case_control_filter(&cases, &controls, strata, scene.schema.clone()).expect("a filter")
}

#[test]
fn cases_and_controls_test_as_their_people_do() {
    for complete_calls in [true, false] {
        let scene = Scene::new(400, 4090, complete_calls);
        let asked = case_control(&scene, None);
        let opened = scene.answer(&asked, &ASKED, Rho::ZERO, 0).opened();
        let table = association_table(&opened, &asked, &scene.panel, Method::Trend).expect("a table");
        let groups = [0, 1].map(|place| scene.selected(&asked.filter().selections()[place]));
        for (row, variant) in table.rows.iter().zip(ASKED) {
            let [cases, controls] = groups.each_ref().map(|people| exact(&scene, variant, people));
            let expected = trend_test(&CaseControl { cases, controls });
            assert_eq!(row.p_value, expected.map(|test| test.p_value), "variant {variant}");
            assert!(row.p_value.is_some() && row.effect.is_some());
        }
    }
}

#[test]
fn strata_test_as_their_people_do_and_bands_and_categories_make_them() {
    let scene = Scene::new(600, 4090, true);
    for (name, texts) in [
        (
            "sex",
            vec![
                "sex = 'M' AND smoker",
                "sex = 'M' AND NOT smoker",
                "sex = 'F' AND smoker",
                "sex = 'F' AND NOT smoker",
            ],
        ),
        (
            "age",
            vec![
                "smoker AND age < 40",
                "NOT smoker AND age < 40",
                "smoker AND age >= 40 AND age < 65",
                "NOT smoker AND age >= 40 AND age < 65",
                "smoker AND age >= 65",
                "NOT smoker AND age >= 65",
            ],
        ),
    ] {
        let asked = case_control(&scene, Some(name));
        assert_eq!(StudyKind::of(&asked), Some(StudyKind::Stratified));
        let selections = asked.filter().selections();
        assert_eq!(selections.iter().map(|selection| asked.describe(selection)).collect::<Vec<_>>(), texts);
        let opened = scene.answer(&asked, &ASKED, Rho::ZERO, 0).opened();
        let table = association_table(&opened, &asked, &scene.panel, Method::Allelic).expect("a table");
        assert_eq!(table.method, Method::Stratified);
        let people: Vec<Vec<u32>> = selections.iter().map(|selection| scene.selected(selection)).collect();
        for (row, variant) in table.rows.iter().zip(ASKED) {
            let strata: Vec<CaseControl> = people
                .chunks(2)
                .map(|pair| CaseControl {
                    cases: exact(&scene, variant, &pair[0]),
                    controls: exact(&scene, variant, &pair[1]),
                })
                .collect();
            let expected = mantel_haenszel(&strata).expect("informative");
            assert_eq!(row.p_value, Some(expected.test.p_value));
            let ratio = expected.odds_ratio.map(|odds| odds.ratio);
            assert_eq!(row.effect.map(|effect| effect.estimate), ratio);
        }
    }
}

/// Noise of every number enters: in het, hom_alt, missing and the number of people selected.
#[test]
fn noisy_answers_are_tested_with_the_variance_that_was_bought() {
    let scene = Scene::new(400, 4090, false);
    let asked = case_control(&scene, None);
    let rho = Rho::from_nano(50_000_000);
    let opened = scene.answer(&asked, &ASKED, rho, 2).opened();
    // Two selections of six variants and a matched number, at rho 0.05.
    let variance = 14.0 / 0.05;
    assert!((sigma(opened.dp_total().expect("noise")).powi(2) - variance).abs() < 1e-9);
    let table = association_table(&opened, &asked, &scene.panel, Method::Allelic).expect("a table");
    let noise = CountNoise::try_new(variance, variance, variance).expect("variances");
    let [cases, controls] = [0, 1].map(|place| {
        let row = opened.selections()[place].rows[0];
        ClassCounts::noisy(row.individuals, row.het, row.hom_alt, row.missing, noise)
    });
    let expected = locus_statistics::allelic_test(&CaseControl { cases, controls }).expect("tested");
    let p_value = table.rows[0].p_value.expect("tested");
    assert!((p_value - expected.p_value).abs() < 1e-12, "{p_value} {expected:?}");
    let exact = scene.answer(&asked, &ASKED, Rho::ZERO, 0).opened();
    let exact = association_table(&exact, &asked, &scene.panel, Method::Allelic).expect("a table");
    let error = |row: &locus_report::AssociationRow| row.effect.map_or(0.0, |effect: Effect| effect.standard_error);
    assert!(error(&table.rows[0]) > error(&exact.rows[0]));
}

/// The largest relative error of a trait's slopes and standard errors, and how many people it is about.
fn trait_errors(complete_calls: bool, missing_calls: bool) -> (f64, f64) {
    let scene = Scene::new(500, 4090, complete_calls);
    let bmi = scene.schema.find_named("bmi").expect("an attribute");
    let women = scene.predicate("sex = 'F'");
    let asked = trait_filter(bmi, Some(&women), scene.schema.clone(), missing_calls).expect("a filter");
    let study = StudyKind::Trait { quantity: bmi, bits: 3 };
    assert_eq!(StudyKind::of(&asked), Some(study));
    assert_eq!(asked.filter().selections().len(), if missing_calls { 1 + 3 + 6 } else { 1 + 3 });
    let opened = scene.answer(&asked, &ASKED, Rho::ZERO, 0).opened();
    let people = scene.selected(&asked.filter().selections()[0]);
    let planes = scene.schema.bits_of(bmi).skip(2).take(3);
    let value = |number: &u32| -> i64 {
        let bits = person(*number, &scene.schema).to_bits(&scene.schema);
        planes.clone().enumerate().map(|(plane, bit)| i64::try_from(bits[bit]).expect("a bit") << plane).sum()
    };
    let square_sum: i64 = people.iter().map(|person| value(person).pow(2)).sum();
    assert_eq!(opened.selections()[1].square_sum, Some(square_sum));
    let table = association_table(&opened, &asked, &scene.panel, Method::Linear).expect("a table");
    let (mut slopes, mut errors) = (0.0f64, 0.0f64);
    for (row, variant) in table.rows.iter().zip(ASKED) {
        let bmi = |person: &u32| 10.0 + 0.5 * value(person) as f64;
        let called: Vec<u32> =
            people.iter().copied().filter(|person| scene.genotype(variant, *person) != Genotype::Missing).collect();
        assert_eq!(called.len() == people.len(), complete_calls);
        let of_class = |wanted: Genotype| {
            called.iter().filter(|person| scene.genotype(variant, **person) == wanted).map(bmi).sum()
        };
        let sums = TraitSums {
            classes: exact(&scene, variant, &people),
            sum: called.iter().map(bmi).sum(),
            het_sum: of_class(Genotype::Het),
            hom_alt_sum: of_class(Genotype::HomAlt),
            square_sum: called.iter().map(|person| bmi(person).powi(2)).sum(),
            noise: TraitNoise::NONE,
        };
        let expected = locus_statistics::linear_regression(&sums).expect("a fit");
        let effect = row.effect.expect("a fit");
        slopes = slopes.max((effect.estimate / expected.beta - 1.0).abs());
        errors = errors.max((effect.standard_error / expected.standard_error - 1.0).abs());
    }
    (slopes, errors)
}

#[test]
fn a_trait_regresses_as_its_people_do() {
    let (slopes, errors) = trait_errors(true, false);
    assert!(slopes < 1e-9 && errors < 1e-9, "{slopes} {errors}");
    let (slopes, errors) = trait_errors(false, true);
    assert!(slopes < 1e-9 && errors < 1e-9, "{slopes} {errors}");
    // Control: without the bits of squares, the errors are nearly right where calls are missing.
    let (slopes, errors) = trait_errors(false, false);
    assert!(slopes < 1e-9 && (1e-6..0.02).contains(&errors), "{slopes} {errors}");
}

#[test]
fn selections_of_a_trait_have_names() {
    let study = StudyKind::Trait { quantity: AttributeIndex(0), bits: 3 };
    let names: Vec<String> = [0, 1, 3, 4, 9].map(|place| study.name_of(place)).into();
    assert_eq!(names[..3], ["people", "bit 0 of the trait", "bit 2 of the trait"]);
    assert_eq!(names[3..], ["bit 0 of the trait's square", "bit 5 of the trait's square"]);
}

#[test]
fn studies_that_mean_nothing_are_refused_with_the_way_out() {
    let scene = Scene::new(1, 20, true);
    let refused = |cases: &str, controls: &str, strata: Option<&str>| {
        let strata = strata.map(|name| scene.schema.find_named(name).expect("an attribute"));
        let (cases, controls) = (scene.predicate(cases), scene.predicate(controls));
        case_control_filter(&cases, &controls, strata, scene.schema.clone()).expect_err("refused")
    };
    assert!(matches!(refused("smoker", "age >= 65", None), AssociationError::Overlap));
    assert!(matches!(refused("smoker", "not smoker", Some("bmi")), AssociationError::NoStrata(_)));
    let one = refused("smoker and sex = 'F'", "not smoker", Some("sex"));
    assert!(matches!(one, AssociationError::TooFewStrata { strata: 1, .. }));
    let smoker = scene.schema.find_named("smoker").expect("an attribute");
    assert!(matches!(trait_filter(smoker, None, scene.schema.clone(), true), Err(AssociationError::NoTrait(_))));
    assert_eq!(StudyKind::of(&scene.filter(&["smoker", "not smoker", "age >= 65"])), None);
    assert_eq!(StudyKind::of(&scene.filter(&["smoker"])), None);
}

#[test]
fn a_study_becomes_files_that_name_its_people_and_order() {
    let scene = Scene::new(400, 200, true);
    let asked = case_control(&scene, None);
    let variants: Vec<u32> = (0..200).collect();
    let answer = scene.answer(&asked, &variants, Rho::ZERO, 0);
    let (verified, opened) = answer.open(&answer.record).expect("opened");
    let facts = StudyFacts {
        title: None,
        ancestry_category: "NR".to_owned(),
        genotyping_technology: "NR".to_owned(),
        date: "2026-11-21".to_owned(),
        software: "locus".to_owned(),
    };
    let study = study_of(&verified, &opened, &scene.panel, facts).expect("a study");
    let [cases, controls] = [0, 1].map(|place| opened.selections()[place].matched);
    assert_eq!(study.counts, CohortCounts::CaseControl { cases, controls });
    assert_eq!(study.trait_description, "smoker versus NOT smoker");
    let table = association_table(&opened, &asked, &scene.panel, Method::Allelic).expect("a table");
    let files = study_files(&table, &study).expect("files");
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "association.tsv",
        "association.ssf.tsv",
        "association.ssf.tsv-meta.yaml",
        "association.parquet",
        "manhattan.svg",
        "manhattan.png",
        "quantiles.svg",
        "quantiles.png",
        "frequencies.svg",
        "frequencies.png",
        "report.html",
    ];
    assert_eq!(names, expected);
    let text = |name: &str| {
        let (_, bytes) = files.iter().find(|(other, _)| other == name).expect("a file");
        String::from_utf8(bytes.clone()).expect("text")
    };
    assert_eq!(text("association.tsv").lines().count(), 201);
    let page = text("report.html");
    assert!(page.contains(&verified.order_id().to_string()) && page.contains("NOT smoker"));
    assert!(text("association.ssf.tsv-meta.yaml").contains(&format!("case_count: {cases}")));
}
