//! GA4GH Phenopackets, version 2 (ISO 4454:2022), as JSON or protobuf.
//!
//! Only the messages and fields that attributes can come from are defined, with the numbers and
//! names of the standard; others are passed over as protobuf intends.

use super::{
    collect::{Collector, Content, Statement},
    problem, read_document,
    report::DropReason,
};
use crate::{error::FileProblem, error::IntakeError, sample::SampleId};
use prost::Message;
use serde::Deserialize;
use std::path::Path;

const FORMAT: &str = "a phenopacket of version 2";

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Phenopacket {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(message, optional, tag = "2")]
    subject: Option<Individual>,
    #[prost(message, repeated, tag = "3")]
    phenotypic_features: Vec<PhenotypicFeature>,
    #[prost(message, repeated, tag = "4")]
    measurements: Vec<Measurement>,
    #[prost(message, repeated, tag = "7")]
    diseases: Vec<Disease>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Individual {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(message, optional, tag = "4")]
    time_at_last_encounter: Option<TimeElement>,
    #[prost(enumeration = "Sex", tag = "6")]
    #[serde(deserialize_with = "sex_by_name")]
    sex: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
enum Sex {
    Unknown = 0,
    Female = 1,
    Male = 2,
    Other = 3,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
struct OntologyClass {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct TimeElement {
    #[prost(message, optional, tag = "1")]
    age: Option<Age>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
struct Age {
    #[prost(string, tag = "1")]
    iso8601duration: String,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
struct PhenotypicFeature {
    #[prost(message, optional, tag = "2")]
    #[serde(rename = "type")]
    feature: Option<OntologyClass>,
    #[prost(bool, tag = "3")]
    excluded: bool,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
struct Disease {
    #[prost(message, optional, tag = "1")]
    term: Option<OntologyClass>,
    #[prost(bool, tag = "2")]
    excluded: bool,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Measurement {
    #[prost(message, optional, tag = "2")]
    assay: Option<OntologyClass>,
    #[prost(message, optional, tag = "3")]
    value: Option<MeasuredValue>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
struct MeasuredValue {
    #[prost(message, optional, tag = "1")]
    quantity: Option<Quantity>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
struct Quantity {
    #[prost(message, optional, tag = "1")]
    unit: Option<OntologyClass>,
    #[prost(double, tag = "2")]
    value: f64,
}

/// Protobuf's JSON form writes enumerations by name, and allows numbers.
fn sex_by_name<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum NameOrNumber {
        Name(String),
        Number(i32),
    }
    let name = match NameOrNumber::deserialize(deserializer)? {
        NameOrNumber::Number(number) => return Ok(number),
        NameOrNumber::Name(name) => name,
    };
    let sex = match name.as_str() {
        "FEMALE" => Sex::Female,
        "MALE" => Sex::Male,
        "OTHER_SEX" => Sex::Other,
        "UNKNOWN_SEX" => Sex::Unknown,
        _ => return Err(serde::de::Error::custom(format!("{name:?} is no sex of a phenopacket"))),
    };
    Ok(sex as i32)
}

pub(super) fn read(path: &Path, collector: &mut Collector<'_>) -> Result<(), IntakeError> {
    let bytes = read_document(path)?;
    let is_json = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    let packet = if is_json {
        let refused = |error: serde_json::Error| FileProblem::Json { format: FORMAT, reason: error.to_string() };
        serde_json::from_slice::<Phenopacket>(&bytes).map_err(|error| problem(path, refused(error)))?
    } else {
        Phenopacket::decode(&bytes[..]).map_err(|_| problem(path, FileProblem::Protobuf { format: FORMAT }))?
    };
    let subject = packet.subject.as_ref().filter(|subject| !subject.id.is_empty());
    let no_subject = || problem(path, FileProblem::NoSubject { what: "the phenopacket".to_owned() });
    let subject = subject.ok_or_else(no_subject)?;
    let sample = collector.person(path, &subject.id)?;
    state_subject(path, collector, &sample, subject)?;
    let features = packet.phenotypic_features.iter().map(|feature| (&feature.feature, feature.excluded));
    let diseases = packet.diseases.iter().map(|disease| (&disease.term, disease.excluded));
    for (term, is_excluded) in features.chain(diseases) {
        match term {
            Some(term) => collector.state_term(&sample, &term.id, !is_excluded, ""),
            None => collector.drop(DropReason::NotATerm, "a feature without type"),
        }
    }
    for measurement in &packet.measurements {
        state_measurement(path, collector, &sample, measurement)?;
    }
    Ok(())
}

fn state_subject(
    path: &Path,
    collector: &mut Collector<'_>,
    sample: &SampleId,
    subject: &Individual,
) -> Result<(), IntakeError> {
    let sex = match Sex::try_from(subject.sex) {
        Ok(Sex::Female) => Some("female"),
        Ok(Sex::Male) => Some("male"),
        Ok(Sex::Other) => Some("other"),
        _ => None,
    };
    if let Some(sex) = sex {
        state_sex(path, collector, sample, sex)?;
    }
    let age = subject.time_at_last_encounter.as_ref().and_then(|time| time.age.as_ref());
    if let Some(age) = age {
        match (collector.mapping.age.clone(), years(&age.iso8601duration)) {
            (None, _) => collector.drop(DropReason::NotMapped, "age"),
            (Some(_), None) => collector.drop(DropReason::NotANumber, "age"),
            (Some(attribute), Some(years)) => {
                let index = collector.mapped(path, &attribute)?;
                collector.state_number(sample, "age", index, &years.to_string(), None, "");
            }
        }
    }
    Ok(())
}

/// States a sex named `female`, `male` or `other`.
pub(super) fn state_sex(
    path: &Path,
    collector: &mut Collector<'_>,
    sample: &SampleId,
    sex: &str,
) -> Result<(), IntakeError> {
    let mapping = collector.mapping;
    let Some(field) = &mapping.sex else {
        collector.drop(DropReason::NotMapped, "sex");
        return Ok(());
    };
    let index = collector.mapped(path, &field.attribute)?;
    match field.values.get(sex) {
        Some(value) => {
            let content = Content::Value(index, value.clone());
            collector.state(sample, Statement { kind: "sex".to_owned(), content, time: String::new() });
        }
        None => collector.drop(DropReason::OtherValue, "sex"),
    }
    Ok(())
}

fn state_measurement(
    path: &Path,
    collector: &mut Collector<'_>,
    sample: &SampleId,
    measurement: &Measurement,
) -> Result<(), IntakeError> {
    let Some(assay) = &measurement.assay else {
        collector.drop(DropReason::NotATerm, "a measurement without assay");
        return Ok(());
    };
    let mapping = collector.mapping;
    let Some(mapped) = mapping.measurements.iter().find(|mapped| mapped.code.eq_ignore_ascii_case(&assay.id)) else {
        collector.drop(DropReason::NotMapped, &assay.id);
        return Ok(());
    };
    let Some(quantity) = measurement.value.as_ref().and_then(|value| value.quantity.as_ref()) else {
        collector.drop(DropReason::NotANumber, &assay.id);
        return Ok(());
    };
    let index = collector.mapped(path, &mapped.attribute)?;
    // A measurement without unit could be in any.
    let unit = quantity.unit.as_ref().map_or("", |unit| unit.id.as_str());
    let unit = mapping.units.get(unit).cloned().unwrap_or_else(|| unit.to_owned());
    collector.state_number(sample, &assay.id, index, &quantity.value.to_string(), Some(unit), "");
    Ok(())
}

/// Whole years of an ISO 8601 duration such as `P40Y10M05D`; shorter ages are 0.
pub(super) fn years(duration: &str) -> Option<u32> {
    let rest = duration.strip_prefix('P')?;
    let date = rest.split('T').next()?;
    let is_duration = date.chars().all(|c| c.is_ascii_digit() || matches!(c, 'Y' | 'M' | 'W' | 'D' | '.'));
    if !is_duration || rest.is_empty() {
        return None;
    }
    match date.split_once('Y') {
        Some((years, _)) => years.split('.').next()?.parse().ok().filter(|years| *years <= 150),
        None => Some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::years;

    #[test]
    fn ages_are_whole_years() {
        for (text, expected) in
            [("P40Y10M05D", Some(40)), ("P7M", Some(0)), ("P0Y", Some(0)), ("PT5H", Some(0)), ("P12.5Y", Some(12))]
        {
            assert_eq!(years(text), expected, "{text}");
        }
        for text in ["", "P", "40Y", "P999Y", "PxY", "P-4Y"] {
            assert_eq!(years(text), None, "{text}");
        }
    }
}
