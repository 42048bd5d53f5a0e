//! Keyholders that sign what a script says, without seeds.

use bytes::Bytes;
use locus_commitment::Digest32;
use locus_ledger::{AccountKey, Contracts, Registration, RegistrationId};
use locus_service::{Connector, ErrorCode, Listen, ServerHandle, ServerOptions, serve, to_status};
use locus_sharing::KeyholderIndex;
use locus_wire::{
    pb::keyholder::{
        self as pb,
        attest_datasets_request::Part as AttestPart,
        check_datasets_request::Part as CheckPart,
        keyholder_service_server::{KeyholderService, KeyholderServiceServer},
    },
    relay,
};
use std::sync::{Arc, Mutex};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, service::Routes};

/// What a scripted keyholder does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Conduct {
    Honest,
    IsDown,
    RefusesSeeds,
    SignsOtherValues,
    SendsFewerValues,
    RefusesCheckSlots,
    AttestsAnother,
    KeepsSeeds,
}

/// What a keyholder has seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Datasets of every chunk checked.
    pub(super) chunks: Vec<usize>,
    /// Peers' check values, in the order they came: (keyholder, first ordinal).
    pub(super) peer_values: Vec<(u32, u32)>,
}

/// One scripted keyholder; what it does can be changed while it runs.
pub(super) struct Scripted {
    index: KeyholderIndex,
    contracts: Contracts,
    /// Epoch of the committee.
    epoch: u64,
    columns: usize,
    conduct: Mutex<Conduct>,
    seen: Mutex<Seen>,
}

/// The committee key of a keyholder.
pub(super) fn committee_key(index: KeyholderIndex) -> AccountKey {
    AccountKey::from_bytes(&[index.get(); 32]).expect("a valid key")
}

#[derive(Debug, thiserror::Error)]
#[error("dataset 1 fails the check of its {0}")]
struct Refusal(&'static str);

impl locus_service::ServiceError for Refusal {
    fn code(&self) -> ErrorCode {
        ErrorCode::Refused
    }

    fn reason(&self) -> &'static str {
        "ENROLMENT_CHECK_FAILED"
    }
}

impl Scripted {
    pub(super) fn new(index: KeyholderIndex, contracts: Contracts, epoch: u64, columns: usize) -> Arc<Self> {
        let (conduct, seen) = (Mutex::new(Conduct::Honest), Mutex::default());
        Arc::new(Self { index, contracts, epoch, columns, conduct, seen })
    }

    /// Serves inside the process.
    pub(super) async fn serve(self: &Arc<Self>) -> (ServerHandle, Connector) {
        let routes = Routes::new(KeyholderServiceServer::new(Service(self.clone())));
        let server = serve(routes, Listen::InProcess, ServerOptions::default()).await.expect("serves");
        let connector = server.connector();
        (server, connector)
    }

    pub(super) fn behave(&self, conduct: Conduct) {
        *self.conduct.lock().expect("no test panics while holding it") = conduct;
    }

    pub(super) fn take_seen(&self) -> Seen {
        std::mem::take(&mut self.seen.lock().expect("no test panics while holding it"))
    }

    fn conduct(&self) -> Result<Conduct, Status> {
        let conduct = *self.conduct.lock().expect("no test panics while holding it");
        if conduct == Conduct::IsDown { Err(Status::unavailable("down")) } else { Ok(conduct) }
    }

    fn sign(&self, digest: &Digest32) -> Bytes {
        let signature = committee_key(self.index).sign_digest(digest).expect("a key signs");
        Bytes::copy_from_slice(&signature.to_bytes())
    }

    fn registration_digest(&self, header: Option<&pb::EnrolHeader>) -> Digest32 {
        let registration = header.and_then(|header| header.registration.as_ref()).expect("a registration");
        let registration = Registration::try_from(registration).expect("a registration");
        self.contracts.registration_digest(&registration)
    }

    fn values(&self, registration: &Digest32, chunk: &pb::EnrolChunk, conduct: Conduct) -> pb::CheckValues {
        let mut values = pb::CheckValues {
            keyholder: u32::from(self.index.get()),
            first_ordinal: chunk.first_ordinal,
            dataset_count: u32::try_from(chunk.datasets.len()).expect("few datasets"),
            values: vec![self.index.get(); chunk.datasets.len() * self.columns * 256].into(),
            signature: Default::default(),
        };
        values.signature = self.sign(&relay::check_values_digest(&self.contracts.network, registration, &values));
        if conduct == Conduct::SignsOtherValues {
            values.values = vec![0; values.values.len()].into();
        }
        values
    }
}

struct Service(Arc<Scripted>);

type Stream<T> = ReceiverStream<Result<T, Status>>;

#[tonic::async_trait]
impl KeyholderService for Service {
    type CheckDatasetsStream = Stream<pb::CheckDatasetsResponse>;
    type EvaluateAnswerStream = Stream<pb::EvaluateAnswerResponse>;
    type ReleaseAnswerStream = Stream<pb::ReleaseAnswerResponse>;
    type SendRekeyingStream = Stream<pb::SendRekeyingResponse>;
    type ReceiveRekeyingStream = Stream<pb::ReceiveRekeyingResponse>;

    async fn check_datasets(
        &self,
        request: Request<Streaming<pb::CheckDatasetsRequest>>,
    ) -> Result<Response<Self::CheckDatasetsStream>, Status> {
        let conduct = self.0.conduct()?;
        let mut stream = request.into_inner();
        let Some(CheckPart::Header(header)) = stream.message().await?.and_then(|message| message.part) else {
            return Err(Status::invalid_argument("no header"));
        };
        let digest = self.0.registration_digest(Some(&header));
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let script = self.0.clone();
        tokio::spawn(async move {
            while let Ok(Some(message)) = stream.message().await {
                let Some(CheckPart::Chunk(chunk)) = message.part else { return };
                script.seen.lock().expect("no test panics while holding it").chunks.push(chunk.datasets.len());
                let answer = match conduct {
                    Conduct::RefusesSeeds => Err(to_status(&Refusal("key seeds"))),
                    Conduct::SendsFewerValues => return,
                    _ => Ok(pb::CheckDatasetsResponse { values: Some(script.values(&digest, &chunk, conduct)) }),
                };
                let refused = answer.is_err();
                if sender.send(answer).await.is_err() || refused {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn attest_datasets(
        &self,
        request: Request<Streaming<pb::AttestDatasetsRequest>>,
    ) -> Result<Response<pb::AttestDatasetsResponse>, Status> {
        let conduct = self.0.conduct()?;
        let mut stream = request.into_inner();
        let Some(AttestPart::Header(header)) = stream.message().await?.and_then(|message| message.part) else {
            return Err(Status::invalid_argument("no header"));
        };
        while let Some(message) = stream.message().await? {
            let Some(AttestPart::PeerValues(values)) = message.part else {
                return Err(Status::invalid_argument("no values"));
            };
            let mut seen = self.0.seen.lock().expect("no test panics while holding it");
            seen.peer_values.push((values.keyholder, values.first_ordinal));
        }
        if conduct == Conduct::RefusesCheckSlots {
            return Err(to_status(&Refusal("check slots")));
        }
        let mut digest = self.0.registration_digest(Some(&header));
        if conduct == Conduct::AttestsAnother {
            digest = Digest32([0; 32]);
        }
        let signing_hash = self.0.contracts.attestation_signing_hash(&digest, self.0.epoch);
        let signature = self.0.sign(&signing_hash);
        Ok(Response::new(pb::AttestDatasetsResponse { keyholder: u32::from(self.0.index.get()), signature }))
    }

    async fn evaluate_answer(
        &self,
        _: Request<Streaming<pb::EvaluateAnswerRequest>>,
    ) -> Result<Response<Self::EvaluateAnswerStream>, Status> {
        Err(Status::unimplemented("not in the script"))
    }

    async fn check_attributes(
        &self,
        _: Request<Streaming<pb::CheckAttributesRequest>>,
    ) -> Result<Response<pb::CheckAttributesResponse>, Status> {
        Err(Status::unimplemented("not in the script"))
    }

    async fn verify_attributes(
        &self,
        _: Request<pb::VerifyAttributesRequest>,
    ) -> Result<Response<pb::VerifyAttributesResponse>, Status> {
        Err(Status::unimplemented("not in the script"))
    }

    async fn admit_attributes(
        &self,
        _: Request<pb::AdmitAttributesRequest>,
    ) -> Result<Response<pb::AdmitAttributesResponse>, Status> {
        Err(Status::unimplemented("not in the script"))
    }

    async fn open_rekeying(
        &self,
        _: Request<pb::OpenRekeyingRequest>,
    ) -> Result<Response<pb::OpenRekeyingResponse>, Status> {
        Err(Status::unimplemented("not in the script"))
    }

    async fn share_rekeying(
        &self,
        _: Request<pb::ShareRekeyingRequest>,
    ) -> Result<Response<pb::ShareRekeyingResponse>, Status> {
        Err(Status::unimplemented("not in the script"))
    }

    async fn send_rekeying(
        &self,
        _: Request<pb::SendRekeyingRequest>,
    ) -> Result<Response<Self::SendRekeyingStream>, Status> {
        Err(Status::unimplemented("not in the script"))
    }

    async fn receive_rekeying(
        &self,
        _: Request<Streaming<pb::ReceiveRekeyingRequest>>,
    ) -> Result<Response<Self::ReceiveRekeyingStream>, Status> {
        Err(Status::unimplemented("not in the script"))
    }

    async fn attest_rekeying(
        &self,
        _: Request<pb::AttestRekeyingRequest>,
    ) -> Result<Response<pb::AttestRekeyingResponse>, Status> {
        Err(Status::unimplemented("not in the script"))
    }

    async fn erase_seeds(
        &self,
        request: Request<pb::EraseSeedsRequest>,
    ) -> Result<Response<pb::EraseSeedsResponse>, Status> {
        let conduct = self.0.conduct()?;
        let request = request.get_ref();
        let mut ordinals = request.ordinals.clone();
        if conduct == Conduct::KeepsSeeds {
            ordinals.pop();
        }
        let id = RegistrationId(request.registration_id);
        let signing_hash = self.0.contracts.erasure_signing_hash(id, &ordinals, self.0.index.get());
        let signature = self.0.sign(&signing_hash);
        Ok(Response::new(pb::EraseSeedsResponse { keyholder: u32::from(self.0.index.get()), signature }))
    }

    async fn import_payouts(
        &self,
        _: Request<Streaming<pb::ImportPayoutsRequest>>,
    ) -> Result<Response<pb::ImportPayoutsResponse>, Status> {
        Err(Status::unimplemented("not in the script"))
    }

    async fn get_keyholder(
        &self,
        _: Request<pb::GetKeyholderRequest>,
    ) -> Result<Response<pb::GetKeyholderResponse>, Status> {
        Err(Status::unimplemented("not in the script"))
    }

    async fn share_noise_key(
        &self,
        _: Request<pb::ShareNoiseKeyRequest>,
    ) -> Result<Response<pb::ShareNoiseKeyResponse>, Status> {
        Err(Status::unimplemented("not in the script"))
    }

    async fn prepare_answer(
        &self,
        _: Request<pb::PrepareAnswerRequest>,
    ) -> Result<Response<pb::PrepareAnswerResponse>, Status> {
        Err(Status::unimplemented("not in the script"))
    }

    async fn commit_answer(
        &self,
        _: Request<pb::CommitAnswerRequest>,
    ) -> Result<Response<pb::CommitAnswerResponse>, Status> {
        Err(Status::unimplemented("not in the script"))
    }

    async fn release_answer(
        &self,
        _: Request<pb::ReleaseAnswerRequest>,
    ) -> Result<Response<Self::ReleaseAnswerStream>, Status> {
        Err(Status::unimplemented("not in the script"))
    }

    async fn get_statement(
        &self,
        _: Request<pb::GetStatementRequest>,
    ) -> Result<Response<pb::GetStatementResponse>, Status> {
        Err(Status::unimplemented("not in the script"))
    }
}
