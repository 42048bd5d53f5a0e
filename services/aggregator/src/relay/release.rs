//! Third step: the sealed shares, which may leave at any time, and then the signatures of the settlement, one order
//! after the other.

use super::{Agreed, Committee, Member, present};
use crate::{
    answers::{Answers, ReleasedShareFrom},
    error::AggregatorError,
    prove::ProvenAnswer,
    question::Answering,
};
use bytes::Bytes;
use futures::future::try_join_all;
use locus_cohort::{AnswerPlan, SHARE_DIGEST_BYTES, TOTAL_BYTES};
use locus_ledger::{OrderId, Settlement, recover};
use locus_sharing::{
    KeyholderIndex, ShareIndex, release_plan,
    seal::{ENCAPSULATION_BYTES, TAG_BYTES},
};
use locus_wire::pb::keyholder::{self as pb, release_answer_response::Part};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Shares in memory at a time, for each keyholder; a share has at most 64 KiB.
const SHARES_AT_ONCE: usize = 32;

/// What is wrong with a piece of another kind than was asked for.
const OUT_OF_PLACE: &str = "a message that has no place in a release";

/// The settlement of an answer whose shares are all kept, as far as it is signed.
#[derive(Debug)]
pub(crate) struct Signatures {
    /// What was signed; `None` when nobody could sign yet.
    pub(crate) settlement: Option<Settlement>,
    /// Who signed it, ascending.
    pub(crate) signatures: Vec<(KeyholderIndex, Bytes)>,
    /// Who could not sign for not knowing who earlier settlements paid.
    pub(crate) behind: Vec<KeyholderIndex>,
}

/// The settlement that the keyholders are expected to sign.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expected {
    /// Of an open order, as the settlement with this number.
    Next(u64),
    /// The one that is on the chain already.
    OnChain(Settlement),
}

impl Expected {
    fn admits(&self, settlement: &Settlement, order: &OrderId, answering: &Answering) -> bool {
        let placed = match self {
            Self::Next(sequence) => settlement.payout_sequence == *sequence,
            Self::OnChain(on_chain) => settlement == on_chain,
        };
        placed
            && settlement.order == *order
            && settlement.answer_digest == answering.plan.digest().0
            && settlement.cohort_digest == answering.cohort.digest().0
            && settlement.cohort_size == answering.cohort.size()
            && settlement.price == answering.cohort.price()
    }
}

impl Committee {
    /// Has every participant release its shares, and keeps them. A share that nobody asked for, or a missing one, ends
    /// the answer.
    pub(crate) async fn release(
        &self,
        order: &OrderId,
        agreed: &Agreed,
        answering: &Answering,
        answers: &Answers,
    ) -> Result<(), AggregatorError> {
        let releasers = if answering.plan.is_filtered() { own_parts() } else { assignments(agreed) };
        let calls = self.participants(agreed).map(|member| {
            let shares = releasers.get(&member.index).cloned().unwrap_or_default();
            let job = ReleaseJob { committee: self, member, order, agreed, answering };
            job.take_shares(shares, answers)
        });
        try_join_all(calls).await.map(|_| ())
    }

    /// Has every participant that released its shares sign the settlement. One other than expected ends the answer.
    pub(crate) async fn sign(
        &self,
        order: &OrderId,
        agreed: &Agreed,
        answering: &Answering,
        expected: Expected,
    ) -> Result<Signatures, AggregatorError> {
        let calls = self.participants(agreed).map(|member| {
            let job = ReleaseJob { committee: self, member, order, agreed, answering };
            job.take_signature(expected)
        });
        let outcomes = try_join_all(calls).await?;
        let behind = outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Behind(keyholder) => Some(*keyholder),
            Outcome::Signed(_) | Outcome::Unsigned => None,
        });
        let behind: Vec<_> = behind.collect();
        let signed = outcomes.into_iter().filter_map(|outcome| match outcome {
            Outcome::Signed(signed) => Some(*signed),
            Outcome::Behind(_) | Outcome::Unsigned => None,
        });
        let signed: Vec<_> = signed.collect();
        let Some(&(first, settlement, _)) = signed.first() else {
            return Ok(Signatures { settlement: None, signatures: Vec::new(), behind });
        };
        if let Some(&(second, ..)) = signed.iter().find(|(_, other, _)| *other != settlement) {
            return Err(AggregatorError::Disagreement { first, second, what: "payout roots" });
        }
        let signatures = signed.into_iter().map(|(keyholder, _, signature)| (keyholder, signature)).collect();
        Ok(Signatures { settlement: Some(settlement), signatures, behind })
    }

    fn participants(&self, agreed: &Agreed) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| agreed.participants.contains(&member.index))
    }
}

/// In a filtered answer each keyholder releases its own part, which goes by its number.
fn own_parts() -> BTreeMap<KeyholderIndex, BTreeSet<ShareIndex>> {
    KeyholderIndex::ALL.into_iter().zip(ShareIndex::ALL).map(|(keyholder, part)| (keyholder, [part].into())).collect()
}

/// Which shares each participant releases.
fn assignments(agreed: &Agreed) -> BTreeMap<KeyholderIndex, BTreeSet<ShareIndex>> {
    let mut releasers: BTreeMap<KeyholderIndex, BTreeSet<ShareIndex>> = BTreeMap::new();
    for assignment in release_plan(agreed.absent()) {
        releasers.entry(assignment.releaser).or_default().insert(assignment.share);
    }
    releasers
}

/// The release of one keyholder.
struct ReleaseJob<'a> {
    committee: &'a Committee,
    member: &'a Member,
    order: &'a OrderId,
    agreed: &'a Agreed,
    answering: &'a Answering,
}

type Signed = (KeyholderIndex, Settlement, Bytes);

/// What a keyholder answered when it was asked to sign.
enum Outcome {
    /// Its signature of the settlement.
    Signed(Box<Signed>),
    /// It does not know who earlier settlements paid.
    Behind(KeyholderIndex),
    /// It cannot sign yet.
    Unsigned,
}

impl ReleaseJob<'_> {
    async fn take_shares(self, shares: BTreeSet<ShareIndex>, answers: &Answers) -> Result<(), AggregatorError> {
        let mut parts = self.ask(None).await?;
        let mut missing = missing_shares(&self.answering.plan, &shares);
        let mut buffered = Vec::new();
        while let Some(part) = parts.next().await? {
            let Part::Share(share) = part else { return Err(self.wrong(OUT_OF_PLACE)) };
            buffered.push(self.accept_share(share, &mut missing)?);
            if buffered.len() >= SHARES_AT_ONCE {
                answers.put_shares(self.order, &std::mem::take(&mut buffered))?;
            }
        }
        answers.put_shares(self.order, &buffered)?;
        if missing.is_empty() { Ok(()) } else { Err(self.wrong("too few shares")) }
    }

    async fn take_signature(self, expected: Expected) -> Result<Outcome, AggregatorError> {
        let mut parts = self.ask(Some(expected)).await?;
        let outcome = match parts.next().await? {
            None => Outcome::Unsigned,
            Some(Part::Settlement(settlement)) => {
                Outcome::Signed(Box::new(self.accept_settlement(&settlement, expected)?))
            }
            Some(Part::PayoutsMissing(_)) => Outcome::Behind(self.member.index),
            Some(_) => return Err(self.wrong(OUT_OF_PLACE)),
        };
        if parts.next().await?.is_some() { Err(self.wrong(OUT_OF_PLACE)) } else { Ok(outcome) }
    }

    /// Asks for the shares, or for the signature of a settlement.
    async fn ask(&self, signed: Option<Expected>) -> Result<Parts, AggregatorError> {
        let keyholder = self.member.index;
        let patience = Duration::from_secs(self.committee.limits.release_wait_s);
        let payout_sequence = match signed {
            None => 0,
            Some(Expected::Next(sequence)) => sequence,
            Some(Expected::OnChain(settlement)) => settlement.payout_sequence,
        };
        let request = pb::ReleaseAnswerRequest {
            order_id: self.order.0.0.to_vec().into(),
            commitments: self.agreed.commitments.clone(),
            payout_sequence,
            cohort: self.answering.proven.as_ref().map(ProvenAnswer::message),
            settlement_only: signed.is_some(),
        };
        let mut client = self.member.client.clone();
        let stream = present(keyholder, patience, client.release_answer(request)).await?;
        Ok(Parts { keyholder, patience, stream })
    }

    fn accept_share(
        &self,
        share: pb::ReleasedShare,
        missing: &mut BTreeMap<(u32, u32, u32), usize>,
    ) -> Result<ReleasedShareFrom, AggregatorError> {
        let bytes = missing.remove(&(share.selection, share.block, share.share));
        let bytes = bytes.ok_or_else(|| self.wrong("a share that it was not asked for"))?;
        let number = u8::try_from(share.share).map_err(|_| self.wrong("a share that it was not asked for"))?;
        if share.sealed.len() != bytes {
            return Err(self.wrong("a sealed share of a wrong length"));
        }
        Ok(ReleasedShareFrom { share, number, keyholder: self.member.index.get() })
    }

    fn accept_settlement(
        &self,
        message: &pb::SettlementSignature,
        expected: Expected,
    ) -> Result<Signed, AggregatorError> {
        let settlement = message.settlement.as_ref().map(Settlement::try_from);
        let Some(Ok(settlement)) = settlement else { return Err(self.wrong("a malformed settlement")) };
        if !expected.admits(&settlement, self.order, self.answering) {
            return Err(self.wrong("a settlement on other terms"));
        }
        let contracts = &self.committee.contracts;
        let signing_hash = match &self.answering.proven {
            None => Some(contracts.settlement_signing_hash(&settlement)),
            Some(proven) => proven.signing_hash(contracts, &settlement),
        };
        let signing_hash = signing_hash.ok_or_else(|| self.wrong("a settlement of an order without purpose"))?;
        if recover(&signing_hash, &message.signature) != Ok(self.member.signer) {
            return Err(self.wrong("a settlement without its signature"));
        }
        Ok((self.member.index, settlement, message.signature.clone()))
    }

    fn wrong(&self, what: &'static str) -> AggregatorError {
        AggregatorError::KeyholderMessage { keyholder: self.member.index, what }
    }
}

/// What a keyholder sends back, piece by piece.
struct Parts {
    keyholder: KeyholderIndex,
    /// Longest wait for a piece.
    patience: Duration,
    stream: tonic::Streaming<pb::ReleaseAnswerResponse>,
}

impl Parts {
    /// The next piece; `None` after the last.
    async fn next(&mut self) -> Result<Option<Part>, AggregatorError> {
        let next = async { self.stream.message().await.map(tonic::Response::new) };
        let Some(message) = present(self.keyholder, self.patience, next).await? else { return Ok(None) };
        let empty = AggregatorError::KeyholderMessage { keyholder: self.keyholder, what: OUT_OF_PLACE };
        message.part.map(Some).ok_or(empty)
    }
}

/// (Selection, block, share) of everything to be released, with its sealed length: 8 bytes for each released
/// slot of every plane, and the digest of another share; in a filtered answer the totals instead.
fn missing_shares(plan: &AnswerPlan, shares: &BTreeSet<ShareIndex>) -> BTreeMap<(u32, u32, u32), usize> {
    let mut missing = BTreeMap::new();
    for block in plan.blocks() {
        let totals = block.total_count as usize * TOTAL_BYTES;
        let rest = if plan.is_filtered() { totals } else { SHARE_DIGEST_BYTES };
        let payload_bytes = 8 * block.released_slots().count() * block.planes.len() + rest;
        for share in shares {
            let place = (block.selection, block.block.0, u32::from(share.get()));
            missing.insert(place, ENCAPSULATION_BYTES + TAG_BYTES + payload_bytes);
        }
    }
    missing
}
