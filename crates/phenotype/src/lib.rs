#![doc = include_str!("../SPEC.md")]

mod curie;
mod decimal;
mod domain;
mod error;
mod evaluate;
mod filter;
mod ontology;
mod person;
mod predicate;
mod schema;
mod selection;

pub use curie::Curie;
pub use decimal::Decimal;
pub use error::{PhenotypeError, SchemaError};
pub use evaluate::{AttributeTable, Evaluation};
pub use filter::{EvaluationCost, FILTER_SELECTIONS_MAX, Filter, FilterError, filter_digest, selection_digest};
pub use ontology::Ontology;
pub use person::PersonAttributes;
pub use predicate::{
    EvaluationPlan, Gate, GateInput, PREDICATE_ATTRIBUTES_MAX, PREDICATE_NODES_MAX, PREDICATE_TEXT_BYTES_MAX,
    Predicate, PredicateCost, PredicateError, PredicateErrorKind,
};
pub use schema::{
    Attribute, AttributeIndex, AttributeKey, AttributeKind, AttributeSchema, Edge, SCHEMA_BITS_MAX, SchemaDigest,
    UnitConversion,
};
pub use selection::{Selection, SelectionRelease};
