//! Second step of a filtered answer: carrying the keyholders' messages to each other, all at the same time.

use super::{Agreed, Committee, Member, check_own, present};
use crate::{aggregator::KeyholderClient, error::AggregatorError, question::Answering};
use futures::{StreamExt as _, future::try_join_all, stream::SelectAll};
use locus_commitment::Digest32;
use locus_ledger::OrderId;
use locus_sharing::KeyholderIndex;
use locus_wire::pb::keyholder::{
    self as pb, evaluate_answer_request::Part as Asked, evaluate_answer_response::Part as Told,
};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Streaming;

/// Bytes of the pieces that one evaluation may pass on: a filter of the greatest cohort stays far below.
const CARRIED_BYTES_MAX: usize = 4 << 30;

/// The streams to and from one keyholder.
struct Line {
    keyholder: KeyholderIndex,
    // Never waits: a keyholder that is sending does not read, and the others may need what it sends.
    to: UnboundedSender<pb::EvaluateAnswerRequest>,
    from: Streaming<pb::EvaluateAnswerResponse>,
}

impl Committee {
    /// Has all three keyholders evaluate the filter and commit to the answer that `answering` gives for the
    /// attributes they state.
    pub(crate) async fn evaluate(
        &self,
        question: &pb::Question,
        preparations: &[pb::Preparation],
        order: &OrderId,
        answering: impl Fn(Digest32) -> Result<Answering, AggregatorError>,
    ) -> Result<(Agreed, Answering), AggregatorError> {
        let absent = self.members.iter().find(|member| {
            !preparations.iter().any(|preparation| preparation.keyholder == u32::from(member.index.get()))
        });
        if let Some(member) = absent {
            return Err(AggregatorError::NeedsAllKeyholders(member.index));
        }
        let patience = Duration::from_secs(self.limits.commit_wait_s);
        let start = pb::CommitAnswerRequest { question: Some(question.clone()), preparations: preparations.to_vec() };
        let lines = self.members.iter().map(|member| open(member.index, member.client.clone(), &start, patience));
        let lines = try_join_all(lines).await?;
        let carried = tokio::time::timeout(patience, carry(lines)).await;
        let commitments = carried.map_err(|_| AggregatorError::EvaluationTooSlow(patience.as_secs()))??;
        let answering = self.check_evaluated(order, &commitments, answering)?;
        Ok((Agreed { commitments, participants: KeyholderIndex::ALL.to_vec() }, answering))
    }

    fn check_evaluated(
        &self,
        order: &OrderId,
        commitments: &[pb::AnswerCommitment],
        answering: impl Fn(Digest32) -> Result<Answering, AggregatorError>,
    ) -> Result<Answering, AggregatorError> {
        let members = || self.members.iter().zip(commitments);
        for (member, commitment) in members() {
            self.check_signed(member, order, commitment)?;
        }
        let [first, ..] = commitments else { return Err(wrong(&self.members[0], "no commitment")) };
        for (member, commitment) in members() {
            let is_same =
                commitment.attributes_digest == first.attributes_digest && commitment.attempt == first.attempt;
            if !is_same {
                let [one, other] = [self.members[0].index, member.index];
                return Err(AggregatorError::Disagreement {
                    first: one,
                    second: other,
                    what: "attributes of the cohort",
                });
            }
        }
        let attributes = first.attributes_digest.as_ref().try_into().map(Digest32);
        let answering = answering(attributes.map_err(|_| wrong(&self.members[0], "no digest of attributes"))?)?;
        for (member, commitment) in members() {
            check_own(commitment, &answering).map_err(|what| wrong(member, what))?;
        }
        Ok(answering)
    }
}

fn wrong(member: &Member, what: &'static str) -> AggregatorError {
    AggregatorError::KeyholderMessage { keyholder: member.index, what }
}

async fn open(
    keyholder: KeyholderIndex,
    mut client: KeyholderClient,
    start: &pb::CommitAnswerRequest,
    patience: Duration,
) -> Result<Line, AggregatorError> {
    let (to, requests) = unbounded_channel();
    // The receiver is right here.
    let _ = to.send(pb::EvaluateAnswerRequest { part: Some(Asked::Start(start.clone())) });
    let from = present(keyholder, patience, client.evaluate_answer(UnboundedReceiverStream::new(requests))).await?;
    Ok(Line { keyholder, to, from })
}

/// Passes pieces on until every keyholder has committed; ascending by keyholder. The first error ends all
/// three streams.
async fn carry(lines: Vec<Line>) -> Result<Vec<pb::AnswerCommitment>, AggregatorError> {
    let mut commitments: [Option<pb::AnswerCommitment>; 3] = [None, None, None];
    let (mut senders, mut streams) = (Vec::with_capacity(lines.len()), SelectAll::new());
    for Line { keyholder, to, from } in lines {
        senders.push((keyholder, to));
        streams.push(from.map(move |message| (keyholder, message)));
    }
    let mut carried = 0usize;
    while let Some((keyholder, message)) = streams.next().await {
        let told = message.map_err(|status| AggregatorError::Keyholder { keyholder, status })?;
        let refused = |what| AggregatorError::KeyholderMessage { keyholder, what };
        match told.part {
            Some(Told::Piece(piece)) => {
                carried = carried.saturating_add(piece.sealed.len());
                let to = senders.iter().find(|(index, _)| u32::from(index.get()) == piece.to_keyholder);
                let is_own = piece.from_keyholder == u32::from(keyholder.get());
                let (_, to) =
                    to.filter(|_| is_own && carried <= CARRIED_BYTES_MAX).ok_or(refused("a stray message"))?;
                // A keyholder that takes no more says why on its own stream.
                let _ = to.send(pb::EvaluateAnswerRequest { part: Some(Asked::Piece(piece)) });
            }
            Some(Told::Commitment(commitment)) if commitments[keyholder.position()].is_none() => {
                commitments[keyholder.position()] = Some(commitment);
                if commitments.iter().all(Option::is_some) {
                    break;
                }
            }
            _ => return Err(refused("a message that has no place in an evaluation")),
        }
    }
    let missing = KeyholderIndex::ALL.into_iter().find(|index| commitments[index.position()].is_none());
    match missing {
        Some(keyholder) => Err(AggregatorError::KeyholderGone(keyholder)),
        None => Ok(commitments.into_iter().flatten().collect()),
    }
}
