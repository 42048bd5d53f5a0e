//! Summing the cohort's ciphertexts at the released slots.

use crate::{
    aggregator::Aggregator,
    error::AggregatorError,
    events::Events,
    question::{Answering, Asked},
};
use bytes::Bytes;
use locus_cohort::BlockPlan;
use locus_commitment::DatasetBodyDigest;
use locus_engine::EngineError;
use locus_genomics::Plane;
use locus_store::{BodySum, Column, PanelStore, SlotSet};
use locus_wire::pb::query::{BlockAnswer, PlaneAnswer};
use std::{collections::BTreeMap, time::Duration};

/// Panel blocks whose sums are in memory at a time: 64 KiB each with both planes, and 64 bytes for
/// every dataset of a shard.
pub(crate) const BLOCKS_AT_ONCE: usize = 64;
/// How often a sum is tried again on a newer manifest.
const STALE_RETRIES_MAX: u32 = 20;
/// Pause before that: the archive publishes a registration moments after it is final.
const STALE_PAUSE: Duration = Duration::from_millis(250);

/// Computes and keeps the sums of all blocks, unless they are here from an earlier try.
pub(crate) async fn sum_answer(
    aggregator: &Aggregator,
    asked: &Asked,
    answering: &Answering,
    events: &Events,
) -> Result<(), AggregatorError> {
    let (order, digest) = (&asked.order_id, answering.plan.digest().0);
    if aggregator.answers.is_summed(order, &digest)? {
        return Ok(());
    }
    aggregator.answers.begin_sums(order)?;
    let panel = aggregator.panel_store(asked.panel.digest, asked.panel.shape);
    let registered = registered_slots(answering)?;
    let selection = SlotSet::try_from_iter(registered.keys().copied())?;
    let blocks = answering.plan.blocks();
    let total = blocks.len() as u64;
    let mut done = 0;
    for blocks in blocks.chunks(BLOCKS_AT_ONCE) {
        events.report("summing", done, total);
        let planes = answering.plan.planes();
        let columns: Vec<Column> =
            blocks.iter().flat_map(|block| planes.iter().map(|&plane| Column { block: block.block, plane })).collect();
        let sums = sum_columns(aggregator, &panel, &columns, &selection, &registered).await?;
        let answers: Vec<BlockAnswer> = blocks
            .iter()
            .zip(sums.chunks(planes.len()))
            .map(|(block, sums)| block_answer(block, planes, sums))
            .collect();
        aggregator.answers.put_sums(order, &answers)?;
        done += answers.len() as u64;
    }
    aggregator.answers.end_sums(order, &digest)?;
    events.report("summing", total, total);
    Ok(())
}

/// H(b) by registry slot, for every member.
fn registered_slots(answering: &Answering) -> Result<BTreeMap<u32, DatasetBodyDigest>, AggregatorError> {
    let members = answering.cohort.members().iter();
    let slot = |slot: u64| u32::try_from(slot).map_err(|_| AggregatorError::Slot(slot));
    members.map(|member| Ok((slot(member.slot)?, member.bodies))).collect()
}

/// The exact sums over some slots of some columns, on the newest manifest that has them.
pub(crate) async fn sum_columns(
    aggregator: &Aggregator,
    panel: &PanelStore,
    columns: &[Column],
    selection: &SlotSet,
    registered: &BTreeMap<u32, DatasetBodyDigest>,
) -> Result<Vec<Box<BodySum>>, AggregatorError> {
    let mut retries = 0;
    loop {
        let manifest = panel.latest().await?;
        match aggregator.engine.exact_sums(panel, &manifest, columns, selection, registered).await {
            Err(error) if is_worth_waiting(&error) && retries < STALE_RETRIES_MAX => {
                tracing::debug!(%error, "summing again on the newest manifest");
                retries += 1;
                tokio::time::sleep(STALE_PAUSE).await;
            }
            summed => return Ok(summed?),
        }
    }
}

fn is_worth_waiting(error: &EngineError) -> bool {
    error.is_stale()
}

/// The sums of one block at its released slots.
pub(crate) fn block_answer(block: &BlockPlan, planes: &[Plane], sums: &[Box<BodySum>]) -> BlockAnswer {
    let planes = planes.iter().zip(sums).map(|(plane, sums)| {
        // A sum has a counter for every slot.
        let released = block.released_slots().filter_map(|slot| sums.words.get(slot.index()));
        let body_sum: Vec<u8> = released.flat_map(|counter| counter.to_le_bytes()).collect();
        PlaneAnswer { plane: u32::from(plane.code()), body_sum: Bytes::from(body_sum) }
    });
    BlockAnswer {
        block: block.block.0,
        tau: block.tau.0.0.to_vec().into(),
        planes: planes.collect(),
        shares: Vec::new(),
        selection: block.selection,
    }
}
