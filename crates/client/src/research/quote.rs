//! What an answer would cost and be worth.

use crate::{
    error::ClientError,
    network::Network,
    research::Question,
    service::{Services, name, retrying},
};
use locus_commitment::Address;
use locus_genomics::Panel;
use locus_ledger::Amount;
use locus_privacy::{
    PrivacyError,
    report::{self, QuotePrecision, QuoteRequest},
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
    /// Noise, errors and privacy loss.
    pub figures: report::Quote,
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
    let request = pb::QuoteQueryRequest {
        researcher: researcher.0.to_vec().into(),
        panel_digest: panel.digest().0.to_vec().into(),
        selection: Some(selection_to_pb(&question.selection)),
        query_class: query_class_to_pb(question.query_class).into(),
        purpose: question.purpose.to_bits(),
        condition_digest: question.condition_digest().0.to_vec().into(),
        tier: tier_to_pb(question.tier).into(),
        rho_nano: question.rho.as_nano(),
        filter: None,
    };
    let call = || {
        let (mut query, request) = (services.query.clone(), request.clone());
        async move { query.quote_query(request).await }
    };
    let message = retrying(name::QUERY, call).await?;
    let (cohort_size, price) =
        parse(&message).map_err(|error| ClientError::Malformed { service: name::QUERY, error })?;
    let figures = figures(network, panel, question, cohort_size)?;
    let excluded = message.excluded.into_iter().map(|excluded| (excluded.reason, excluded.count));
    Ok(Quote {
        cohort_size,
        price,
        variant_count: question.selection.count(),
        figures,
        warnings: message.warnings,
        excluded: excluded.collect(),
    })
}

fn parse(message: &pb::QuoteQueryResponse) -> Result<(u32, Amount), FieldError> {
    let cohort_size = field::in_range("cohort_size", message.cohort_size, 1, u64::from(u32::MAX))?;
    Ok((cohort_size, field::amount("price", &message.price)?))
}

fn figures(
    network: &Network,
    panel: &Panel,
    question: &Question,
    cohort_size: u32,
) -> Result<report::Quote, PrivacyError> {
    let blocks = u32::try_from(question.selection.blocks().len()).unwrap_or(u32::MAX);
    let request = QuoteRequest {
        tier: question.tier,
        cohort_size,
        variants: question.selection.count(),
        blocks,
        has_missing_plane: !panel.complete_calls(),
        rho: question.rho,
    };
    report::Quote::compute(&request, network.parameters())
}
