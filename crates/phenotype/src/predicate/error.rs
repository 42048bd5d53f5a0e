//! What can be wrong with a predicate, and where.

use std::fmt;
use thiserror::Error;

/// Why a predicate was refused, with the place in its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PredicateError(Box<Details>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Details {
    kind: PredicateErrorKind,
    text: String,
    /// First letter of the place, from 0, and how many.
    start: usize,
    length: usize,
}

/// Why a predicate was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PredicateErrorKind {
    /// The text is too long.
    #[error("a predicate has at most {max} bytes, this one has {got}")]
    TooLong {
        /// Most bytes.
        max: usize,
        /// Bytes given.
        got: usize,
    },
    /// The text is no expression.
    #[error("{0}")]
    Syntax(String),
    /// An expression of SQL that predicates do not have.
    #[error("a predicate is made of comparisons, in, between, is, and, or, not; {0} is none of these")]
    Unsupported(String),
    /// No such attribute.
    #[error("the schema has no attribute {name}, it has {}", known.join(", "))]
    NoAttribute {
        /// The name.
        name: String,
        /// Names like it, or some.
        known: Vec<String>,
    },
    /// No attribute of this term or a kind of it.
    #[error("the schema has no attribute {0} and none that its ontology table calls a kind of it")]
    NoTerm(String),
    /// No such value.
    #[error("{attribute} has no value {value}, it has {}", known.join(", "))]
    NoValue {
        /// The attribute.
        attribute: String,
        /// The value.
        value: String,
        /// Its values.
        known: Vec<String>,
    },
    /// A comparison that the attribute does not know.
    #[error("{attribute} {rule}")]
    Comparison {
        /// The attribute.
        attribute: String,
        /// What it can be compared with.
        rule: &'static str,
    },
    /// Not a number, or in a unit that cannot be converted.
    #[error("{0}")]
    Number(String),
    /// A comparison that the bands of an attribute cannot tell.
    #[error("{attribute} is kept in bands that begin at {}, which cannot tell {asked}; nearest: {nearest}", edges.join(", "))]
    Inexpressible {
        /// The attribute.
        attribute: String,
        /// The comparison.
        asked: String,
        /// Where bands begin.
        edges: Vec<String>,
        /// The whole predicate with the nearest edges.
        nearest: String,
    },
    /// Nobody can match.
    #[error("this predicate selects nobody whatever their attributes are")]
    Nobody,
    /// Everybody matches.
    #[error("this predicate selects everybody whatever their attributes are, ask without a filter")]
    Everybody,
    /// Too many attributes.
    #[error("a predicate has at most {max} attributes")]
    TooManyAttributes {
        /// Most attributes.
        max: usize,
    },
    /// Too many combinations.
    #[error("this predicate needs more than {max} steps, make it simpler")]
    TooComplex {
        /// Most steps.
        max: usize,
    },
    /// Bytes that are not canonical.
    #[error("these bytes are no canonical predicate of this schema")]
    Bytes,
}

impl PredicateError {
    pub(super) fn new(kind: PredicateErrorKind, text: &str, start: usize, length: usize) -> Self {
        Self(Box::new(Details { kind, text: text.to_owned(), start, length }))
    }

    pub(super) fn without_text(kind: PredicateErrorKind) -> Self {
        Self::new(kind, "", 0, 0)
    }

    /// What is wrong.
    pub fn kind(&self) -> &PredicateErrorKind {
        &self.0.kind
    }

    /// The place in the text, in letters from 0.
    pub fn place(&self) -> std::ops::Range<usize> {
        self.0.start..self.0.start + self.0.length
    }
}

impl fmt::Display for PredicateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.kind)?;
        if self.0.length > 0 {
            write!(f, "\n  {}\n  {}{}", self.0.text, " ".repeat(self.0.start), "^".repeat(self.0.length))?;
        }
        Ok(())
    }
}

impl std::error::Error for PredicateError {}
