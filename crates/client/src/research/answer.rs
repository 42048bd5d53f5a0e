//! Fetching the answer to a paid order.

use crate::{
    error::ClientError,
    keystore::Keystore,
    progress::{Progress, Stage},
    request::{fresh_terms, now_unix_s},
    research::{PlacedOrder, file},
    service::{CallError, FINALITY, RETRY, Services, name},
};
use locus_commitment::NetworkId;
use locus_ledger::answer_request_hash;
use locus_wire::{convert::field, pb::query as pb};
use std::path::Path;
use tonic::{Code, Status};

/// Most panel blocks of one answer, for each selection of its filter.
const BLOCKS_MAX: usize = 1 << 11;

/// Fetches the answer to a placed order and keeps it in `answer_file`. Asking again costs nothing:
/// the market answers an order once and repeats that answer.
///
/// # Errors
/// [`ClientError::Call`] when the keyholders refuse or too few are up.
pub async fn fetch_answer(
    services: &Services,
    keystore: &Keystore,
    placed: &PlacedOrder,
    answer_file: &Path,
    progress: &dyn Progress,
) -> Result<pb::AnswerRecord, ClientError> {
    let (mut attempt, mut finality_attempt) = (1, 1);
    loop {
        // Every try is a request of its own: each is taken once.
        let request = answer_request(keystore, placed)?;
        let status = match stream_answer(services, request, placed, progress).await {
            Ok(record) => {
                file::save_record(&record, answer_file)?;
                return Ok(record);
            }
            Err(status) => status,
        };
        let error = CallError::new(name::QUERY, &status);
        let goes_on = if error.code == Code::NotFound {
            progress.report(Stage::WaitingForFinality, 0, 0);
            finality_attempt += 1;
            FINALITY.pause_after(finality_attempt - 1).await
        } else {
            attempt += 1;
            error.is_retriable() && RETRY.pause_after(attempt - 1).await
        };
        if !goes_on {
            return Err(error.into());
        }
        tracing::debug!(code = ?error.code, "no answer yet, asking again");
    }
}

/// A request for the answer to a placed order, signed now. It is taken once, within two minutes.
///
/// # Errors
/// [`ClientError::Malformed`] for a record of an order without its market.
pub fn answer_request(keystore: &Keystore, placed: &PlacedOrder) -> Result<pb::AnswerQueryRequest, ClientError> {
    let malformed = |error| ClientError::Malformed { service: "record of the order", error };
    let network = field::required("network", &placed.record.network).map_err(malformed)?;
    let network = NetworkId::try_from(network).map_err(malformed)?;
    let terms = fresh_terms(now_unix_s())?;
    let digest = answer_request_hash(&network, &placed.order_id, &terms);
    Ok(pb::AnswerQueryRequest {
        order_id: placed.record.order_id.clone(),
        selection: placed.record.selection.clone(),
        hpke_public_key: keystore.sealing_public_key().to_bytes().to_vec().into(),
        deadline_unix_s: terms.deadline_unix_s,
        nonce: terms.nonce.to_vec().into(),
        signature: keystore.sign(&digest)?,
        filter: placed.record.filter.clone(),
        requirements: placed.record.requirements.clone(),
    })
}

/// Reads one answer stream to its summary.
async fn stream_answer(
    services: &Services,
    request: pb::AnswerQueryRequest,
    placed: &PlacedOrder,
    progress: &dyn Progress,
) -> Result<pb::AnswerRecord, Status> {
    use pb::answer_query_response::Event;
    let mut record = placed.record.clone();
    let selections = record.filter.as_ref().map_or(1, |filter| filter.selections.len());
    let blocks_max = BLOCKS_MAX.saturating_mul(selections);
    let mut stream = services.query.clone().answer_query(request).await?.into_inner();
    while let Some(message) = stream.message().await? {
        match message.event {
            Some(Event::Progress(event)) => progress.report(Stage::of_answer(&event.stage), event.done, event.total),
            Some(Event::Block(block)) if record.blocks.len() < blocks_max => record.blocks.push(block),
            Some(Event::Block(_)) => return Err(Status::data_loss("the answer has more panel blocks than any panel")),
            Some(Event::Summary(summary)) => {
                record.summary = Some(summary);
                return Ok(record);
            }
            None => return Err(Status::data_loss("the answer has an event that this client does not know")),
        }
    }
    Err(Status::aborted("the answer ended before its summary"))
}
