//! What predicates mean, that equal meanings have one form, and how others are refused.

use crate::world::{parse, person, refused, schema};
use locus_phenotype::*;

#[test]
fn a_predicate_selects_whom_it_says() {
    let wanted = parse("sex = 'F' and age >= 50 and (HP:0000819 or icd10:E11)");
    assert!(wanted.selects(&person(&[("sex", "F"), ("age", "50"), ("HP:0000819", "yes")])));
    assert!(wanted.selects(&person(&[("sex", "F"), ("age", "81"), ("ICD10:E11.9", "yes")])));
    assert!(!wanted.selects(&person(&[("sex", "F"), ("age", "49"), ("HP:0000819", "yes")])));
    assert!(!wanted.selects(&person(&[("sex", "M"), ("age", "50"), ("HP:0000819", "yes")])));
    assert!(!wanted.selects(&person(&[("sex", "F"), ("age", "50"), ("HP:0000819", "no"), ("ICD10:E11", "no")])));
    assert!(!wanted.selects(&person(&[("age", "50"), ("HP:0000819", "yes")])));
}

#[test]
fn unknown_is_neither_yes_nor_no() {
    let unknown = person(&[]);
    for text in [
        "smoker",
        "NOT smoker",
        "sex = 'F'",
        "sex <> 'F'",
        "NOT sex = 'F'",
        "sex NOT IN ('F')",
        "age < 50",
        "NOT age < 50",
        "HP:0000819",
        "NOT HP:0000819",
    ] {
        assert!(!parse(text).selects(&unknown), "{text}");
    }
    for text in [
        "smoker IS UNKNOWN",
        "smoker IS NOT TRUE",
        "sex IS NULL",
        "NOT sex IS NOT UNKNOWN",
        "height IS UNKNOWN",
        "HP:0000819 IS UNKNOWN",
    ] {
        assert!(parse(text).selects(&unknown), "{text}");
    }
    // An unknown part does not hide a part that decides.
    let smoker = person(&[("smoker", "yes")]);
    assert!(parse("smoker OR sex = 'F'").selects(&smoker));
    assert!(parse("NOT (NOT smoker AND sex = 'F')").selects(&smoker));
}

#[test]
fn a_term_covers_its_kinds_and_their_absence() {
    let schema = schema();
    let group = parse("ICD10:E10-E14");
    assert!(group.selects(&person(&[("ICD10:E11.9", "yes")])));
    assert!(group.selects(&person(&[("ICD10:E10", "yes")])));
    assert!(!group.selects(&person(&[("ICD10:E10", "no")])));
    let without = parse("NOT ICD10:E10-E14");
    assert!(!without.selects(&person(&[("ICD10:E10", "no")])));
    assert!(without.selects(&person(&[("ICD10:E10", "no"), ("ICD10:E11", "no")])));
    assert_eq!(without, parse("ICD10:E10-E14 = false"));
    assert_eq!(parse("HP:0011014"), parse("HP:0000819"), "the topmost kind answers for those below");
    assert_eq!(parse("ICD10:E10-E14 IS UNKNOWN").attributes().len(), 2);
    let term: Curie = "HP:0100651".parse().expect("a term");
    let mut has_type_1 = PersonAttributes::unknown(&schema);
    assert_eq!(has_type_1.observe(&schema, &term, true), Ok(1), "a kind that has no attribute says something");
    assert!(parse("HP:0000819").selects(&has_type_1));
    assert!(!parse("HP:0005978").selects(&has_type_1));
}

#[test]
fn equal_meanings_have_one_form() {
    for texts in [
        &[
            "age > 49",
            "age >= 50",
            "NOT age < 50",
            "50 <= age",
            "age >= 50 and age >= 30",
            "AGE > 49.5",
            "age >= '50 a'",
        ][..],
        &[
            "sex = 'F' and smoker",
            "smoker and sex = 'F'",
            "(smoker) AND sex IN ('F')",
            "NOT (smoker = false OR sex <> 'F' OR smoker IS UNKNOWN OR sex IS NULL)",
        ],
        &[
            "smoker and (sex = 'F' or HP:0000819)",
            "smoker and sex = 'F' or smoker and hp:0000819",
            "smoker and (sex = 'F' or HP:0000819 or sex = 'F' and age >= 70)",
        ],
        &["ancestry <> 'AFR'", "ancestry in ('AMR', 'EAS', 'EUR', 'SAS')", "ancestry not in ('AFR')"],
        &["ldl > 4.0", "ldl > '4.0 mmol/L'", "ldl > 4", "not ldl <= 4.00", "4.0 < ldl"],
        &["age between 30 and 49", "age >= 30 and age < 50", "not (age < 30 or age > 49)"],
    ] {
        let forms: Vec<Predicate> = texts.iter().map(|text| parse(text)).collect();
        for (text, form) in texts.iter().zip(&forms) {
            assert_eq!(form, &forms[0], "{text} differs from {}", texts[0]);
            assert_eq!(form.digest(), forms[0].digest());
        }
    }
    let forms =
        ["smoker", "NOT smoker", "sex = 'F'", "sex = 'M'", "age >= 50", "age >= 70", "ldl > 4", "ldl >= 3"].map(parse);
    for (place, form) in forms.iter().enumerate() {
        assert!(forms[..place].iter().all(|other| other.digest() != form.digest()));
    }
}

#[test]
fn the_fixed_text_is_short_and_means_the_same() {
    let schema = schema();
    for (text, fixed) in [
        ("icd10:E11 or HP:0000819", "HP:0000819 OR ICD10:E11"),
        ("age > 49 and sex = 'F'", "sex = 'F' AND age >= 50"),
        ("smoker and (sex = 'F' or sex = 'M')", "sex IS NOT UNKNOWN AND smoker"),
        ("not smoker", "NOT smoker"),
        ("ldl > 4 or ldl < 3", "ldl < 3 OR ldl > 4"),
        (
            "age between 30 and 69 and (smoker or HP:0000819)",
            "(NOT smoker OR smoker IS UNKNOWN) AND age >= 30 AND age < 70 AND HP:0000819 OR smoker AND age >= 30 AND age < 70",
        ),
    ] {
        let predicate = parse(text);
        assert_eq!(parse(&predicate.to_text(&schema)), predicate, "{text}");
        assert_eq!(predicate.to_text(&schema), fixed);
    }
}

#[test]
fn the_cost_counts_what_is_sent() {
    let schema = schema();
    let cost = |text: &str| parse(text).cost(&schema);
    assert_eq!(cost("sex = 'F'"), PredicateCost { gates: 0, rounds: 0 });
    assert_eq!(cost("ancestry = 'EUR' or ancestry = 'AFR'"), PredicateCost { gates: 0, rounds: 0 });
    assert_eq!(cost("age >= 30 and age < 50"), PredicateCost { gates: 0, rounds: 0 });
    assert_eq!(cost("sex = 'F' and smoker"), PredicateCost { gates: 1, rounds: 1 });
    assert_eq!(cost("sex = 'F' and age >= 50 and (HP:0000819 or icd10:E11)"), PredicateCost { gates: 3, rounds: 3 });
}

#[test]
fn errors_point_at_the_place() {
    for (text, marked, message) in [
        ("sexx = 'F'", "sexx", "has no attribute sexx, it has sex"),
        ("sex = 'female'", "'female'", "it has 'F', 'M'"),
        ("sex = F", "F", "single quotes: 'F'"),
        ("smoker and HP:0001250", "HP:0001250", "none that its ontology table calls a kind of it"),
        ("smoker and height > 180", "180", "only is unknown"),
        ("ldl > '150 g/L'", "'150 g/L'", "cannot be converted"),
        ("sex > 'F'", "'F'", "is a category"),
        ("smoker = 2", "2", "is a flag"),
        ("sex", "sex", "is a category"),
        ("age + 1 > 50", "age + 1 > 50", "none of these"),
        ("age like '5%'", "age like '5%'", "none of these"),
        ("exists (select 1)", "", "none of these"),
    ] {
        let error = refused(text);
        let shown = error.to_string();
        assert!(shown.contains(message), "{text}: {shown}");
        let place = error.place();
        if !marked.is_empty() {
            assert_eq!(&text[place.clone()], marked, "{shown}");
            let caret = shown.lines().last().expect("three lines");
            assert_eq!(caret.trim_start().len(), marked.len());
            assert_eq!(caret.find('^'), Some(place.start + 2), "{shown}");
        }
    }
}

#[test]
fn syntax_errors_point_at_the_place() {
    for (text, start) in
        [("sex = ", 6), ("sex = 'F' smoker", 10), ("(smoker", 7), ("sex = 'F", 6), ("smoker and and sex = 'F'", 15)]
    {
        let error = refused(text);
        assert!(matches!(error.kind(), PredicateErrorKind::Syntax(_)), "{error}");
        assert_eq!(error.place().start.min(text.len()), start, "{text}: {error}");
    }
    assert!(matches!(refused("  ").kind(), PredicateErrorKind::Syntax(_)));
    assert!(matches!(refused(&"(".repeat(3_000)).kind(), PredicateErrorKind::Syntax(_)));
    assert!(matches!(refused(&"not ".repeat(1_000)).kind(), PredicateErrorKind::Syntax(_)));
    assert!(matches!(refused(&"x".repeat(5_000)).kind(), PredicateErrorKind::TooLong { .. }));
}

#[test]
fn what_the_bands_cannot_tell_is_refused_with_the_nearest() {
    for (text, nearest) in [
        ("age >= 52", "age >= 50"),
        ("sex = 'F' and age > 64", "sex = 'F' AND age >= 70"),
        ("ldl >= 4", "ldl > 4"),
        ("ldl < '116 mg/dL'", "ldl < 3"),
        ("age between 28 and 51", "age >= 30 AND age < 50"),
        ("smoker and age < 33 or age >= 50", "age >= 50 OR smoker AND age < 30"),
    ] {
        let error = refused(text);
        let PredicateErrorKind::Inexpressible { nearest: offered, .. } = error.kind() else { panic!("{error}") };
        assert_eq!(parse(offered), parse(nearest), "{text}: offered {offered}");
        assert!(error.to_string().contains(offered.as_str()));
    }
}

#[test]
fn predicates_that_tell_nobody_apart_are_refused() {
    assert_eq!(*refused("smoker and not smoker").kind(), PredicateErrorKind::Nobody);
    assert_eq!(*refused("age < 18 and age >= 70").kind(), PredicateErrorKind::Nobody);
    assert_eq!(*refused("smoker is unknown or smoker is not unknown").kind(), PredicateErrorKind::Everybody);
    let names: Vec<String> = (0..17).map(|number| format!("a{number}")).collect();
    let attributes: Vec<Attribute> = names
        .iter()
        .map(|name| Attribute { key: AttributeKey::Named(name.clone()), kind: AttributeKind::Flag })
        .collect();
    let ontology = Ontology::try_new("none", []).expect("empty");
    let wide = AttributeSchema::try_new("wide", "1", attributes, ontology).expect("small");
    let error = Predicate::parse(&names.join(" and "), &wide).expect_err("17 attributes");
    assert!(matches!(error.kind(), PredicateErrorKind::TooManyAttributes { max: 16 }));
    assert!(Predicate::parse(&names[1..].join(" or "), &wide).is_ok());
}
