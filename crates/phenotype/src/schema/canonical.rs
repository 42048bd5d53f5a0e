//! The bytes that a schema's digest is over.

use super::{Attribute, AttributeKey, AttributeKind, SchemaDigest, UnitConversion};
use crate::{domain::DST_SCHEMA, ontology::Ontology};
use locus_commitment::{Sha3Writer, sha3_256};

/// The digest: name, version, then a part for each attribute and for each row of the ontology table
/// (SPEC clause 6).
pub(super) fn digest(name: &str, version: &str, attributes: &[Attribute], ontology: &Ontology) -> SchemaDigest {
    let mut writer = Sha3Writer::new(DST_SCHEMA);
    writer.part(name.as_bytes()).part(version.as_bytes());
    writer.part(&count(attributes.len()));
    for attribute in attributes {
        writer.part(&bytes_of(attribute));
    }
    writer.part(ontology.version().as_bytes());
    for (child, parent) in ontology.rows() {
        writer.part(child.to_string().as_bytes()).part(parent.to_string().as_bytes());
    }
    SchemaDigest(writer.finish())
}

fn count(length: usize) -> [u8; 8] {
    u64::try_from(length).unwrap_or(u64::MAX).to_le_bytes()
}

/// Every field is a part of a digest of its own, so that no two attributes share bytes.
fn bytes_of(attribute: &Attribute) -> [u8; 32] {
    let mut fields: Vec<Vec<u8>> = Vec::new();
    match &attribute.key {
        AttributeKey::Named(name) => fields.extend([vec![0], name.clone().into_bytes()]),
        AttributeKey::Term(term) => fields.extend([vec![1], term.to_string().into_bytes()]),
    }
    match &attribute.kind {
        AttributeKind::Category { values } => {
            fields.push(vec![0]);
            fields.extend(values.iter().map(|value| value.clone().into_bytes()));
        }
        AttributeKind::Flag => fields.push(vec![1]),
        AttributeKind::Bands { edges, is_whole, unit, conversions } => {
            fields.push(vec![2, u8::from(*is_whole)]);
            fields.push(count(edges.len()).to_vec());
            for edge in edges {
                fields.push(edge.value.nanos().to_le_bytes().to_vec());
                fields.push(vec![u8::from(edge.is_above)]);
            }
            push_units(&mut fields, unit, conversions);
        }
        AttributeKind::Quantity { origin, step, bits, has_squares, unit, conversions } => {
            fields.push(vec![if *has_squares { 4 } else { 3 }, *bits]);
            fields.extend([origin, step].map(|number| number.nanos().to_le_bytes().to_vec()));
            push_units(&mut fields, unit, conversions);
        }
    }
    let parts: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
    sha3_256(DST_SCHEMA, &parts).0
}

fn push_units(fields: &mut Vec<Vec<u8>>, unit: &str, conversions: &[UnitConversion]) {
    fields.push(unit.as_bytes().to_vec());
    for conversion in conversions {
        fields.push(conversion.unit.as_bytes().to_vec());
        fields.push(conversion.factor.nanos().to_le_bytes().to_vec());
    }
}
