//! Which attributes a market asks about, and how a person's answers become bits.

mod canonical;
mod document;

use crate::{
    curie::Curie,
    decimal::Decimal,
    error::{PhenotypeError, SchemaError},
    ontology::Ontology,
};
use locus_commitment::Digest32;
use locus_sharing::BitRules;
use std::{collections::BTreeMap, fmt, ops::Range};

/// Most bits of a schema.
pub const SCHEMA_BITS_MAX: usize = 4096;
const ATTRIBUTES_MAX: usize = 1024;
const VALUES_MAX: usize = 255;
const NAME_LENGTH_MAX: usize = 48;
/// Words that mean something in predicates.
const RESERVED: [&str; 12] =
    ["and", "or", "not", "in", "is", "between", "null", "true", "false", "unknown", "like", "case"];

/// Place of an attribute in its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttributeIndex(pub u16);

impl AttributeIndex {
    pub(crate) fn position(self) -> usize {
        usize::from(self.0)
    }
}

/// How predicates name an attribute.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AttributeKey {
    /// A lower-case identifier.
    Named(String),
    /// An ontology term.
    Term(Curie),
}

impl fmt::Display for AttributeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Term(term) => write!(f, "{term}"),
        }
    }
}

impl fmt::Debug for AttributeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Where a band begins: at a value, or just above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Edge {
    /// The value.
    pub value: Decimal,
    /// Whether the band begins just above the value, so that the value belongs to the band below.
    pub is_above: bool,
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.is_above { ">" } else { "" }, self.value)
    }
}

/// A unit that measurements may come in, and what to multiply them by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitConversion {
    /// The other unit.
    pub unit: String,
    /// Schema units in one of it.
    pub factor: Decimal,
}

/// What values an attribute has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttributeKind {
    /// One of several values.
    Category {
        /// The values, in order.
        values: Vec<String>,
    },
    /// No or yes. Ontology terms are flags too.
    Flag,
    /// A number, of which only the band is kept.
    Bands {
        /// Where bands begin, ascending; the first band lies below the first edge.
        edges: Vec<Edge>,
        /// Whether values are whole.
        is_whole: bool,
        /// Its unit, empty for a bare number.
        unit: String,
        /// Other units.
        conversions: Vec<UnitConversion>,
    },
    /// A number kept as `origin + step * u`, u below 2^bits, for regression; in predicates it is
    /// only known or unknown.
    Quantity {
        /// Value of u = 0.
        origin: Decimal,
        /// Distance of neighbouring values.
        step: Decimal,
        /// Bits of u.
        bits: u8,
        /// Whether the bits of u^2 are kept as well, for regressions whose errors are exact where calls are missing.
        has_squares: bool,
        /// Its unit, empty for a bare number.
        unit: String,
        /// Other units.
        conversions: Vec<UnitConversion>,
    },
}

/// One attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Its name.
    pub key: AttributeKey,
    /// Its values.
    pub kind: AttributeKind,
}

impl Attribute {
    /// Values a person can have, unknown included as the last: one bit each.
    pub fn value_count(&self) -> usize {
        match &self.kind {
            AttributeKind::Category { values } => values.len() + 1,
            AttributeKind::Flag => 3,
            AttributeKind::Bands { edges, .. } => edges.len() + 2,
            AttributeKind::Quantity { .. } => 2,
        }
    }

    /// Bits of the attribute: one a value, then those of a quantity and of its square.
    pub fn width(&self) -> usize {
        self.value_count() + self.number_bits() + self.square_bits()
    }

    /// Bits of u; none for what is no quantity.
    pub fn number_bits(&self) -> usize {
        match &self.kind {
            AttributeKind::Quantity { bits, .. } => usize::from(*bits),
            _ => 0,
        }
    }

    /// Bits of u^2; none where they are not kept.
    pub fn square_bits(&self) -> usize {
        match &self.kind {
            AttributeKind::Quantity { has_squares: true, .. } => 2 * self.number_bits(),
            _ => 0,
        }
    }

    /// The value that stands for unknown.
    pub fn unknown(&self) -> usize {
        self.value_count() - 1
    }

    /// A measurement in the attribute's own unit.
    ///
    /// # Errors
    /// [`PhenotypeError::Unit`] when the unit cannot be converted.
    pub fn convert(&self, value: Decimal, unit: &str) -> Result<Decimal, PhenotypeError> {
        let (AttributeKind::Bands { unit: own, conversions, .. }
        | AttributeKind::Quantity { unit: own, conversions, .. }) = &self.kind
        else {
            return Err(PhenotypeError::Kind { attribute: self.key.to_string(), expected: "no numbers" });
        };
        if unit == own {
            return Ok(value);
        }
        match conversions.iter().find(|conversion| conversion.unit == unit) {
            Some(conversion) => value.times(conversion.factor),
            None => Err(PhenotypeError::Unit {
                attribute: self.key.to_string(),
                unit: unit.to_owned(),
                expected: own.clone(),
            }),
        }
    }
}

/// Digest of a schema's canonical bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SchemaDigest(pub Digest32);

/// The attributes of a market, with the ontology table that relates its terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeSchema {
    name: String,
    version: String,
    attributes: Vec<Attribute>,
    offsets: Vec<usize>,
    by_key: BTreeMap<AttributeKey, AttributeIndex>,
    ontology: Ontology,
    digest: SchemaDigest,
}

impl AttributeSchema {
    /// A schema of these attributes, in this order.
    ///
    /// # Errors
    /// [`SchemaError`] for whatever breaks a rule of SPEC clauses 1 to 5.
    pub fn try_new(
        name: &str,
        version: &str,
        attributes: Vec<Attribute>,
        ontology: Ontology,
    ) -> Result<Self, SchemaError> {
        check_name(name)?;
        check_name(version)?;
        let (mut by_key, mut offsets, mut bits) = (BTreeMap::new(), Vec::new(), 0);
        for (attribute, index) in attributes.iter().zip(0u16..) {
            check_attribute(attribute)?;
            if by_key.insert(attribute.key.clone(), AttributeIndex(index)).is_some() {
                return Err(SchemaError::Duplicate(attribute.key.to_string()));
            }
            offsets.push(bits);
            bits += attribute.width();
        }
        if attributes.is_empty() || attributes.len() > ATTRIBUTES_MAX || bits > SCHEMA_BITS_MAX {
            return Err(SchemaError::Size { attributes: attributes.len(), bits });
        }
        offsets.push(bits);
        let digest = canonical::digest(name, version, &attributes, &ontology);
        let (name, version) = (name.to_owned(), version.to_owned());
        Ok(Self { name, version, attributes, offsets, by_key, ontology, digest })
    }

    /// Reads a schema document.
    ///
    /// # Errors
    /// [`SchemaError`].
    pub fn parse_json(text: &str) -> Result<Self, SchemaError> {
        document::parse(text)
    }

    /// The document of this schema, which [`parse_json`](Self::parse_json) reads.
    pub fn to_json(&self) -> String {
        document::write(self)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// All attributes.
    pub fn attributes(&self) -> impl Iterator<Item = (AttributeIndex, &Attribute)> {
        (0u16..).map(AttributeIndex).zip(&self.attributes)
    }

    /// Number of attributes.
    pub fn attribute_count(&self) -> usize {
        self.attributes.len()
    }

    /// One attribute.
    pub fn attribute(&self, index: AttributeIndex) -> Option<&Attribute> {
        self.attributes.get(index.position())
    }

    /// The attribute of this name.
    pub fn find(&self, key: &AttributeKey) -> Option<AttributeIndex> {
        self.by_key.get(key).copied()
    }

    /// The attribute named by this identifier, in any case.
    pub fn find_named(&self, name: &str) -> Option<AttributeIndex> {
        self.find(&AttributeKey::Named(name.to_ascii_lowercase()))
    }

    /// The attribute of this term.
    pub fn find_term(&self, term: &Curie) -> Option<AttributeIndex> {
        self.find(&AttributeKey::Term(term.clone()))
    }

    /// The ontology table.
    pub fn ontology(&self) -> &Ontology {
        &self.ontology
    }

    /// The schema's digest.
    pub fn digest(&self) -> SchemaDigest {
        self.digest
    }

    /// Bits of a person.
    pub fn bit_count(&self) -> usize {
        self.offsets.last().copied().unwrap_or(0)
    }

    /// The bits of an attribute: one a value, unknown last, then the planes of a quantity, lowest
    /// first. Empty for an attribute the schema does not have.
    pub fn bits_of(&self, index: AttributeIndex) -> Range<usize> {
        let position = index.position();
        match (self.offsets.get(position), self.offsets.get(position + 1)) {
            (Some(start), Some(end)) => *start..*end,
            _ => 0..0,
        }
    }

    /// The bits of an attribute that are one-hot: exactly one of them is set in everybody.
    pub fn one_hot_bits_of(&self, index: AttributeIndex) -> Range<usize> {
        let bits = self.bits_of(index);
        let count = self.attribute(index).map_or(0, Attribute::value_count);
        bits.start..bits.start + count
    }

    /// The bits of a quantity and those of its square; `None` where squares are not kept.
    pub fn squared_bits_of(&self, index: AttributeIndex) -> Option<(Range<usize>, Range<usize>)> {
        let attribute = self.attribute(index).filter(|attribute| attribute.square_bits() > 0)?;
        let number = self.bits_of(index).start + attribute.value_count();
        let square = number + attribute.number_bits();
        Some((number..square, square..square + attribute.square_bits()))
    }

    /// What holds of everybody's bits, beside that they are bits.
    pub fn bit_rules(&self) -> BitRules {
        BitRules {
            one_hot: self.attributes().map(|(index, _)| self.one_hot_bits_of(index)).collect(),
            squares: self.attributes().filter_map(|(index, _)| self.squared_bits_of(index)).collect(),
        }
    }

    /// Attributes of terms that `term` covers: its own, or, when the schema has none of its own,
    /// those of its kinds that are not themselves kinds of another one found.
    pub fn attributes_of_term(&self, term: &Curie) -> Vec<AttributeIndex> {
        if let Some(index) = self.find_term(term) {
            return vec![index];
        }
        let covered = self.ontology.descendants(term);
        let present: Vec<&Curie> = covered.iter().filter(|kind| self.find_term(kind).is_some()).collect();
        let is_topmost = |kind: &&&Curie| self.ontology.ancestors(kind).iter().all(|above| !present.contains(&above));
        present.iter().filter(is_topmost).filter_map(|kind| self.find_term(kind)).collect()
    }
}

/// Names of schemas and tables, and versions.
pub(crate) fn check_name(name: &str) -> Result<(), SchemaError> {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let is_name = (1..=NAME_LENGTH_MAX).contains(&name.len()) && name.chars().all(is_letter);
    if is_name { Ok(()) } else { Err(SchemaError::Name(name.chars().take(80).collect())) }
}

fn check_attribute(attribute: &Attribute) -> Result<(), SchemaError> {
    let name = attribute.key.to_string();
    if let AttributeKey::Named(name) = &attribute.key {
        let mut letters = name.chars();
        let is_identifier = letters.next().is_some_and(|c| c.is_ascii_lowercase())
            && letters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            && name.len() <= 32;
        if !is_identifier || RESERVED.contains(&name.as_str()) {
            return Err(SchemaError::AttributeName(name.chars().take(80).collect()));
        }
    }
    match &attribute.kind {
        AttributeKind::Category { values } => check_values(name, values),
        AttributeKind::Flag => Ok(()),
        AttributeKind::Bands { edges, is_whole, unit, conversions } => {
            check_edges(&name, edges, *is_whole)?;
            check_units(name, unit, conversions)
        }
        AttributeKind::Quantity { step, bits, unit, conversions, .. } => {
            if step.nanos() <= 0 || !(1..=16).contains(bits) {
                return Err(SchemaError::Quantity(name));
            }
            check_units(name, unit, conversions)
        }
    }
}

fn check_values(name: String, values: &[String]) -> Result<(), SchemaError> {
    let is_value = |value: &String| {
        (1..=NAME_LENGTH_MAX).contains(&value.chars().count())
            && !value.eq_ignore_ascii_case("unknown")
            && !value.chars().any(|c| c.is_control() || c == '\'')
    };
    let mut sorted: Vec<&String> = values.iter().collect();
    sorted.sort();
    sorted.dedup();
    let is_valid =
        (1..=VALUES_MAX).contains(&values.len()) && sorted.len() == values.len() && values.iter().all(is_value);
    if is_valid { Ok(()) } else { Err(SchemaError::Values(name)) }
}

fn check_edges(name: &str, edges: &[Edge], is_whole: bool) -> Result<(), SchemaError> {
    if edges.is_empty() || edges.len() >= VALUES_MAX {
        return Err(SchemaError::EdgeCount(name.to_owned()));
    }
    for pair in edges.windows(2) {
        if pair[0] >= pair[1] {
            let (before, after) = (pair[0].to_string(), pair[1].to_string());
            return Err(SchemaError::EdgeOrder { attribute: name.to_owned(), before, after });
        }
    }
    match edges.iter().find(|edge| is_whole && (!edge.value.is_whole() || edge.is_above)) {
        Some(edge) => Err(SchemaError::EdgeNotWhole { attribute: name.to_owned(), edge: edge.value }),
        None => Ok(()),
    }
}

fn check_units(name: String, unit: &str, conversions: &[UnitConversion]) -> Result<(), SchemaError> {
    let is_unit =
        |unit: &str| unit.len() <= 16 && !unit.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\'');
    let is_conversion = |conversion: &UnitConversion| {
        !conversion.unit.is_empty() && is_unit(&conversion.unit) && conversion.factor.nanos() > 0
    };
    if is_unit(unit) && conversions.len() <= 16 && conversions.iter().all(is_conversion) {
        Ok(())
    } else {
        Err(SchemaError::Unit(name))
    }
}
