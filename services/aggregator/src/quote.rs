//! Quotes: what an answer would cost and be worth.

use crate::{
    aggregator::{Aggregator, PublishedPanel},
    error::AggregatorError,
};
use locus_cohort::{AnswerPlan, Cohort, eligible};
use locus_commitment::Digest32;
use locus_genomics::PanelDigest;
use locus_ledger::{Amount, Order};
use locus_privacy::{
    Rho, Tier,
    report::{Quote, QuotePrecision, QuoteRequest, Usefulness, sigma},
};
use locus_wire::{
    convert::{self, field},
    pb::query as pb,
};

impl Aggregator {
    /// Resolves a hypothetical order at the last final block.
    pub(crate) async fn quote(
        &self,
        request: &pb::QuoteQueryRequest,
    ) -> Result<pb::QuoteQueryResponse, AggregatorError> {
        let view = self.refreshed_view().await?;
        let panel_digest = PanelDigest(field::array("panel_digest", &request.panel_digest)?);
        let panel = PublishedPanel::find(&view, panel_digest)?;
        let selection = field::required("selection", &request.selection)?;
        let selection = convert::parse_selection(selection, panel_digest, panel.variant_count)?;
        let tier = convert::parse_tier("tier", request.tier)?;
        let rho = Rho::from_nano(request.rho_nano);
        self.check_rho(tier, rho)?;
        let condition = if request.condition_digest.is_empty() {
            Digest32([0; 32])
        } else {
            field::digest("condition_digest", &request.condition_digest)?
        };
        convert::parse_purpose("purpose", request.purpose)?;
        let order = Order {
            researcher: field::address("researcher", &request.researcher)?,
            panel: panel_digest,
            selection_digest: Digest32(selection.digest()),
            predicate_digest: Digest32([0; 32]),
            query_class: convert::parse_query_class("query_class", request.query_class)?,
            purpose: request.purpose,
            condition_digest: condition,
            tier,
            rho,
            max_price: Amount(u128::MAX),
            hpke_key_digest: Digest32([0; 32]),
            deadline_unix_s: 0,
            nonce: 0,
        };
        let pinned = view.finalized().map_or(0, |block| block.number);
        let resolved = eligible(&view, self.parameters(), &order, &selection, pinned, self.now_unix_s());
        let revoked = resolved.revoked_slots(&view, pinned);
        let mut excluded: Vec<pb::quote_query_response::Excluded> = resolved
            .excluded
            .iter()
            .map(|(reason, count)| pb::quote_query_response::Excluded { reason: reason.to_string(), count: *count })
            .collect();
        if !revoked.is_empty() {
            let count = u32::try_from(revoked.len()).unwrap_or(u32::MAX);
            excluded.push(pb::quote_query_response::Excluded { reason: "revoked".to_owned(), count });
        }
        let cohort = Cohort::try_new(&resolved, &revoked)?;
        let plan = AnswerPlan::try_new(self.network(), panel.shape, &selection, tier, rho, &cohort)?;
        cohort.check(&plan, self.parameters(), order.max_price)?;
        let quote = Quote::compute(
            &QuoteRequest {
                tier,
                cohort_size: cohort.size(),
                variants: plan.variant_count(),
                blocks: u32::try_from(plan.blocks().len()).unwrap_or(u32::MAX),
                has_missing_plane: !panel.shape.complete_calls,
                rho,
            },
            self.parameters(),
        )?;
        Ok(response(&cohort, &plan, &quote, excluded))
    }

    fn check_rho(&self, tier: Tier, asked: Rho) -> Result<(), AggregatorError> {
        let max = self.parameters().caps(tier).rho_query_max;
        if tier != Tier::Exact && asked > max {
            return Err(AggregatorError::RhoTooHigh { asked, max });
        }
        Ok(())
    }
}

fn response(
    cohort: &Cohort,
    plan: &AnswerPlan,
    quote: &Quote,
    excluded: Vec<pb::quote_query_response::Excluded>,
) -> pb::QuoteQueryResponse {
    let mut response = pb::QuoteQueryResponse {
        cohort_size: cohort.size(),
        price: field::amount_text(cohort.price()),
        variant_count: plan.variant_count(),
        excluded,
        ..Default::default()
    };
    match &quote.precision {
        QuotePrecision::Noisy(noisy) => {
            response.rho_researcher_nano = quote.cost.dp.as_nano();
            response.rho_with_keyholder_nano = noisy.rho_with_one_keyholder.as_nano();
            response.sigma_total = sigma(noisy.total);
            response.allele_frequency_se = noisy.allele_frequency_standard_error;
            response.membership_auc = noisy.membership_auc_max;
            if let Usefulness::Useless { variants_max, cohort_size_min, rho_min } = &noisy.usefulness {
                let mut text = format!(
                    "the noise would hide the answer: ask for at most {variants_max} variants, or a cohort of {cohort_size_min}"
                );
                if let Some(rho) = rho_min {
                    text.push_str(&format!(", or rho {rho}"));
                }
                response.warnings.push(text);
            }
        }
        QuotePrecision::Exact { membership_auc } => {
            response.membership_auc = *membership_auc;
            response.warnings.push("exact answers are not differentially private".to_owned());
        }
    }
    response
}
