//! What an order would cost and be worth, before anybody pays.

use crate::{
    aggregator::{Aggregator, PublishedPanel},
    error::AggregatorError,
    question::{filter_of, selection_of},
};
use locus_cohort::{AnswerPlan, Cohort, ExclusionReason, FilterShape, eligible};
use locus_commitment::Digest32;
use locus_genomics::PanelDigest;
use locus_ledger::{Amount, ChainView, Order};
use locus_privacy::{
    NetworkParameters, Rho,
    report::{NoisyQuote, Quote, QuotePrecision, QuoteRequest, Usefulness, sigma},
};
use locus_service::blocking;
use locus_wire::{
    convert::{field, parse_purpose, parse_query_class, parse_rho, parse_tier},
    pb::query::{QuoteQueryRequest, QuoteQueryResponse, quote_query_response::Excluded},
};
use std::{collections::BTreeMap, sync::Arc};

/// Quotes a question as if its order were opened now.
pub(crate) async fn quote(
    aggregator: &Arc<Aggregator>,
    request: QuoteQueryRequest,
) -> Result<QuoteQueryResponse, AggregatorError> {
    let _permit = aggregator.quote_permit()?;
    let view = aggregator.view.refreshed().await?;
    let of_call = aggregator.clone();
    blocking(move || quote_on(&of_call, &view, &request)).await
}

fn quote_on(
    aggregator: &Aggregator,
    view: &ChainView,
    request: &QuoteQueryRequest,
) -> Result<QuoteQueryResponse, AggregatorError> {
    let digest = PanelDigest(field::array("panel_digest", &request.panel_digest)?);
    let panel = PublishedPanel::find(view, digest)?;
    let selection = selection_of(aggregator, &request.selection, &panel)?;
    let order = hypothetical_order(aggregator, request, digest, Digest32(selection.digest()))?;
    let block = view.finalized().map_or(0, |block| block.number);
    let now = aggregator.clock.now_unix_s();
    let resolved = eligible(&aggregator.market(view), &order, &selection, block, now);
    let revoked = resolved.revoked_slots(view, block);
    let refused = |refusal| AggregatorError::Cohort { refusal, excluded: resolved.excluded.clone() };
    let cohort = Cohort::try_new(&resolved, &revoked).map_err(refused)?;
    let network = aggregator.ledger.contracts().network;
    // Noise and cost do not depend on whose attributes are which.
    let filter = filter_of(order.query_class, request.filter.as_ref())?;
    let filter = filter.map(|selections| FilterShape { selections, attributes: Digest32([0; 32]) });
    let plan =
        AnswerPlan::try_new(network, panel.for_plan(), &selection, order.tier, order.rho, &cohort, filter.as_ref())?;
    cohort.check(&plan, &aggregator.parameters, order.max_price).map_err(refused)?;
    let figures = Quote::compute(
        &QuoteRequest {
            tier: order.tier,
            cohort_size: cohort.size(),
            variants: plan.released_count(),
            blocks: u32::try_from(plan.blocks().len()).unwrap_or(u32::MAX),
            has_missing_plane: !panel.shape.complete_calls(),
            rho: order.rho,
        },
        &aggregator.parameters,
    )?;
    let others = resolved.members.len().saturating_sub(revoked.len() + cohort.members().len());
    let left_out = LeftOut { offers: &resolved.excluded, revoked: revoked.len(), other_datasets: others };
    respond(&cohort, &plan, &figures, &aggregator.parameters, &left_out)
}

/// The order that the request describes, with a price that nothing exceeds.
fn hypothetical_order(
    aggregator: &Aggregator,
    request: &QuoteQueryRequest,
    panel: PanelDigest,
    selection_digest: Digest32,
) -> Result<Order, AggregatorError> {
    let query_class = parse_query_class("query_class", request.query_class)?;
    let tier = parse_tier("tier", request.tier)?;
    Ok(Order {
        researcher: field::address("researcher", &request.researcher)?,
        panel,
        selection_digest,
        predicate_digest: Digest32([0; 32]),
        query_class,
        purpose: parse_purpose("purpose", request.purpose)?.to_bits(),
        condition_digest: field::digest("condition_digest", &request.condition_digest)?,
        tier,
        rho: parse_rho("rho_nano", tier, request.rho_nano)?,
        max_price: Amount(u128::MAX),
        hpke_key_digest: Digest32([0; 32]),
        deadline_unix_s: aggregator.clock.now_unix_s(),
        nonce: 0,
    })
}

/// Datasets that are not in the cohort.
struct LeftOut<'a> {
    offers: &'a BTreeMap<ExclusionReason, u32>,
    revoked: usize,
    other_datasets: usize,
}

impl LeftOut<'_> {
    fn entries(&self) -> Vec<Excluded> {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let offers = self.offers.iter().map(|(reason, count)| (reason.to_string(), *count));
        let others = [
            ("revoked or withdrawn".to_owned(), count(self.revoked)),
            ("another dataset of the same person is in the cohort".to_owned(), count(self.other_datasets)),
        ];
        let entries = offers.chain(others).filter(|(_, count)| *count > 0);
        entries.map(|(reason, count)| Excluded { reason, count }).collect()
    }
}

fn respond(
    cohort: &Cohort,
    plan: &AnswerPlan,
    figures: &Quote,
    parameters: &NetworkParameters,
    left_out: &LeftOut<'_>,
) -> Result<QuoteQueryResponse, AggregatorError> {
    let (sigma_total, allele_frequency_se, membership_auc) = match &figures.precision {
        QuotePrecision::Noisy(noisy) => {
            (sigma(noisy.total), noisy.allele_frequency_standard_error, noisy.membership_auc_max)
        }
        QuotePrecision::Exact { membership_auc } => (0.0, 0.0, *membership_auc),
    };
    let with_keyholder = figures.cost.dp_with_one_keyholder()?;
    let flooding = figures.cost.flooding;
    Ok(QuoteQueryResponse {
        cohort_size: cohort.size(),
        price: field::amount_text(cohort.price()),
        variant_count: plan.variant_count(),
        rho_researcher_nano: figures.cost.total()?.as_nano(),
        rho_with_keyholder_nano: with_keyholder.checked_add(flooding)?.as_nano(),
        sigma_total,
        allele_frequency_se,
        membership_auc,
        warnings: warnings(figures, parameters, plan.is_filtered()),
        excluded: left_out.entries(),
    })
}

fn warnings(figures: &Quote, parameters: &NetworkParameters, is_filtered: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    match &figures.precision {
        QuotePrecision::Noisy(noisy) => warnings.extend(useless(noisy)),
        QuotePrecision::Exact { membership_auc } => warnings.push(format!(
            "exact counts are not differentially private: someone who knows a person's genome can tell membership with an AUC of {membership_auc:.2}"
        )),
    }
    if is_filtered {
        warnings.push(
            "people without attributes of the schema are left out when the order is answered; too few that match end it"
                .to_owned(),
        );
    }
    warnings.push(
        "people whose privacy budget is spent are left out when the order is answered; cohort and price can then be smaller"
            .to_owned(),
    );
    if parameters.values().test_network {
        warnings.push("this is a test network: its privacy floors may be lower than usual".to_owned());
    }
    warnings
}

/// What would help when the noise drowns the counts.
fn useless(noisy: &NoisyQuote) -> Option<String> {
    let Usefulness::Useless { variants_max, cohort_size_min, rho_min } = noisy.usefulness else { return None };
    let mut helps = Vec::new();
    if variants_max > 0 {
        helps.push(format!("ask for at most {variants_max} variants"));
    }
    if let Some(rho_min) = rho_min.filter(|rho| *rho > Rho::ZERO) {
        helps.push(format!("ask with rho of at least {rho_min}"));
    }
    helps.push(format!("find a cohort of at least {cohort_size_min} people"));
    Some(format!(
        "the answer would be useless: its noise moves an allele frequency by {:.3}; {}",
        noisy.allele_frequency_standard_error,
        helps.join(", or ")
    ))
}
