//! Attributes of people from three formats: what is used, what is dropped, what is refused.

use locus_intake::{
    AttributeIntake, AttributeMapping, AttributeSource, DropReason, IntakeError, SampleId, read_attributes,
};
use locus_phenotype::{AttributeSchema, Predicate};
use prost::Message;
use std::{fs, path::PathBuf};

const SCHEMA: &str = r#"{"name": "t", "version": "1", "attributes": [
    {"kind": "category", "name": "sex", "values": ["F", "M"]},
    {"kind": "bands", "name": "age", "edges": ["18", "50"], "whole": true, "unit": "a"},
    {"kind": "bands", "name": "bmi", "edges": ["25", "30"], "unit": "kg/m2"},
    {"kind": "bands", "name": "ldl", "edges": [">4"], "unit": "mmol/L", "convert": [{"unit": "mg/dL", "factor": "0.02586"}]},
    {"kind": "flag", "name": "smoker"},
    {"kind": "term", "term": "HP:0000819"}, {"kind": "term", "term": "ICD10:E11"},
    {"kind": "quantity", "name": "height", "origin": "100", "step": "1", "bits": 7, "unit": "cm"}],
    "ontology": {"version": "1", "is_a": [["HP:0005978", "HP:0000819"], ["ICD10:E11.9", "ICD10:E11"], ["SNOMED:44054006", "HP:0005978"]]}}"#;

const MAPPING: &str = r#"{
    "person": "IID", "missing": ["NA"],
    "columns": [
        {"column": "SEX", "attribute": "sex", "values": {"1": "M", "2": "F"}},
        {"column": "T2D", "attribute": "HP:0000819", "values": {"1": "no", "2": "yes"}},
        {"column": "BMI", "attribute": "bmi"},
        {"column": "LDL", "attribute": "ldl", "unit": "mg/dL"},
        {"column": "HEIGHT", "attribute": "height"}],
    "sex": {"attribute": "sex", "values": {"female": "F", "male": "M"}},
    "age": "age", "age_on": "2026-11-21",
    "measurements": [{"code": "LOINC:39156-5", "attribute": "bmi"}, {"code": "LOINC:18262-6", "attribute": "ldl"}],
    "units": {"UCUM:kg/m2": "kg/m2", "NCIT:C67015": "mg/dL"}}"#;

struct Case {
    folder: tempfile::TempDir,
    schema: AttributeSchema,
    mapping: AttributeMapping,
}

impl Case {
    fn new() -> Self {
        let schema = AttributeSchema::parse_json(SCHEMA).expect("valid");
        let mapping = AttributeMapping::parse_json(&PathBuf::from("mapping.json"), MAPPING).expect("valid");
        Self { folder: tempfile::tempdir().expect("a folder"), schema, mapping }
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, content).expect("writable");
        path
    }

    fn read(&self, source: &AttributeSource) -> Result<AttributeIntake, IntakeError> {
        read_attributes(source, &self.schema, &self.mapping)
    }

    fn table(&self, text: &str) -> Result<AttributeIntake, IntakeError> {
        self.read(&AttributeSource::Table(self.write("people.tsv", text)))
    }

    fn fhir(&self, text: &str) -> Result<AttributeIntake, IntakeError> {
        self.read(&AttributeSource::Fhir(vec![self.write("bundle.json", text)]))
    }

    fn packet(&self, content: impl AsRef<[u8]>) -> Result<AttributeIntake, IntakeError> {
        self.read(&AttributeSource::Phenopackets(vec![self.write("packet", content)]))
    }

    fn selects(&self, intake: &AttributeIntake, name: &str, text: &str) -> bool {
        let predicate = Predicate::parse(text, &self.schema).unwrap_or_else(|error| panic!("{error}"));
        let sample = SampleId::try_new(name).expect("a name");
        predicate.selects(intake.of(&sample).expect("the person was read"))
    }
}

fn message(outcome: Result<AttributeIntake, IntakeError>) -> String {
    match outcome {
        Ok(_) => panic!("it was taken"),
        Err(error) => error.to_string(),
    }
}

fn dropped(intake: &AttributeIntake) -> Vec<(DropReason, u64, Vec<&str>)> {
    let reasons = intake.report.dropped.iter();
    reasons.map(|(reason, found)| (*reason, found.count, found.examples.iter().map(String::as_str).collect())).collect()
}

#[test]
fn a_table_without_a_mapping_has_columns_called_as_attributes() {
    let mut case = Case::new();
    case.mapping = AttributeMapping::default();
    let intake = case.table("who\tsmoker\tHP:0000819\tshoes\nanna\tyes\tno\t38\nbert\tno\t\t44\n").expect("taken");
    assert_eq!((intake.report.people, intake.report.used), (2, 3));
    assert!(case.selects(&intake, "anna", "smoker AND NOT HP:0000819"));
    assert!(case.selects(&intake, "bert", "NOT smoker"));
    assert_eq!(dropped(&intake), [(DropReason::NotMapped, 1, vec!["shoes"])]);
    let nothing = case.table("who\tshoes\nanna\t38\n");
    assert!(nothing.is_err(), "no column is an attribute");
}

#[test]
fn a_table_is_read_by_its_mapping() {
    let case = Case::new();
    let text = "#FID\tIID\tSEX\tT2D\tBMI\tLDL\tHEIGHT\n\
                f\tanna\t2\t2\t30.0\t155\t171\n\
                f\tbert\t1\tNA\t24.99999999\t154.6\t300\n\
                f\tcleo\t3\t1\tlarge\tNA\tNA\n";
    let intake = case.table(text).expect("a table");
    assert_eq!(intake.samples.iter().map(SampleId::as_str).collect::<Vec<_>>(), ["anna", "bert", "cleo"]);
    assert!(case.selects(&intake, "anna", "sex = 'F' and HP:0000819 and bmi >= 30 and ldl > 4"));
    assert!(case.selects(&intake, "bert", "sex = 'M' and HP:0000819 is unknown and bmi < 25 and ldl <= 4"));
    assert!(case.selects(&intake, "cleo", "sex is unknown and not HP:0000819 and bmi is unknown"));
    assert_eq!(intake.report.known["HP:0000819"], 2);
    assert_eq!(intake.report.people, 3);
    assert_eq!(
        dropped(&intake),
        [
            (DropReason::NotMapped, 1, vec!["FID"]),
            (DropReason::OtherValue, 1, vec!["SEX"]),
            (DropReason::NotANumber, 1, vec!["BMI"]),
            (DropReason::BeyondScale, 1, vec!["HEIGHT"]),
        ]
    );
    let json = serde_json::to_string(&intake.report).expect("a report");
    assert!(!json.contains("anna") && !json.contains("24.99"), "a report names no person and no value: {json}");
}

#[test]
fn malformed_tables_are_refused_with_the_line() {
    let case = Case::new();
    let header = "IID\tSEX\tT2D\tBMI\tLDL\tHEIGHT\n";
    for (text, said) in [
        ("", "the file is empty"),
        (header, "no records"),
        ("IID\tSEX\n", "names column \"T2D\""),
        (&format!("{header}a\t1\n"), "line 2: expected 6 columns, found 2"),
        (&format!("{header}a\t1\t1\t1\t1\t1\na\t1\t1\t1\t1\t1\n"), "line 3: sample \"a\" is listed twice"),
        (&format!("{header}\t1\t1\t1\t1\t1\n"), "line 2: a sample name has"),
    ] {
        let said_instead = message(case.table(text));
        assert!(said_instead.contains(said), "{said_instead}");
    }
    let binary = message(
        case.read(&AttributeSource::Table(case.write("t.tsv", [b"IID\t\xff\xfe\n".as_slice(), b"a"].concat()))),
    );
    assert!(binary.contains("not text"), "{binary}");
    let mut mapping = case.mapping.clone();
    mapping.columns[0].attribute = "gender".to_owned();
    let path = case.write("people.tsv", format!("{header}a\t1\t1\t1\t1\t1\n"));
    let outcome = read_attributes(&AttributeSource::Table(path), &case.schema, &mapping);
    assert!(message(outcome).contains("names gender, which the schema has not"));
    let broken = AttributeMapping::parse_json(&PathBuf::from("m.json"), r#"{"persons": "x"}"#);
    assert!(broken.expect_err("a misspelt field").to_string().contains("persons"));
}

const PACKET: &str = r#"{
    "id": "packet-1",
    "subject": {"id": "anna", "sex": "FEMALE", "timeAtLastEncounter": {"age": {"iso8601duration": "P52Y3M"}},
                "dateOfBirth": "1974-08-01T00:00:00Z"},
    "phenotypicFeatures": [
        {"type": {"id": "HP:0005978", "label": "Type II diabetes mellitus"}},
        {"type": {"id": "HP:0001250", "label": "Seizure"}, "excluded": true},
        {"type": {"id": "diabetes"}}],
    "diseases": [{"term": {"id": "ICD10:E11.9"}, "excluded": true}],
    "measurements": [
        {"assay": {"id": "LOINC:39156-5"}, "value": {"quantity": {"unit": {"id": "UCUM:kg/m2"}, "value": 31.25}}},
        {"assay": {"id": "LOINC:18262-6"}, "value": {"quantity": {"unit": {"id": "NCIT:C67015"}, "value": 160}}},
        {"assay": {"id": "LOINC:1742-6"}, "value": {"quantity": {"unit": {"id": "UCUM:U/L"}, "value": 20}}}],
    "metaData": {"created": "2026-11-21T00:00:00Z", "phenopacketSchemaVersion": "2.0"}
}"#;

fn check_packet(case: &Case, intake: &AttributeIntake) {
    assert!(case.selects(intake, "anna", "sex = 'F' and age >= 50 and bmi >= 30 and ldl > 4"));
    assert!(case.selects(intake, "anna", "HP:0000819 and ICD10:E11 is unknown"), "excluding a kind excludes no group");
}

#[test]
fn a_phenopacket_in_json_is_read_and_reported() {
    let case = Case::new();
    let intake = case.packet(PACKET).expect("a phenopacket");
    check_packet(&case, &intake);
    assert_eq!(
        dropped(&intake),
        [
            (DropReason::NotMapped, 3, vec!["HP:0001250", "ICD10:E11.9", "LOINC:1742-6"]),
            (DropReason::NotATerm, 1, vec!["diabetes"]),
        ]
    );
    assert_eq!(intake.report.used, 5);
}

/// The same messages, written by hand with the numbers of the standard's .proto files.
mod wire {
    use prost::Message;

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Class {
        #[prost(string, tag = "1")]
        pub(super) id: String,
        #[prost(string, tag = "2")]
        pub(super) label: String,
    }
    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Feature {
        #[prost(string, tag = "1")]
        pub(super) description: String,
        #[prost(message, optional, tag = "2")]
        pub(super) r#type: Option<Class>,
        #[prost(bool, tag = "3")]
        pub(super) excluded: bool,
    }
    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Text {
        #[prost(string, tag = "1")]
        pub(super) text: String,
    }
    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Time {
        #[prost(message, optional, tag = "1")]
        pub(super) age: Option<Text>,
    }
    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Subject {
        #[prost(string, tag = "1")]
        pub(super) id: String,
        #[prost(string, repeated, tag = "2")]
        pub(super) alternate_ids: Vec<String>,
        #[prost(message, optional, tag = "4")]
        pub(super) time: Option<Time>,
        #[prost(int32, tag = "6")]
        pub(super) sex: i32,
    }
    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Quantity {
        #[prost(message, optional, tag = "1")]
        pub(super) unit: Option<Class>,
        #[prost(double, tag = "2")]
        pub(super) value: f64,
    }
    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Value {
        #[prost(message, optional, tag = "1")]
        pub(super) quantity: Option<Quantity>,
    }
    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Measurement {
        #[prost(message, optional, tag = "2")]
        pub(super) assay: Option<Class>,
        #[prost(message, optional, tag = "3")]
        pub(super) value: Option<Value>,
    }
    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Packet {
        #[prost(string, tag = "1")]
        pub(super) id: String,
        #[prost(message, optional, tag = "2")]
        pub(super) subject: Option<Subject>,
        #[prost(message, repeated, tag = "3")]
        pub(super) features: Vec<Feature>,
        #[prost(message, repeated, tag = "4")]
        pub(super) measurements: Vec<Measurement>,
        #[prost(message, optional, tag = "10")]
        pub(super) meta_data: Option<Text>,
    }

    pub(super) fn class(id: &str) -> Option<Class> {
        Some(Class { id: id.to_owned(), label: "a label".to_owned() })
    }

    pub(super) fn measurement(code: &str, unit: &str, value: f64) -> Measurement {
        let quantity = Quantity { unit: class(unit), value };
        Measurement { assay: class(code), value: Some(Value { quantity: Some(quantity) }) }
    }
}

#[test]
fn a_phenopacket_in_protobuf_is_the_same() {
    let case = Case::new();
    let packet = wire::Packet {
        id: "packet-1".to_owned(),
        subject: Some(wire::Subject {
            id: "anna".to_owned(),
            alternate_ids: vec!["a".to_owned()],
            time: Some(wire::Time { age: Some(wire::Text { text: "P52Y3M".to_owned() }) }),
            sex: 1,
        }),
        features: vec![wire::Feature {
            description: "free text".to_owned(),
            r#type: wire::class("HP:0005978"),
            excluded: false,
        }],
        measurements: vec![
            wire::measurement("LOINC:39156-5", "UCUM:kg/m2", 31.25),
            wire::measurement("LOINC:18262-6", "NCIT:C67015", 160.0),
        ],
        meta_data: Some(wire::Text { text: "x".to_owned() }),
    };
    let intake = case.packet(packet.encode_to_vec()).expect("a phenopacket");
    check_packet(&case, &intake);
    assert_eq!(intake.report.dropped_count(), 0);
    let cut = packet.encode_to_vec();
    let said = message(case.packet(&cut[..cut.len() - 2]));
    assert!(said.contains("not a phenopacket of version 2"), "{said}");
}

#[test]
fn malformed_phenopackets_are_refused() {
    let case = Case::new();
    for (text, said) in [
        ("{", "EOF"),
        (r#"{"id": 5}"#, "line 1 column 8"),
        (r#"{"id": "x"}"#, "does not name the person"),
        (r#"{"subject": {"id": "a", "sex": "WOMAN"}}"#, "is no sex"),
        (r#"{"subject": {"id": "a"}, "phenotypicFeatures": {}}"#, "line 1 column"),
    ] {
        let said_instead = message(case.packet(text));
        assert!(said_instead.contains(said), "{said_instead}");
    }
}

const BUNDLE: &str = r#"{"resourceType": "Bundle", "type": "collection", "entry": [
    {"fullUrl": "urn:uuid:1", "resource": {"resourceType": "Patient", "id": "anna", "gender": "female", "birthDate": "1974-08-01"}},
    {"resource": {"resourceType": "Patient", "id": "bert", "gender": "other"}},
    {"resource": {"resourceType": "Condition", "id": "c1", "subject": {"reference": "urn:uuid:1"},
        "verificationStatus": {"coding": [{"code": "confirmed"}]},
        "code": {"coding": [{"system": "http://snomed.info/sct", "code": "44054006"}, {"system": "http://example.org/own", "code": "D1"}]}}},
    {"resource": {"resourceType": "Condition", "id": "c2", "subject": {"reference": "Patient/anna"},
        "verificationStatus": {"coding": [{"code": "refuted"}]},
        "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": "E11"}]}}},
    {"resource": {"resourceType": "Condition", "id": "c3", "subject": {"reference": "Patient/bert"},
        "verificationStatus": {"coding": [{"code": "provisional"}]},
        "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": "E11"}]}}},
    {"resource": {"resourceType": "Observation", "id": "o1", "status": "final", "subject": {"reference": "Patient/anna"},
        "effectiveDateTime": "2020-01-01", "code": {"coding": [{"system": "http://loinc.org", "code": "39156-5"}]},
        "valueQuantity": {"value": 24.0, "code": "kg/m2"}}},
    {"resource": {"resourceType": "Observation", "id": "o2", "status": "final", "subject": {"reference": "Patient/anna"},
        "effectiveDateTime": "2025-06-01", "code": {"coding": [{"system": "http://loinc.org", "code": "39156-5"}]},
        "valueQuantity": {"value": 30.5, "code": "kg/m2"}}},
    {"resource": {"resourceType": "Observation", "id": "o3", "status": "preliminary", "subject": {"reference": "Patient/anna"},
        "code": {"coding": [{"system": "http://loinc.org", "code": "18262-6"}]}, "valueQuantity": {"value": 200, "code": "mg/dL"}}},
    {"resource": {"resourceType": "Observation", "id": "o4", "status": "final", "subject": {"reference": "Patient/bert"},
        "code": {"coding": [{"system": "http://loinc.org", "code": "18262-6"}]}, "valueQuantity": {"value": 4.2, "code": "g/L"}}},
    {"resource": {"resourceType": "Encounter", "id": "e1"}}]}"#;

#[test]
fn a_fhir_bundle_is_read_and_reported() {
    let case = Case::new();
    let intake = case.fhir(BUNDLE).expect("a bundle");
    assert!(case.selects(&intake, "anna", "sex = 'F' and age >= 50 and bmi >= 30"), "the later measurement counts");
    assert!(case.selects(&intake, "anna", "HP:0000819 and not ICD10:E11 and ldl is unknown"));
    assert!(case.selects(&intake, "bert", "sex is unknown and ICD10:E11 is unknown and ldl is unknown"));
    assert_eq!(
        dropped(&intake),
        [
            (DropReason::NotMapped, 1, vec!["Encounter"]),
            (DropReason::NotATerm, 1, vec!["http://example.org/own"]),
            (DropReason::OtherValue, 1, vec!["sex"]),
            (DropReason::OtherUnit, 1, vec!["LOINC:18262-6"]),
            (DropReason::NotEstablished, 2, vec!["Condition", "Observation"]),
            (DropReason::Superseded, 1, vec!["LOINC:39156-5"]),
        ]
    );
}

#[test]
fn malformed_bundles_are_refused() {
    let case = Case::new();
    for (text, said) in [
        ("[]", "not a fhir r4 bundle"),
        (r#"{"resourceType": "Patient", "id": "a"}"#, "the resource is a Patient"),
        (
            r#"{"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Patient"}}]}"#,
            "a patient does not name",
        ),
        (
            r#"{"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Condition", "id": "c", "subject": {"reference": "Patient/x"}}}]}"#,
            "Condition \"c\" does not name the person",
        ),
        (
            r#"{"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Patient", "id": 1}}]}"#,
            "line 1 column",
        ),
    ] {
        let said_instead = message(case.fhir(text));
        assert!(said_instead.contains(said), "{said_instead}");
    }
}

#[test]
fn what_is_present_outweighs_what_is_absent() {
    let case = Case::new();
    let packet = r#"{"subject": {"id": "a"}, "phenotypicFeatures": [
        {"type": {"id": "HP:0000819"}, "excluded": true}, {"type": {"id": "HP:0005978"}}]}"#;
    let intake = case.packet(packet).expect("a phenopacket");
    assert!(case.selects(&intake, "a", "HP:0000819"));
    assert_eq!(dropped(&intake), [(DropReason::Contradiction, 1, vec!["HP:0000819"])]);
}
