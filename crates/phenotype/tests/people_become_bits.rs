//! How people's attributes are kept.

use crate::world::{person, schema};
use locus_phenotype::*;

#[test]
fn everybody_has_one_bit_of_each_attribute() {
    let schema = schema();
    for person in [person(&[]), person(&[("sex", "M"), ("age", "30"), ("height", "180.2"), ("ICD10:E11.9", "yes")])] {
        let bits = person.to_bits(&schema);
        assert_eq!(bits.len(), schema.bit_count());
        assert!(bits.iter().all(|bit| *bit <= 1));
        for (index, _) in schema.attributes() {
            assert_eq!(bits[schema.one_hot_bits_of(index)].iter().sum::<u64>(), 1);
        }
    }
}

#[test]
fn numbers_fall_into_the_band_that_holds_them() {
    let schema = schema();
    for (name, value, band) in [
        ("age", "0", 0),
        ("age", "17.99", 0),
        ("age", "18", 1),
        ("age", "49.9", 2),
        ("age", "70", 4),
        ("ldl", "2.999999999", 0),
        ("ldl", "3", 1),
        ("ldl", "4", 1),
        ("ldl", "4.000000001", 2),
        ("ldl", "-1", 0),
    ] {
        let index = schema.find_named(name).expect("it exists");
        assert_eq!(person(&[(name, value)]).value(index), Some(band), "{name} {value}");
    }
}

#[test]
fn quantities_are_rounded_to_their_step_and_kept_to_their_scale() {
    let schema = schema();
    let index = schema.find_named("height").expect("it exists");
    let planes = |value: &str| {
        let bits = person(&[("height", value)]).to_bits(&schema);
        let start = schema.bits_of(index).start;
        assert_eq!(bits[start..start + 2], [1, 0], "known");
        (0..8).map(|plane| bits[start + 2 + plane] << plane).sum::<u64>()
    };
    assert_eq!([planes("100"), planes("180.2"), planes("180.3"), planes("227.5")], [0, 160, 161, 255]);
    let mut tall = PersonAttributes::unknown(&schema);
    assert_eq!(tall.set_number(&schema, index, Decimal::whole(300).expect("small")), Ok(true));
    assert_eq!(planes("300"), 255);
    assert!(person(&[]).to_bits(&schema)[schema.bits_of(index)][2..].iter().all(|bit| *bit == 0));
}

#[test]
fn contradictions_are_refused_and_repetitions_are_not() {
    let schema = schema();
    let mut person = person(&[("sex", "F"), ("smoker", "no"), ("age", "40"), ("HP:0000819", "no"), ("height", "150")]);
    let index = |name: &str| schema.find_named(name).expect("it exists");
    let number = |value: i64| Decimal::whole(value).expect("small");
    assert_eq!(person.set_category(&schema, index("sex"), "F"), Ok(()));
    assert_eq!(person.set_number(&schema, index("age"), number(45)), Ok(false), "the same band");
    let contradiction = |attribute: &str| PhenotypeError::Contradiction { attribute: attribute.to_owned() };
    assert_eq!(person.set_category(&schema, index("sex"), "M"), Err(contradiction("sex")));
    assert_eq!(person.set_flag(&schema, index("smoker"), true), Err(contradiction("smoker")));
    assert_eq!(person.set_number(&schema, index("age"), number(50)), Err(contradiction("age")));
    assert_eq!(person.set_number(&schema, index("height"), number(151)), Err(contradiction("height")));
    let kind: Curie = "HP:0005978".parse().expect("a term");
    assert!(person.observe(&schema, &kind, true).is_err(), "no diabetes, yet one kind of it");
    assert!(matches!(person.set_category(&schema, index("sex"), "X"), Err(PhenotypeError::NoValue { .. })));
    assert!(matches!(person.set_flag(&schema, index("sex"), true), Err(PhenotypeError::Kind { .. })));
    assert!(matches!(person.set_number(&schema, index("smoker"), number(1)), Err(PhenotypeError::Kind { .. })));
}

#[test]
fn units_are_converted_only_as_the_schema_says() {
    let schema = schema();
    let ldl = schema.attribute(schema.find_named("ldl").expect("it exists")).expect("it exists");
    let number = |text: &str| text.parse::<Decimal>().expect("a number");
    assert_eq!(ldl.convert(number("150"), "mg/dL"), Ok(number("3.879")));
    assert_eq!(ldl.convert(number("4"), "mmol/L"), Ok(number("4")));
    assert!(matches!(ldl.convert(number("4"), "g/L"), Err(PhenotypeError::Unit { .. })));
}
