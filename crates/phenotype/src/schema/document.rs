//! The JSON document of a schema.

use super::{Attribute, AttributeKey, AttributeKind, AttributeSchema, Edge, UnitConversion};
use crate::{decimal::Decimal, error::SchemaError, ontology::Ontology};
use serde::{Deserialize, Serialize};

/// Longest document read: the largest ontology table and attributes fit.
const DOCUMENT_BYTES_MAX: usize = 1 << 26;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    name: String,
    version: String,
    attributes: Vec<Entry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ontology: Option<Table>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    version: String,
    /// Rows (child, parent).
    is_a: Vec<(String, String)>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum Entry {
    Category {
        name: String,
        values: Vec<String>,
    },
    Flag {
        name: String,
    },
    Term {
        term: String,
    },
    Bands {
        name: String,
        edges: Vec<String>,
        #[serde(default)]
        whole: bool,
        #[serde(default)]
        unit: String,
        #[serde(default)]
        convert: Vec<Conversion>,
    },
    Quantity {
        name: String,
        origin: String,
        step: String,
        bits: u8,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        squares: bool,
        #[serde(default)]
        unit: String,
        #[serde(default)]
        convert: Vec<Conversion>,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Conversion {
    unit: String,
    factor: String,
}

pub(super) fn parse(text: &str) -> Result<AttributeSchema, SchemaError> {
    if text.len() > DOCUMENT_BYTES_MAX {
        return Err(SchemaError::Json(format!("longer than {DOCUMENT_BYTES_MAX} bytes")));
    }
    let document: Document = serde_json::from_str(text).map_err(|error| SchemaError::Json(error.to_string()))?;
    let attributes = document.attributes.into_iter().map(attribute).collect::<Result<_, _>>()?;
    let table = document.ontology.unwrap_or_else(|| Table { version: "none".to_owned(), is_a: Vec::new() });
    let row = |(child, parent): &(String, String)| Ok((child.parse()?, parent.parse()?));
    let rows: Vec<_> = table.is_a.iter().map(row).collect::<Result<_, SchemaError>>()?;
    let ontology = Ontology::try_new(&table.version, rows)?;
    AttributeSchema::try_new(&document.name, &document.version, attributes, ontology)
}

fn attribute(entry: Entry) -> Result<Attribute, SchemaError> {
    let (key, kind) = match entry {
        Entry::Category { name, values } => (AttributeKey::Named(name), AttributeKind::Category { values }),
        Entry::Flag { name } => (AttributeKey::Named(name), AttributeKind::Flag),
        Entry::Term { term } => (AttributeKey::Term(term.parse()?), AttributeKind::Flag),
        Entry::Bands { name, edges, whole, unit, convert } => {
            let edges = edges.iter().map(|edge| parse_edge(edge)).collect::<Result<_, _>>()?;
            let conversions = conversions(convert)?;
            (AttributeKey::Named(name), AttributeKind::Bands { edges, is_whole: whole, unit, conversions })
        }
        Entry::Quantity { name, origin, step, bits, squares, unit, convert } => {
            let (origin, step) = (origin.parse()?, step.parse()?);
            let conversions = conversions(convert)?;
            let kind = AttributeKind::Quantity { origin, step, bits, has_squares: squares, unit, conversions };
            (AttributeKey::Named(name), kind)
        }
    };
    Ok(Attribute { key, kind })
}

/// `4.0` begins at 4, `>4.0` just above.
fn parse_edge(text: &str) -> Result<Edge, SchemaError> {
    let above = text.strip_prefix('>');
    Ok(Edge { value: above.unwrap_or(text).parse::<Decimal>()?, is_above: above.is_some() })
}

fn conversions(entries: Vec<Conversion>) -> Result<Vec<UnitConversion>, SchemaError> {
    let convert = |entry: Conversion| Ok(UnitConversion { unit: entry.unit, factor: entry.factor.parse()? });
    entries.into_iter().map(convert).collect()
}

pub(super) fn write(schema: &AttributeSchema) -> String {
    let rows: Vec<_> = schema.ontology.rows().map(|(child, parent)| (child.to_string(), parent.to_string())).collect();
    let table = Table { version: schema.ontology.version().to_owned(), is_a: rows };
    let document = Document {
        name: schema.name.clone(),
        version: schema.version.clone(),
        attributes: schema.attributes.iter().map(entry).collect(),
        ontology: Some(table),
    };
    serde_json::to_string_pretty(&document).expect("strings and numbers always serialise")
}

fn entry(attribute: &Attribute) -> Entry {
    let entries = |conversions: &[UnitConversion]| {
        let entry = |conversion: &UnitConversion| Conversion {
            unit: conversion.unit.clone(),
            factor: conversion.factor.to_string(),
        };
        conversions.iter().map(entry).collect()
    };
    let name = attribute.key.to_string();
    match &attribute.kind {
        AttributeKind::Category { values } => Entry::Category { name, values: values.clone() },
        AttributeKind::Flag => match &attribute.key {
            AttributeKey::Named(_) => Entry::Flag { name },
            AttributeKey::Term(_) => Entry::Term { term: name },
        },
        AttributeKind::Bands { edges, is_whole, unit, conversions } => Entry::Bands {
            name,
            edges: edges.iter().map(ToString::to_string).collect(),
            whole: *is_whole,
            unit: unit.clone(),
            convert: entries(conversions),
        },
        AttributeKind::Quantity { origin, step, bits, has_squares, unit, conversions } => Entry::Quantity {
            name,
            origin: origin.to_string(),
            step: step.to_string(),
            bits: *bits,
            squares: *has_squares,
            unit: unit.clone(),
            convert: entries(conversions),
        },
    }
}
