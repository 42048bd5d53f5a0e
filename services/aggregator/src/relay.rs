//! Talking to the keyholders and the exchange.

use crate::{aggregator::Aggregator, error::AggregatorError};
use locus_ledger::ChainView;
use locus_service::{Connector, ErrorCode, MESSAGE_BYTES_MAX, connect};
use locus_wire::pb::{
    exchange::{SettleOrderRequest, exchange_service_client::ExchangeServiceClient},
    keyholder::{
        self as pb, keyholder_service_client::KeyholderServiceClient, release_answer_response::Part as ReleasePart,
    },
};
use std::time::Duration;
use tonic::{Request, transport::Channel};

/// Longest wait for a keyholder's preparation.
const PREPARE_DEADLINE: Duration = Duration::from_secs(30);
/// Longest wait for a keyholder's commitment or release.
const ANSWER_DEADLINE: Duration = Duration::from_secs(300);

/// A connection to one keyholder.
pub(crate) struct KeyholderPeer {
    /// 1, 2 or 3.
    pub(crate) index: u8,
    client: KeyholderServiceClient<Channel>,
}

/// What a keyholder releases.
pub(crate) struct Released {
    pub(crate) shares: Vec<pb::ReleasedShare>,
    pub(crate) settlement: Option<pb::SettlementSignature>,
}

fn within<T>(message: T, deadline: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(deadline);
    request
}

impl KeyholderPeer {
    async fn connect(index: u8, connector: &Connector) -> Result<Self, AggregatorError> {
        let unreachable = |error: locus_service::ServeError| AggregatorError::Keyholder {
            keyholder: index,
            code: ErrorCode::Unavailable,
            message: error.to_string(),
        };
        let channel = connect(connector).await.map_err(unreachable)?;
        let client = KeyholderServiceClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        Ok(Self { index, client })
    }

    async fn prepare(&mut self, question: &pb::Question) -> Result<pb::Preparation, AggregatorError> {
        let request = pb::PrepareAnswerRequest { question: Some(question.clone()) };
        let response = self.client.prepare_answer(within(request, PREPARE_DEADLINE)).await;
        let response = response.map_err(|status| AggregatorError::of_keyholder(self.index, &status))?;
        response.into_inner().preparation.ok_or(self.misbehaved("no preparation"))
    }

    /// The keyholder's commitment to its answer.
    pub(crate) async fn commit(
        &mut self,
        question: &pb::Question,
        preparations: &[pb::Preparation],
    ) -> Result<pb::AnswerCommitment, AggregatorError> {
        let request = pb::CommitAnswerRequest { question: Some(question.clone()), preparations: preparations.to_vec() };
        let response = self.client.commit_answer(within(request, ANSWER_DEADLINE)).await;
        let response = response.map_err(|status| AggregatorError::of_keyholder(self.index, &status))?;
        response.into_inner().commitment.ok_or(self.misbehaved("no commitment"))
    }

    /// The shares assigned to the keyholder, and its signature for the settlement.
    pub(crate) async fn release(&mut self, request: pb::ReleaseAnswerRequest) -> Result<Released, AggregatorError> {
        let index = self.index;
        let failed = |status: tonic::Status| AggregatorError::of_keyholder(index, &status);
        let response = self.client.release_answer(within(request, ANSWER_DEADLINE)).await.map_err(failed)?;
        let mut stream = response.into_inner();
        let mut released = Released { shares: Vec::new(), settlement: None };
        while let Some(message) = stream.message().await.map_err(failed)? {
            match message.part {
                Some(ReleasePart::Share(share)) => released.shares.push(share),
                Some(ReleasePart::Settlement(signature)) => released.settlement = Some(signature),
                None => return Err(self.misbehaved("an empty message")),
            }
        }
        Ok(released)
    }

    pub(crate) fn misbehaved(&self, what: &'static str) -> AggregatorError {
        AggregatorError::BadKeyholder { keyholder: self.index, what }
    }
}

impl Aggregator {
    /// Asks all keyholders to prepare. Those that cannot be reached are left out; a refusal of any
    /// is final.
    pub(crate) async fn prepare_all(
        &self,
        question: &pb::Question,
    ) -> Result<Vec<(KeyholderPeer, pb::Preparation)>, AggregatorError> {
        let ask = |(index, connector): (u8, &Connector)| {
            let connector = connector.clone();
            async move {
                let mut peer = KeyholderPeer::connect(index, &connector).await?;
                let preparation = peer.prepare(question).await?;
                Ok::<_, AggregatorError>((peer, preparation))
            }
        };
        let results = futures::future::join_all((1u8..).zip(&self.0.keyholders).map(ask)).await;
        let mut prepared = Vec::with_capacity(3);
        for result in results {
            match result {
                Ok(pair) => prepared.push(pair),
                Err(error) if error.is_unreachable() => tracing::warn!(%error, "a keyholder is left out"),
                Err(error) => return Err(error),
            }
        }
        if prepared.len() < 2 {
            return Err(AggregatorError::KeyholdersDown(prepared.len()));
        }
        Ok(prepared)
    }

    /// Has the exchange settle an order.
    pub(crate) async fn settle(&self, request: SettleOrderRequest) -> Result<(), AggregatorError> {
        let failed = |code, message| AggregatorError::Exchange { code, message };
        let channel =
            connect(&self.0.exchange).await.map_err(|error| failed(ErrorCode::Unavailable, error.to_string()))?;
        let mut client = ExchangeServiceClient::new(channel).max_encoding_message_size(MESSAGE_BYTES_MAX);
        client
            .settle_order(within(request, ANSWER_DEADLINE))
            .await
            .map_err(|status| failed(ErrorCode::of_status(&status), status.message().to_owned()))?;
        Ok(())
    }
}

/// Verifies that a relayed message was signed by the keyholder it came from.
pub(crate) fn check_signer(
    view: &ChainView,
    peer: &KeyholderPeer,
    claimed: u32,
    digest: &locus_commitment::Digest32,
    signature: &[u8],
) -> Result<(), AggregatorError> {
    let signer = view.keyholder(peer.index).map(|member| member.signer);
    let recovered = locus_ledger::recover(digest, signature).ok();
    if claimed != u32::from(peer.index) || signer.is_none() || recovered != signer {
        return Err(peer.misbehaved("a message with a wrong signature"));
    }
    Ok(())
}
