//! What is asked: a request held against its order on the chain.

use crate::{
    aggregator::{Aggregator, PublishedPanel},
    error::AggregatorError,
    events::Events,
    prove::ProvenAnswer,
};
use locus_cohort::{
    AnswerPlan, Cohort, CohortQuestion, Eligible, ExclusionReason, FilterShape, Requirements, SelectionShape, eligible,
    predicate_digest,
};
use locus_commitment::{Address, Digest32};
use locus_genomics::VariantSelection;
use locus_ledger::{ChainView, OrderId, OrderRecord, OrderState, QueryClass, RequestTerms, answer_request_hash};
use locus_phenotype::{FILTER_SELECTIONS_MAX, SelectionRelease, filter_digest, selection_digest};
use locus_service::SignedRequest;
use locus_sharing::seal::SealingPublicKey;
use locus_wire::{
    convert::{field, parse_selection},
    pb::{genomics, keyholder, query::AnswerQueryRequest},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// Pause between two looks for an order that is not final yet.
const FINALITY_PAUSE: Duration = Duration::from_millis(100);

/// A question that fits its order.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) order_id: OrderId,
    pub(crate) record: OrderRecord,
    pub(crate) panel: PublishedPanel,
    pub(crate) selection: VariantSelection,
    /// The filter's selections; `None` for counts of the whole cohort.
    pub(crate) filter: Option<Vec<SelectionShape>>,
    /// What everybody counted must be.
    pub(crate) requirements: Requirements,
    pub(crate) eligible: Eligible,
    /// How many are left out before the keyholders are asked, by reason.
    pub(crate) excluded: BTreeMap<ExclusionReason, u32>,
    /// Slots of members that were revoked before the question came, or have disclosed too little, whom keyholders
    /// will leave out.
    pub(crate) expected_out: BTreeSet<u64>,
    /// What the keyholders are asked.
    pub(crate) question: keyholder::Question,
}

/// Who answers, and how.
#[derive(Debug, Clone)]
pub(crate) struct Answering {
    pub(crate) cohort: Cohort,
    pub(crate) plan: AnswerPlan,
    /// What the order settles on, once it is proven, in a market that settles on proven cohorts.
    pub(crate) proven: Option<ProvenAnswer>,
}

/// Parses the selection of a request, within the limit of ranges.
pub(crate) fn selection_of(
    aggregator: &Aggregator,
    message: &Option<genomics::VariantSelection>,
    panel: &PublishedPanel,
) -> Result<VariantSelection, AggregatorError> {
    let message = field::required("selection", message)?;
    let (max, got) = (aggregator.limits.selection_ranges_max as usize, message.ranges.len());
    if got > max {
        return Err(AggregatorError::SelectionTooLong { got, max });
    }
    Ok(parse_selection(message, panel.digest, panel.variant_count)?)
}

/// Parses what a request requires of everybody counted.
pub(crate) fn requirements_of(bytes: &[u8], panel: &PublishedPanel) -> Result<Requirements, AggregatorError> {
    let parsed = Requirements::parse(bytes, panel.variant_count);
    Ok(parsed.map_err(|error| field::FieldError::refused("requirements", error))?)
}

/// The digest of a filter, with how it is evaluated.
fn digest_of(filter: &genomics::CohortFilter) -> Digest32 {
    let selections = filter.selections.iter().map(|bytes| selection_digest(bytes));
    filter_digest(&selections.collect::<Vec<_>>(), filter.authenticated)
}

/// The selections that a question of this class has: none for counts of whole cohorts, one for
/// filtered counts, several for associations. What the selections say is for the keyholders to check, who
/// have the attributes.
pub(crate) fn filter_of(
    query_class: QueryClass,
    filter: Option<&genomics::CohortFilter>,
) -> Result<Option<Vec<SelectionShape>>, AggregatorError> {
    let selections = filter.map_or(0, |filter| filter.selections.len());
    let fits = match query_class {
        QueryClass::Counts => filter.is_none(),
        QueryClass::FilteredCounts => selections == 1,
        QueryClass::Association => (2..=FILTER_SELECTIONS_MAX).contains(&selections),
    };
    if !fits {
        return Err(AggregatorError::QueryClass);
    }
    let shape = |bytes: &bytes::Bytes| {
        let SelectionRelease { total_count, missing_only } = SelectionRelease::of_bytes(bytes);
        SelectionShape { digest: selection_digest(bytes), total_count, missing_only }
    };
    Ok(filter.map(|filter| filter.selections.iter().map(shape).collect()))
}

/// An order that is final, asked for by its researcher.
#[derive(Debug)]
pub(crate) struct Authorised {
    view: Arc<ChainView>,
    record: OrderRecord,
}

/// Waits until the order is final, and checks that its researcher asks.
pub(crate) async fn authorise(
    aggregator: &Aggregator,
    request: &AnswerQueryRequest,
    events: &Events,
) -> Result<Authorised, AggregatorError> {
    let order_id = OrderId(field::digest("order_id", &request.order_id)?);
    let (view, record) = final_order(aggregator, &order_id, events).await?;
    take_request(aggregator, request, &order_id, record.order.researcher).await?;
    Ok(Authorised { view, record })
}

/// Checks that the request asks what was ordered.
pub(crate) async fn resolve(
    aggregator: &Aggregator,
    request: &AnswerQueryRequest,
    authorised: Authorised,
) -> Result<Asked, AggregatorError> {
    let order_id = OrderId(field::digest("order_id", &request.order_id)?);
    let recipient = SealingPublicKey::parse(&request.hpke_public_key).map_err(AggregatorError::Key)?;
    let Authorised { view, record } = authorised;
    let order = record.order;
    let panel = PublishedPanel::find(&view, order.panel)?;
    let selection = selection_of(aggregator, &request.selection, &panel)?;
    if Digest32(selection.digest()) != order.selection_digest {
        return Err(AggregatorError::OrderMismatch("selection of variants"));
    }
    if recipient.digest() != order.hpke_key_digest {
        return Err(AggregatorError::OrderMismatch("key to seal the answer to"));
    }
    let filter = filter_of(order.query_class, request.filter.as_ref())?;
    let requirements = requirements_of(&request.requirements, &panel)?;
    if predicate_digest(request.filter.as_ref().map(digest_of), &requirements) != order.predicate_digest {
        return Err(AggregatorError::OrderMismatch("filter, or what the order requires,"));
    }
    check_answerable(aggregator, &record)?;
    let resolved = eligible(
        &aggregator.market(&view),
        &CohortQuestion {
            order: &order,
            selection: &selection,
            requirements: &requirements,
            authenticated: request.filter.as_ref().is_some_and(|filter| filter.authenticated),
            pinned_block: record.block,
            time_unix_s: record.time_unix_s,
        },
    );
    let undisclosed = aggregator.undisclosed(&view, &resolved, &requirements).await;
    let excluded = resolved.excluded_with(&undisclosed);
    let mut expected_out = resolved.revoked_slots(&view, record.block);
    expected_out.extend(undisclosed.into_keys());
    let question = keyholder::Question {
        order_id: request.order_id.clone(),
        selection: request.selection.clone(),
        hpke_public_key: request.hpke_public_key.clone(),
        filter: request.filter.clone(),
        requirements: request.requirements.clone(),
    };
    Ok(Asked {
        order_id,
        record,
        panel,
        selection,
        filter,
        requirements,
        eligible: resolved,
        excluded,
        expected_out,
        question,
    })
}

/// Only the order's researcher is answered, once for every signed request.
async fn take_request(
    aggregator: &Aggregator,
    request: &AnswerQueryRequest,
    order_id: &OrderId,
    researcher: Address,
) -> Result<(), AggregatorError> {
    let nonce = field::array("nonce", &request.nonce)?;
    let terms = RequestTerms { deadline_unix_s: request.deadline_unix_s, nonce };
    let digest = answer_request_hash(&aggregator.ledger.contracts().network, order_id, &terms);
    if !aggregator.ledger.is_valid_signature(researcher, &digest, &request.signature).await? {
        return Err(AggregatorError::NotResearcher);
    }
    let taken = SignedRequest { signer: researcher.0, nonce, deadline_unix_s: terms.deadline_unix_s };
    Ok(aggregator.requests.take(&taken, aggregator.clock.now_unix_s())?)
}

/// The order, once it is final. Until then anybody may ask, also for orders that nobody has: who waits takes a place, and leaves
/// it when the caller goes away.
async fn final_order(
    aggregator: &Aggregator,
    order_id: &OrderId,
    events: &Events,
) -> Result<(Arc<ChainView>, OrderRecord), AggregatorError> {
    if let Some(found) = order_now(aggregator, order_id).await? {
        return Ok(found);
    }
    let _place = aggregator.waiting_permit()?;
    let looks = aggregator.limits.finality_wait_s.saturating_mul(1_000) / 100;
    for look in 0..looks {
        events.report("waiting for finality", look, looks);
        if tokio::time::timeout(FINALITY_PAUSE, events.closed()).await.is_ok() {
            break;
        }
        if let Some(found) = order_now(aggregator, order_id).await? {
            return Ok(found);
        }
    }
    Err(AggregatorError::UnknownOrder(*order_id))
}

/// The order as the chain has it now, if it is final.
async fn order_now(
    aggregator: &Aggregator,
    order_id: &OrderId,
) -> Result<Option<(Arc<ChainView>, OrderRecord)>, AggregatorError> {
    let view = aggregator.view.refreshed().await?;
    let record = view.order(order_id).cloned();
    Ok(record.map(|record| (view, record)))
}

/// A settled order can be answered again; an open one before its deadline.
fn check_answerable(aggregator: &Aggregator, record: &OrderRecord) -> Result<(), AggregatorError> {
    match record.state {
        OrderState::Settled(_) => Ok(()),
        OrderState::Refunded => Err(AggregatorError::Refunded),
        OrderState::Open if aggregator.clock.now_unix_s() > record.order.deadline_unix_s => {
            Err(AggregatorError::Expired)
        }
        OrderState::Open => Ok(()),
    }
}

impl Asked {
    /// The cohort without `excluded_slots`, and the plan of its answer; refused when a floor, the
    /// price or a privacy rule stands in the way. `attributes` names what the keyholders know of the cohort,
    /// and matters to filtered answers only.
    pub(crate) fn answering(
        &self,
        aggregator: &Aggregator,
        excluded_slots: &BTreeSet<u64>,
        attributes: Digest32,
    ) -> Result<Answering, AggregatorError> {
        let order = &self.record.order;
        let refused = |refusal| AggregatorError::Cohort { refusal, excluded: self.excluded.clone() };
        let cohort = Cohort::try_new(&self.eligible, excluded_slots).map_err(refused)?;
        let network = aggregator.ledger.contracts().network;
        let filter = self.filter.clone().map(|selections| FilterShape { selections, attributes });
        let (panel, selection) = (self.panel.for_plan(), &self.selection);
        let plan = AnswerPlan::try_new(network, panel, selection, order.tier, order.rho, &cohort, filter.as_ref())?;
        cohort.check(&plan, &aggregator.parameters, order.max_price).map_err(refused)?;
        Ok(Answering { cohort, plan, proven: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Limits, testing::Market};
    use std::iter::from_fn;
    use tokio::sync::mpsc;

    const STRANGER: OrderId = OrderId(Digest32([0xee; 32]));

    #[tokio::test]
    async fn a_request_for_an_order_that_is_final_takes_no_place_among_those_that_wait() {
        let market = Market::deploy().await;
        let aggregator = market.aggregator(Limits::default()).await;
        let order = market.open_order(1).await;
        let waiting: Vec<_> = from_fn(|| aggregator.waiting_permit().ok()).collect();
        assert_eq!(waiting.len(), 256);
        let (sender, _receiver) = mpsc::channel(1);
        let events = Events::new(sender, Duration::ZERO);
        let authorised = authorise(&aggregator, &market.request(&order, 1), &events).await;
        assert!(authorised.is_ok(), "{authorised:?}");
        // Control: one that nobody has would have to wait.
        let refused = authorise(&aggregator, &market.request(&STRANGER, 2), &events).await;
        assert!(matches!(refused, Err(AggregatorError::Busy(256))), "{refused:?}");
    }

    #[tokio::test]
    async fn nobody_waits_for_an_order_when_the_caller_is_gone() {
        let market = Market::deploy().await;
        let aggregator = market.aggregator(Limits { finality_wait_s: 3_600, ..Limits::default() }).await;
        let (sender, mut receiver) = mpsc::channel(1);
        let events = Events::new(sender, Duration::ZERO);
        let waiting = tokio::spawn({
            let aggregator = aggregator.clone();
            async move { final_order(&aggregator, &STRANGER, &events).await.map(drop) }
        });
        // Control: it waits as long as somebody reads.
        assert!(receiver.recv().await.is_some() && receiver.recv().await.is_some());
        drop(receiver);
        let ended = tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("it ends");
        assert!(matches!(ended, Ok(Err(AggregatorError::UnknownOrder(STRANGER)))), "{ended:?}");
    }
}
