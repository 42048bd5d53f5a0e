//! A keyholder that answers from a script instead of from seeds.

use super::*;
use locus_cohort::SHARE_DIGEST_BYTES;
use locus_service::ErrorCode;
use locus_wire::pb::keyholder::{
    keyholder_service_server::{KeyholderService, KeyholderServiceServer},
    release_answer_response::Part,
};
use std::sync::Mutex;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// What a scripted keyholder does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lie {
    None,
    IsDown,
    NeverPrepares,
    LagsTwice,
    Refuses,
    PreparesForAnotherOrder,
    PreparesAsAnother,
    UnsignedPreparation,
    UnsortedExclusions,
    GoneAtCommit,
    CommitsToAnotherCohort,
    CommitsToAnotherAnswer,
    CommitsToOtherBlocks,
    CommitsToAnotherShare,
    UnsignedCommitment,
    ReleasesTooFew,
    ReleasesTwice,
    ReleasesAnothersShare,
    ReleasesShortShare,
    /// Sends shares when only its signature is wanted.
    ReleasesAgain,
    SettlesForMore,
    SettlesOutOfTurn,
    SettlesWithAnotherRoot,
    UnsignedSettlement,
    CannotSettleYet,
    MissedSettlements,
}

/// One keyholder's part.
pub(super) struct Script {
    index: KeyholderIndex,
    pub(super) lie: Lie,
    answering: Answering,
    pub(super) order: OrderId,
    pub(super) contracts: Contracts,
    prepares: AtomicU32,
    /// Calls of the release step.
    pub(super) releases: AtomicU32,
    /// Tables of earnings that it was sent.
    pub(super) imported: Mutex<Vec<pb::import_payouts_request::Part>>,
}

impl Script {
    pub(super) fn new(index: KeyholderIndex, lie: Lie, answering: Answering) -> Self {
        Self {
            index,
            lie,
            answering,
            order: ORDER,
            contracts: contracts(),
            prepares: AtomicU32::new(0),
            releases: AtomicU32::new(0),
            imported: Mutex::default(),
        }
    }

    fn sign(&self, digest: &Digest32) -> bytes::Bytes {
        let signature = key(self.index).sign_digest(digest).expect("a key signs");
        bytes::Bytes::copy_from_slice(&signature.to_bytes())
    }

    fn number(&self) -> u32 {
        u32::from(self.index.get())
    }

    fn preparation(&self) -> pb::Preparation {
        let mut preparation = pb::Preparation {
            keyholder: self.number(),
            order_id: self.order.0.0.to_vec().into(),
            excluded_slots: vec![4, 9],
            charge_sequence: 3,
            ..Default::default()
        };
        match self.lie {
            Lie::PreparesForAnotherOrder => preparation.order_id = vec![0; 32].into(),
            Lie::PreparesAsAnother => preparation.keyholder = self.number() % 3 + 1,
            Lie::UnsortedExclusions => preparation.excluded_slots = vec![9, 4],
            _ => {}
        }
        preparation.signature = self.sign(&relay::preparation_digest(&self.contracts.network, &preparation));
        if self.lie == Lie::UnsignedPreparation {
            preparation.charge_sequence += 1;
        }
        preparation
    }

    fn commitment(&self) -> pb::AnswerCommitment {
        let Answering { cohort, plan, .. } = &self.answering;
        let blocks = plan.blocks().iter().map(|block| pb::BlockCommitment {
            block: block.block.0,
            tau: block.tau.0.0.to_vec().into(),
            share_commitments: shares_of(self.index)
                .into_iter()
                .map(|share| vec![share.get() * 16 + u8::try_from(block.block.0).expect("few blocks"); 32].into())
                .collect(),
            selection: block.selection,
        });
        let mut commitment = pb::AnswerCommitment {
            keyholder: self.number(),
            order_id: self.order.0.0.to_vec().into(),
            cohort_digest: cohort.digest().0.0.to_vec().into(),
            cohort_size: cohort.size(),
            answer_digest: plan.digest().0.0.to_vec().into(),
            blocks: blocks.collect(),
            signature: Default::default(),
            attributes_digest: Default::default(),
            attempt: 0,
        };
        match self.lie {
            Lie::CommitsToAnotherCohort => commitment.cohort_size += 1,
            Lie::CommitsToAnotherAnswer => commitment.answer_digest = vec![1; 32].into(),
            Lie::CommitsToOtherBlocks => commitment.blocks.truncate(1),
            Lie::CommitsToAnotherShare => commitment.blocks[1].share_commitments[0] = vec![0xee; 32].into(),
            _ => {}
        }
        commitment.signature = self.sign(&relay::commitment_digest(&self.contracts.network, &commitment));
        if self.lie == Lie::UnsignedCommitment {
            commitment.signature = self.sign(&Digest32([0; 32]));
        }
        commitment
    }

    fn shares(&self, request: &pb::ReleaseAnswerRequest) -> Vec<pb::ReleasedShare> {
        let present: Vec<u32> = request.commitments.iter().map(|commitment| commitment.keyholder).collect();
        let down = KeyholderIndex::ALL.into_iter().find(|index| !present.contains(&u32::from(index.get())));
        let mut shares = Vec::new();
        for assignment in release_plan(down).into_iter().filter(|part| part.releaser == self.index) {
            for block in self.answering.plan.blocks() {
                let values = 8 * block.released_slots().count() * block.planes.len();
                let payload = values + SHARE_DIGEST_BYTES;
                let sealed = vec![assignment.share.get(); ENCAPSULATION_BYTES + TAG_BYTES + payload];
                let share = u32::from(assignment.share.get());
                shares.push(pb::ReleasedShare {
                    block: block.block.0,
                    share,
                    sealed: sealed.into(),
                    selection: block.selection,
                });
            }
        }
        match self.lie {
            Lie::ReleasesTooFew => drop(shares.pop()),
            Lie::ReleasesTwice => shares.push(shares[0].clone()),
            Lie::ReleasesAnothersShare => shares[0].share = shares[0].share % 3 + 1,
            Lie::ReleasesShortShare => shares[0].sealed = vec![0; 1200].into(),
            _ => {}
        }
        shares
    }

    fn settlement(&self, request: &pb::ReleaseAnswerRequest) -> Option<pb::SettlementSignature> {
        let Answering { cohort, plan, .. } = &self.answering;
        let mut settlement = Settlement {
            order: self.order,
            answer_digest: plan.digest().0,
            cohort_digest: cohort.digest().0,
            cohort_size: cohort.size(),
            price: cohort.price(),
            payout_sequence: request.payout_sequence,
            payout_root: Digest32([5; 32]),
        };
        match self.lie {
            Lie::SettlesForMore => settlement.price = Amount(settlement.price.0 + 1),
            Lie::SettlesOutOfTurn => settlement.payout_sequence += 1,
            Lie::SettlesWithAnotherRoot => settlement.payout_root = Digest32([6; 32]),
            Lie::CannotSettleYet | Lie::MissedSettlements => return None,
            _ => {}
        }
        let mut signature = self.sign(&self.contracts.settlement_signing_hash(&settlement));
        if self.lie == Lie::UnsignedSettlement {
            signature = self.sign(&Digest32([0; 32]));
        }
        Some(pb::SettlementSignature { settlement: Some((&settlement).into()), signature })
    }
}

/// A refusal as services make it.
#[derive(Debug, thiserror::Error)]
#[error("scripted refusal")]
struct Refusal(ErrorCode, &'static str);

impl locus_service::ServiceError for Refusal {
    fn code(&self) -> ErrorCode {
        self.0
    }

    fn reason(&self) -> &'static str {
        self.1
    }
}

fn refusal(code: ErrorCode, reason: &'static str) -> Status {
    locus_service::to_status(&Refusal(code, reason))
}

pub(super) struct ScriptedKeyholder(pub(super) Arc<Script>);

impl ScriptedKeyholder {
    pub(super) fn into_server(self) -> KeyholderServiceServer<Self> {
        KeyholderServiceServer::new(self)
    }
}

type Stream<T> = ReceiverStream<Result<T, Status>>;

#[tonic::async_trait]
impl KeyholderService for ScriptedKeyholder {
    type CheckDatasetsStream = Stream<pb::CheckDatasetsResponse>;
    type EvaluateAnswerStream = Stream<pb::EvaluateAnswerResponse>;
    type ReleaseAnswerStream = Stream<pb::ReleaseAnswerResponse>;
    type SendRekeyingStream = Stream<pb::SendRekeyingResponse>;
    type ReceiveRekeyingStream = Stream<pb::ReceiveRekeyingResponse>;

    async fn prepare_answer(
        &self,
        _: Request<pb::PrepareAnswerRequest>,
    ) -> Result<Response<pb::PrepareAnswerResponse>, Status> {
        let calls = self.0.prepares.fetch_add(1, Ordering::SeqCst);
        match self.0.lie {
            Lie::NeverPrepares => std::future::pending().await,
            Lie::LagsTwice if calls < 2 => return Err(refusal(ErrorCode::NotFound, NOT_FINAL)),
            Lie::Refuses => return Err(refusal(ErrorCode::Refused, "PRIVACY_REFUSED")),
            _ => {}
        }
        Ok(Response::new(pb::PrepareAnswerResponse { preparation: Some(self.0.preparation()) }))
    }

    async fn commit_answer(
        &self,
        _: Request<pb::CommitAnswerRequest>,
    ) -> Result<Response<pb::CommitAnswerResponse>, Status> {
        if self.0.lie == Lie::GoneAtCommit {
            return Err(Status::unavailable("gone"));
        }
        Ok(Response::new(pb::CommitAnswerResponse { commitment: Some(self.0.commitment()) }))
    }

    async fn release_answer(
        &self,
        request: Request<pb::ReleaseAnswerRequest>,
    ) -> Result<Response<Self::ReleaseAnswerStream>, Status> {
        self.0.releases.fetch_add(1, Ordering::SeqCst);
        let request = request.get_ref();
        let mut parts: Vec<Part> = Vec::new();
        if !request.settlement_only || self.0.lie == Lie::ReleasesAgain {
            parts.extend(self.0.shares(request).into_iter().map(Part::Share));
        }
        if request.payout_sequence > 0 {
            parts.extend(self.0.settlement(request).map(Part::Settlement));
        }
        if self.0.lie == Lie::MissedSettlements && request.payout_sequence > 0 {
            parts.push(Part::PayoutsMissing(pb::PayoutsMissing { known_sequence: 4 }));
        }
        let (sender, receiver) = tokio::sync::mpsc::channel(parts.len().max(1));
        for part in parts {
            sender.try_send(Ok(pb::ReleaseAnswerResponse { part: Some(part) })).expect("the channel has room");
        }
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn import_payouts(
        &self,
        request: Request<Streaming<pb::ImportPayoutsRequest>>,
    ) -> Result<Response<pb::ImportPayoutsResponse>, Status> {
        let mut stream = request.into_inner();
        while let Some(message) = stream.message().await? {
            self.0.imported.lock().expect("no test panics inside").extend(message.part);
        }
        Ok(Response::new(pb::ImportPayoutsResponse { known_sequence: 7 }))
    }

    async fn get_keyholder(
        &self,
        _: Request<pb::GetKeyholderRequest>,
    ) -> Result<Response<pb::GetKeyholderResponse>, Status> {
        Err(Status::unimplemented("not in the script"))
    }

    async fn check_datasets(
        &self,
        _: Request<Streaming<pb::CheckDatasetsRequest>>,
    ) -> Result<Response<Self::CheckDatasetsStream>, Status> {
        Err(Status::unimplemented("not in the script"))
    }

    async fn attest_datasets(
        &self,
        _: Request<Streaming<pb::AttestDatasetsRequest>>,
    ) -> Result<Response<pb::AttestDatasetsResponse>, Status> {
        Err(Status::unimplemented("not in the script"))
    }

    async fn share_noise_key(
        &self,
        _: Request<pb::ShareNoiseKeyRequest>,
    ) -> Result<Response<pb::ShareNoiseKeyResponse>, Status> {
        Err(Status::unimplemented("not in the script"))
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

    async fn erase_seeds(&self, _: Request<pb::EraseSeedsRequest>) -> Result<Response<pb::EraseSeedsResponse>, Status> {
        Err(Status::unimplemented("not in the script"))
    }

    async fn get_statement(
        &self,
        _: Request<pb::GetStatementRequest>,
    ) -> Result<Response<pb::GetStatementResponse>, Status> {
        Err(Status::unimplemented("not in the script"))
    }
}
