//! One order from the chain to the researcher.
//!
//! Every step can be repeated: preparations are kept before anybody commits to them, keyholders
//! replay what they committed to, sums are kept, a settled order is settled once, and a finished
//! answer is sent again as it was.

use crate::{
    aggregator::Aggregator,
    answers::place_of,
    error::AggregatorError,
    events::{Events, ReaderGone},
    question::{Answering, Asked, Authorised, authorise, resolve},
    relay::{Agreed, Committee, Expected, Signatures, list_earnings},
    sum::{block_answer, sum_answer},
};
use locus_commitment::Digest32;
use locus_ledger::{OrderId, OrderState, Settlement};
use locus_service::{ErrorCode, reason_of};
use locus_store::StoreError;
use locus_wire::{
    convert::{Payee, field},
    pb::{
        exchange::{SettleOrderRequest, settle_order_request::Signature},
        keyholder::Preparation,
        query::{AnswerQueryRequest, AnswerSummary, BlockAnswer},
    },
};
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::OwnedSemaphorePermit;

/// How often keyholders are asked to prepare anew because something changed between their steps.
const AGREEMENTS_MAX: u32 = 3;
/// Pauses between tries to settle: the first, and the longest.
const SETTLE_PAUSE: Duration = Duration::from_millis(100);
const SETTLE_PAUSE_MAX: Duration = Duration::from_secs(5);
/// Reason word of a keyholder that did not see the step before.
const STEP_MISSING: &str = "STEP_MISSING";
/// Signatures that settle an order.
const SIGNATURES_MIN: usize = 2;

/// Answers an order, or sends its answer again. Ends quietly when the researcher stops reading: the
/// answer is finished and kept all the same.
pub(crate) async fn answer(
    aggregator: &Arc<Aggregator>,
    request: &AnswerQueryRequest,
    events: &Events,
) -> Result<(), AggregatorError> {
    let order_id = OrderId(field::digest("order_id", &request.order_id)?);
    // Strangers and orders that are not final yet take no place among the answers.
    let authorised = authorise(aggregator, request, events).await?;
    let _turn = aggregator.take_turn(order_id)?;
    complete(aggregator, request, authorised, events).await?;
    match send(aggregator, &order_id, events).await? {
        Ok(()) => tracing::info!(order = %order_id, "answer sent"),
        Err(ReaderGone) => tracing::info!(order = %order_id, "answer kept: the researcher stopped reading"),
    }
    Ok(())
}

/// Finishes an answer, unless it is finished. Its place among the answers is free again when this returns: who reads may be slow.
async fn complete(
    aggregator: &Aggregator,
    request: &AnswerQueryRequest,
    authorised: Authorised,
    events: &Events,
) -> Result<(), AggregatorError> {
    let permit = aggregator.answer_permit().await?;
    let asked = resolve(aggregator, request, authorised).await?;
    if aggregator.answers.summary(&asked.order_id)?.is_none() {
        finish(aggregator, &asked, events, permit).await?;
    }
    Ok(())
}

/// Runs all steps of an answer that is not finished yet.
async fn finish(
    aggregator: &Aggregator,
    asked: &Asked,
    events: &Events,
    permit: OwnedSemaphorePermit,
) -> Result<(), AggregatorError> {
    let committee = Committee::of(aggregator, &aggregator.view.snapshot())?;
    let (agreed, mut answering) = agree(aggregator, &committee, asked, events).await?;
    if let Some(prover) = &aggregator.prover {
        answering.proven = Some(prover.prove(aggregator, asked, &answering.cohort, events).await?);
    }
    events.report("releasing", 0, 1);
    committee.release(&asked.order_id, &agreed, &answering, &aggregator.answers).await?;
    // While this one is settled, or waits for it, another can be computed.
    let _settling = aggregator.settling_permit().await?;
    drop(permit);
    let (settlement, signed) = settle(aggregator, &committee, &asked.order_id, &agreed, &answering, events).await?;
    let privacy = answering.plan.cost(&answering.cohort)?.total()?;
    let summary = AnswerSummary {
        cohort_size: answering.cohort.size(),
        price: field::amount_text(answering.cohort.price()),
        rho_nano: privacy.as_nano(),
        degraded: agreed.is_degraded(),
        answer_digest: answering.plan.digest().0.0.to_vec().into(),
        cohort_digest: answering.cohort.digest().0.0.to_vec().into(),
        settlement: Some((&settlement).into()),
        signatures: signatures_of(&signed),
        cohort: answering.proven.as_ref().map(|proven| (&proven.evidence).into()),
        attributes_digest: agreed.attributes_digest(),
    };
    aggregator.answers.complete(&asked.order_id, aggregator.clock.now_unix_s(), &summary)?;
    tracing::info!(
        order = %asked.order_id,
        people = answering.cohort.size(),
        variants = answering.plan.variant_count(),
        degraded = agreed.is_degraded(),
        "order answered"
    );
    Ok(())
}

/// Steps 1 and 2, with the sums computed meanwhile.
async fn agree(
    aggregator: &Aggregator,
    committee: &Committee,
    asked: &Asked,
    events: &Events,
) -> Result<(Agreed, Answering), AggregatorError> {
    let order = &asked.order_id;
    let mut kept = aggregator.answers.preparations(order)?;
    for attempt in 1.. {
        events.report("agreeing on the cohort", u64::from(attempt - 1), u64::from(AGREEMENTS_MAX));
        let preparations = match kept.take() {
            Some(preparations) => preparations,
            None => {
                // What no cohort can answer is refused here, with the reasons, before anybody signs.
                asked.answering(aggregator, &asked.expected_out, Digest32([0; 32]))?;
                let preparations = committee.prepare(order, &asked.question).await?;
                aggregator.answers.put_preparations(order, &preparations)?;
                preparations
            }
        };
        let agreed = match asked.filter {
            Some(_) => evaluate(aggregator, committee, asked, &preparations, events).await,
            None => sum_and_commit(aggregator, committee, asked, &preparations, events).await,
        };
        match agreed {
            Ok(agreed) => return Ok(agreed),
            Err(error) if attempt < AGREEMENTS_MAX && changed_meanwhile(&error, asked, &preparations) => {
                tracing::info!(order = %order, %error, "keyholders are asked to prepare anew");
            }
            Err(error) => return Err(error),
        }
    }
    // The loop ends by returning.
    Err(AggregatorError::Withdrawn)
}

/// The keyholders commit to their shares of a whole cohort while its ciphertexts are summed.
async fn sum_and_commit(
    aggregator: &Aggregator,
    committee: &Committee,
    asked: &Asked,
    preparations: &[Preparation],
    events: &Events,
) -> Result<(Agreed, Answering), AggregatorError> {
    let answering = asked.answering(aggregator, &excluded_slots(preparations), Digest32([0; 32]))?;
    let committing = committee.commit(&asked.question, preparations, &asked.order_id, &answering);
    let summing = sum_answer(aggregator, asked, &answering, events);
    let (agreed, ()) = tokio::try_join!(committing, summing)?;
    Ok((agreed, answering))
}

/// The keyholders evaluate a filter and commit to their parts of the counts, whose sums nobody sees here.
async fn evaluate(
    aggregator: &Aggregator,
    committee: &Committee,
    asked: &Asked,
    preparations: &[Preparation],
    events: &Events,
) -> Result<(Agreed, Answering), AggregatorError> {
    events.report("filtering", 0, 1);
    let excluded = excluded_slots(preparations);
    let answering = |attributes| asked.answering(aggregator, &excluded, attributes);
    let (agreed, answering) = committee.evaluate(&asked.question, preparations, &asked.order_id, answering).await?;
    let blocks: Vec<BlockAnswer> = answering.plan.blocks().iter().map(|block| block_answer(block, &[], &[])).collect();
    aggregator.answers.begin_sums(&asked.order_id)?;
    aggregator.answers.put_sums(&asked.order_id, &blocks)?;
    aggregator.answers.end_sums(&asked.order_id, &answering.plan.digest().0)?;
    events.report("filtering", 1, 1);
    Ok((agreed, answering))
}

fn excluded_slots(preparations: &[Preparation]) -> BTreeSet<u64> {
    preparations.iter().flat_map(|preparation| preparation.excluded_slots.iter().copied()).collect()
}

/// Whether new preparations may help: a dataset was withdrawn or re-keyed, or a keyholder has signed other
/// preparations since those that were kept, or does not know them any more.
fn changed_meanwhile(error: &AggregatorError, asked: &Asked, preparations: &[Preparation]) -> bool {
    match error {
        AggregatorError::Withdrawn => true,
        // Bodies of later keys are in the place of those that the keyholders agreed on.
        AggregatorError::Store(StoreError::DatasetMismatch { .. }) => {
            !asked.expected_out.is_subset(&excluded_slots(preparations))
        }
        AggregatorError::Keyholder { status, .. } => {
            let is_unknown = reason_of(status).as_deref() == Some(STEP_MISSING);
            is_unknown || ErrorCode::of_status(status) == ErrorCode::Conflict
        }
        _ => false,
    }
}

/// The settlement, which is on the chain or was taken by the exchange: nobody is sent an answer without it. One order at a time:
/// each settlement builds on the one before.
async fn settle(
    aggregator: &Aggregator,
    committee: &Committee,
    order: &OrderId,
    agreed: &Agreed,
    answering: &Answering,
    events: &Events,
) -> Result<(Settlement, Signatures), AggregatorError> {
    let _one_at_a_time = aggregator.settling.lock().await;
    let started = Instant::now();
    let patience = Duration::from_secs(aggregator.limits.settle_wait_s);
    let mut pause = SETTLE_PAUSE;
    loop {
        let expected = expected_settlement(aggregator, order).await?;
        let mut signed = committee.sign(order, agreed, answering, expected).await?;
        let page_after = |account| list_earnings(aggregator.exchange.clone(), account, patience);
        if committee.carry_payouts(page_after, &signed.behind).await {
            // Whoever has caught up can sign as well.
            signed = committee.sign(order, agreed, answering, expected).await?;
        }
        events.report("settling", 0, 1);
        let refusal = match (signed.settlement, expected) {
            (Some(settlement), Expected::OnChain(_)) => return Ok((settlement, signed)),
            (Some(settlement), Expected::Next(_)) if signed.signatures.len() >= SIGNATURES_MIN => {
                match submit(aggregator, answering, &settlement, &signed).await {
                    Ok(()) => return Ok((settlement, signed)),
                    Err(error) => error,
                }
            }
            // Settled, but nobody here can sign it again: the chain itself is the evidence.
            (None, Expected::OnChain(settlement)) => return Ok((settlement, signed)),
            _ => AggregatorError::SettlementLags { signatures: signed.signatures.len() },
        };
        if started.elapsed() >= patience || !is_worth_repeating(aggregator, expected, &refusal).await? {
            return Err(refusal);
        }
        tracing::info!(%order, error = %refusal, "settling again");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(SETTLE_PAUSE_MAX);
    }
}

/// What the keyholders have to sign, as the chain stands now.
async fn expected_settlement(aggregator: &Aggregator, order: &OrderId) -> Result<Expected, AggregatorError> {
    let view = aggregator.view.refreshed().await?;
    match view.order(order).map(|record| record.state) {
        Some(OrderState::Settled(settlement)) => Ok(Expected::OnChain(settlement)),
        Some(OrderState::Refunded) => Err(AggregatorError::Refunded),
        Some(OrderState::Open) => {
            let last = aggregator.ledger.payout_sequence().await?;
            Ok(Expected::Next(last.saturating_add(1)))
        }
        None => Err(AggregatorError::UnknownOrder(*order)),
    }
}

async fn submit(
    aggregator: &Aggregator,
    answering: &Answering,
    settlement: &Settlement,
    signed: &Signatures,
) -> Result<(), AggregatorError> {
    let payees = answering.cohort.payees().into_iter().map(|(account, amount)| Payee { account, amount }.into());
    let request = SettleOrderRequest {
        settlement: Some(settlement.into()),
        signatures: signatures_of(signed),
        payees: payees.collect(),
        cohort: answering.proven.as_ref().map(|proven| (&proven.evidence).into()),
    };
    let patience = Duration::from_secs(aggregator.limits.settle_wait_s);
    let mut exchange = aggregator.exchange.clone();
    match tokio::time::timeout(patience, exchange.settle_order(request)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(status)) => Err(AggregatorError::Exchange(status)),
        Err(_) => {
            let text = format!("no answer within {} seconds; retry", patience.as_secs());
            Err(AggregatorError::Exchange(tonic::Status::deadline_exceeded(text)))
        }
    }
}

/// Whether another try can succeed: keyholders may catch up, a lost answer of the exchange may have
/// settled the order, and another settlement may have taken the number.
async fn is_worth_repeating(
    aggregator: &Aggregator,
    expected: Expected,
    refusal: &AggregatorError,
) -> Result<bool, AggregatorError> {
    let AggregatorError::Exchange(status) = refusal else { return Ok(true) };
    if ErrorCode::of_status(status).is_retriable() {
        return Ok(true);
    }
    let next = aggregator.ledger.payout_sequence().await?.saturating_add(1);
    Ok(!matches!(expected, Expected::Next(sequence) if sequence == next))
}

fn signatures_of(signed: &Signatures) -> Vec<Signature> {
    let message = |(keyholder, signature): &(locus_sharing::KeyholderIndex, bytes::Bytes)| Signature {
        keyholder: u32::from(keyholder.get()),
        signature: signature.clone(),
    };
    signed.signatures.iter().map(message).collect()
}

/// Sends a finished answer block by block.
async fn send(
    aggregator: &Aggregator,
    order: &OrderId,
    events: &Events,
) -> Result<Result<(), ReaderGone>, AggregatorError> {
    let damaged = AggregatorError::DamagedRecord("summary");
    let summary = aggregator.answers.summary(order)?.ok_or(damaged)?;
    let mut next = Some(0);
    while let Some(from) = next {
        let Some(block) = aggregator.answers.block_from(order, from)? else { break };
        next = place_of(block.selection, block.block).checked_add(1);
        if events.block(block).await.is_err() {
            return Ok(Err(ReaderGone));
        }
    }
    Ok(events.summary(summary).await)
}

#[cfg(test)]
mod tests;
