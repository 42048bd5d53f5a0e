//! What a researcher is told while an order is answered.

use crate::error::AggregatorError;
use locus_service::to_status;
use locus_wire::pb::query::{
    AnswerProgress, AnswerQueryResponse, AnswerSummary, BlockAnswer, answer_query_response::Event,
};
use std::time::Duration;
use tokio::sync::mpsc;
use tonic::Status;

/// The way to the researcher.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    sender: mpsc::Sender<Result<AnswerQueryResponse, Status>>,
    /// Longest wait until there is room for an event.
    patience: Duration,
}

/// Nobody reads any more, or too slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReaderGone;

/// Sends to a reader that may be slow, and may have stopped reading without going away.
///
/// # Errors
/// [`ReaderGone`] when there is no room within `patience`, or the reader went away.
pub(crate) async fn send_within<T>(sender: &mpsc::Sender<T>, patience: Duration, message: T) -> Result<(), ReaderGone> {
    sender.send_timeout(message, patience).await.map_err(|_| ReaderGone)
}

impl Events {
    /// Tells through `sender`, as long as the reader takes an event within `patience`.
    pub(crate) fn new(sender: mpsc::Sender<Result<AnswerQueryResponse, Status>>, patience: Duration) -> Self {
        Self { sender, patience }
    }

    /// Completes when the researcher goes away.
    pub(crate) async fn closed(&self) {
        self.sender.closed().await;
    }

    /// `done` of `total` steps of `stage` are over. Left out when the reader is too slow or gone.
    pub(crate) fn report(&self, stage: &str, done: u64, total: u64) {
        let progress = AnswerProgress { stage: stage.to_owned(), done, total };
        // An event less harms nobody.
        let _ = self.sender.try_send(Ok(AnswerQueryResponse { event: Some(Event::Progress(progress)) }));
    }

    /// One block of the answer.
    pub(crate) async fn block(&self, block: BlockAnswer) -> Result<(), ReaderGone> {
        self.send(Event::Block(block)).await
    }

    /// The end of the answer.
    pub(crate) async fn summary(&self, summary: AnswerSummary) -> Result<(), ReaderGone> {
        self.send(Event::Summary(summary)).await
    }

    /// The end of the call, without an answer.
    pub(crate) async fn refuse(&self, error: &AggregatorError) {
        // A reader that is gone needs no reason.
        let _ = send_within(&self.sender, self.patience, Err(to_status(error))).await;
    }

    async fn send(&self, event: Event) -> Result<(), ReaderGone> {
        send_within(&self.sender, self.patience, Ok(AnswerQueryResponse { event: Some(event) })).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reader_that_does_not_read_in_time_counts_as_gone() {
        let (sender, mut receiver) = mpsc::channel(1);
        let events = Events::new(sender, Duration::from_millis(1));
        assert_eq!(events.block(BlockAnswer::default()).await, Ok(()));
        assert_eq!(events.summary(AnswerSummary::default()).await, Err(ReaderGone));
        events.refuse(&AggregatorError::Expired).await;
        // Control: once it reads, it is told more.
        assert!(receiver.recv().await.is_some_and(|event| event.is_ok()));
        assert_eq!(events.summary(AnswerSummary::default()).await, Ok(()));
    }
}
