//! Opening the counts of people whom nobody sees: for each selection and panel block the parts of all three
//! keyholders, which add up to the counts (cohort, clause 16).

use super::{AnswerError, VerifiedAnswer, malformed, open_sealed, variant_rows};
use crate::{error::ClientError, research::opened::SelectionCounts};
use locus_cohort::{BlockPlan, TOTAL_BYTES};
use locus_rlwe::{CounterRange, FilteredPart, combine_filtered, released_count};
use locus_sharing::{KeyholderIndex, seal::SealingPrivateKey};
use locus_wire::{convert::FieldError, pb::query as pb};
use zeroize::Zeroizing;

/// What one keyholder sealed for one selection and block.
struct KeyholderPart {
    /// Its part of the counts, plane by plane.
    planes: Vec<FilteredPart>,
    /// The noisy number of people selected and, where there is one, sum of squares, as all three have opened them.
    totals: Vec<i64>,
}

/// Counts of every selection of a verified answer's filter, in its order.
pub(super) fn open_selections(
    verified: &VerifiedAnswer,
    record: &pb::AnswerRecord,
    key: &SealingPrivateKey,
    range: CounterRange,
) -> Result<Vec<SelectionCounts>, ClientError> {
    let asked = verified.filter.as_ref().ok_or_else(|| malformed(FieldError::refused("filter", "there is none")))?;
    let mut opened = Vec::with_capacity(asked.filter().selections().len());
    for (place, selection) in (0u32..).zip(asked.filter().selections()) {
        let blocks = verified.plan.blocks().iter().zip(&record.blocks).filter(|(block, _)| block.selection == place);
        let mut stated = None;
        let mut rows = Vec::new();
        for (block, answer) in blocks {
            let parts = open_parts(verified, block, answer, key)?;
            for part in &parts {
                // The same numbers were opened for the selection, so the same are stated, in every block.
                if *stated.get_or_insert_with(|| part.totals.clone()) != part.totals {
                    return Err(AnswerError::Matched { selection: place }.into());
                }
            }
            rows.extend(add_parts(block, &parts, range)?);
        }
        let totals: Vec<i64> = stated.unwrap_or_default();
        let matched = *totals.first().ok_or(AnswerError::Matched { selection: place })?;
        let (text, square_sum) = (asked.describe(selection), totals.get(1).copied());
        opened.push(SelectionCounts { selection: selection.clone(), text, matched, square_sum, rows });
    }
    Ok(opened)
}

fn open_parts(
    verified: &VerifiedAnswer,
    block: &BlockPlan,
    answer: &pb::BlockAnswer,
    key: &SealingPrivateKey,
) -> Result<[KeyholderPart; 3], ClientError> {
    let wrong_parts = || ClientError::from(AnswerError::Parts { block: block.block.0 });
    let numbers = answer.shares.iter().map(|sealed| (sealed.share, sealed.keyholder));
    let expected = KeyholderIndex::ALL.map(|keyholder| (u32::from(keyholder.get()), u32::from(keyholder.get())));
    let has_all_parts = answer.selection == block.selection
        && answer.block == block.block.0
        && *answer.tau == block.tau.0.0
        && answer.planes.is_empty()
        && numbers.eq(expected);
    if !has_all_parts {
        return Err(wrong_parts());
    }
    let [first, second, third] = answer.shares.as_slice() else { return Err(wrong_parts()) };
    let [one, two, three] = KeyholderIndex::ALL;
    Ok([
        open_part(verified, block, one, first, key)?,
        open_part(verified, block, two, second, key)?,
        open_part(verified, block, three, third, key)?,
    ])
}

fn open_part(
    verified: &VerifiedAnswer,
    block: &BlockPlan,
    keyholder: KeyholderIndex,
    message: &pb::SealedShare,
    key: &SealingPrivateKey,
) -> Result<KeyholderPart, ClientError> {
    let plane_bytes = 8 * released_count(&block.slots);
    let counts_bytes = plane_bytes * block.planes.len();
    let expected = counts_bytes + TOTAL_BYTES * block.total_count as usize;
    let payload: Zeroizing<Vec<u8>> = open_sealed(verified, block, keyholder.get(), message, key, expected)?;
    let (planes, totals) = payload.split_at_checked(counts_bytes).ok_or(AnswerError::Parts { block: block.block.0 })?;
    let totals = totals.as_chunks::<TOTAL_BYTES>().0.iter().map(|total| i64::from_le_bytes(*total)).collect();
    let planes = block.planes.iter().zip(planes.chunks(plane_bytes));
    let planes = planes.map(|(plane, bytes)| FilteredPart::parse(keyholder, *plane, &block.slots, bytes));
    Ok(KeyholderPart { planes: planes.collect::<Result<_, _>>()?, totals })
}

/// The counts of one block. The check slots prove that the parts are of one evaluation.
fn add_parts(
    block: &BlockPlan,
    parts: &[KeyholderPart; 3],
    range: CounterRange,
) -> Result<Vec<super::VariantCounts>, ClientError> {
    let mut combined = Vec::with_capacity(block.planes.len());
    for (place, plane) in block.planes.iter().enumerate() {
        let of_plane = parts.each_ref().map(|part| &part.planes[place]);
        combined.push((*plane, combine_filtered(*plane, &block.slots, of_plane)?));
    }
    let matched = parts[0].totals.first().copied().unwrap_or(0);
    variant_rows(block, combined, matched, range)
}

#[cfg(test)]
mod tests;
