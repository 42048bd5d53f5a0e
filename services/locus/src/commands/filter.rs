//! Predicates of the command line, with the attributes that they are about.

use crate::{
    cli::{FilterArgs, SchemaArgs},
    commands::attributes::read_schema,
    error::CommandError,
};
use locus_client::{
    Services,
    research::{AskedFilter, case_control_filter, get_schema, list_schemas, trait_filter},
};
use locus_phenotype::{AttributeIndex, AttributeSchema, Curie, Predicate, Selection};
use std::sync::Arc;

/// Who a question is about.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asked<'a> {
    /// Everybody in the cohort.
    Everybody,
    /// People of whom a predicate is true.
    People(&'a str),
    /// A quantity of everybody, or of the people of whom a predicate is true.
    Trait { quantity: &'a str, people: Option<&'a str> },
    /// Cases and controls, within strata of an attribute if one is named.
    Groups { cases: &'a str, controls: &'a str, strata: Option<&'a str> },
}

impl<'a> Asked<'a> {
    /// Whom the options of a quote name.
    pub(super) fn of(args: &'a FilterArgs) -> Self {
        if let Some(quantity) = &args.quantity {
            return Self::Trait { quantity, people: args.people.as_deref() };
        }
        match (&args.people, &args.cases, &args.controls) {
            (Some(people), _, _) => Self::People(people),
            (None, Some(cases), Some(controls)) => Self::Groups { cases, controls, strata: args.strata.as_deref() },
            _ => Self::Everybody,
        }
    }

    /// The filter, its schema fetched where there is one. `missing_calls`: of exact counts on a panel that has them.
    pub(super) async fn filter(
        self,
        schema: &SchemaArgs,
        services: &Services,
        missing_calls: bool,
    ) -> Result<Option<AskedFilter>, CommandError> {
        self.check(schema)?;
        if matches!(self, Self::Everybody) {
            return Ok(None);
        }
        let filter = self.in_schema(Arc::new(schema_of(schema, services).await?), missing_calls)?;
        Ok(filter.map(|filter| filter.authenticated(schema.authenticated)))
    }

    /// Whole cohorts are counted without shares that could be authenticated.
    fn check(self, schema: &SchemaArgs) -> Result<(), CommandError> {
        if matches!(self, Self::Everybody) && schema.authenticated {
            let advice = "--authenticated is about how people are selected: name them with --where, --cases or --trait";
            return Err(CommandError::Usage(advice.to_owned()));
        }
        Ok(())
    }

    fn in_schema(self, schema: Arc<AttributeSchema>, missing_calls: bool) -> Result<Option<AskedFilter>, CommandError> {
        Ok(match self {
            Self::Everybody => None,
            Self::People(text) => {
                let people = Selection::People(predicate("--where", text, &schema)?);
                let filter = AskedFilter::try_new(vec![people], schema);
                Some(filter.map_err(|error| CommandError::Usage(error.to_string()))?)
            }
            Self::Trait { quantity, people } => {
                let people = people.map(|text| predicate("--where", text, &schema)).transpose()?;
                let quantity = attribute("--trait", quantity, &schema)?;
                let filter = trait_filter(quantity, people.as_ref(), schema, missing_calls);
                Some(filter.map_err(|error| CommandError::Usage(error.to_string()))?)
            }
            Self::Groups { cases, controls, strata } => {
                let (cases, controls) =
                    (predicate("--cases", cases, &schema)?, predicate("--controls", controls, &schema)?);
                let strata = strata.map(|name| attribute("--strata", name, &schema)).transpose()?;
                let filter = case_control_filter(&cases, &controls, strata, schema);
                Some(filter.map_err(|error| CommandError::Usage(error.to_string()))?)
            }
        })
    }
}

/// A predicate; what is wrong is marked under its text.
fn predicate(option: &str, text: &str, schema: &AttributeSchema) -> Result<Predicate, CommandError> {
    Predicate::parse(text, schema).map_err(|error| CommandError::Usage(format!("{option}: {error}")))
}

/// An attribute by name or term.
fn attribute(option: &str, name: &str, schema: &AttributeSchema) -> Result<AttributeIndex, CommandError> {
    let term = || name.parse::<Curie>().ok().and_then(|term| schema.find_term(&term));
    schema.find_named(name).or_else(term).ok_or_else(|| {
        let known: Vec<String> = schema.attributes().map(|(_, attribute)| attribute.key.to_string()).collect();
        CommandError::Usage(format!("{option}: the schema has no attribute {name}, it has {}", known.join(", ")))
    })
}

/// The schema named, or the only one in use.
async fn schema_of(args: &SchemaArgs, services: &Services) -> Result<AttributeSchema, CommandError> {
    match &args.schema {
        Some(text) => read_schema(text, services).await,
        None => {
            let listed = list_schemas(services).await?;
            match &listed[..] {
                [only] => Ok(get_schema(services, only.digest).await?),
                [] => Err(CommandError::NoSchema),
                several => {
                    let names: Vec<String> = several
                        .iter()
                        .map(|schema| format!("  {} {} {}", schema.digest.0, schema.name, schema.version))
                        .collect();
                    Err(CommandError::Usage(format!(
                        "several attribute schemas are in use, name one with --schema:\n{}",
                        names.join("\n")
                    )))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = r#"{
        "name": "test", "version": "1",
        "attributes": [
            {"kind": "category", "name": "sex", "values": ["M", "F"]},
            {"kind": "bands", "name": "bmi", "edges": ["18.5", "30"], "unit": "kg/m2"},
            {"kind": "term", "term": "HP:0000819"},
            {"kind": "quantity", "name": "ldl", "origin": "0", "step": "1", "bits": 4, "squares": true}
        ]
    }"#;

    fn filter(asked: Asked<'_>) -> Result<Option<AskedFilter>, String> {
        let schema = Arc::new(AttributeSchema::parse_json(SCHEMA).expect("a schema"));
        asked.in_schema(schema, true).map_err(|error| {
            assert_eq!(error.exit_code(), 2);
            error.to_string()
        })
    }

    #[test]
    fn predicates_become_filters_of_one_or_more_selections() {
        let count = |asked| filter(asked).expect("a filter").map_or(0, |filter| filter.filter().selections().len());
        let groups = |strata| Asked::Groups { cases: "HP:0000819", controls: "not HP:0000819", strata };
        assert_eq!(count(Asked::Everybody), 0);
        assert_eq!(count(Asked::People("sex = 'F'")), 1);
        assert_eq!(count(groups(None)), 2);
        assert_eq!(count(groups(Some("sex"))), 4);
        assert_eq!(count(groups(Some("bmi"))), 6);
        assert_eq!(count(Asked::Trait { quantity: "ldl", people: None }), 1 + 4 + 8);
    }

    #[test]
    fn only_filters_are_authenticated() {
        let schema = SchemaArgs { schema: None, authenticated: true };
        Asked::People("sex = 'F'").check(&schema).expect("a filter");
        let refused = Asked::Everybody.check(&schema).expect_err("nobody is selected");
        assert!(refused.exit_code() == 2 && refused.to_string().contains("--where"), "{refused}");
        Asked::Everybody.check(&SchemaArgs::default()).expect("nothing is asked");
    }

    #[test]
    fn a_mistake_is_marked_and_the_nearest_predicate_offered() {
        let error = filter(Asked::People("sex = 'F' and bmi >= 29")).expect_err("no edge");
        assert!(error.starts_with("--where: ") && error.contains("nearest: sex = 'F' AND bmi >= 30"), "{error}");
        assert!(error.ends_with("\n                ^^^^^^^^^"), "{error}");
        let error = filter(Asked::Groups { cases: "sex = 'X'", controls: "sex = 'F'", strata: None });
        assert!(error.is_err_and(|error| error.starts_with("--cases: sex has no value") && error.contains('^')));
        let error = filter(Asked::Groups { cases: "sex = 'M'", controls: "sex = 'F'", strata: Some("age") });
        assert!(error.is_err_and(|error| error.contains("it has sex, bmi, HP:0000819, ldl")));
        let error = filter(Asked::Groups { cases: "sex = 'F'", controls: "bmi >= 30", strata: None });
        assert!(error.is_err_and(|error| error.contains("a case and a control")));
    }
}
