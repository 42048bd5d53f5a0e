//! Carrying the messages of an evaluation between keyholders, as an aggregator does that keeps everything and
//! stops when it likes.

use crate::Market;
use futures::{StreamExt as _, stream::SelectAll};
use locus_sharing::KeyholderIndex;
use locus_wire::pb::keyholder::{
    self as pb, evaluate_answer_request::Part as Asked, evaluate_answer_response::Part as Told,
};
use tokio::sync::mpsc::unbounded_channel;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Status;

/// What passed through an aggregator.
#[derive(Debug, Default)]
pub struct Carried {
    /// All pieces, in the order in which they came.
    pub pieces: Vec<pb::RoundPiece>,
    /// Of keyholders that came to the end.
    pub commitments: Vec<pb::AnswerCommitment>,
}

impl Market {
    /// One attempt at a filtered answer, until all keyholders have committed, or until the first message of
    /// `last_round` comes, which is passed to nobody.
    ///
    /// # Errors
    /// The first error of a keyholder.
    pub async fn evaluate_until(
        &self,
        question: &pb::Question,
        preparations: &[pb::Preparation],
        last_round: u32,
    ) -> Result<Carried, Status> {
        let (mut senders, mut streams) = (Vec::new(), SelectAll::new());
        for keyholder in KeyholderIndex::ALL {
            let (sender, requests) = unbounded_channel();
            let start =
                pb::CommitAnswerRequest { question: Some(question.clone()), preparations: preparations.to_vec() };
            let _ = sender.send(pb::EvaluateAnswerRequest { part: Some(Asked::Start(start)) });
            let mut client = self.services.keyholders[keyholder.position()].clone();
            streams.push(client.evaluate_answer(UnboundedReceiverStream::new(requests)).await?.into_inner());
            senders.push(sender);
        }
        let mut carried = Carried::default();
        while carried.commitments.len() < KeyholderIndex::ALL.len() {
            let Some(message) = streams.next().await else { break };
            match message?.part {
                Some(Told::Piece(piece)) => {
                    carried.pieces.push(piece.clone());
                    if piece.round >= last_round {
                        break;
                    }
                    let to = piece.to_keyholder as usize - 1;
                    let _ = senders[to].send(pb::EvaluateAnswerRequest { part: Some(Asked::Piece(piece)) });
                }
                Some(Told::Commitment(commitment)) => carried.commitments.push(commitment),
                None => return Err(Status::internal("an empty message")),
            }
        }
        Ok(carried)
    }
}
