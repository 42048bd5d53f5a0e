//! What the ciphertexts of a proven cohort add up to: opens the commitment that an order settled on.

use crate::{
    aggregator::{Aggregator, PublishedPanel},
    error::AggregatorError,
    events::send_within,
    sum::{BLOCKS_AT_ONCE, sum_columns},
};
use locus_commitment::DatasetBodyDigest;
use locus_genomics::PanelDigest;
use locus_ledger::{ChainView, OrderId};
use locus_store::{BodySum, Column, SlotSet};
use locus_wire::pb::query::{CohortSum, OpenCohortResponse};
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::mpsc;
use tonic::Status;

type Sender = mpsc::Sender<Result<OpenCohortResponse, Status>>;

/// Sends the sums of all panel blocks and planes. Ends quietly when the reader stops. Everybody may ask for them, and read as
/// slowly as it likes: nobody has a place among the answers but while something is summed.
pub(crate) async fn open_cohort(
    aggregator: &Arc<Aggregator>,
    order: &OrderId,
    sender: &Sender,
) -> Result<(), AggregatorError> {
    let record = aggregator.answers.cohort(order)?.ok_or(AggregatorError::NoCohort(*order))?;
    let _opening = aggregator.opening_permit().await?;
    let digest = record.panel.as_slice().try_into().map_err(|_| AggregatorError::DamagedRecord("cohort"))?;
    let view = aggregator.view.refreshed().await?;
    let panel = PublishedPanel::find(&view, PanelDigest(digest))?;
    let registered = bodies_at(&view, &panel.digest, &record.slots);
    let selection = SlotSet::try_from_iter(registered.keys().copied())?;
    let store = aggregator.panel_store(panel.digest, panel.shape);
    let columns: Vec<Column> = panel.shape.columns().collect();
    for columns in columns.chunks(BLOCKS_AT_ONCE) {
        let permit = aggregator.answer_permit().await?;
        if sender.is_closed() {
            return Ok(());
        }
        let sums = sum_columns(aggregator, &store, columns, &selection, &registered).await?;
        drop(permit);
        for (column, sum) in columns.iter().zip(&sums) {
            let sum = cohort_sum(column, sum).ok_or(AggregatorError::DamagedRecord("cohort"))?;
            let sent = send_within(sender, aggregator.reader_patience(), Ok(OpenCohortResponse { sum: Some(sum) }));
            if sent.await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// H(b) of the datasets at these slots.
fn bodies_at(view: &ChainView, panel: &PanelDigest, slots: &[u32]) -> BTreeMap<u32, DatasetBodyDigest> {
    let mut bodies = BTreeMap::new();
    for registration in view.registrations_on(panel, u64::MAX) {
        for (slot, leaf) in (registration.first_slot..).zip(registration.leaves.iter()) {
            if let Some(slot) = u32::try_from(slot).ok().filter(|slot| slots.binary_search(slot).is_ok()) {
                bodies.insert(slot, leaf.commitments.bodies);
            }
        }
    }
    bodies
}

/// A sum as it is sent; `None` for one that no cohort has.
fn cohort_sum(column: &Column, sum: &BodySum) -> Option<CohortSum> {
    let exact = sum.exact()?;
    let carry = |sum: &u128| u32::try_from(sum >> 64).ok();
    let carries = exact.iter().map(carry).collect::<Option<Vec<u32>>>()?;
    Some(CohortSum {
        block: column.block.0,
        plane: u32::from(column.plane.code()),
        words: sum.words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>().into(),
        carries: carries.iter().flat_map(|carry| carry.to_le_bytes()).collect::<Vec<u8>>().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        answers::CohortRecord,
        config::Limits,
        testing::{Market, PANEL},
    };
    use futures::FutureExt as _;
    use locus_commitment::Digest32;

    #[tokio::test]
    async fn an_opening_that_nobody_reads_takes_no_place_among_the_answers() {
        let limits = Limits { answers_max: 1, ..Limits::default() };
        let aggregator = Market::deploy().await.aggregator(limits).await;
        let order = OrderId(Digest32([1; 32]));
        let nobody = CohortRecord { panel: PANEL.0.to_vec(), ..CohortRecord::default() };
        aggregator.answers.put_cohort(&order, &nobody).expect("writes");
        let (sender, mut receiver) = mpsc::channel(1);
        let opening = tokio::spawn({
            let aggregator = aggregator.clone();
            async move { open_cohort(&aggregator, &order, &sender).await }
        });
        // With the first of three sums here, the last has no room.
        assert!(receiver.recv().await.is_some_and(|sum| sum.is_ok()));
        assert!(aggregator.answer_permit().now_or_never().is_some_and(|permit| permit.is_ok()));
        // Control: the opening is still under way.
        assert!(receiver.recv().await.is_some() && receiver.recv().await.is_some());
        opening.await.expect("it ends").expect("everything is sent");
        assert!(receiver.recv().await.is_none());
    }
}
