//! Collects statements about people until all files are read, then settles what each is.

use super::{
    AttributeIntake,
    mapping::AttributeMapping,
    report::{AttributeReport, DropReason},
};
use crate::{
    error::{FileProblem, IntakeError},
    sample::{SampleError, SampleId},
};
use locus_phenotype::{
    AttributeIndex, AttributeKey, AttributeKind, AttributeSchema, Curie, Decimal, PersonAttributes, PhenotypeError,
};
use std::{collections::BTreeMap, path::Path};

/// One statement, its kind as the report may name it.
pub(super) struct Statement {
    pub(super) kind: String,
    pub(super) content: Content,
    /// When it was made, as text that sorts by time; empty when that is not said.
    pub(super) time: String,
}

pub(super) enum Content {
    /// A term is present or excluded.
    Term(Curie, bool),
    /// A category, or `yes` and `no` for a flag.
    Value(AttributeIndex, String),
    /// A number, in a unit other than the attribute's own.
    Number(AttributeIndex, Decimal, Option<String>),
}

pub(super) struct Collector<'a> {
    pub(super) schema: &'a AttributeSchema,
    pub(super) mapping: &'a AttributeMapping,
    pub(super) report: AttributeReport,
    people: BTreeMap<SampleId, Vec<Statement>>,
}

impl<'a> Collector<'a> {
    pub(super) fn new(schema: &'a AttributeSchema, mapping: &'a AttributeMapping) -> Self {
        let report = AttributeReport { schema: schema.digest().0.to_string(), ..AttributeReport::default() };
        Self { schema, mapping, report, people: BTreeMap::new() }
    }

    /// Makes a person known, with nothing stated yet.
    pub(super) fn person(&mut self, path: &Path, name: &str) -> Result<SampleId, IntakeError> {
        let invalid = |error: SampleError| super::problem(path, FileProblem::Samples(error));
        let sample = SampleId::try_new(name).map_err(invalid)?;
        if self.people.len() >= crate::limits::SAMPLES_MAX {
            return Err(invalid(SampleError::TooMany));
        }
        self.people.entry(sample.clone()).or_default();
        Ok(sample)
    }

    pub(super) fn knows(&self, sample: &SampleId) -> bool {
        self.people.contains_key(sample)
    }

    pub(super) fn state(&mut self, sample: &SampleId, statement: Statement) {
        self.people.entry(sample.clone()).or_default().push(statement);
    }

    pub(super) fn drop(&mut self, reason: DropReason, kind: &str) {
        self.report.drop(reason, kind);
    }

    /// The attribute that a mapping names.
    pub(super) fn mapped(&self, path: &Path, name: &str) -> Result<AttributeIndex, IntakeError> {
        let missing = || super::problem(path, FileProblem::Mapping(format!("names {name}, which the schema has not")));
        self.find(name).ok_or_else(missing)
    }

    /// The attribute of this name or term.
    pub(super) fn find(&self, name: &str) -> Option<AttributeIndex> {
        let key = name.parse().map_or_else(|_| AttributeKey::Named(name.to_ascii_lowercase()), AttributeKey::Term);
        self.schema.find(&key)
    }

    /// States that a term is present or excluded, when the schema says anything about it.
    pub(super) fn state_term(&mut self, sample: &SampleId, code: &str, is_present: bool, time: &str) {
        let Ok(term) = code.parse::<Curie>() else { return self.drop(DropReason::NotATerm, code) };
        let mut probe = PersonAttributes::unknown(self.schema);
        let concerned = probe.observe(self.schema, &term, is_present).unwrap_or(0);
        if concerned == 0 {
            return self.drop(DropReason::NotMapped, &term.to_string());
        }
        let content = Content::Term(term.clone(), is_present);
        self.state(sample, Statement { kind: term.to_string(), content, time: time.to_owned() });
    }

    /// States a number written as text.
    pub(super) fn state_number(
        &mut self,
        sample: &SampleId,
        kind: &str,
        index: AttributeIndex,
        text: &str,
        unit: Option<String>,
        time: &str,
    ) {
        match text.trim().parse::<Decimal>() {
            Ok(number) => {
                let content = Content::Number(index, number, unit);
                self.state(sample, Statement { kind: kind.to_owned(), content, time: time.to_owned() });
            }
            Err(_) => self.drop(DropReason::NotANumber, kind),
        }
    }

    /// Settles everything: what is present before what is excluded, later measurements before earlier.
    pub(super) fn finish(mut self) -> Result<AttributeIntake, IntakeError> {
        let (mut samples, mut people) = (Vec::new(), Vec::new());
        for (sample, mut statements) in std::mem::take(&mut self.people) {
            let rank = |content: &Content| match content {
                Content::Term(_, true) => 0,
                Content::Term(_, false) => 1,
                Content::Value(..) | Content::Number(..) => 2,
            };
            statements.sort_by(|left, right| {
                rank(&left.content).cmp(&rank(&right.content)).then_with(|| right.time.cmp(&left.time))
            });
            let mut person = PersonAttributes::unknown(self.schema);
            for statement in &statements {
                self.settle(&mut person, statement);
            }
            samples.push(sample);
            people.push(person);
        }
        self.report.people = u64::try_from(people.len()).unwrap_or(u64::MAX);
        for (index, attribute) in self.schema.attributes() {
            let known = people.iter().filter(|person| person.is_known(self.schema, index)).count();
            self.report.known.insert(attribute.key.to_string(), u64::try_from(known).unwrap_or(u64::MAX));
        }
        Ok(AttributeIntake { samples, people, report: self.report })
    }

    fn settle(&mut self, person: &mut PersonAttributes, statement: &Statement) {
        let kind = &statement.kind;
        let outcome = match &statement.content {
            Content::Term(term, is_present) => person.observe(self.schema, term, *is_present).map(|_| false),
            Content::Value(index, value) => self.set_value(person, *index, value).map(|()| false),
            Content::Number(index, number, unit) => {
                if person.is_known(self.schema, *index) {
                    return self.report.drop(DropReason::Superseded, kind);
                }
                self.set_number(person, *index, *number, unit.as_deref())
            }
        };
        match outcome {
            Ok(is_beyond) => {
                self.report.used += 1;
                if is_beyond {
                    self.report.drop(DropReason::BeyondScale, kind);
                }
            }
            Err(PhenotypeError::Contradiction { .. }) => self.report.drop(DropReason::Contradiction, kind),
            Err(PhenotypeError::Unit { .. }) => self.report.drop(DropReason::OtherUnit, kind),
            Err(PhenotypeError::Number(_)) => self.report.drop(DropReason::NotANumber, kind),
            Err(_) => self.report.drop(DropReason::OtherValue, kind),
        }
    }

    fn set_value(
        &self,
        person: &mut PersonAttributes,
        index: AttributeIndex,
        value: &str,
    ) -> Result<(), PhenotypeError> {
        let attribute = self.schema.attribute(index).map(|attribute| (&attribute.key, &attribute.kind));
        let flag = match value {
            "yes" | "true" => Some(true),
            "no" | "false" => Some(false),
            _ => None,
        };
        match (attribute, flag) {
            (Some((AttributeKey::Term(term), _)), Some(flag)) => person.observe(self.schema, term, flag).map(drop),
            (Some((_, AttributeKind::Flag)), Some(flag)) => person.set_flag(self.schema, index, flag),
            _ => person.set_category(self.schema, index, value),
        }
    }

    fn set_number(
        &self,
        person: &mut PersonAttributes,
        index: AttributeIndex,
        number: Decimal,
        unit: Option<&str>,
    ) -> Result<bool, PhenotypeError> {
        let number = match (unit, self.schema.attribute(index)) {
            (Some(unit), Some(attribute)) => attribute.convert(number, unit)?,
            _ => number,
        };
        person.set_number(self.schema, index, number)
    }
}
