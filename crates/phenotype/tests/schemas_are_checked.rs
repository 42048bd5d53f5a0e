//! Which schemas are taken, and that their digest tells them apart.

use crate::world::{DOCUMENT, schema};
use locus_phenotype::*;

fn parse(attributes: &str) -> Result<AttributeSchema, SchemaError> {
    AttributeSchema::parse_json(&format!(r#"{{"name": "t", "version": "1", "attributes": [{attributes}]}}"#))
}

#[test]
fn a_schema_written_and_read_again_is_the_same() {
    let schema = schema();
    let again = AttributeSchema::parse_json(&schema.to_json()).expect("its own document");
    assert_eq!(again, schema);
    assert_eq!(again.digest(), schema.digest());
    assert_eq!(schema.bit_count(), 3 + 6 + 3 + 6 + 4 + 4 * 3 + 10);
}

#[test]
fn any_change_changes_the_digest() {
    let original = schema().digest();
    for (from, to) in [
        ("\"demo\"", "\"demp\""),
        ("\"version\": \"1\"", "\"version\": \"2\""),
        ("[\"F\", \"M\"]", "[\"M\", \"F\"]"),
        ("\"smoker\"", "\"smokes\""),
        ("\">4.0\"", "\"4.0\""),
        ("\"70\"]", "\"71\"]"),
        ("\"whole\": true", "\"whole\": false"),
        ("0.02586", "0.02587"),
        ("mg/dL", "mg/dl"),
        ("\"bits\": 8", "\"bits\": 9"),
        ("\"step\": \"0.5\"", "\"step\": \"0.25\""),
        ("2026-11", "2026-12"),
        ("[\"HP:0100651\", \"HP:0000819\"]", "[\"HP:0100651\", \"HP:0011014\"]"),
        ("{\"kind\": \"flag\", \"name\": \"smoker\"},", ""),
    ] {
        assert!(DOCUMENT.contains(from), "{from}");
        let changed = AttributeSchema::parse_json(&DOCUMENT.replacen(from, to, 1)).expect("still valid");
        assert_ne!(changed.digest(), original, "{from} became {to}");
    }
}

#[test]
fn schemas_that_break_a_rule_are_refused() {
    type Check = fn(&SchemaError) -> bool;
    let cases: [(&str, Check); 16] = [
        ("", |error| matches!(error, SchemaError::Size { .. })),
        (r#"{"kind": "flag", "name": "a"}, {"kind": "flag", "name": "a"}"#, |error| {
            matches!(error, SchemaError::Duplicate(_))
        }),
        (r#"{"kind": "flag", "name": "A"}"#, |error| matches!(error, SchemaError::AttributeName(_))),
        (r#"{"kind": "flag", "name": "or"}"#, |error| matches!(error, SchemaError::AttributeName(_))),
        (r#"{"kind": "flag", "name": "9a"}"#, |error| matches!(error, SchemaError::AttributeName(_))),
        (r#"{"kind": "flag", "name": "a", "x": 1}"#, |error| matches!(error, SchemaError::Json(_))),
        (r#"{"kind": "set", "name": "a"}"#, |error| matches!(error, SchemaError::Json(_))),
        (r#"{"kind": "term", "term": "HP"}"#, |error| matches!(error, SchemaError::Term(_))),
        (r#"{"kind": "category", "name": "a", "values": []}"#, |error| matches!(error, SchemaError::Values(_))),
        (r#"{"kind": "category", "name": "a", "values": ["x", "x"]}"#, |error| matches!(error, SchemaError::Values(_))),
        (r#"{"kind": "category", "name": "a", "values": ["Unknown"]}"#, |error| {
            matches!(error, SchemaError::Values(_))
        }),
        (r#"{"kind": "category", "name": "a", "values": ["it's"]}"#, |error| matches!(error, SchemaError::Values(_))),
        (r#"{"kind": "bands", "name": "a", "edges": ["2", "1"]}"#, |error| {
            matches!(error, SchemaError::EdgeOrder { .. })
        }),
        (r#"{"kind": "bands", "name": "a", "edges": []}"#, |error| matches!(error, SchemaError::EdgeCount(_))),
        (r#"{"kind": "bands", "name": "a", "edges": ["1.5"], "whole": true}"#, |error| {
            matches!(error, SchemaError::EdgeNotWhole { .. })
        }),
        (r#"{"kind": "quantity", "name": "a", "origin": "0", "step": "0", "bits": 8}"#, |error| {
            matches!(error, SchemaError::Quantity(_))
        }),
    ];
    for (attributes, is_expected) in cases {
        let error = parse(attributes).expect_err(attributes);
        assert!(is_expected(&error), "{attributes}: {error}");
    }
    let flags: Vec<String> = (0..1025).map(|number| format!(r#"{{"kind": "flag", "name": "a{number}"}}"#)).collect();
    assert!(matches!(parse(&flags.join(",")), Err(SchemaError::Size { attributes: 1025, .. })));
    let bits = r#"{"kind": "bands", "name": "a", "edges": ["1", ">1", "2"]}"#;
    assert!(parse(bits).is_ok(), "an edge at a value and one just above it differ");
}
