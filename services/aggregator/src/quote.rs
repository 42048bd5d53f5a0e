//! What an order would cost and be worth, before anybody pays.

use crate::{
    aggregator::{Aggregator, PublishedPanel},
    error::AggregatorError,
    question::{filter_of, requirements_of, selection_of},
};
use locus_cohort::{
    AnswerPlan, Cohort, CohortQuestion, Eligible, ExclusionReason, FilterShape, Requirements, SelectionShape, eligible,
};
use locus_commitment::Digest32;
use locus_genomics::{PanelDigest, VariantSelection};
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
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Quotes a question as if its order were opened now.
pub(crate) async fn quote(
    aggregator: &Arc<Aggregator>,
    request: QuoteQueryRequest,
) -> Result<QuoteQueryResponse, AggregatorError> {
    let _permit = aggregator.quote_permit().await?;
    let view = aggregator.view.refreshed().await?;
    let (of_call, of_view) = (aggregator.clone(), view.clone());
    let asked = blocking(move || Asked::of(&of_call, &of_view, &request)).await?;
    let undisclosed = aggregator.undisclosed(&view, &asked.eligible, &asked.requirements).await;
    let of_call = aggregator.clone();
    blocking(move || asked.quote(&of_call, &view, &undisclosed)).await
}

/// What is to be quoted, and who could answer it.
struct Asked {
    order: Order,
    panel: PublishedPanel,
    selection: VariantSelection,
    filter: Option<Vec<SelectionShape>>,
    requirements: Requirements,
    /// Newest final block, as of which the cohort is resolved.
    block: u64,
    eligible: Eligible,
}

impl Asked {
    fn of(aggregator: &Aggregator, view: &ChainView, request: &QuoteQueryRequest) -> Result<Self, AggregatorError> {
        let digest = PanelDigest(field::array("panel_digest", &request.panel_digest)?);
        let panel = PublishedPanel::find(view, digest)?;
        let selection = selection_of(aggregator, &request.selection, &panel)?;
        let order = hypothetical_order(aggregator, request, digest, Digest32(selection.digest()))?;
        let requirements = requirements_of(&request.requirements, &panel)?;
        let block = view.finalized().map_or(0, |block| block.number);
        let question = CohortQuestion {
            order: &order,
            selection: &selection,
            requirements: &requirements,
            authenticated: request.filter.as_ref().is_some_and(|filter| filter.authenticated),
            pinned_block: block,
            time_unix_s: aggregator.clock.now_unix_s(),
        };
        let eligible = eligible(&aggregator.market(view), &question);
        let filter = filter_of(order.query_class, request.filter.as_ref())?;
        Ok(Self { order, panel, selection, filter, requirements, block, eligible })
    }

    fn quote(
        self,
        aggregator: &Aggregator,
        view: &ChainView,
        undisclosed: &BTreeMap<u64, ExclusionReason>,
    ) -> Result<QuoteQueryResponse, AggregatorError> {
        let Self { order, panel, selection, filter, eligible, .. } = self;
        let excluded = eligible.excluded_with(undisclosed);
        let refused = |refusal| AggregatorError::Cohort { refusal, excluded: excluded.clone() };
        let mut out: BTreeSet<u64> = undisclosed.keys().copied().collect();
        let revoked = eligible.revoked_slots(view, self.block).difference(&out).count();
        out.extend(eligible.revoked_slots(view, self.block));
        let cohort = Cohort::try_new(&eligible, &out).map_err(refused)?;
        let network = aggregator.ledger.contracts().network;
        // Noise and cost do not depend on whose attributes are which.
        let filter = filter.map(|selections| FilterShape { selections, attributes: Digest32([0; 32]) });
        let shape = panel.for_plan();
        let plan = AnswerPlan::try_new(network, shape, &selection, order.tier, order.rho, &cohort, filter.as_ref())?;
        cohort.check(&plan, &aggregator.parameters, order.max_price).map_err(refused)?;
        let figures = Quote::compute(
            &QuoteRequest {
                tier: order.tier,
                cohort_size: cohort.size(),
                variants: plan.released_count(),
                blocks: u32::try_from(plan.blocks().len()).unwrap_or(u32::MAX),
                has_missing_plane: !panel.shape.complete_calls(),
                rho: order.rho,
                rekeyings: cohort.rekeyings(),
            },
            &aggregator.parameters,
        )?;
        let others = eligible.members.len().saturating_sub(out.len() + cohort.members().len());
        let left_out = LeftOut { offers: &excluded, revoked, other_datasets: others };
        respond(&cohort, &plan, &figures, &aggregator.parameters, &left_out)
    }
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
        rekeyings: cohort.rekeyings().into(),
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
