//! Tab-separated tables.

use super::{
    collect::{Collector, Content, Statement},
    mapping::{AttributeMapping, ColumnMapping},
    report::DropReason,
};
use crate::{
    error::{FileProblem, IntakeError, PlaceProblem},
    input::{Input, Lines},
    sample::{SampleError, SampleId},
};
use locus_phenotype::{AttributeIndex, AttributeKind};
use std::{collections::BTreeMap, path::Path};

/// A column that is used.
struct Column<'a> {
    place: usize,
    mapping: &'a ColumnMapping,
    index: AttributeIndex,
}

pub(super) fn read(path: &Path, mapping: &AttributeMapping, collector: &mut Collector<'_>) -> Result<(), IntakeError> {
    let mut lines = Lines::new(Input::open(path)?);
    if !lines.advance()? {
        return Err(super::problem(path, FileProblem::Empty));
    }
    let header = text(&lines)?.trim_start_matches('#').to_owned();
    let names: Vec<&str> = header.split('\t').collect();
    let find = |wanted: &str| names.iter().position(|name| *name == wanted);
    let absent = |name: &str| {
        super::problem(path, FileProblem::Mapping(format!("names column {name:?}, which the table has not")))
    };
    let own = columns_called_as_attributes(&names, mapping, collector);
    let (person, mappings) = if own.is_empty() {
        (find(&mapping.person).ok_or_else(|| absent(&mapping.person))?, &mapping.columns)
    } else {
        (0, &own)
    };
    let mut columns = Vec::new();
    for column in mappings {
        let place = find(&column.column).ok_or_else(|| absent(&column.column))?;
        columns.push(Column { place, mapping: column, index: collector.mapped(path, &column.attribute)? });
    }
    for (place, name) in names.iter().enumerate() {
        if place != person && columns.iter().all(|column| column.place != place) {
            collector.drop(DropReason::NotMapped, name);
        }
    }
    let mut is_empty = true;
    while lines.advance()? {
        let line = text(&lines)?;
        if line.is_empty() {
            continue;
        }
        is_empty = false;
        let fields: Vec<&str> = line.split('\t').collect();
        if fields.len() != names.len() {
            return Err(lines.error(PlaceProblem::Columns { expected: names.len(), found: fields.len() }));
        }
        let name = fields[person];
        // A person has one line: a second one would silently add up.
        if SampleId::try_new(name).is_ok_and(|sample| collector.knows(&sample)) {
            return Err(lines.error(PlaceProblem::Samples(SampleError::Duplicate(name.to_owned()))));
        }
        let sample = collector.person(path, name).map_err(|error| at_line(&lines, error))?;
        for column in &columns {
            let field = fields[column.place];
            if !field.is_empty() && !mapping.missing.iter().any(|missing| missing == field) {
                state(collector, &sample, column, field);
            }
        }
    }
    if is_empty { Err(super::problem(path, FileProblem::NoRecords)) } else { Ok(()) }
}

/// Of a table without a mapping, the columns after the first that have names of attributes.
fn columns_called_as_attributes(
    names: &[&str],
    mapping: &AttributeMapping,
    collector: &Collector<'_>,
) -> Vec<ColumnMapping> {
    if !mapping.person.is_empty() || !mapping.columns.is_empty() {
        return Vec::new();
    }
    let called = names.iter().skip(1).filter(|name| collector.find(name).is_some());
    let column = |name: &&str| ColumnMapping {
        column: (*name).to_owned(),
        attribute: (*name).to_owned(),
        values: BTreeMap::new(),
        unit: None,
    };
    called.map(column).collect()
}

fn state(collector: &mut Collector<'_>, sample: &SampleId, column: &Column<'_>, field: &str) {
    let mapping = column.mapping;
    let value = mapping.values.get(field).map_or(field, String::as_str);
    let kind = collector.schema.attribute(column.index).map(|attribute| &attribute.kind);
    match kind {
        Some(AttributeKind::Bands { .. } | AttributeKind::Quantity { .. }) => {
            collector.state_number(sample, &mapping.column, column.index, value, mapping.unit.clone(), "");
        }
        _ => {
            let content = Content::Value(column.index, value.to_owned());
            collector.state(sample, Statement { kind: mapping.column.clone(), content, time: String::new() });
        }
    }
}

fn text(lines: &Lines) -> Result<&str, IntakeError> {
    std::str::from_utf8(lines.current()).map_err(|_| lines.error(PlaceProblem::Binary))
}

/// Puts the line to an error about a person's name.
fn at_line(lines: &Lines, error: IntakeError) -> IntakeError {
    match error {
        IntakeError::File { problem: FileProblem::Samples(problem), .. } => lines.error(PlaceProblem::Samples(problem)),
        other => other,
    }
}
