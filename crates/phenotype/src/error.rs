//! What can be refused about schemas, terms and attributes.

use crate::{curie::Curie, decimal::Decimal};
use thiserror::Error;

/// Why a term, a number or an attribute value was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PhenotypeError {
    /// Not the name of an ontology term.
    #[error("{0:?} is no ontology term, write it like HP:0000819")]
    Curie(String),
    /// Not a number this project can compare exactly.
    #[error("{0:?} is no decimal number below 10^9 with at most 9 digits after the point")]
    Number(String),
    /// The schema has no such attribute.
    #[error("the schema has no attribute {0}")]
    NoAttribute(String),
    /// The attribute is of another kind.
    #[error("{attribute} takes {expected}")]
    Kind {
        /// The attribute.
        attribute: String,
        /// What it takes.
        expected: &'static str,
    },
    /// The attribute has no such value.
    #[error("{attribute} has no value {value:?}, it has {}", known.join(", "))]
    NoValue {
        /// The attribute.
        attribute: String,
        /// The value.
        value: String,
        /// Its values.
        known: Vec<String>,
    },
    /// A measurement is in a unit that the schema cannot convert.
    #[error("{attribute} is measured in {expected}, {unit:?} cannot be converted")]
    Unit {
        /// The attribute.
        attribute: String,
        /// Unit of the measurement.
        unit: String,
        /// Unit of the schema.
        expected: String,
    },
    /// An attribute was set twice to different values.
    #[error("{attribute} is stated twice with different values")]
    Contradiction {
        /// The attribute.
        attribute: String,
    },
}

/// Why an attribute schema was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SchemaError {
    /// The text is no JSON document of the right shape.
    #[error("not an attribute schema: {0}")]
    Json(String),
    /// A name has other than 1 to 48 letters, digits, `_`, `-` or `.`.
    #[error("{0:?} is no name: use 1 to 48 letters, digits, '_', '-' or '.'")]
    Name(String),
    /// An attribute name is not a lower-case identifier or is a word of the predicate language.
    #[error(
        "{0:?} is no attribute name: use 1 to 32 of a-z, 0-9 and '_', a letter first, no word of the query language"
    )]
    AttributeName(String),
    /// A term is malformed.
    #[error(transparent)]
    Term(#[from] PhenotypeError),
    /// Two attributes have one name.
    #[error("attribute {0} is defined twice")]
    Duplicate(String),
    /// Values of a category are empty, repeated, reserved or too many.
    #[error(
        "attribute {0}: a category has 1 to 255 different values of 1 to 48 printable characters, 'unknown' is always there"
    )]
    Values(String),
    /// Edges of bands do not ascend.
    #[error("attribute {attribute}: band edges must ascend, {after} does not follow {before}")]
    EdgeOrder {
        /// The attribute.
        attribute: String,
        /// An edge.
        before: String,
        /// The next one.
        after: String,
    },
    /// There are no edges or too many.
    #[error("attribute {0}: bands have 1 to 254 edges")]
    EdgeCount(String),
    /// An attribute of whole numbers has an edge between two.
    #[error("attribute {attribute} has whole values, {edge} is no edge for it")]
    EdgeNotWhole {
        /// The attribute.
        attribute: String,
        /// The edge.
        edge: Decimal,
    },
    /// A unit or its factor is invalid.
    #[error("attribute {0}: a unit has 1 to 16 characters without blanks, a factor is positive")]
    Unit(String),
    /// A quantity has no step or no bits.
    #[error("attribute {0}: a quantity has a positive step and 1 to 16 bits")]
    Quantity(String),
    /// The schema is empty or too large.
    #[error("a schema has 1 to 1024 attributes and at most 4096 bits, this one has {attributes} and {bits}")]
    Size {
        /// Attributes.
        attributes: usize,
        /// Bits.
        bits: usize,
    },
    /// The ontology table contradicts itself.
    #[error("{0} is its own ancestor in the ontology table")]
    Cycle(Curie),
    /// The ontology table is too large.
    #[error("an ontology table has at most {max} rows, got {got}")]
    TooManyRows {
        /// Most rows.
        max: usize,
        /// Rows given.
        got: usize,
    },
}
