//! Predicates over attributes: text in, one canonical form out.

mod decision;
mod error;
mod lower;
mod parse;
mod plan;
mod text;
mod values;

use crate::{
    domain::DST_PREDICATE,
    person::PersonAttributes,
    schema::{AttributeIndex, AttributeSchema, SchemaDigest},
};
use decision::{DecisionDiagram, Link};
pub use error::{PredicateError, PredicateErrorKind};
use locus_commitment::{Digest32, sha3_256};
pub use plan::{EvaluationPlan, Gate, GateInput, PredicateCost};
use std::fmt;

/// Longest predicate text.
pub const PREDICATE_TEXT_BYTES_MAX: usize = 4096;
/// Most attributes in one predicate, so most rounds of one evaluation.
pub const PREDICATE_ATTRIBUTES_MAX: usize = 16;
/// Most nodes of a predicate's decision diagram, so most products of one evaluation.
pub const PREDICATE_NODES_MAX: usize = 512;

/// Who is selected, as a reduced ordered decision diagram over the attributes of a schema. Two texts
/// that select the same people under every possible combination of values give equal predicates.
#[derive(Clone, PartialEq, Eq)]
pub struct Predicate {
    schema: SchemaDigest,
    diagram: DecisionDiagram,
}

impl Predicate {
    /// Parses `text` against `schema`: SPEC clauses 9 to 14.
    ///
    /// # Errors
    /// [`PredicateError`], which marks the place in the text.
    pub fn parse(text: &str, schema: &AttributeSchema) -> Result<Self, PredicateError> {
        let source = parse::Source::new(text)?;
        let expression = source.parse()?;
        let lowered = lower::lower(&source, &expression, schema)?;
        let predicate = Self { schema: schema.digest(), diagram: lowered.diagram };
        if lowered.substitutions.is_empty() {
            source.check_selects_some(&predicate.diagram)?;
            return Ok(predicate);
        }
        let nearest = text::render(&predicate.diagram, schema);
        Err(source.inexpressible(&lowered.substitutions, nearest))
    }

    /// The canonical bytes: schema digest (32), number of nodes (2), then each node: attribute (2),
    /// number of values (2), for each value where it leads (2). Children stand before parents, the
    /// root last; 0 leads to nobody, 1 to everybody, n + 2 to node n. Little endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.schema.0.0.to_vec();
        bytes.extend(self.diagram.to_bytes());
        bytes
    }

    /// Reads canonical bytes; any others are refused.
    ///
    /// # Errors
    /// [`PredicateErrorKind::Bytes`].
    pub fn from_bytes(bytes: &[u8], schema: &AttributeSchema) -> Result<Self, PredicateError> {
        let refused = || PredicateError::without_text(PredicateErrorKind::Bytes);
        let body = bytes.strip_prefix(&schema.digest().0.0[..]).ok_or_else(refused)?;
        let diagram = DecisionDiagram::from_bytes(body, schema).ok_or_else(refused)?;
        Ok(Self { schema: schema.digest(), diagram })
    }

    /// SHA3-256 of the canonical bytes.
    pub fn digest(&self) -> Digest32 {
        sha3_256(DST_PREDICATE, &[&self.to_bytes()])
    }

    /// The schema it is about.
    pub fn schema(&self) -> SchemaDigest {
        self.schema
    }

    /// A text of this predicate in a fixed form, which parses to this predicate.
    pub fn to_text(&self, schema: &AttributeSchema) -> String {
        text::render(&self.diagram, schema)
    }

    /// The attributes it depends on, ascending.
    pub fn attributes(&self) -> Vec<AttributeIndex> {
        self.diagram.attributes()
    }

    /// What to compute on shares.
    pub fn plan(&self, schema: &AttributeSchema) -> EvaluationPlan {
        EvaluationPlan::new(&self.diagram, schema)
    }

    /// What the evaluation takes.
    pub fn cost(&self, schema: &AttributeSchema) -> PredicateCost {
        self.plan(schema).cost()
    }

    /// Whether it selects this person: the meaning of a predicate, in the clear.
    pub fn selects(&self, person: &PersonAttributes) -> bool {
        let mut link = self.diagram.root();
        while let Link::Node(number) = link {
            let Some(node) = self.diagram.node(number) else { return false };
            let value = person.value(node.attribute);
            link = value.and_then(|value| node.links.get(value)).copied().unwrap_or(Link::Nobody);
        }
        link == Link::Everybody
    }
}

impl fmt::Debug for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Predicate({})", self.digest())
    }
}
