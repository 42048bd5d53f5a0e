//! Attributes that follow from a number, and questions about them.

use crate::People;
use anyhow::{Context as _, Result};
use locus_client::{
    enrol::AttributeInput,
    research::{AskedFilter, Question},
};
use locus_genomics::{Genotype, VariantSelection};
use locus_phenotype::{AttributeSchema, PersonAttributes, Predicate, Selection};
use locus_privacy::{Rho, Tier};
use std::{collections::BTreeMap, sync::Arc};

/// Sex, a diagnosis with a few unknown, and an age in bands.
const SCHEMA: &str = r#"{
    "name": "made-up", "version": "1",
    "attributes": [
        {"kind": "category", "name": "sex", "values": ["F", "M"]},
        {"kind": "term", "term": "HP:0000819"},
        {"kind": "bands", "name": "age", "edges": ["40", "60"], "whole": true, "unit": "years"},
        {"kind": "quantity", "name": "bmi", "origin": "10", "step": "0.5", "bits": 6, "unit": "kg/m2"}
    ]
}"#;

/// The schema of made-up attributes.
pub fn made_up_schema() -> Result<Arc<AttributeSchema>> {
    Ok(Arc::new(AttributeSchema::parse_json(SCHEMA)?))
}

/// The attributes of the person with this number: three draws that have nothing to do with the genotypes.
pub fn made_up_attributes(number: u32, schema: &AttributeSchema) -> Result<PersonAttributes> {
    let mut person = PersonAttributes::unknown(schema);
    let find = |name: &str| schema.find_named(name).context("an attribute of the schema");
    person.set_category(schema, find("sex")?, if number.is_multiple_of(2) { "F" } else { "M" })?;
    let term = "HP:0000819".parse()?;
    if number % 11 != 3 {
        person.observe(schema, &term, number % 3 == 1)?;
    }
    person.set_number(schema, find("age")?, (20 + number * 7 % 60).to_string().parse()?)?;
    person.set_number(schema, find("bmi")?, made_up_bmi(number).to_string().parse()?)?;
    Ok(person)
}

/// The body mass index of the person with this number.
pub fn made_up_bmi(number: u32) -> f64 {
    15.0 + 0.5 * f64::from(number * 5 % 31)
}

/// Attributes of all of `people`, by the names in their VCF.
pub fn made_up_input(people: &People) -> Result<AttributeInput> {
    let schema = made_up_schema()?;
    let mut input = BTreeMap::new();
    for number in people.numbers.clone() {
        input.insert(format!("P{number}"), made_up_attributes(number, &schema)?);
    }
    Ok(AttributeInput::new(schema.as_ref().clone(), input))
}

/// A filter of these selections.
pub fn filter_of(texts: &[&str], schema: &Arc<AttributeSchema>) -> Result<AskedFilter> {
    let select = |text: &&str| Ok(Selection::People(Predicate::parse(text, schema)?));
    let selections = texts.iter().map(select).collect::<Result<Vec<_>>>()?;
    Ok(AskedFilter::try_new(selections, schema.clone())?)
}

/// A question about selected people, for biomedical research.
pub fn about(filter: AskedFilter, selection: VariantSelection, tier: Tier, rho: Rho) -> Question {
    let query_class = filter.query_class();
    Question { query_class, filter: Some(filter), ..crate::biomedical(selection, tier, rho) }
}

/// How many of `people` a predicate selects, and how many of them are het and hom_alt at a variant.
pub fn selected_counts(people: &People, predicate: &Predicate, variant: u32) -> Result<[i64; 3]> {
    let schema = made_up_schema()?;
    let mut counts = [0; 3];
    for (place, number) in (0..).zip(people.numbers.clone()) {
        if predicate.selects(&made_up_attributes(number, &schema)?) {
            let genotype = people.genotype(place, variant);
            counts[0] += 1;
            counts[1] += i64::from(genotype == Genotype::Het);
            counts[2] += i64::from(genotype == Genotype::HomAlt);
        }
    }
    Ok(counts)
}
