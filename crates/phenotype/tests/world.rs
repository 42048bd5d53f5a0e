//! A small schema and ways to make people of it.

use locus_phenotype::*;

pub(crate) const DOCUMENT: &str = r#"{
    "name": "demo", "version": "1",
    "attributes": [
        {"kind": "category", "name": "sex", "values": ["F", "M"]},
        {"kind": "category", "name": "ancestry", "values": ["AFR", "AMR", "EAS", "EUR", "SAS"]},
        {"kind": "flag", "name": "smoker"},
        {"kind": "bands", "name": "age", "edges": ["18", "30", "50", "70"], "whole": true, "unit": "a"},
        {"kind": "bands", "name": "ldl", "edges": ["3", ">4.0"], "unit": "mmol/L",
         "convert": [{"unit": "mg/dL", "factor": "0.02586"}]},
        {"kind": "term", "term": "HP:0000819"},
        {"kind": "term", "term": "HP:0005978"},
        {"kind": "term", "term": "ICD10:E11"},
        {"kind": "term", "term": "ICD10:E10"},
        {"kind": "quantity", "name": "height", "origin": "100", "step": "0.5", "bits": 8, "unit": "cm"}
    ],
    "ontology": {"version": "2026-11", "is_a": [
        ["HP:0005978", "HP:0000819"], ["HP:0100651", "HP:0000819"], ["HP:0000819", "HP:0011014"],
        ["ICD10:E11.9", "ICD10:E11"], ["ICD10:E11", "ICD10:E10-E14"], ["ICD10:E10", "ICD10:E10-E14"]
    ]}
}"#;

pub(crate) fn schema() -> AttributeSchema {
    AttributeSchema::parse_json(DOCUMENT).expect("the document is valid")
}

pub(crate) fn parse(text: &str) -> Predicate {
    Predicate::parse(text, &schema()).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn refused(text: &str) -> PredicateError {
    match Predicate::parse(text, &schema()) {
        Ok(predicate) => panic!("{text} was taken as {}", predicate.to_text(&schema())),
        Err(error) => error,
    }
}

/// A person by `attribute=value` pairs; what is not stated is unknown.
pub(crate) fn person(statements: &[(&str, &str)]) -> PersonAttributes {
    let schema = schema();
    let mut person = PersonAttributes::unknown(&schema);
    for (name, value) in statements {
        if name.contains(':') {
            let term = name.parse().expect("a term");
            person.observe(&schema, &term, *value == "yes").expect("no contradiction");
            continue;
        }
        let index = schema.find_named(name).unwrap_or_else(|| panic!("no attribute {name}"));
        match schema.attribute(index).expect("it exists").kind {
            AttributeKind::Category { .. } => person.set_category(&schema, index, value).expect("a value"),
            AttributeKind::Flag => person.set_flag(&schema, index, *value == "yes").expect("a flag"),
            _ => drop(person.set_number(&schema, index, value.parse().expect("a number")).expect("a number")),
        }
    }
    person
}
