//! What was used of a source of attributes, and what was not.

use crate::limits::EXAMPLES_MAX;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// Why a statement about a person was not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DropReason {
    /// A column, code or field that neither the schema nor the mapping names.
    NotMapped,
    /// A code of no known ontology, or malformed.
    NotATerm,
    /// A value that the attribute does not have.
    OtherValue,
    /// Not a number where one belongs.
    NotANumber,
    /// A unit that the schema cannot convert.
    OtherUnit,
    /// The opposite of what else is stated; what is present counts, then what is later.
    Contradiction,
    /// Provisional, refuted without being absent, or entered in error.
    NotEstablished,
    /// A measurement followed by a later one.
    Superseded,
    /// Beyond the scale of a quantity: used, at the end of the scale.
    BeyondScale,
}

impl DropReason {
    /// The reason in words.
    pub fn describe(self) -> &'static str {
        match self {
            Self::NotMapped => "neither the schema nor the mapping names it",
            Self::NotATerm => "not a code of a known ontology",
            Self::OtherValue => "the attribute has no such value",
            Self::NotANumber => "not a number",
            Self::OtherUnit => "the schema cannot convert the unit",
            Self::Contradiction => "contradicts another statement",
            Self::NotEstablished => "not established: provisional, refuted or in error",
            Self::Superseded => "a later measurement is used",
            Self::BeyondScale => "beyond the scale, the end of the scale is used",
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.describe())
    }
}

/// Statements dropped for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Dropped {
    /// How many.
    pub count: u64,
    /// The first few kinds: columns, codes or fields, never values or names of people.
    pub examples: Vec<String>,
}

/// What became of a source. It names attributes and codes, and no person.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AttributeReport {
    /// People found.
    pub people: u64,
    /// Digest of the schema that was read for.
    pub schema: String,
    /// People of whom each attribute is known.
    pub known: BTreeMap<String, u64>,
    /// Statements used.
    pub used: u64,
    /// Statements not used.
    pub dropped: BTreeMap<DropReason, Dropped>,
}

impl AttributeReport {
    /// Notes a statement that is not used.
    pub(super) fn drop(&mut self, reason: DropReason, kind: &str) {
        let dropped = self.dropped.entry(reason).or_default();
        dropped.count += 1;
        if dropped.examples.len() < EXAMPLES_MAX && !dropped.examples.iter().any(|example| example == kind) {
            dropped.examples.push(kind.to_owned());
        }
    }

    /// Statements not used, for any reason.
    pub fn dropped_count(&self) -> u64 {
        self.dropped.values().map(|dropped| dropped.count).sum()
    }
}
