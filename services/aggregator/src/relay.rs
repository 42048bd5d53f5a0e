//! Carrying messages between the keyholders of an answer.
//!
//! The keyholders trust no relay: they sign what they send each other. The aggregator in turn checks
//! everything that passes, so that an answer on which anybody disagrees ends here, before a single
//! share is released, with the name of who contradicts whom.

mod evaluate;
mod payouts;
mod release;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use payouts::list_earnings;
pub(crate) use release::{Expected, Signatures};

use crate::{
    aggregator::{Aggregator, KeyholderClient},
    config::Limits,
    error::AggregatorError,
    question::Answering,
};
use futures::future::{join_all, try_join_all};
use locus_commitment::Address;
use locus_ledger::{ChainView, Contracts, OrderId, recover};
use locus_service::{ErrorCode, reason_of};
use locus_sharing::{KeyholderIndex, ShareIndex, holders_of, shares_of};
use locus_wire::{pb::keyholder as pb, relay};
use std::{collections::BTreeSet, future::Future, time::Duration};
use tonic::{Response, Status};

/// Reason word of a keyholder whose view of the chain is behind.
const NOT_FINAL: &str = "NOT_FINAL";
/// Pause before a keyholder whose view is behind is asked again.
const LAG_PAUSE: Duration = Duration::from_millis(100);
/// Fewest keyholders that can answer.
const KEYHOLDERS_MIN: usize = 2;

/// The three keyholders as the chain knows them, and the ways to them.
pub(crate) struct Committee {
    contracts: Contracts,
    limits: Limits,
    members: [Member; 3],
}

struct Member {
    index: KeyholderIndex,
    signer: Address,
    client: KeyholderClient,
}

/// What a keyholder answered, or that it is down.
enum Reached<T> {
    Answered(T),
    Down(String),
}

/// Keyholders that agree, with their commitments, ascending.
#[derive(Debug, Clone)]
pub(crate) struct Agreed {
    pub(crate) commitments: Vec<pb::AnswerCommitment>,
    pub(crate) participants: Vec<KeyholderIndex>,
}

impl Agreed {
    /// Whether some shares lack their cross-check.
    pub(crate) fn is_degraded(&self) -> bool {
        self.participants.len() < KeyholderIndex::ALL.len()
    }

    /// Which attributes of whom a filtered answer is of; empty for others.
    pub(crate) fn attributes_digest(&self) -> bytes::Bytes {
        self.commitments.first().map(|commitment| commitment.attributes_digest.clone()).unwrap_or_default()
    }

    /// The keyholder that takes no part.
    fn absent(&self) -> Option<KeyholderIndex> {
        KeyholderIndex::ALL.into_iter().find(|keyholder| !self.participants.contains(keyholder))
    }
}

impl Committee {
    /// The committee in `view`.
    pub(crate) fn of(aggregator: &Aggregator, view: &ChainView) -> Result<Self, AggregatorError> {
        let member = |index: KeyholderIndex| -> Result<Member, AggregatorError> {
            let on_chain = view.keyholder(index.get()).ok_or(AggregatorError::NoCommittee(index.get()))?;
            let client = aggregator.keyholders[index.position()].clone();
            Ok(Member { index, signer: on_chain.signer, client })
        };
        let [first, second, third] = KeyholderIndex::ALL;
        Ok(Self {
            contracts: *aggregator.ledger.contracts(),
            limits: aggregator.limits,
            members: [member(first)?, member(second)?, member(third)?],
        })
    }

    /// First step: what each keyholder leaves out. A keyholder that cannot be reached in time is
    /// passed over; one that refuses ends the answer.
    pub(crate) async fn prepare(
        &self,
        order: &OrderId,
        question: &pb::Question,
    ) -> Result<Vec<pb::Preparation>, AggregatorError> {
        let calls = self.members.iter().map(|member| self.prepare_one(member, order, question));
        let mut preparations = Vec::new();
        let mut reasons = Vec::new();
        for (member, reached) in self.members.iter().zip(join_all(calls).await) {
            match reached? {
                Reached::Answered(preparation) => preparations.push(preparation),
                Reached::Down(reason) => {
                    tracing::warn!(keyholder = member.index.get(), reason, "a keyholder is passed over");
                    reasons.push(format!("keyholder {}: {reason}", member.index));
                }
            }
        }
        let answering = preparations.len();
        if answering < KEYHOLDERS_MIN {
            return Err(AggregatorError::TooFewKeyholders { answering, reasons: reasons.join("; ") });
        }
        Ok(preparations)
    }

    async fn prepare_one(
        &self,
        member: &Member,
        order: &OrderId,
        question: &pb::Question,
    ) -> Result<Reached<pb::Preparation>, AggregatorError> {
        let patience = Duration::from_secs(self.limits.prepare_wait_s);
        let ask = async {
            loop {
                let request = pb::PrepareAnswerRequest { question: Some(question.clone()) };
                match member.client.clone().prepare_answer(request).await {
                    Err(status) if reason_of(&status).as_deref() == Some(NOT_FINAL) => {
                        tokio::time::sleep(LAG_PAUSE).await;
                    }
                    answered => return answered,
                }
            }
        };
        let response = match reached(member.index, patience, ask).await? {
            Reached::Answered(response) => response,
            Reached::Down(reason) => return Ok(Reached::Down(reason)),
        };
        let wrong = |what| AggregatorError::KeyholderMessage { keyholder: member.index, what };
        let preparation = response.preparation.ok_or(wrong("no preparation"))?;
        self.check_preparation(member, order, &preparation)?;
        Ok(Reached::Answered(preparation))
    }

    fn check_preparation(
        &self,
        member: &Member,
        order: &OrderId,
        preparation: &pb::Preparation,
    ) -> Result<(), AggregatorError> {
        let wrong = |what| AggregatorError::KeyholderMessage { keyholder: member.index, what };
        if preparation.keyholder != u32::from(member.index.get()) || preparation.order_id.as_ref() != order.0.0 {
            return Err(wrong("a preparation of another keyholder or order"));
        }
        if !preparation.excluded_slots.is_sorted_by(|left, right| left < right) {
            return Err(wrong("slots out of order"));
        }
        let digest = relay::preparation_digest(&self.contracts.network, preparation);
        if recover(&digest, &preparation.signature) != Ok(member.signer) {
            return Err(wrong("a preparation without its signature"));
        }
        Ok(())
    }

    /// Second step: every keyholder that prepared commits to the answer that `answering` describes.
    pub(crate) async fn commit(
        &self,
        question: &pb::Question,
        preparations: &[pb::Preparation],
        order: &OrderId,
        answering: &Answering,
    ) -> Result<Agreed, AggregatorError> {
        let prepared: BTreeSet<u32> = preparations.iter().map(|preparation| preparation.keyholder).collect();
        let members: Vec<&Member> =
            self.members.iter().filter(|member| prepared.contains(&u32::from(member.index.get()))).collect();
        let calls = members.iter().map(|member| self.commit_one(member, question, preparations, order, answering));
        let commitments = try_join_all(calls).await?;
        let participants: Vec<KeyholderIndex> = members.iter().map(|member| member.index).collect();
        check_cross(&participants, &commitments)?;
        Ok(Agreed { commitments, participants })
    }

    async fn commit_one(
        &self,
        member: &Member,
        question: &pb::Question,
        preparations: &[pb::Preparation],
        order: &OrderId,
        answering: &Answering,
    ) -> Result<pb::AnswerCommitment, AggregatorError> {
        let patience = Duration::from_secs(self.limits.commit_wait_s);
        let request = pb::CommitAnswerRequest { question: Some(question.clone()), preparations: preparations.to_vec() };
        let mut client = member.client.clone();
        let response = present(member.index, patience, client.commit_answer(request)).await?;
        let wrong = |what| AggregatorError::KeyholderMessage { keyholder: member.index, what };
        let commitment = response.commitment.ok_or(wrong("no commitment"))?;
        self.check_signed(member, order, &commitment)?;
        check_own(&commitment, answering).map_err(wrong)?;
        Ok(commitment)
    }

    /// A commitment must be its keyholder's, for this order.
    fn check_signed(
        &self,
        member: &Member,
        order: &OrderId,
        commitment: &pb::AnswerCommitment,
    ) -> Result<(), AggregatorError> {
        let wrong = |what| AggregatorError::KeyholderMessage { keyholder: member.index, what };
        if commitment.keyholder != u32::from(member.index.get()) || commitment.order_id.as_ref() != order.0.0 {
            return Err(wrong("a commitment of another keyholder or order"));
        }
        let digest = relay::commitment_digest(&self.contracts.network, commitment);
        if recover(&digest, &commitment.signature) != Ok(member.signer) {
            return Err(wrong("a commitment without its signature"));
        }
        Ok(())
    }
}

/// A commitment must be to exactly the answer that follows from the chain and the preparations.
fn check_own(commitment: &pb::AnswerCommitment, answering: &Answering) -> Result<(), &'static str> {
    let cohort = &answering.cohort;
    if commitment.cohort_digest.as_ref() != cohort.digest().0.0 || commitment.cohort_size != cohort.size() {
        return Err("a commitment to another cohort");
    }
    if commitment.answer_digest.as_ref() != answering.plan.digest().0.0 {
        return Err("a commitment to another answer");
    }
    let blocks = answering.plan.blocks();
    let shares = if answering.plan.is_filtered() { 1 } else { 2 };
    let of_plan = commitment.blocks.len() == blocks.len()
        && commitment.blocks.iter().zip(blocks).all(|(theirs, ours)| {
            (theirs.selection, theirs.block) == (ours.selection, ours.block.0)
                && theirs.tau.as_ref() == ours.tau.0.0
                && theirs.share_commitments.len() == shares
                && theirs.share_commitments.iter().all(|commitment| commitment.len() == 32)
        });
    if of_plan { Ok(()) } else { Err("a commitment to other blocks") }
}

/// Both holders of a share must have committed to the same partial decryptions.
fn check_cross(participants: &[KeyholderIndex], commitments: &[pb::AnswerCommitment]) -> Result<(), AggregatorError> {
    let commitment_of = |holder: KeyholderIndex| {
        participants.iter().zip(commitments).find(|(index, _)| **index == holder).map(|(_, commitment)| commitment)
    };
    for share in ShareIndex::ALL {
        let [first, second] = holders_of(share);
        let (Some(left), Some(right)) = (commitment_of(first), commitment_of(second)) else { continue };
        let differs = left
            .blocks
            .iter()
            .zip(&right.blocks)
            .any(|(left, right)| share_commitment(left, first, share) != share_commitment(right, second, share));
        if differs {
            tracing::error!(
                first = first.get(),
                second = second.get(),
                share = share.get(),
                "partial decryptions differ"
            );
            return Err(AggregatorError::Disagreement { first, second, what: "partial decryptions of a share" });
        }
    }
    Ok(())
}

fn share_commitment(block: &pb::BlockCommitment, holder: KeyholderIndex, share: ShareIndex) -> Option<&[u8]> {
    let place = shares_of(holder).into_iter().position(|held| held == share)?;
    block.share_commitments.get(place).map(AsRef::as_ref)
}

/// Awaits a call; tells a keyholder that is down from one that refuses.
async fn reached<T>(
    keyholder: KeyholderIndex,
    patience: Duration,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<Reached<T>, AggregatorError> {
    match tokio::time::timeout(patience, call).await {
        Ok(Ok(response)) => Ok(Reached::Answered(response.into_inner())),
        Ok(Err(status)) if is_down(&status) => Ok(Reached::Down(status.message().to_owned())),
        Ok(Err(status)) => Err(AggregatorError::Keyholder { keyholder, status }),
        Err(_) => Ok(Reached::Down(format!("no answer within {} seconds", patience.as_secs()))),
    }
}

/// Awaits a call of a keyholder that takes part and must not be missing.
async fn present<T>(
    keyholder: KeyholderIndex,
    patience: Duration,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, AggregatorError> {
    match reached(keyholder, patience, call).await? {
        Reached::Answered(response) => Ok(response),
        Reached::Down(reason) => {
            tracing::warn!(keyholder = keyholder.get(), reason, "a keyholder that takes part is gone");
            Err(AggregatorError::KeyholderGone(keyholder))
        }
    }
}

fn is_down(status: &Status) -> bool {
    matches!(ErrorCode::of_status(status), ErrorCode::Unavailable | ErrorCode::Timeout)
}
