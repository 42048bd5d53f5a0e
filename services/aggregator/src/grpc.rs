//! The gRPC face of the aggregator.

use crate::{aggregator::Aggregator, answer::Progress};
use locus_service::{MESSAGE_BYTES_MAX, to_status};
use locus_wire::pb::query::{
    self as pb,
    query_service_server::{QueryService, QueryServiceServer},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// Responses that may wait for a slow reader.
const RESPONSES_MAX: usize = 4;

/// Builds the service.
pub(crate) fn service(aggregator: Aggregator) -> QueryServiceServer<Grpc> {
    QueryServiceServer::new(Grpc(aggregator))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

pub(crate) struct Grpc(Aggregator);

#[tonic::async_trait]
impl QueryService for Grpc {
    type AnswerQueryStream = ReceiverStream<Result<pb::AnswerQueryResponse, Status>>;

    async fn quote_query(
        &self,
        request: Request<pb::QuoteQueryRequest>,
    ) -> Result<Response<pb::QuoteQueryResponse>, Status> {
        self.0.quote(request.get_ref()).await.map(Response::new).map_err(|error| to_status(&error))
    }

    async fn answer_query(
        &self,
        request: Request<pb::AnswerQueryRequest>,
    ) -> Result<Response<Self::AnswerQueryStream>, Status> {
        let (sender, receiver) = mpsc::channel(RESPONSES_MAX);
        let aggregator = self.0.clone();
        // The answer is computed to its end even when the researcher hangs up: it was paid for.
        tokio::spawn(async move {
            let progress = Progress(sender.clone());
            match aggregator.answer(request.get_ref(), &progress).await {
                Ok(messages) => {
                    for message in messages {
                        if sender.send(Ok(message)).await.is_err() {
                            return;
                        }
                    }
                }
                Err(error) => {
                    let _ = sender.send(Err(to_status(&error))).await;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}
