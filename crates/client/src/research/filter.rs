//! Who of a cohort is asked about, by attributes that nobody sees.

use crate::error::ClientError;
use locus_cohort::{FilterShape, Requirements, SelectionShape};
use locus_commitment::Digest32;
use locus_ledger::QueryClass;
use locus_phenotype::{AttributeIndex, AttributeSchema, Filter, FilterError, Selection, SelectionRelease};
use locus_wire::{
    convert::{FieldError, field},
    pb::{genomics, query as pb},
};
use std::sync::Arc;

/// Keyholders, who all send.
const KEYHOLDERS: u64 = 3;

/// Selections of a cohort, with the schema in which they can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedFilter {
    filter: Filter,
    schema: Arc<AttributeSchema>,
}

/// What the evaluation of a filter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilterCost {
    /// Selections, each with counts of its own.
    pub selections: u32,
    /// Messages that the keyholders exchange one after the other.
    pub rounds: u32,
    /// Bytes of all these messages together.
    pub keyholder_bytes: u64,
    /// Whether shares are authenticated, so that no keyholder can falsify the evaluation unnoticed.
    pub is_authenticated: bool,
}

impl AskedFilter {
    /// The filter of these selections, in this order.
    ///
    /// # Errors
    /// [`FilterError`].
    pub fn try_new(selections: Vec<Selection>, schema: Arc<AttributeSchema>) -> Result<Self, FilterError> {
        Ok(Self { filter: Filter::try_new(selections, &schema)?, schema })
    }

    /// The same question, evaluated with authenticated shares or with plain ones.
    #[must_use]
    pub fn authenticated(self, is_authenticated: bool) -> Self {
        Self { filter: self.filter.authenticated(is_authenticated), ..self }
    }

    /// The filter.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// The attributes that it is about.
    pub fn schema(&self) -> &AttributeSchema {
        &self.schema
    }

    /// The kind of question: counts of one selection, or several that are compared.
    pub fn query_class(&self) -> QueryClass {
        match self.filter.selections() {
            [_] => QueryClass::FilteredCounts,
            _ => QueryClass::Association,
        }
    }

    /// A selection in words: its predicate in canonical form, and the bit of a quantity.
    pub fn describe(&self, selection: &Selection) -> String {
        let people = selection.people().to_text(&self.schema);
        let name_of = |quantity: &AttributeIndex| {
            self.schema.attribute(*quantity).map(|attribute| attribute.key.to_string()).unwrap_or_default()
        };
        match selection {
            Selection::People(_) => people,
            Selection::TraitPlane { quantity, plane, .. } => {
                format!("bit {plane} of {} where {people}", name_of(quantity))
            }
            Selection::SquarePlane { quantity, plane, .. } => {
                format!("bit {plane} of the square of {} where {people} without a call", name_of(quantity))
            }
        }
    }

    /// With what the keyholders evaluate it, in words.
    pub fn describe_evaluation(&self) -> &'static str {
        match self.filter.is_authenticated() {
            true => "authenticated shares: a keyholder that falsified it would have been found",
            false => "plain shares: that every keyholder follows the protocol is assumed",
        }
    }

    /// What its evaluation over `people` takes.
    pub fn cost(&self, people: u32) -> FilterCost {
        let cost = self.filter.cost(&self.schema);
        FilterCost {
            selections: self.selection_count(),
            rounds: cost.rounds,
            keyholder_bytes: cost.person_bytes as u64 * u64::from(people) * KEYHOLDERS,
            is_authenticated: self.filter.is_authenticated(),
        }
    }

    /// What is released of a person, in variants: for every selection those asked for, and its totals
    /// (cohort, clause 13).
    pub(crate) fn released_count(&self, variants: u32) -> u32 {
        let of_selection = |release: SelectionRelease| variants.saturating_add(release.total_count);
        self.filter.releases().into_iter().map(of_selection).fold(0, u32::saturating_add)
    }

    /// The filter as the names of questions have it, over people with these attributes.
    pub(crate) fn shape(&self, attributes: Digest32) -> FilterShape {
        let selections = self.filter.selection_digests().into_iter().zip(self.filter.releases());
        let shape = |(digest, SelectionRelease { total_count, missing_only })| SelectionShape {
            digest,
            total_count,
            missing_only,
        };
        FilterShape { selections: selections.map(shape).collect(), attributes }
    }

    /// The filter as a message.
    pub(crate) fn to_pb(&self) -> genomics::CohortFilter {
        genomics::CohortFilter {
            schema_digest: self.filter.schema().0.0.to_vec().into(),
            selections: self.filter.to_bytes().into_iter().map(Into::into).collect(),
            authenticated: self.filter.is_authenticated(),
        }
    }

    /// The filter of a record; `None` for an order of whole cohorts.
    pub(crate) fn of_record(record: &pb::AnswerRecord) -> Result<Option<Self>, FieldError> {
        let Some(message) = &record.filter else { return Ok(None) };
        let schema = AttributeSchema::parse_json(&record.schema_json)
            .map_err(|error| FieldError::refused("schema_json", error))?;
        if field::digest("filter.schema_digest", &message.schema_digest)? != schema.digest().0 {
            return Err(FieldError::refused("schema_json", "it is another schema than the filter's"));
        }
        let filter = Filter::from_bytes(&message.selections, message.authenticated, &schema)
            .map_err(|error| FieldError::refused("filter.selections", error))?;
        Ok(Some(Self { filter, schema: Arc::new(schema) }))
    }

    fn selection_count(&self) -> u32 {
        u32::try_from(self.filter.selections().len()).unwrap_or(u32::MAX)
    }
}

/// What an order commits to: filter and requirements.
pub(crate) fn predicate_digest(filter: Option<&AskedFilter>, requirements: &Requirements) -> Digest32 {
    locus_cohort::predicate_digest(filter.map(|asked| asked.filter.digest()), requirements)
}

/// Checks that the kind of a question and its filter go together.
pub(crate) fn check_class(class: QueryClass, filter: Option<&AskedFilter>) -> Result<(), ClientError> {
    let fits = match (class, filter) {
        (QueryClass::Counts, filter) => filter.is_none(),
        (QueryClass::FilteredCounts, Some(asked)) => asked.filter.selections().len() == 1,
        (QueryClass::Association, Some(_)) => true,
        (_, None) => false,
    };
    if fits { Ok(()) } else { Err(ClientError::QueryClass) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use locus_cohort::{AnswerPlan, NamedCohort, PanelShape};
    use locus_genomics::VariantSelection;
    use locus_phenotype::Predicate;
    use locus_privacy::{CohortDigest, Rho, SigmaSquared, Tier};

    fn asked(texts: &[&str]) -> AskedFilter {
        let schema = Arc::new(testing::attribute_schema());
        let people = |text: &&str| Selection::People(Predicate::parse(text, &schema).expect("a predicate"));
        AskedFilter::try_new(texts.iter().map(people).collect(), schema.clone()).expect("a filter")
    }

    fn record(asked: &AskedFilter) -> pb::AnswerRecord {
        pb::AnswerRecord { filter: Some(asked.to_pb()), schema_json: asked.schema().to_json(), ..Default::default() }
    }

    #[test]
    fn a_filter_reads_back_from_its_record() {
        let asked = asked(&["smoker", "not smoker and sex = 'F'"]);
        assert_eq!(AskedFilter::of_record(&record(&asked)), Ok(Some(asked.clone())));
        assert_eq!(AskedFilter::of_record(&pb::AnswerRecord::default()), Ok(None));
        let authenticated = asked.clone().authenticated(true);
        assert_eq!(AskedFilter::of_record(&record(&authenticated)), Ok(Some(authenticated.clone())));
        let nothing = Requirements::default();
        assert_ne!(predicate_digest(Some(&authenticated), &nothing), predicate_digest(Some(&asked), &nothing));
        let mut other = record(&asked);
        other.schema_json = other.schema_json.replace("\"M\"", "\"N\"");
        assert!(AskedFilter::of_record(&other).is_err());
        let mut none = record(&asked);
        none.schema_json.clear();
        assert!(AskedFilter::of_record(&none).is_err());
    }

    #[test]
    fn the_released_count_is_that_of_the_plan() {
        let panel = testing::panel(20, true);
        let selection = VariantSelection::all(&panel);
        let asked = asked(&["smoker", "not smoker", "sex = 'F'"]);
        let rho = Rho::from_nano(50_000_000);
        let plan = AnswerPlan::of_named(
            testing::network().id(),
            PanelShape { digest: panel.digest(), complete_calls: true },
            &selection,
            Tier::Open,
            rho,
            NamedCohort { digest: CohortDigest(Digest32([1; 32])), size: 100 },
            Some(&asked.shape(Digest32([2; 32]))),
        );
        let expected = SigmaSquared::total(asked.released_count(20), rho).expect("in range");
        assert_eq!(plan.expect("a plan").dp_total(), Some(expected));
    }

    #[test]
    fn kinds_of_questions_have_their_filters() {
        let (one, two) = (asked(&["smoker"]), asked(&["smoker", "not smoker"]));
        for (class, filter, fits) in [
            (QueryClass::Counts, None, true),
            (QueryClass::Counts, Some(&one), false),
            (QueryClass::FilteredCounts, Some(&one), true),
            (QueryClass::FilteredCounts, Some(&two), false),
            (QueryClass::FilteredCounts, None, false),
            (QueryClass::Association, Some(&two), true),
        ] {
            assert_eq!(check_class(class, filter).is_ok(), fits, "{class:?}");
        }
        assert_eq!((one.query_class(), two.query_class()), (QueryClass::FilteredCounts, QueryClass::Association));
        let nothing = FilterCost { selections: 2, rounds: 0, keyholder_bytes: 0, is_authenticated: false };
        assert_eq!(two.cost(100), nothing);
        let product = asked(&["smoker and sex = 'F'"]);
        assert_eq!(product.cost(100).keyholder_bytes, 2_400);
        // Tags of two inputs, then a product of values and tags; four rounds more.
        let cost = FilterCost { selections: 1, rounds: 5, keyholder_bytes: 19_200, is_authenticated: true };
        assert_eq!(product.authenticated(true).cost(100), cost);
    }
}
