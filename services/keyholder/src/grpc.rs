//! The gRPC face of a keyholder: messages in, messages out, no decisions.

use crate::{
    answer::Courier,
    enrol::{Batch, PeerValues},
    error::KeyholderError,
    keyholder::Keyholder,
    proven::ProvenBodies,
    rekeying::Making,
    reply_grid::at_set_times,
};
use locus_service::{MESSAGE_BYTES_MAX, blocking, check_speaks_for_itself, spawn_for_request, to_status};
use locus_wire::pb::keyholder::{
    self as pb,
    attest_datasets_request::Part as AttestPart,
    check_attributes_request::Part as AttributePart,
    check_datasets_request::Part as CheckPart,
    evaluate_answer_request::Part as EvaluatePart,
    evaluate_answer_response::Part as EvaluatedPart,
    import_payouts_request::Part as ImportPart,
    keyholder_service_server::{KeyholderService, KeyholderServiceServer},
    receive_rekeying_request::Part as RekeyingPart,
    release_answer_response::Part as ReleasePart,
};
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// Responses that may wait for a slow reader.
const RESPONSES_MAX: usize = 4;

/// How long an evaluation waits for the next piece of a message.
const PIECE_WAIT: Duration = Duration::from_secs(120);

/// Builds the service.
pub(crate) fn service(keyholder: Keyholder) -> KeyholderServiceServer<Grpc> {
    KeyholderServiceServer::new(Grpc(keyholder))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

pub(crate) struct Grpc(Keyholder);

/// Evaluates a filter while pieces of messages pass through the caller's streams.
async fn evaluate(
    keyholder: &Keyholder,
    start: &pb::CommitAnswerRequest,
    mut stream: Streaming<pb::EvaluateAnswerRequest>,
    sender: &mpsc::Sender<Result<pb::EvaluateAnswerResponse, Status>>,
) -> Result<pb::AnswerCommitment, KeyholderError> {
    let (arriving, incoming) = mpsc::channel(RESPONSES_MAX);
    let (outgoing, mut leaving) = mpsc::channel(RESPONSES_MAX);
    let receive = async {
        // A caller that falls silent must not hold a thread for ever.
        while let Ok(Ok(Some(message))) = tokio::time::timeout(PIECE_WAIT, stream.message()).await {
            let Some(EvaluatePart::Piece(piece)) = message.part else { break };
            if arriving.send(piece).await.is_err() {
                break;
            }
        }
        // What waits for more learns that there is none.
        drop(arriving);
    };
    let send = async {
        while let Some(piece) = leaving.recv().await {
            let message = pb::EvaluateAnswerResponse { part: Some(EvaluatedPart::Piece(piece)) };
            if sender.send(Ok(message)).await.is_err() {
                break;
            }
        }
    };
    let carrying = async { tokio::join!(receive, send) };
    let evaluating = keyholder.evaluate(start, Courier { outgoing, incoming });
    tokio::pin!(carrying, evaluating);
    let commitment = tokio::select! {
        commitment = &mut evaluating => commitment?,
        _ = &mut carrying => evaluating.await?,
    };
    let order = start.question.as_ref().map_or_else(String::new, |question| hex::encode(&question.order_id));
    keyholder.record("answer_committed", &[("order", &order)])?;
    Ok(commitment)
}

fn status(error: KeyholderError) -> Status {
    to_status(&error)
}

#[tonic::async_trait]
impl KeyholderService for Grpc {
    type CheckDatasetsStream = ReceiverStream<Result<pb::CheckDatasetsResponse, Status>>;
    type EvaluateAnswerStream = ReceiverStream<Result<pb::EvaluateAnswerResponse, Status>>;
    type ReleaseAnswerStream = ReceiverStream<Result<pb::ReleaseAnswerResponse, Status>>;
    type SendRekeyingStream = ReceiverStream<Result<pb::SendRekeyingResponse, Status>>;
    type ReceiveRekeyingStream = ReceiverStream<Result<pb::ReceiveRekeyingResponse, Status>>;

    async fn get_keyholder(
        &self,
        _: Request<pb::GetKeyholderRequest>,
    ) -> Result<Response<pb::GetKeyholderResponse>, Status> {
        Ok(Response::new(pb::GetKeyholderResponse {
            index: u32::from(self.0.index().get()),
            signer: self.0.signer_address().0.to_vec().into(),
            hpke_public_key: self.0.sealing_key().public_key().to_bytes().to_vec().into(),
        }))
    }

    async fn check_datasets(
        &self,
        request: Request<Streaming<pb::CheckDatasetsRequest>>,
    ) -> Result<Response<Self::CheckDatasetsStream>, Status> {
        let mut stream = request.into_inner();
        let Some(CheckPart::Header(header)) = stream.message().await?.and_then(|message| message.part) else {
            return Err(status(KeyholderError::Order("the header must come first")));
        };
        let batch = Arc::new(self.0.open_batch(&header).await.map_err(status)?);
        let (sender, receiver) = mpsc::channel(RESPONSES_MAX);
        let keyholder = self.0.clone();
        spawn_for_request(async move {
            let result = check_chunks(&keyholder, &batch, &mut stream, &sender).await;
            if let Err(error) = result {
                // A receiver that is gone needs no answer.
                let _ = sender.send(Err(error)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn attest_datasets(
        &self,
        request: Request<Streaming<pb::AttestDatasetsRequest>>,
    ) -> Result<Response<pb::AttestDatasetsResponse>, Status> {
        let mut stream = request.into_inner();
        let Some(AttestPart::Header(header)) = stream.message().await?.and_then(|message| message.part) else {
            return Err(status(KeyholderError::Order("the header must come first")));
        };
        let batch = Arc::new(self.0.open_batch(&header).await.map_err(status)?);
        let mut values = PeerValues::default();
        while let Some(message) = stream.message().await? {
            let Some(AttestPart::PeerValues(message)) = message.part else {
                return Err(status(KeyholderError::Order("only check values may follow the header")));
            };
            let peer = self.0.verify_peer_values(&batch, &message).await.map_err(status)?;
            let (keyholder, of_batch) = (self.0.clone(), batch.clone());
            let taken = blocking(move || {
                let result = values.take(&keyholder, &of_batch, peer, message);
                (values, result)
            });
            let (returned, result) = taken.await;
            values = returned;
            result.map_err(status)?;
        }
        if !values.covers(&batch) {
            return Err(status(KeyholderError::Order("check values of the whole batch are needed")));
        }
        let attestation = self.0.attest_batch(&batch).await.map_err(status)?;
        let digest = hex::encode(batch.digest.0);
        let facts: [(&str, &dyn std::fmt::Display); 2] = [("registration_digest", &digest), ("proven", &batch.proven)];
        self.0.record("batch_attested", &facts).map_err(status)?;
        Ok(Response::new(attestation))
    }

    async fn share_noise_key(
        &self,
        request: Request<pb::ShareNoiseKeyRequest>,
    ) -> Result<Response<pb::ShareNoiseKeyResponse>, Status> {
        check_speaks_for_itself(&request, request.get_ref().from_keyholder)?;
        self.0.receive_noise_key(request.get_ref()).await.map_err(status)?;
        Ok(Response::new(pb::ShareNoiseKeyResponse {}))
    }

    async fn prepare_answer(
        &self,
        request: Request<pb::PrepareAnswerRequest>,
    ) -> Result<Response<pb::PrepareAnswerResponse>, Status> {
        let question = request.get_ref().question.as_ref().ok_or_else(missing_question)?;
        let preparation = self.0.prepare(question).await.map_err(status)?;
        self.0.record("answer_prepared", &[("order", &hex::encode(&question.order_id))]).map_err(status)?;
        Ok(Response::new(pb::PrepareAnswerResponse { preparation: Some(preparation) }))
    }

    async fn commit_answer(
        &self,
        request: Request<pb::CommitAnswerRequest>,
    ) -> Result<Response<pb::CommitAnswerResponse>, Status> {
        let request = request.get_ref();
        let question = request.question.as_ref().ok_or_else(missing_question)?;
        let commitment = at_set_times(self.0.commit(question, &request.preparations)).await.map_err(status)?;
        self.0.record("answer_committed", &[("order", &hex::encode(&question.order_id))]).map_err(status)?;
        Ok(Response::new(pb::CommitAnswerResponse { commitment: Some(commitment) }))
    }

    async fn evaluate_answer(
        &self,
        request: Request<Streaming<pb::EvaluateAnswerRequest>>,
    ) -> Result<Response<Self::EvaluateAnswerStream>, Status> {
        let mut stream = request.into_inner();
        let Some(EvaluatePart::Start(start)) = stream.message().await?.and_then(|message| message.part) else {
            return Err(status(KeyholderError::Order("the start must come first")));
        };
        let (sender, receiver) = mpsc::channel(RESPONSES_MAX);
        let keyholder = self.0.clone();
        spawn_for_request(async move {
            let result = at_set_times(evaluate(&keyholder, &start, stream, &sender)).await;
            let last = result
                .map(|commitment| pb::EvaluateAnswerResponse { part: Some(EvaluatedPart::Commitment(commitment)) });
            // A receiver that is gone begins another attempt.
            let _ = sender.send(last.map_err(status)).await;
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn check_attributes(
        &self,
        request: Request<Streaming<pb::CheckAttributesRequest>>,
    ) -> Result<Response<pb::CheckAttributesResponse>, Status> {
        let mut stream = request.into_inner();
        let Some(AttributePart::Header(header)) = stream.message().await?.and_then(|message| message.part) else {
            return Err(status(KeyholderError::Order("the header must come first")));
        };
        let batch = Arc::new(self.0.open_attributes(&header).await.map_err(status)?);
        let (keyholder, of_batch) = (self.0.clone(), batch.clone());
        let mut intake = blocking(move || keyholder.begin_attributes(&of_batch)).await.map_err(status)?;
        while let Some(message) = stream.message().await? {
            let Some(AttributePart::Chunk(chunk)) = message.part else {
                return Err(status(KeyholderError::Order("only chunks may follow the header")));
            };
            let (keyholder, of_batch) = (self.0.clone(), batch.clone());
            let taken = blocking(move || {
                let taken = keyholder.take_attributes(&of_batch, &mut intake, &chunk);
                taken.map(|()| intake)
            });
            intake = taken.await.map_err(status)?;
        }
        let keyholder = self.0.clone();
        let check = blocking(move || keyholder.finish_attributes(&batch, intake)).await.map_err(status)?;
        Ok(Response::new(pb::CheckAttributesResponse { check: Some(check) }))
    }

    async fn verify_attributes(
        &self,
        request: Request<pb::VerifyAttributesRequest>,
    ) -> Result<Response<pb::VerifyAttributesResponse>, Status> {
        let sums = self.0.verify_attributes(request.get_ref()).await.map_err(status)?;
        Ok(Response::new(pb::VerifyAttributesResponse { sums: Some(sums) }))
    }

    async fn admit_attributes(
        &self,
        request: Request<pb::AdmitAttributesRequest>,
    ) -> Result<Response<pb::AdmitAttributesResponse>, Status> {
        let (batch, dataset_count) = self.0.admit_attributes(request.get_ref()).await.map_err(status)?;
        let (registration, revision, schema) = batch.facts();
        let facts: [(&str, &dyn std::fmt::Display); 4] = [
            ("registration", &registration),
            ("revision", &revision),
            ("schema", &schema),
            ("datasets", &dataset_count),
        ];
        self.0.record("attributes_admitted", &facts).map_err(status)?;
        Ok(Response::new(pb::AdmitAttributesResponse { dataset_count }))
    }

    async fn release_answer(
        &self,
        request: Request<pb::ReleaseAnswerRequest>,
    ) -> Result<Response<Self::ReleaseAnswerStream>, Status> {
        let release = self.0.release(request.get_ref()).await.map_err(status)?;
        let order = hex::encode(&request.get_ref().order_id);
        let event = if request.get_ref().settlement_only { "settlement_signed" } else { "answer_released" };
        if !request.get_ref().settlement_only || release.settlement.is_some() {
            self.0.record(event, &[("order", &order)]).map_err(status)?;
        }
        let (sender, receiver) = mpsc::channel(RESPONSES_MAX);
        spawn_for_request(async move {
            let shares = release.shares.into_iter().map(ReleasePart::Share);
            let missing = release.payouts_missing.map(|known_sequence| pb::PayoutsMissing { known_sequence });
            let last = release.settlement.map(ReleasePart::Settlement).or(missing.map(ReleasePart::PayoutsMissing));
            for part in shares.chain(last) {
                if sender.send(Ok(pb::ReleaseAnswerResponse { part: Some(part) })).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn import_payouts(
        &self,
        request: Request<Streaming<pb::ImportPayoutsRequest>>,
    ) -> Result<Response<pb::ImportPayoutsResponse>, Status> {
        let mut stream = request.into_inner();
        let Some(ImportPart::Header(header)) = stream.message().await?.and_then(|message| message.part) else {
            return Err(status(KeyholderError::Order("the header must come first")));
        };
        let Some(mut import) = self.0.begin_import(header.payout_sequence).await.map_err(status)? else {
            return Ok(Response::new(pb::ImportPayoutsResponse { known_sequence: header.payout_sequence }));
        };
        while let Some(message) = stream.message().await? {
            let Some(ImportPart::Page(page)) = message.part else {
                return Err(status(KeyholderError::Order("only pages may follow the header")));
            };
            import.take(&page.earnings).map_err(status)?;
        }
        let keyholder = self.0.clone();
        let known_sequence = blocking(move || keyholder.finish_import(import)).await.map_err(status)?;
        Ok(Response::new(pb::ImportPayoutsResponse { known_sequence }))
    }

    async fn open_rekeying(
        &self,
        request: Request<pb::OpenRekeyingRequest>,
    ) -> Result<Response<pb::OpenRekeyingResponse>, Status> {
        let order = request.get_ref().order.as_ref().ok_or_else(missing_order)?;
        let opening = self.0.open_rekeying(order).await.map_err(status)?;
        let facts: [(&str, &dyn std::fmt::Display); 2] =
            [("registration", &order.registration_id), ("generation", &order.generation)];
        self.0.record("rekeying_opened", &facts).map_err(status)?;
        Ok(Response::new(pb::OpenRekeyingResponse { opening: Some(opening) }))
    }

    async fn share_rekeying(
        &self,
        request: Request<pb::ShareRekeyingRequest>,
    ) -> Result<Response<pb::ShareRekeyingResponse>, Status> {
        let contributions = self.0.share_rekeying(request.get_ref()).await.map_err(status)?;
        Ok(Response::new(pb::ShareRekeyingResponse { contributions }))
    }

    async fn send_rekeying(
        &self,
        request: Request<pb::SendRekeyingRequest>,
    ) -> Result<Response<Self::SendRekeyingStream>, Status> {
        let making = making(&self.0, request.get_ref().header.as_ref()).await?;
        let (sender, receiver) = mpsc::channel(RESPONSES_MAX);
        let keyholder = self.0.clone();
        spawn_for_request(async move {
            if let Err(error) = keyholder.send_rekeying(making, &sender).await {
                // A receiver that is gone needs no answer.
                let _ = sender.send(Err(status(error))).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn receive_rekeying(
        &self,
        request: Request<Streaming<pb::ReceiveRekeyingRequest>>,
    ) -> Result<Response<Self::ReceiveRekeyingStream>, Status> {
        let mut stream = request.into_inner();
        let Some(RekeyingPart::Header(header)) = stream.message().await?.and_then(|message| message.part) else {
            return Err(status(KeyholderError::Order("the header must come first")));
        };
        let making = making(&self.0, header.header.as_ref()).await?;
        let (sender, receiver) = mpsc::channel(RESPONSES_MAX);
        let (arriving, pieces) = mpsc::channel(RESPONSES_MAX);
        let keyholder = self.0.clone();
        spawn_for_request(async move {
            let receive = async {
                // A caller that falls silent must not hold the re-keying for ever.
                while let Ok(Ok(Some(message))) = tokio::time::timeout(PIECE_WAIT, stream.message()).await {
                    let Some(RekeyingPart::Piece(piece)) = message.part else { break };
                    if arriving.send(piece).await.is_err() {
                        break;
                    }
                }
                drop(arriving);
            };
            let work = keyholder.receive_rekeying(making, header.with_bodies, pieces, &sender);
            let ((), result) = tokio::join!(receive, work);
            if let Err(error) = result {
                let _ = sender.send(Err(status(error))).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn attest_rekeying(
        &self,
        request: Request<pb::AttestRekeyingRequest>,
    ) -> Result<Response<pb::AttestRekeyingResponse>, Status> {
        let attestation = self.0.attest_rekeying(request.get_ref()).await.map_err(status)?;
        let order =
            request.get_ref().header.as_ref().and_then(|header| header.order.as_ref()).ok_or_else(missing_order)?;
        let facts: [(&str, &dyn std::fmt::Display); 2] =
            [("registration", &order.registration_id), ("generation", &order.generation)];
        self.0.record("rekeying_attested", &facts).map_err(status)?;
        Ok(Response::new(attestation))
    }

    async fn erase_seeds(
        &self,
        request: Request<pb::EraseSeedsRequest>,
    ) -> Result<Response<pb::EraseSeedsResponse>, Status> {
        let receipt = self.0.erase_seeds(request.get_ref()).await.map_err(status)?;
        let (registration, datasets) = (request.get_ref().registration_id, request.get_ref().ordinals.len());
        self.0.record("seeds_erased", &[("registration", &registration), ("datasets", &datasets)]).map_err(status)?;
        Ok(Response::new(receipt))
    }

    async fn get_statement(
        &self,
        request: Request<pb::GetStatementRequest>,
    ) -> Result<Response<pb::GetStatementResponse>, Status> {
        let statement = self.0.statement(request.get_ref()).await.map_err(status)?;
        let (registration, ordinal) = (request.get_ref().registration_id, request.get_ref().ordinal);
        self.0.record("statement_given", &[("registration", &registration), ("ordinal", &ordinal)]).map_err(status)?;
        Ok(Response::new(statement))
    }
}

fn missing_order() -> Status {
    status(KeyholderError::Malformed("order is missing".into()))
}

/// What the third and the fourth step of a re-keying work on.
async fn making(keyholder: &Keyholder, header: Option<&pb::RekeyingHeader>) -> Result<Arc<Making>, Status> {
    let header = header.ok_or_else(missing_order)?;
    let prepared = keyholder.prepare_rekeying(header).await.map_err(status)?;
    let keyholder = keyholder.clone();
    let making = blocking(move || keyholder.begin_making(prepared)).await.map_err(status)?;
    Ok(Arc::new(making))
}

fn missing_question() -> Status {
    status(KeyholderError::Malformed("question is missing".into()))
}

async fn check_chunks(
    keyholder: &Keyholder,
    batch: &Arc<Batch>,
    stream: &mut Streaming<pb::CheckDatasetsRequest>,
    sender: &mpsc::Sender<Result<pb::CheckDatasetsResponse, Status>>,
) -> Result<(), Status> {
    let mut bodies = ProvenBodies::default();
    while let Some(message) = stream.message().await? {
        let (keyholder, of_batch) = (keyholder.clone(), batch.clone());
        let (returned, values) = match message.part {
            Some(CheckPart::Body(body)) => {
                let taken = blocking(move || {
                    let taken = bodies.take(&keyholder, &of_batch, &body);
                    (bodies, taken)
                });
                let (returned, taken) = taken.await;
                bodies = returned;
                taken.map_err(status)?;
                continue;
            }
            Some(CheckPart::Chunk(chunk)) => {
                let checked = blocking(move || {
                    let values = keyholder.check_chunk(&of_batch, &chunk, &bodies);
                    bodies.next_chunk(of_batch.columns.len());
                    (bodies, values)
                });
                checked.await
            }
            _ => return Err(status(KeyholderError::Order("only bodies and chunks may follow the header"))),
        };
        bodies = returned;
        let values = values.map_err(status)?;
        let response = pb::CheckDatasetsResponse { values: Some(values) };
        if sender.send(Ok(response)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}
