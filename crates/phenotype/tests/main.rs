//! Tests of schemas, people and predicates.

mod arbitrary_predicates;
mod people_become_bits;
mod predicates_are_parsed;
mod schemas_are_checked;
mod world;
