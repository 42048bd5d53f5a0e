//! Fetching the answer to a paid order.

use crate::{
    error::ClientError,
    keystore::Keystore,
    progress::{Progress, Stage},
    research::{PlacedOrder, file},
    service::{CallError, Services, name},
};
use locus_wire::pb::query as pb;
use std::{path::Path, time::Duration};
use tonic::{Code, Status};

/// How often an answer that stops half way is asked for again.
const ATTEMPTS_MAX: u32 = 5;
/// Pause before the second attempt; doubled for every further one.
const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// How often an order that is not final yet is asked for: with the pauses below about half an hour.
const FINALITY_ATTEMPTS_MAX: u32 = 480;
/// Pauses between such attempts.
const FINALITY_PAUSE_MIN: Duration = Duration::from_millis(50);
const FINALITY_PAUSE_MAX: Duration = Duration::from_secs(4);
/// Most panel blocks of one answer.
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
    let request = pb::AnswerQueryRequest {
        order_id: placed.record.order_id.clone(),
        selection: placed.record.selection.clone(),
        hpke_public_key: keystore.sealing_public_key().to_bytes().to_vec().into(),
    };
    let (mut attempt, mut finality_attempt) = (1, 1);
    let (mut pause, mut finality_pause) = (RETRY_PAUSE, FINALITY_PAUSE_MIN);
    loop {
        let status = match stream_answer(services, request.clone(), placed, progress).await {
            Ok(record) => {
                file::save_record(&record, answer_file)?;
                return Ok(record);
            }
            Err(status) => status,
        };
        let error = CallError::new(name::QUERY, &status);
        if status.code() == Code::NotFound && finality_attempt < FINALITY_ATTEMPTS_MAX {
            progress.report(Stage::WaitingForFinality, 0, 0);
            tokio::time::sleep(finality_pause).await;
            finality_pause = (finality_pause * 2).min(FINALITY_PAUSE_MAX);
            finality_attempt += 1;
        } else if error.is_retriable() && attempt < ATTEMPTS_MAX {
            tracing::debug!(attempt, code = ?status.code(), "answer interrupted, asking again");
            tokio::time::sleep(pause).await;
            pause *= 2;
            attempt += 1;
        } else {
            return Err(error.into());
        }
    }
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
    let mut stream = services.query.clone().answer_query(request).await?.into_inner();
    while let Some(message) = stream.message().await? {
        match message.event {
            Some(Event::Progress(event)) => progress.report(Stage::of_answer(&event.stage), event.done, event.total),
            Some(Event::Block(block)) if record.blocks.len() < BLOCKS_MAX => record.blocks.push(block),
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
