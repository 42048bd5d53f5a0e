//! What a researcher is told while an order is answered.

use crate::error::AggregatorError;
use locus_service::to_status;
use locus_wire::pb::query::{
    AnswerProgress, AnswerQueryResponse, AnswerSummary, BlockAnswer, answer_query_response::Event,
};
use tokio::sync::mpsc;
use tonic::Status;

/// The way to the researcher.
#[derive(Debug, Clone)]
pub(crate) struct Events(mpsc::Sender<Result<AnswerQueryResponse, Status>>);

/// The researcher does not read any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReaderGone;

impl Events {
    /// Tells through `sender`.
    pub(crate) fn new(sender: mpsc::Sender<Result<AnswerQueryResponse, Status>>) -> Self {
        Self(sender)
    }

    /// `done` of `total` steps of `stage` are over. Left out when the reader is too slow or gone.
    pub(crate) fn report(&self, stage: &str, done: u64, total: u64) {
        let progress = AnswerProgress { stage: stage.to_owned(), done, total };
        // An event less harms nobody.
        let _ = self.0.try_send(Ok(AnswerQueryResponse { event: Some(Event::Progress(progress)) }));
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
        let _ = self.0.send(Err(to_status(error))).await;
    }

    async fn send(&self, event: Event) -> Result<(), ReaderGone> {
        self.0.send(Ok(AnswerQueryResponse { event: Some(event) })).await.map_err(|_| ReaderGone)
    }
}
