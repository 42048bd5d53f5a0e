//! What an answer would cost and be worth.

use crate::{
    error::ClientError,
    network::Network,
    research::{
        Question,
        filter::{self, AskedFilter, FilterCost},
    },
    service::{Services, name, retrying},
};
use locus_commitment::Address;
use locus_genomics::Panel;
use locus_ledger::Amount;
use locus_privacy::{
    DiscreteGaussian, PrivacyError, REKEYINGS_MAX,
    report::{self, QuotePrecision, QuoteRequest, Usefulness},
};
use locus_wire::{
    convert::{FieldError, field, query_class_to_pb, selection_to_pb, tier_to_pb},
    pb::query as pb,
};

/// A quote. Size and price of the cohort are the aggregator's word, binding for nobody: the order's
/// maximum price is. The figures are computed here from the market's rules.
#[derive(Debug, Clone)]
pub struct Quote {
    /// People who would be counted.
    pub cohort_size: u32,
    /// What the answer would cost.
    pub price: Amount,
    /// Variants asked for.
    pub variant_count: u32,
    /// Noise, errors and privacy loss. Errors on frequencies of a filtered question are those of a
    /// selection that everybody matches; they grow as the people become fewer.
    pub figures: report::Quote,
    /// What the evaluation of the filter takes, if there is one.
    pub filter: Option<FilterCost>,
    /// Sentences of the aggregator for the researcher.
    pub warnings: Vec<String>,
    /// Datasets left out, by reason.
    pub excluded: Vec<(String, u32)>,
}

impl Quote {
    /// Predicted standard error of an allele frequency from the noise; zero for exact counts.
    pub fn allele_frequency_se(&self) -> f64 {
        match &self.figures.precision {
            QuotePrecision::Noisy(noisy) => noisy.allele_frequency_standard_error,
            QuotePrecision::Exact { .. } => 0.0,
        }
    }

    /// Area under the curve of a membership test on the answer: a bound in the noisy tiers, an
    /// estimate for exact counts.
    pub fn membership_auc(&self) -> f64 {
        match &self.figures.precision {
            QuotePrecision::Noisy(noisy) => noisy.membership_auc_max,
            QuotePrecision::Exact { membership_auc } => *membership_auc,
        }
    }
}

/// Asks what a question would cost `researcher`.
///
/// # Errors
/// [`ClientError::Call`] when no cohort can answer (the message says which floor or term stands in
/// the way), [`ClientError::Privacy`] when the market's rules do not allow the question.
pub async fn quote(
    services: &Services,
    network: &Network,
    panel: &Panel,
    researcher: Address,
    question: &Question,
) -> Result<Quote, ClientError> {
    filter::check_class(question.query_class, question.filter.as_ref())?;
    let request = pb::QuoteQueryRequest {
        researcher: researcher.0.to_vec().into(),
        panel_digest: panel.digest().0.to_vec().into(),
        selection: Some(selection_to_pb(&question.selection)),
        query_class: query_class_to_pb(question.query_class).into(),
        purpose: question.purpose.to_bits(),
        condition_digest: question.condition_digest().0.to_vec().into(),
        tier: tier_to_pb(question.tier).into(),
        rho_nano: question.rho.as_nano(),
        filter: question.filter.as_ref().map(AskedFilter::to_pb),
        requirements: question.requirements.to_bytes().into(),
    };
    let call = || {
        let (mut query, request) = (services.query.clone(), request.clone());
        async move { query.quote_query(request).await }
    };
    let message = retrying(name::QUERY, call).await?;
    let (cohort, price) = parse(&message).map_err(|error| ClientError::Malformed { service: name::QUERY, error })?;
    let figures = figures(network, panel, question, cohort)?;
    check_squares(&figures, question.filter.as_ref())?;
    let excluded = message.excluded.into_iter().map(|excluded| (excluded.reason, excluded.count));
    Ok(Quote {
        cohort_size: cohort.size,
        price,
        variant_count: question.selection.count(),
        figures,
        filter: question.filter.as_ref().map(|asked| asked.cost(cohort.size)),
        warnings: message.warnings,
        excluded: excluded.collect(),
    })
}

/// What the figures depend on in a cohort.
#[derive(Debug, Clone, Copy)]
struct Quoted {
    /// People in it.
    size: u32,
    /// How often bodies of a member got other keys, at most.
    rekeyings: u8,
}

fn parse(message: &pb::QuoteQueryResponse) -> Result<(Quoted, Amount), FieldError> {
    let size = field::in_range("cohort_size", message.cohort_size, 1, u64::from(u32::MAX))?;
    let rekeyings = field::in_range("rekeyings", message.rekeyings, 0, u64::from(REKEYINGS_MAX))?;
    let rekeyings = u8::try_from(rekeyings).unwrap_or(REKEYINGS_MAX);
    Ok((Quoted { size, rekeyings }, field::amount("price", &message.price)?))
}

fn figures(
    network: &Network,
    panel: &Panel,
    question: &Question,
    cohort: Quoted,
) -> Result<report::Quote, PrivacyError> {
    let blocks = u32::try_from(question.selection.blocks().len()).unwrap_or(u32::MAX);
    let variants = question.selection.count();
    let selections = question.filter.as_ref().map_or(1, |asked| asked.cost(cohort.size).selections);
    let request = QuoteRequest {
        tier: question.tier,
        cohort_size: cohort.size,
        variants: question.filter.as_ref().map_or(variants, |asked| asked.released_count(variants)),
        blocks: blocks.saturating_mul(selections),
        has_missing_plane: !panel.complete_calls(),
        rho: question.rho,
        rekeyings: cohort.rekeyings,
    };
    let mut figures = report::Quote::compute(&request, network.parameters())?;
    if question.filter.is_some() {
        variants_of_released(&mut figures, selections);
    }
    Ok(figures)
}

/// Refuses what keyholders refuse when the order is placed: noise on the squares of a trait that cannot be drawn.
fn check_squares(figures: &report::Quote, filter: Option<&AskedFilter>) -> Result<(), ClientError> {
    let (QuotePrecision::Noisy(noisy), Some(asked)) = (&figures.precision, filter) else { return Ok(()) };
    let can_be_drawn = |largest: u16| {
        let square = u32::from(largest) * u32::from(largest);
        noisy.share.widened(square).and_then(DiscreteGaussian::try_new).is_ok()
    };
    if asked.filter().squared_quantities(asked.schema()).all(can_be_drawn) {
        return Ok(());
    }
    Err(ClientError::TraitTooNoisy)
}

/// Says in variants asked for what the figures say in variants released: for every selection of the filter
/// each of those asked for, and a matched number.
fn variants_of_released(figures: &mut report::Quote, selections: u32) {
    if let QuotePrecision::Noisy(noisy) = &mut figures.precision
        && let Usefulness::Useless { variants_max, .. } = &mut noisy.usefulness
    {
        *variants_max = (*variants_max / selections.max(1)).saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::research::trait_filter;
    use crate::testing;
    use locus_genomics::{Declarations, Purpose, PurposeCode, VariantIndex, VariantSelection};
    use locus_phenotype::{AttributeSchema, Predicate, Selection};
    use locus_privacy::{Rho, SigmaSquared, Tier};
    use std::sync::Arc;

    const COHORT: Quoted = Quoted { size: 500, rekeyings: 0 };

    #[test]
    fn a_cohort_with_other_keys_costs_its_people_more() {
        let response =
            |rekeyings| pb::QuoteQueryResponse { cohort_size: 500, price: "1".into(), rekeyings, ..Default::default() };
        let panel = testing::panel(20, false);
        let question = Question {
            selection: VariantSelection::all(&panel),
            query_class: locus_ledger::QueryClass::Counts,
            purpose: Purpose { code: PurposeCode::Biomedical, declarations: Declarations::NONE },
            condition: None,
            tier: Tier::Exact,
            rho: Rho::ZERO,
            filter: None,
            requirements: Default::default(),
        };
        let flooding = |rekeyings| {
            let (cohort, _) = parse(&response(rekeyings)).expect("a cohort");
            figures(&testing::network(), &panel, &question, cohort).expect("figures").cost.flooding
        };
        // One block of two planes.
        assert_eq!([0, 1, 8].map(flooding), [240, 784, 2_520].map(Rho::from_nano));
        let refused = parse(&response(9)).expect_err("nobody was re-keyed nine times");
        assert!(refused.to_string().contains("rekeyings"), "{refused}");
    }

    #[test]
    fn figures_of_a_filtered_question_count_everything_released() {
        let panel = testing::panel(20, false);
        let schema = Arc::new(testing::attribute_schema());
        let people = |text| Selection::People(Predicate::parse(text, &schema).expect("a predicate"));
        let filter = AskedFilter::try_new(vec![people("smoker"), people("not smoker")], schema.clone());
        let filter = Some(filter.expect("a filter"));
        let (tier, rho) = (Tier::Open, Rho::from_nano(10_000_000));
        let question = Question {
            selection: VariantSelection::all(&panel),
            query_class: locus_ledger::QueryClass::Association,
            purpose: Purpose { code: PurposeCode::Biomedical, declarations: Declarations::NONE },
            condition: None,
            tier,
            rho,
            filter,
            requirements: Default::default(),
        };
        let figures = figures(&testing::network(), &panel, &question, COHORT).expect("figures");
        let QuotePrecision::Noisy(noisy) = figures.precision else { panic!("there is noise") };
        // Two selections of 20 variants and a matched number each.
        assert_eq!(noisy.total, SigmaSquared::total(42, rho).expect("in range"));
        // 0.01 * 500^2 / 125 = 20 could be released: nine variants and a matched number for each of two.
        let Usefulness::Useless { variants_max, .. } = noisy.usefulness else { panic!("it is useless") };
        assert_eq!(variants_max, 9);
    }

    #[test]
    fn a_trait_whose_squares_no_keyholder_can_blur_is_refused_before_anything_is_paid() {
        let panel = testing::panel(3_000, false);
        let check = |bits: u8, variants: u32, tier: Tier| {
            let schema = format!(
                r#"{{"name": "t", "version": "1", "attributes": [
                    {{"kind": "quantity", "name": "ldl", "origin": "0", "step": "1", "bits": {bits}}}]}}"#
            );
            let schema = Arc::new(AttributeSchema::parse_json(&schema).expect("a schema"));
            let quantity = schema.find_named("ldl").expect("an attribute");
            let filter = Some(trait_filter(quantity, None, schema, false).expect("a filter"));
            let indices = (0..variants).map(VariantIndex);
            let question = Question {
                selection: VariantSelection::from_indices(&panel, indices).expect("variants"),
                query_class: locus_ledger::QueryClass::Association,
                purpose: Purpose { code: PurposeCode::Biomedical, declarations: Declarations::NONE },
                condition: None,
                tier,
                rho: if tier == Tier::Exact { Rho::ZERO } else { Rho::from_nano(10_000_000) },
                filter,
                requirements: Default::default(),
            };
            let figures = figures(&testing::network(), &panel, &question, COHORT).expect("figures");
            check_squares(&figures, question.filter.as_ref())
        };
        check(16, 3_000, Tier::Exact).expect("exact squares have no noise");
        check(8, 1, Tier::Open).expect("narrow noise");
        let refused = check(16, 3_000, Tier::Open).expect_err("no keyholder draws such noise");
        assert!(matches!(refused, ClientError::TraitTooNoisy), "{refused}");
    }
}
