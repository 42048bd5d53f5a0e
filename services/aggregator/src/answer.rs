//! Answering an order, from its place on the chain to the bytes on disk.

mod assemble;

use crate::{
    aggregator::{Aggregator, BodiesOnChain, PublishedPanel},
    error::AggregatorError,
    relay::{KeyholderPeer, check_signer},
};
use assemble::{Settled, assemble};
use locus_cohort::{AnswerPlan, Cohort, eligible};
use locus_genomics::VariantSelection;
use locus_ledger::{ChainView, OrderId, OrderRecord, OrderState, Settlement};
use locus_rlwe::select_released;
use locus_store::{Column, PanelShape as StoredShape, SlotSet};
use locus_wire::{
    convert::{self, field},
    pb::{
        exchange::{SettleOrderRequest, settle_order_request},
        keyholder as keyholder_pb,
        query::{self as pb, answer_query_response::Event},
    },
    relay,
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// How long an answer waits for its order to become final.
const FINALITY_WAIT: Duration = Duration::from_secs(120);

/// Where progress goes. A researcher who has gone away does not stop an answer.
#[derive(Clone)]
pub(crate) struct Progress(pub(crate) mpsc::Sender<Result<pb::AnswerQueryResponse, tonic::Status>>);

impl Progress {
    pub(crate) async fn stage(&self, stage: &str, done: u64, total: u64) {
        let progress = pb::AnswerProgress { stage: stage.to_owned(), done, total };
        // Nobody listens any more: the answer is still computed and kept.
        let _ = self.0.send(Ok(pb::AnswerQueryResponse { event: Some(Event::Progress(progress)) })).await;
    }
}

/// An order whose question was checked.
struct Asked {
    order_id: OrderId,
    record: OrderRecord,
    panel: PublishedPanel,
    selection: VariantSelection,
    question: keyholder_pb::Question,
}

impl Aggregator {
    /// The answer to an order: from disk, or computed, settled and kept.
    pub(crate) async fn answer(
        &self,
        request: &pb::AnswerQueryRequest,
        progress: &Progress,
    ) -> Result<Vec<pb::AnswerQueryResponse>, AggregatorError> {
        let order_id = OrderId(field::digest("order_id", &request.order_id)?);
        if let Some(kept) = self.0.kept.read(&order_id)? {
            return Ok(kept);
        }
        let _in_flight = self.take_order(order_id)?;
        let _permit = self.0.answers.try_acquire().map_err(|_| AggregatorError::Busy)?;
        progress.stage("waiting for finality", 0, 1).await;
        let view = self.wait_for_order(&order_id).await?;
        let asked = self.ask(&view, order_id, request)?;

        progress.stage("agreeing on the cohort", 0, 1).await;
        let (peers, preparations): (Vec<_>, Vec<_>) = self.prepare_all(&asked.question).await?.into_iter().unzip();
        let (cohort, plan) = self.resolve(&view, &asked, &peers, &preparations)?;

        progress.stage("summing", 0, u64::from(cohort.size())).await;
        let sums = self.sum_bodies(&view, &asked, &cohort, &plan);
        let commitments = self.collect_commitments(&view, &asked, &cohort, &plan, peers, &preparations);
        let (sums, (mut peers, commitments)) = futures::future::try_join(sums, commitments).await?;

        progress.stage("releasing", 0, 1).await;
        let _one_at_a_time = self.0.settling.lock().await;
        let settled = self.release_and_settle(&asked, &cohort, &mut peers, &commitments).await?;
        let messages = assemble(&asked.record.order, &cohort, &plan, sums, settled)?;
        let (kept, to_keep) = (self.0.kept.clone(), messages.clone());
        locus_service::blocking(move || kept.keep(&order_id, &to_keep)).await?;
        tracing::info!(order = %order_id, cohort = cohort.size(), variants = plan.variant_count(), "answered");
        Ok(messages)
    }

    async fn wait_for_order(&self, order_id: &OrderId) -> Result<Arc<ChainView>, AggregatorError> {
        let mut follower = self.0.view.clone();
        let mut view = self.refreshed_view().await?;
        let wait = async {
            while view.order(order_id).is_none() {
                match follower.newer_than(&view).await {
                    Some(newer) => view = newer,
                    None => break,
                }
            }
        };
        let in_time = tokio::time::timeout(FINALITY_WAIT, wait).await;
        if in_time.is_err() || view.order(order_id).is_none() {
            return Err(AggregatorError::NotFinal("the order"));
        }
        Ok(view)
    }

    fn ask(
        &self,
        view: &ChainView,
        order_id: OrderId,
        request: &pb::AnswerQueryRequest,
    ) -> Result<Asked, AggregatorError> {
        let record = view.order(&order_id).cloned().ok_or(AggregatorError::NotFinal("the order"))?;
        if record.state == OrderState::Refunded {
            return Err(AggregatorError::OrderRefunded);
        }
        let panel = PublishedPanel::find(view, record.order.panel)?;
        let selection = field::required("selection", &request.selection)?;
        let selection = convert::parse_selection(selection, record.order.panel, panel.variant_count)?;
        if selection.digest() != record.order.selection_digest.0 {
            return Err(AggregatorError::OrderMismatch("selection of variants"));
        }
        let question = keyholder_pb::Question {
            order_id: request.order_id.clone(),
            selection: request.selection.clone(),
            hpke_public_key: request.hpke_public_key.clone(),
        };
        Ok(Asked { order_id, record, panel, selection, question })
    }

    /// The cohort and plan that follow from the keyholders' signed preparations.
    fn resolve(
        &self,
        view: &ChainView,
        asked: &Asked,
        peers: &[KeyholderPeer],
        preparations: &[keyholder_pb::Preparation],
    ) -> Result<(Cohort, AnswerPlan), AggregatorError> {
        let order = &asked.record.order;
        let mut excluded = BTreeSet::new();
        for (peer, preparation) in peers.iter().zip(preparations) {
            let digest = relay::preparation_digest(&self.network(), preparation);
            check_signer(view, peer, preparation.keyholder, &digest, &preparation.signature)?;
            excluded.extend(preparation.excluded_slots.iter().copied());
        }
        let (block, time) = (asked.record.block, asked.record.time_unix_s);
        let resolved = eligible(view, self.parameters(), order, &asked.selection, block, time);
        let cohort = Cohort::try_new(&resolved, &excluded)?;
        let plan =
            AnswerPlan::try_new(self.network(), asked.panel.shape, &asked.selection, order.tier, order.rho, &cohort)?;
        cohort.check(&plan, self.parameters(), order.max_price)?;
        Ok((cohort, plan))
    }

    /// Sums at the released slots, by block and plane.
    async fn sum_bodies(
        &self,
        view: &Arc<ChainView>,
        asked: &Asked,
        cohort: &Cohort,
        plan: &AnswerPlan,
    ) -> Result<Vec<Vec<u64>>, AggregatorError> {
        let shape = StoredShape::try_new(asked.panel.block_count(), asked.panel.shape.complete_calls)?;
        let panel = self.0.store.panel(asked.record.order.panel, shape);
        let manifest = panel.latest().await?;
        let columns: Vec<Column> = plan
            .blocks()
            .iter()
            .flat_map(|block| plan.planes().iter().map(|plane| Column { block: block.block, plane: *plane }))
            .collect();
        let slots = cohort.members().iter().map(|member| u32::try_from(member.slot).unwrap_or(u32::MAX));
        let selection = SlotSet::try_from_iter(slots)?;
        let registered = BodiesOnChain::of_panel(view.clone(), &asked.record.order.panel);
        let sums = self.0.engine.sum_many(&panel, &manifest, &columns, &selection, &registered).await?;
        let per_block = plan.planes().len();
        let released = sums.iter().enumerate().filter_map(|(place, sum)| {
            let block = plan.blocks().get(place / per_block)?;
            let sum: &[u64; 4096] = sum.as_slice().try_into().ok()?;
            Some(select_released(&block.slots, sum))
        });
        Ok(released.collect())
    }

    /// Collects every participant's commitment and checks that it names our cohort and questions.
    async fn collect_commitments(
        &self,
        view: &ChainView,
        asked: &Asked,
        cohort: &Cohort,
        plan: &AnswerPlan,
        mut peers: Vec<KeyholderPeer>,
        preparations: &[keyholder_pb::Preparation],
    ) -> Result<(Vec<KeyholderPeer>, Vec<keyholder_pb::AnswerCommitment>), AggregatorError> {
        let asking = peers.iter_mut().map(|peer| peer.commit(&asked.question, preparations));
        let commitments = futures::future::try_join_all(asking).await?;
        for (peer, commitment) in peers.iter().zip(&commitments) {
            let digest = relay::commitment_digest(&self.network(), commitment);
            check_signer(view, peer, commitment.keyholder, &digest, &commitment.signature)?;
            let same = commitment.order_id.as_ref() == asked.order_id.0.0
                && commitment.cohort_digest.as_ref() == cohort.digest().0.0
                && commitment.cohort_size == cohort.size()
                && commitment.answer_digest.as_ref() == plan.digest().0.0;
            if !same {
                return Err(peer.misbehaved("a commitment to another cohort or question"));
            }
        }
        Ok((peers, commitments))
    }

    /// Has the keyholders release, and the exchange settle.
    async fn release_and_settle(
        &self,
        asked: &Asked,
        cohort: &Cohort,
        peers: &mut [KeyholderPeer],
        commitments: &[keyholder_pb::AnswerCommitment],
    ) -> Result<Settled, AggregatorError> {
        let view = self.refreshed_view().await?;
        let state = view.order(&asked.order_id).map(|record| record.state);
        let next = view.settlements().last().map_or(1, |last| last.payout_sequence.saturating_add(1));
        let payout_sequence = match state {
            Some(OrderState::Settled(settlement)) => settlement.payout_sequence,
            Some(OrderState::Refunded) => return Err(AggregatorError::OrderRefunded),
            _ => next,
        };
        let request = keyholder_pb::ReleaseAnswerRequest {
            order_id: asked.question.order_id.clone(),
            commitments: commitments.to_vec(),
            payout_sequence,
        };
        let asking = peers.iter_mut().map(|peer| peer.release(request.clone()));
        let released = futures::future::try_join_all(asking).await?;
        let mut settled = Settled::collect(peers, released)?;
        if !matches!(state, Some(OrderState::Settled(_))) {
            self.settle(settle_request(&settled, cohort)).await?;
            self.refreshed_view().await?;
        }
        settled.degraded = peers.len() < 3;
        Ok(settled)
    }
}

fn settle_request(settled: &Settled, cohort: &Cohort) -> SettleOrderRequest {
    let settlement: &Settlement = &settled.settlement;
    let signatures = settled.signatures.iter().map(|(keyholder, signature)| settle_order_request::Signature {
        keyholder: u32::from(*keyholder),
        signature: signature.clone(),
    });
    let payees = cohort.payees().into_iter().map(|(account, amount)| convert::Payee { account, amount }.into());
    SettleOrderRequest {
        settlement: Some(settlement.into()),
        signatures: signatures.collect(),
        payees: payees.collect(),
    }
}
