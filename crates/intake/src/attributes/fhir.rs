//! FHIR R4 bundles: Patient, Condition, Observation.

use super::{collect::Collector, phenopacket::state_sex, problem, read_document, report::DropReason};
use crate::{
    error::{FileProblem, IntakeError},
    sample::SampleId,
};
use serde::Deserialize;
use std::{collections::BTreeMap, path::Path};

const FORMAT: &str = "a fhir r4 bundle";

/// Code systems and the prefixes of their terms.
const SYSTEMS: [(&str, &str); 8] = [
    ("http://snomed.info/sct", "SNOMED"),
    ("http://hl7.org/fhir/sid/icd-10", "ICD10"),
    ("http://hl7.org/fhir/sid/icd-10-cm", "ICD10CM"),
    ("http://loinc.org", "LOINC"),
    ("http://human-phenotype-ontology.org", "HP"),
    ("http://purl.obolibrary.org/obo/hp.owl", "HP"),
    ("http://purl.obolibrary.org/obo/mondo.owl", "MONDO"),
    ("http://unitsofmeasure.org", "UCUM"),
];

#[derive(Deserialize)]
struct Bundle {
    #[serde(rename = "resourceType")]
    resource_type: String,
    #[serde(default)]
    entry: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "fullUrl", default)]
    full_url: String,
    resource: Option<Resource>,
}

/// The fields of all three resources that are read; which of them matter depends on the type.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    resource_type: String,
    #[serde(default)]
    id: String,
    gender: Option<String>,
    birth_date: Option<String>,
    subject: Option<Reference>,
    code: Option<CodeableConcept>,
    verification_status: Option<CodeableConcept>,
    status: Option<String>,
    value_quantity: Option<Quantity>,
    value_boolean: Option<bool>,
    effective_date_time: Option<String>,
    recorded_date: Option<String>,
}

#[derive(Deserialize)]
struct Reference {
    #[serde(default)]
    reference: String,
}

#[derive(Deserialize)]
struct CodeableConcept {
    #[serde(default)]
    coding: Vec<Coding>,
}

#[derive(Deserialize)]
struct Coding {
    #[serde(default)]
    system: String,
    #[serde(default)]
    code: String,
}

#[derive(Deserialize)]
struct Quantity {
    value: Option<serde_json::Number>,
    #[serde(default)]
    unit: String,
    #[serde(default)]
    code: String,
}

/// Patients of a bundle by what references to them look like.
type Patients = BTreeMap<String, SampleId>;

pub(super) fn read(path: &Path, collector: &mut Collector<'_>) -> Result<(), IntakeError> {
    let bytes = read_document(path)?;
    let refused = |reason: String| problem(path, FileProblem::Json { format: FORMAT, reason });
    let bundle: Bundle = serde_json::from_slice(&bytes).map_err(|error| refused(error.to_string()))?;
    if bundle.resource_type != "Bundle" {
        return Err(refused(format!("the resource is a {}", bundle.resource_type)));
    }
    let mut patients = Patients::new();
    for entry in &bundle.entry {
        if let Some(patient) = entry.resource.as_ref().filter(|resource| resource.resource_type == "Patient") {
            let sample = read_patient(path, collector, patient)?;
            patients.insert(format!("Patient/{}", patient.id), sample.clone());
            if !entry.full_url.is_empty() {
                patients.insert(entry.full_url.clone(), sample);
            }
        }
    }
    for resource in bundle.entry.iter().filter_map(|entry| entry.resource.as_ref()) {
        match resource.resource_type.as_str() {
            "Patient" => {}
            "Condition" => read_condition(path, collector, &patients, resource)?,
            "Observation" => read_observation(path, collector, &patients, resource)?,
            other => collector.drop(DropReason::NotMapped, other),
        }
    }
    Ok(())
}

fn read_patient(path: &Path, collector: &mut Collector<'_>, patient: &Resource) -> Result<SampleId, IntakeError> {
    if patient.id.is_empty() {
        return Err(problem(path, FileProblem::NoSubject { what: "a patient".to_owned() }));
    }
    let sample = collector.person(path, &patient.id)?;
    if let Some(gender) = patient.gender.as_deref().filter(|gender| *gender != "unknown") {
        state_sex(path, collector, &sample, gender)?;
    }
    if let Some(birth) = &patient.birth_date {
        let mapping = collector.mapping;
        match (&mapping.age, &mapping.age_on) {
            (Some(attribute), Some(day)) => {
                let index = collector.mapped(path, attribute)?;
                match years_between(birth, day) {
                    Some(years) => collector.state_number(&sample, "birthDate", index, &years.to_string(), None, ""),
                    None => collector.drop(DropReason::NotANumber, "birthDate"),
                }
            }
            _ => collector.drop(DropReason::NotMapped, "birthDate"),
        }
    }
    Ok(sample)
}

fn read_condition(
    path: &Path,
    collector: &mut Collector<'_>,
    patients: &Patients,
    condition: &Resource,
) -> Result<(), IntakeError> {
    let sample = subject(path, patients, condition)?;
    let status = condition.verification_status.as_ref().and_then(|status| status.coding.first());
    let is_present = match status.map(|status| status.code.as_str()) {
        None | Some("confirmed") => true,
        Some("refuted") => false,
        Some(_) => {
            collector.drop(DropReason::NotEstablished, "Condition");
            return Ok(());
        }
    };
    let time = condition.recorded_date.as_deref().unwrap_or_default();
    let codings = condition.code.as_ref().map_or(&[][..], |code| &code.coding);
    if codings.is_empty() {
        collector.drop(DropReason::NotATerm, "Condition");
    }
    for coding in codings {
        match term(coding) {
            Some(code) => collector.state_term(&sample, &code, is_present, time),
            None => collector.drop(DropReason::NotATerm, &coding.system),
        }
    }
    Ok(())
}

fn read_observation(
    path: &Path,
    collector: &mut Collector<'_>,
    patients: &Patients,
    observation: &Resource,
) -> Result<(), IntakeError> {
    let sample = subject(path, patients, observation)?;
    if !matches!(observation.status.as_deref(), Some("final" | "amended" | "corrected")) {
        collector.drop(DropReason::NotEstablished, "Observation");
        return Ok(());
    }
    let time = observation.effective_date_time.as_deref().unwrap_or_default();
    let codes: Vec<String> =
        observation.code.as_ref().map_or(&[][..], |code| &code.coding).iter().filter_map(term).collect();
    let mapping = collector.mapping;
    let mapped =
        mapping.measurements.iter().find(|mapped| codes.iter().any(|code| code.eq_ignore_ascii_case(&mapped.code)));
    match (mapped, &observation.value_quantity, observation.value_boolean) {
        (Some(mapped), Some(quantity), _) => {
            let index = collector.mapped(path, &mapped.attribute)?;
            let Some(value) = &quantity.value else {
                collector.drop(DropReason::NotANumber, &mapped.code);
                return Ok(());
            };
            let unit = if quantity.code.is_empty() { &quantity.unit } else { &quantity.code };
            let unit = mapping.units.get(unit).unwrap_or(unit).clone();
            collector.state_number(&sample, &mapped.code, index, &value.to_string(), Some(unit), time);
        }
        (None, None, Some(is_present)) => {
            codes.iter().for_each(|code| collector.state_term(&sample, code, is_present, time));
        }
        (Some(mapped), None, _) => collector.drop(DropReason::NotANumber, &mapped.code),
        (None, ..) => {
            let kind = codes.first().cloned().unwrap_or_else(|| "Observation".to_owned());
            collector.drop(DropReason::NotMapped, &kind);
        }
    }
    Ok(())
}

fn subject(path: &Path, patients: &Patients, resource: &Resource) -> Result<SampleId, IntakeError> {
    let reference = resource.subject.as_ref().map_or("", |subject| subject.reference.as_str());
    let what = || format!("{} {:?}", resource.resource_type, resource.id);
    patients.get(reference).cloned().ok_or_else(|| problem(path, FileProblem::NoSubject { what: what() }))
}

/// The term of a coding in a system that is known.
fn term(coding: &Coding) -> Option<String> {
    let (_, prefix) = SYSTEMS.iter().find(|(system, _)| *system == coding.system)?;
    // Codes of some ontologies carry their prefix already.
    let local = coding
        .code
        .split_once([':', '_'])
        .filter(|(start, _)| start == prefix)
        .map_or(coding.code.as_str(), |(_, local)| local);
    Some(format!("{prefix}:{local}"))
}

/// Whole years from one day to another, both `YYYY`, `YYYY-MM` or `YYYY-MM-DD`; a missing month or day
/// counts as the first.
fn years_between(birth: &str, day: &str) -> Option<u32> {
    let parse = |text: &str| -> Option<(u32, u32, u32)> {
        let mut parts = text.split('-');
        let year = parts.next().filter(|year| year.len() == 4)?.parse().ok()?;
        let month =
            parts.next().map_or(Some(1), |month| month.parse().ok()).filter(|month| (1..=12).contains(month))?;
        let day = parts.next().map_or(Some(1), |day| day.parse().ok()).filter(|day| (1..=31).contains(day))?;
        parts.next().is_none().then_some((year, month, day))
    };
    let (birth, day) = (parse(birth)?, parse(day)?);
    let had_birthday = (day.1, day.2) >= (birth.1, birth.2);
    day.0.checked_sub(birth.0)?.checked_sub(u32::from(!had_birthday)).filter(|years| *years <= 150)
}

#[cfg(test)]
mod tests {
    use super::years_between;

    #[test]
    fn ages_turn_on_the_birthday() {
        for (birth, day, years) in [
            ("1970-11-21", "2026-11-20", Some(55)),
            ("1970-11-21", "2026-11-21", Some(56)),
            ("1970", "2026-11-21", Some(56)),
            ("1970-12", "2026-11-21", Some(55)),
            ("2027-01-01", "2026-11-21", None),
            ("1970-13-01", "2026-11-21", None),
            ("70-01-01", "2026-11-21", None),
            ("1970-01-01-01", "2026-11-21", None),
        ] {
            assert_eq!(years_between(birth, day), years, "{birth} {day}");
        }
    }
}
