//! What a proven cohort's ciphertexts add up to, held against the commitment that its order settled on.
//!
//! The chain has verified that the commitment is the sum of those of exactly the consenting datasets that
//! were paid. If the sums open it, the answer was computed from these datasets and no others.

use crate::{
    error::ClientError,
    parallel,
    progress::{Progress, Stage},
    research::{file::save_record, open::AnswerError},
    service::{CallError, Services, name},
};
use bytes::Bytes;
use locus_cohort::AnswerPlan;
use locus_commitment::pedersen::{CiphertextCommitment, Generators};
use locus_genomics::{Panel, PanelBlockIndex, Plane};
use locus_ledger::CohortEvidence;
use locus_wire::{
    convert::{FieldError, field},
    pb::query as pb,
};
use std::path::Path;

/// Counters of a panel block.
const SLOTS: usize = 4096;

/// Fetches what the ciphertexts of the cohort of an answer add up to, on the whole panel (48 KiB for each panel
/// block and plane), and keeps it with the answer. Does nothing where orders do not settle on proven cohorts,
/// and for filtered answers, whose sums are none of these.
///
/// # Errors
/// [`ClientError::Call`], [`ClientError::File`].
pub async fn fetch_cohort_sums(
    services: &Services,
    panel: &Panel,
    record: &mut pb::AnswerRecord,
    answer_file: &Path,
    progress: &dyn Progress,
) -> Result<(), ClientError> {
    let is_proven = record.summary.as_ref().is_some_and(|summary| summary.cohort.is_some());
    if is_proven && record.filter.is_none() {
        record.cohort_sums = stream_sums(services, panel, record.order_id.clone(), progress).await?;
        save_record(record, answer_file)?;
    }
    Ok(())
}

async fn stream_sums(
    services: &Services,
    panel: &Panel,
    order_id: Bytes,
    progress: &dyn Progress,
) -> Result<Vec<pb::CohortSum>, ClientError> {
    let failed = |status: tonic::Status| ClientError::from(CallError::new(name::QUERY, &status));
    let mut stream =
        services.query.clone().open_cohort(pb::OpenCohortRequest { order_id }).await.map_err(failed)?.into_inner();
    let expected = columns(panel).len();
    let mut sums = Vec::new();
    while let Some(message) = stream.message().await.map_err(failed)? {
        if sums.len() == expected {
            return Err(AnswerError::CohortSums("are more than the panel has blocks").into());
        }
        sums.extend(message.sum);
        progress.report(Stage::Opening, sums.len() as u64, expected as u64);
    }
    Ok(sums)
}

fn columns(panel: &Panel) -> Vec<(PanelBlockIndex, Plane)> {
    let blocks = (0..panel.block_count()).map(PanelBlockIndex);
    blocks.flat_map(|block| panel.planes().iter().map(move |plane| (block, *plane))).collect()
}

/// Checks that the sums of all panel blocks and planes open the commitment that the order settled on, and
/// that the answer consists of these sums.
pub(crate) fn verify_cohort_sums(
    record: &pb::AnswerRecord,
    plan: &AnswerPlan,
    panel: &Panel,
    evidence: &CohortEvidence,
) -> Result<(), ClientError> {
    let malformed = |error: FieldError| ClientError::Malformed { service: "record of the answer", error };
    let columns = columns(panel);
    let places = record.cohort_sums.iter().map(|sum| (sum.block, sum.plane));
    if !places.eq(columns.iter().map(|(block, plane)| (block.0, u32::from(plane.code())))) {
        return Err(AnswerError::CohortSums("are not those of all panel blocks and planes").into());
    }
    check_answer(record, plan)?;
    let items: Vec<_> = columns.iter().zip(&record.cohort_sums).collect();
    let parts = parallel::map(&items, |((block, plane), sum)| {
        let generators = Generators::expand(block.0, plane.code());
        Ok::<_, FieldError>(CiphertextCommitment::of_sum(&generators, &exact(sum)?))
    });
    let parts = parts.map_err(malformed)?;
    let opened = parts.iter().fold(CiphertextCommitment::empty(), |sum, part| sum.plus(part));
    let mut point = [0; CiphertextCommitment::BYTES];
    let (x, y) = point.split_at_mut(32);
    x.copy_from_slice(&evidence.cohort.commitment[0].0);
    y.copy_from_slice(&evidence.cohort.commitment[1].0);
    if CiphertextCommitment::parse_sum(&point).is_ok_and(|committed| opened.opens_like(&committed)) {
        Ok(())
    } else {
        Err(AnswerError::CohortSums("do not open the commitment that the order settled on").into())
    }
}

/// The sums over the integers.
fn exact(sum: &pb::CohortSum) -> Result<Vec<u128>, FieldError> {
    let words: [u8; 8 * SLOTS] = field::array("cohort_sums.words", &sum.words)?;
    let carries: [u8; 4 * SLOTS] = field::array("cohort_sums.carries", &sum.carries)?;
    let words = words.as_chunks::<8>().0.iter().map(|word| u128::from(u64::from_le_bytes(*word)));
    let carries = carries.as_chunks::<4>().0.iter().map(|carry| u128::from(u32::from_le_bytes(*carry)));
    Ok(words.zip(carries).map(|(word, carry)| word | carry << 64).collect())
}

/// The answer's sums are some of these.
fn check_answer(record: &pb::AnswerRecord, plan: &AnswerPlan) -> Result<(), ClientError> {
    for (block, answer) in plan.blocks().iter().zip(&record.blocks) {
        for plane in &answer.planes {
            let place = |sum: &&pb::CohortSum| (sum.block, sum.plane) == (block.block.0, plane.plane);
            let Some(whole) = record.cohort_sums.iter().find(place) else {
                return Err(AnswerError::CohortSums("lack a panel block of the answer").into());
            };
            let (words, _) = whole.words.as_chunks::<8>();
            let released: Vec<u8> =
                block.released_slots().filter_map(|slot| words.get(slot.index())).flatten().copied().collect();
            if released != plane.body_sum {
                return Err(AnswerError::CohortSums("are not those that the answer was computed from").into());
            }
        }
    }
    Ok(())
}
