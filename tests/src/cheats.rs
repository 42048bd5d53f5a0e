//! Services that lie: a keyholder that alters what it sends, and aggregators that reach whomever a
//! test wants them to reach.

use crate::{Market, system_rng};
use anyhow::Result;
use locus_aggregator::{AggregatorDeps, AggregatorHandle, Limits};
use locus_cohort::{DST_SEALED_SHARE, sealed_share_associated_data};
use locus_commitment::{Digest32, NetworkId};
use locus_keyholder::KeyholderKeys;
use locus_ledger::{AccountKey, Chain, OrderId};
use locus_privacy::Tau;
use locus_service::{Clock, Connector, Listen, MESSAGE_BYTES_MAX, ServerHandle, ServerOptions, connect, serve};
use locus_sharing::{
    KeyholderIndex,
    seal::{SealBinding, SealedBox, SealingPrivateKey, open, seal},
};
use locus_wire::{
    pb::{
        keyholder::{
            self as pb,
            keyholder_service_client::KeyholderServiceClient,
            keyholder_service_server::{KeyholderService, KeyholderServiceServer},
            release_answer_response::Part,
        },
        query::query_service_client::QueryServiceClient,
    },
    relay,
};
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};
use tokio_stream::{Empty, Iter};
use tonic::{Request, Response, Status, Streaming, service::Routes, transport::Channel};

/// A port that nobody listens on.
const NOBODY: &str = "http://127.0.0.1:1";
/// One person, on the het counter.
const ONE_HET: u64 = 1 << 26;
/// Place of the first requested slot among the released ones.
const FIRST_REQUESTED: usize = 16;

/// What a keyholder does to its own messages. It signs what it sends: the key is its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// None: the control.
    None,
    /// Commits to an altered partial decryption.
    AlteredCommitment,
    /// Commits to another cohort.
    OtherCohort,
    /// Commits honestly, and releases a partial decryption that has one person more at one variant.
    AlteredRelease,
    /// Commits, and then releases nothing.
    NoRelease,
}

/// A keyholder that does its work and then lies about it.
pub struct CheatingKeyholder {
    honest: KeyholderServiceClient<Channel>,
    signer: AccountKey,
    network: NetworkId,
    lie: Lie,
    /// Knows the plaintext of its own partial decryptions: here by opening them.
    opens: SealingPrivateKey,
    /// Panel block to the name of its question, of the last order.
    taus: Mutex<BTreeMap<u32, Tau>>,
}

impl CheatingKeyholder {
    fn sign(&self, digest: &Digest32) -> Result<bytes::Bytes, Status> {
        let signature = self.signer.sign_digest(digest).map_err(|error| Status::internal(error.to_string()))?;
        Ok(signature.to_bytes().to_vec().into())
    }

    fn lie_about(&self, commitment: &mut pb::AnswerCommitment) -> Result<(), Status> {
        match self.lie {
            Lie::None | Lie::AlteredRelease | Lie::NoRelease => return Ok(()),
            Lie::AlteredCommitment => flip_first_bit(&mut commitment.blocks[0].share_commitments[0]),
            Lie::OtherCohort => flip_first_bit(&mut commitment.cohort_digest),
        }
        commitment.signature = self.sign(&relay::commitment_digest(&self.network, commitment))?;
        Ok(())
    }

    fn alter(&self, order: &[u8], share: &mut pb::ReleasedShare) -> Result<(), Status> {
        let internal = |_| Status::internal("the share does not open");
        let order = OrderId(Digest32(order.try_into().map_err(|_| Status::internal("an order id"))?));
        let taus = self.taus.lock().unwrap_or_else(PoisonError::into_inner);
        let tau = taus.get(&share.block).ok_or_else(|| Status::internal("a block that was not committed to"))?;
        let number = u8::try_from(share.share).map_err(|_| Status::internal("a share"))?;
        let associated_data = sealed_share_associated_data(&order, tau, number);
        let binding = SealBinding { info: DST_SEALED_SHARE, associated_data: &associated_data };
        let sealed = SealedBox::parse(share.sealed.to_vec()).map_err(internal)?;
        let mut payload = open(&self.opens, binding, &sealed).map_err(internal)?;
        let (words, _) = payload.as_chunks_mut::<8>();
        let word = &mut words[FIRST_REQUESTED];
        *word = u64::from_le_bytes(*word).wrapping_sub(ONE_HET).to_le_bytes();
        let sealed = seal(&self.opens.public_key(), binding, &payload, &mut system_rng()).map_err(internal)?;
        share.sealed = sealed.into_bytes().into();
        Ok(())
    }
}

fn flip_first_bit(bytes: &mut bytes::Bytes) {
    let mut changed = bytes.to_vec();
    changed[0] ^= 1;
    *bytes = changed.into();
}

fn only_answers() -> Status {
    Status::unimplemented("only answers are given here")
}

#[tonic::async_trait]
impl KeyholderService for CheatingKeyholder {
    type CheckDatasetsStream = Empty<Result<pb::CheckDatasetsResponse, Status>>;
    type EvaluateAnswerStream = Empty<Result<pb::EvaluateAnswerResponse, Status>>;
    type ReleaseAnswerStream = Iter<std::vec::IntoIter<Result<pb::ReleaseAnswerResponse, Status>>>;
    type SendRekeyingStream = Empty<Result<pb::SendRekeyingResponse, Status>>;
    type ReceiveRekeyingStream = Empty<Result<pb::ReceiveRekeyingResponse, Status>>;

    async fn get_keyholder(
        &self,
        request: Request<pb::GetKeyholderRequest>,
    ) -> Result<Response<pb::GetKeyholderResponse>, Status> {
        self.honest.clone().get_keyholder(request).await
    }

    async fn prepare_answer(
        &self,
        request: Request<pb::PrepareAnswerRequest>,
    ) -> Result<Response<pb::PrepareAnswerResponse>, Status> {
        self.honest.clone().prepare_answer(request.into_inner()).await
    }

    async fn commit_answer(
        &self,
        request: Request<pb::CommitAnswerRequest>,
    ) -> Result<Response<pb::CommitAnswerResponse>, Status> {
        let mut response = self.honest.clone().commit_answer(request.into_inner()).await?.into_inner();
        if let Some(commitment) = response.commitment.as_mut() {
            let tau =
                |block: &pb::BlockCommitment| Some((block.block, Tau(Digest32(block.tau.as_ref().try_into().ok()?))));
            let taus = commitment.blocks.iter().filter_map(tau).collect();
            *self.taus.lock().unwrap_or_else(PoisonError::into_inner) = taus;
            self.lie_about(commitment)?;
        }
        Ok(Response::new(response))
    }

    async fn release_answer(
        &self,
        request: Request<pb::ReleaseAnswerRequest>,
    ) -> Result<Response<Self::ReleaseAnswerStream>, Status> {
        if self.lie == Lie::NoRelease {
            return Err(Status::unavailable("gone"));
        }
        let request = request.into_inner();
        let order = request.order_id.clone();
        let mut stream = self.honest.clone().release_answer(request).await?.into_inner();
        let mut parts = Vec::new();
        while let Some(mut message) = stream.message().await? {
            if let Some(Part::Share(share)) = message.part.as_mut()
                && self.lie == Lie::AlteredRelease
            {
                self.alter(&order, share)?;
            }
            parts.push(Ok(message));
        }
        Ok(Response::new(tokio_stream::iter(parts)))
    }

    async fn check_datasets(
        &self,
        _: Request<Streaming<pb::CheckDatasetsRequest>>,
    ) -> Result<Response<Self::CheckDatasetsStream>, Status> {
        Err(only_answers())
    }

    async fn attest_datasets(
        &self,
        _: Request<Streaming<pb::AttestDatasetsRequest>>,
    ) -> Result<Response<pb::AttestDatasetsResponse>, Status> {
        Err(only_answers())
    }

    async fn share_noise_key(
        &self,
        _: Request<pb::ShareNoiseKeyRequest>,
    ) -> Result<Response<pb::ShareNoiseKeyResponse>, Status> {
        Err(only_answers())
    }

    async fn import_payouts(
        &self,
        request: Request<Streaming<pb::ImportPayoutsRequest>>,
    ) -> Result<Response<pb::ImportPayoutsResponse>, Status> {
        let mut stream = request.into_inner();
        let mut messages = Vec::new();
        while let Some(message) = stream.message().await? {
            messages.push(message);
        }
        self.honest.clone().import_payouts(tokio_stream::iter(messages)).await
    }

    async fn evaluate_answer(
        &self,
        _: Request<Streaming<pb::EvaluateAnswerRequest>>,
    ) -> Result<Response<Self::EvaluateAnswerStream>, Status> {
        Err(only_answers())
    }

    async fn check_attributes(
        &self,
        _: Request<Streaming<pb::CheckAttributesRequest>>,
    ) -> Result<Response<pb::CheckAttributesResponse>, Status> {
        Err(only_answers())
    }

    async fn verify_attributes(
        &self,
        _: Request<pb::VerifyAttributesRequest>,
    ) -> Result<Response<pb::VerifyAttributesResponse>, Status> {
        Err(only_answers())
    }

    async fn admit_attributes(
        &self,
        _: Request<pb::AdmitAttributesRequest>,
    ) -> Result<Response<pb::AdmitAttributesResponse>, Status> {
        Err(only_answers())
    }

    async fn open_rekeying(
        &self,
        _: Request<pb::OpenRekeyingRequest>,
    ) -> Result<Response<pb::OpenRekeyingResponse>, Status> {
        Err(only_answers())
    }

    async fn share_rekeying(
        &self,
        _: Request<pb::ShareRekeyingRequest>,
    ) -> Result<Response<pb::ShareRekeyingResponse>, Status> {
        Err(only_answers())
    }

    async fn send_rekeying(
        &self,
        _: Request<pb::SendRekeyingRequest>,
    ) -> Result<Response<Self::SendRekeyingStream>, Status> {
        Err(only_answers())
    }

    async fn receive_rekeying(
        &self,
        _: Request<Streaming<pb::ReceiveRekeyingRequest>>,
    ) -> Result<Response<Self::ReceiveRekeyingStream>, Status> {
        Err(only_answers())
    }

    async fn attest_rekeying(
        &self,
        _: Request<pb::AttestRekeyingRequest>,
    ) -> Result<Response<pb::AttestRekeyingResponse>, Status> {
        Err(only_answers())
    }

    async fn erase_seeds(&self, _: Request<pb::EraseSeedsRequest>) -> Result<Response<pb::EraseSeedsResponse>, Status> {
        Err(only_answers())
    }

    async fn get_statement(
        &self,
        _: Request<pb::GetStatementRequest>,
    ) -> Result<Response<pb::GetStatementResponse>, Status> {
        Err(only_answers())
    }
}

/// Another aggregator of the same market.
pub struct OtherAggregator {
    /// Asks it questions.
    pub query: QueryServiceClient<Channel>,
    _handle: AggregatorHandle,
}

impl Market {
    /// The signing key of a keyholder, which only that keyholder has.
    pub fn keyholder_signer(&self, keyholder: KeyholderIndex) -> Result<AccountKey> {
        Ok(KeyholderKeys::load_or_create(&self.node.keyholder_folders()[keyholder.position()])?.signer)
    }

    /// A keyholder that lies about answers to the researcher. Serves as long as the handle lives.
    pub async fn cheating_keyholder(&self, keyholder: KeyholderIndex, lie: Lie) -> Result<ServerHandle> {
        let cheat = CheatingKeyholder {
            honest: self.services.keyholders[keyholder.position()].clone(),
            signer: self.keyholder_signer(keyholder)?,
            network: self.network.id(),
            lie,
            opens: self.researcher.keys.sealing_key().clone(),
            taus: Mutex::default(),
        };
        let service = KeyholderServiceServer::new(cheat)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        Ok(serve(Routes::new(service), Listen::InProcess, ServerOptions::default()).await?)
    }

    /// Starts another aggregator; `reach` says how it reaches a keyholder, `None` that it does not.
    pub async fn aggregator_with(
        &self,
        name: &str,
        reach: impl Fn(KeyholderIndex) -> Option<Connector>,
    ) -> Result<OtherAggregator> {
        let deps = AggregatorDeps {
            store: self.node.store().clone(),
            data_dir: self.scratch().join(name),
            chain: Chain::embedded(self.node.chain().clone(), None),
            contracts: *self.node.contracts(),
            keyholders: KeyholderIndex::ALL
                .map(|keyholder| reach(keyholder).unwrap_or_else(|| Connector::Url(NOBODY.to_owned()))),
            exchange: self.node.connectors().exchange.clone(),
            prover: None,
            proof_keys_dir: None,
            cluster: None,
            limits: Limits { settle_wait_s: 5, ..Limits::default() },
            clock: Clock::system(),
        };
        let handle = locus_aggregator::start_with(deps, Listen::InProcess, false).await?;
        let query = QueryServiceClient::new(connect(&handle.connector()).await?)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        Ok(OtherAggregator { query, _handle: handle })
    }
}

impl Market {
    /// First step of an answer at one keyholder, as any relay can ask for it.
    pub async fn prepare(&self, keyholder: KeyholderIndex, question: &pb::Question) -> Result<pb::Preparation, Status> {
        let request = pb::PrepareAnswerRequest { question: Some(question.clone()) };
        let response = self.services.keyholders[keyholder.position()].clone().prepare_answer(request).await?;
        response.into_inner().preparation.ok_or_else(|| Status::internal("no preparation"))
    }

    /// Second step.
    pub async fn commit(
        &self,
        keyholder: KeyholderIndex,
        question: &pb::Question,
        preparations: &[pb::Preparation],
    ) -> Result<pb::AnswerCommitment, Status> {
        let request = pb::CommitAnswerRequest { question: Some(question.clone()), preparations: preparations.to_vec() };
        let response = self.services.keyholders[keyholder.position()].clone().commit_answer(request).await?;
        response.into_inner().commitment.ok_or_else(|| Status::internal("no commitment"))
    }

    /// Third step: the shares released, and whether the settlement was signed.
    pub async fn release(
        &self,
        keyholder: KeyholderIndex,
        question: &pb::Question,
        commitments: &[pb::AnswerCommitment],
        payout_sequence: u64,
    ) -> Result<(Vec<pb::ReleasedShare>, bool), Status> {
        self.release_on(keyholder, question, commitments, payout_sequence, None).await
    }

    /// Third step in a market that settles on proven cohorts.
    pub async fn release_on(
        &self,
        keyholder: KeyholderIndex,
        question: &pb::Question,
        commitments: &[pb::AnswerCommitment],
        payout_sequence: u64,
        cohort: Option<pb::ProvenCohort>,
    ) -> Result<(Vec<pb::ReleasedShare>, bool), Status> {
        let request = pb::ReleaseAnswerRequest {
            order_id: question.order_id.clone(),
            commitments: commitments.to_vec(),
            payout_sequence,
            cohort,
            settlement_only: false,
        };
        let client = self.services.keyholders[keyholder.position()].clone();
        let mut stream = { client }.release_answer(request).await?.into_inner();
        let (mut shares, mut signed) = (Vec::new(), false);
        while let Some(message) = stream.message().await? {
            match message.part {
                Some(Part::Share(share)) => shares.push(share),
                Some(Part::Settlement(_)) => signed = true,
                _ => {}
            }
        }
        Ok((shares, signed))
    }
}
