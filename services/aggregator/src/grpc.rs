//! The gRPC face of the aggregator: messages in, messages out, no decisions.

use crate::{
    aggregator::Aggregator,
    answer::answer,
    error::AggregatorError,
    events::{Events, send_within},
    opening::open_cohort,
    quote::quote,
};
use locus_ledger::OrderId;
use locus_service::{MESSAGE_BYTES_MAX, spawn_for_request, to_status};
use locus_wire::{
    convert::field,
    pb::query::{
        AnswerQueryRequest, AnswerQueryResponse, OpenCohortRequest, OpenCohortResponse, QuoteQueryRequest,
        QuoteQueryResponse,
        query_service_server::{QueryService, QueryServiceServer},
    },
};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// Events that may wait for a slow reader; a block answer has at most 256 KiB.
const EVENTS_MAX: usize = 16;

/// Builds the service.
pub(crate) fn service(aggregator: Arc<Aggregator>) -> QueryServiceServer<Grpc> {
    QueryServiceServer::new(Grpc(aggregator))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

pub(crate) struct Grpc(Arc<Aggregator>);

fn status(error: AggregatorError) -> Status {
    to_status(&error)
}

#[tonic::async_trait]
impl QueryService for Grpc {
    type AnswerQueryStream = ReceiverStream<Result<AnswerQueryResponse, Status>>;
    type OpenCohortStream = ReceiverStream<Result<OpenCohortResponse, Status>>;

    async fn quote_query(&self, request: Request<QuoteQueryRequest>) -> Result<Response<QuoteQueryResponse>, Status> {
        quote(&self.0, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn answer_query(
        &self,
        request: Request<AnswerQueryRequest>,
    ) -> Result<Response<Self::AnswerQueryStream>, Status> {
        let (sender, receiver) = mpsc::channel(EVENTS_MAX);
        let (aggregator, request) = (self.0.clone(), request.into_inner());
        // Its own task, so that a settlement under way is finished when the researcher goes away.
        spawn_for_request(async move {
            let events = Events::new(sender, aggregator.reader_patience());
            if let Err(error) = answer(&aggregator, &request, &events).await {
                events.refuse(&error).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn open_cohort(
        &self,
        request: Request<OpenCohortRequest>,
    ) -> Result<Response<Self::OpenCohortStream>, Status> {
        let order = field::digest("order_id", &request.get_ref().order_id);
        let order = OrderId(order.map_err(|error| status(error.into()))?);
        let (sender, receiver) = mpsc::channel(EVENTS_MAX);
        let aggregator = self.0.clone();
        spawn_for_request(async move {
            if let Err(error) = open_cohort(&aggregator, &order, &sender).await {
                // A reader that is gone needs no answer.
                let _ = send_within(&sender, aggregator.reader_patience(), Err(status(error))).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}
