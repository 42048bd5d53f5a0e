//! Third step: compare with the other holders, then let go.

use crate::{error::KeyholderError, keyholder::Keyholder, payouts::payees_of, store::StoredAnswer};
use locus_cohort::settlement_signing_hash;
use locus_commitment::Digest32;
use locus_ledger::{Amount, CohortEvidence, OrderId, OrderRecord, OrderState, Settlement, order_id};
use locus_sharing::{KeyholderIndex, holders_of, release_plan, shares_of};
use locus_wire::{convert::field, pb::keyholder as pb, relay};
use std::collections::BTreeSet;

/// What a release consists of.
pub(crate) struct Release {
    /// None when only the signature was wanted.
    pub(crate) shares: Vec<pb::ReleasedShare>,
    /// `None` while this keyholder cannot sign the settlement that was asked for.
    pub(crate) settlement: Option<pb::SettlementSignature>,
    /// When the reason is that it does not know who earlier settlements paid: the last it knows.
    pub(crate) payouts_missing: Option<u64>,
}

impl Keyholder {
    /// Releases the shares assigned to this keyholder, once the commitments of the other holders
    /// equal its own, together with its signature for the settlement.
    pub(crate) async fn release(&self, request: &pb::ReleaseAnswerRequest) -> Result<Release, KeyholderError> {
        let order_id = OrderId(field::digest("order_id", &request.order_id)?);
        let stored = self.store().answer(&order_id.0)?.ok_or(KeyholderError::StepMissing("the commitment"))?;
        let own = stored.commitment.as_ref().ok_or(KeyholderError::StepMissing("the commitment"))?;
        let shares = if request.settlement_only {
            // Commitments are compared before anything leaves.
            if !stored.is_released {
                return Err(KeyholderError::StepMissing("the release of the shares"));
            }
            Vec::new()
        } else {
            let peers = self.check_commitments(own, &stored.participants, &request.commitments).await?;
            self.released_shares(&stored, &peers)?
        };
        self.poll_chain().await?;
        let record = self.view().order(&order_id).cloned().ok_or(KeyholderError::NotFinal("the order"))?;
        let evidence = self.evidence(&record, &stored, request.cohort.as_ref()).await?;
        if !self.store().mark_released(&order_id.0, &stored)? {
            return Err(KeyholderError::Disagreement("the answer was prepared anew".into()));
        }
        if request.payout_sequence == 0 {
            return Ok(Release { shares, settlement: None, payouts_missing: None });
        }
        let followed = self.follow_settlements();
        let settlement = followed
            .and_then(|()| self.settlement(&record, &stored, own, request.payout_sequence))
            .and_then(|settlement| self.sign_settlement(&record, &settlement, evidence.as_ref()));
        if let Err(error) = &settlement {
            tracing::warn!(order = %order_id, %error, "the settlement is not signed");
        }
        let payouts_missing = match &settlement {
            Err(KeyholderError::PayoutsMissing { known, .. }) => Some(*known),
            _ => None,
        };
        Ok(Release { shares, settlement: settlement.ok(), payouts_missing })
    }

    /// Every participant's commitment must be there, signed, and equal to ours wherever both know.
    async fn check_commitments(
        &self,
        own: &pb::AnswerCommitment,
        participants: &[u32],
        commitments: &[pb::AnswerCommitment],
    ) -> Result<BTreeSet<KeyholderIndex>, KeyholderError> {
        let mut seen = BTreeSet::new();
        for commitment in commitments {
            let digest = relay::commitment_digest(&self.network(), commitment);
            let peer = self.verify_peer(commitment.keyholder, &digest, &commitment.signature).await?;
            check_agreement(self.index(), own, peer, commitment)?;
            seen.insert(peer);
        }
        let numbers: Vec<u32> = seen.iter().map(|peer| u32::from(peer.get())).collect();
        if numbers != participants {
            return Err(KeyholderError::StepMissing("the commitment of every participant"));
        }
        Ok(seen)
    }

    fn released_shares(
        &self,
        stored: &StoredAnswer,
        present: &BTreeSet<KeyholderIndex>,
    ) -> Result<Vec<pb::ReleasedShare>, KeyholderError> {
        if stored.commitment.as_ref().is_some_and(is_filtered) {
            return Ok(stored.shares.clone());
        }
        let mut absent = KeyholderIndex::ALL.into_iter().filter(|keyholder| !present.contains(keyholder));
        let down = absent.next();
        if absent.next().is_some() {
            return Err(KeyholderError::StepMissing("the commitment of a second keyholder"));
        }
        let mine: Vec<u32> = release_plan(down)
            .into_iter()
            .filter(|assignment| assignment.releaser == self.index())
            .map(|assignment| u32::from(assignment.share.get()))
            .collect();
        Ok(stored.shares.iter().filter(|share| mine.contains(&share.share)).cloned().collect())
    }

    /// The settlement that follows the last one this keyholder has seen.
    fn settlement(
        &self,
        record: &OrderRecord,
        stored: &StoredAnswer,
        own: &pb::AnswerCommitment,
        payout_sequence: u64,
    ) -> Result<Settlement, KeyholderError> {
        if let OrderState::Settled(settlement) = record.state
            && settlement.answer_digest.0 == own.answer_digest.as_ref()
        {
            // Settled on the chain already: the same words can be signed again for the answer's file.
            return Ok(settlement);
        }
        let table = self.store().payout_table()?;
        if table.sequence.checked_add(1) != Some(payout_sequence) {
            let text =
                format!("settlement {payout_sequence} does not follow {}, the last one seen here", table.sequence);
            return Err(KeyholderError::Disagreement(text));
        }
        let damaged = || crate::store::StoreError::Damaged("answer");
        let next = table.with(&payees_of(stored)?).ok_or_else(damaged)?;
        let digest = |bytes: &[u8]| bytes.try_into().map(Digest32).map_err(|_| damaged());
        Ok(Settlement {
            order: order_id(&record.order),
            answer_digest: digest(&own.answer_digest)?,
            cohort_digest: digest(&own.cohort_digest)?,
            cohort_size: own.cohort_size,
            price: Amount(stored.price.parse().map_err(|_| damaged())?),
            payout_sequence,
            payout_root: next.root(),
        })
    }

    fn sign_settlement(
        &self,
        record: &OrderRecord,
        settlement: &Settlement,
        evidence: Option<&CohortEvidence>,
    ) -> Result<pb::SettlementSignature, KeyholderError> {
        if self.settles_on_cohorts() && evidence.is_none() {
            return Err(KeyholderError::StepMissing("the proof of the cohort"));
        }
        let digest = settlement_signing_hash(self.contracts(), settlement, &record.order, evidence);
        let signature = self.sign(&digest.ok_or(KeyholderError::OrderMismatch("purpose"))?)?;
        Ok(pb::SettlementSignature { settlement: Some(settlement.into()), signature })
    }
}

/// Whether the commitment is to a part of filtered counts.
fn is_filtered(commitment: &pb::AnswerCommitment) -> bool {
    !commitment.attributes_digest.is_empty()
}

fn check_agreement(
    own_index: KeyholderIndex,
    own: &pb::AnswerCommitment,
    peer: KeyholderIndex,
    theirs: &pb::AnswerCommitment,
) -> Result<(), KeyholderError> {
    let disagree =
        |what: &str| Err(KeyholderError::Disagreement(format!("keyholder {} signed another {what}", peer.get())));
    if theirs.order_id != own.order_id {
        return Err(KeyholderError::OrderMismatch("commitment"));
    }
    if theirs.cohort_digest != own.cohort_digest || theirs.cohort_size != own.cohort_size {
        return disagree("cohort");
    }
    if theirs.answer_digest != own.answer_digest || theirs.blocks.len() != own.blocks.len() {
        return disagree("question");
    }
    if theirs.attributes_digest != own.attributes_digest || theirs.attempt != own.attempt {
        return disagree("attempt at the filter");
    }
    let commitments = if is_filtered(own) { 1 } else { 2 };
    for (mine, theirs) in own.blocks.iter().zip(&theirs.blocks) {
        let is_same = (theirs.selection, theirs.block, &theirs.tau) == (mine.selection, mine.block, &mine.tau);
        if !is_same || theirs.share_commitments.len() != commitments {
            return disagree("question");
        }
        if is_filtered(own) {
            // Nobody else can compute a keyholder's part.
            continue;
        }
        for (share, commitment) in shares_of(peer).into_iter().zip(&theirs.share_commitments) {
            let place = shares_of(own_index).into_iter().position(|held| held == share);
            let differs = place.is_some_and(|place| mine.share_commitments.get(place) != Some(commitment));
            if differs && holders_of(share).contains(&own_index) {
                tracing::error!(
                    peer = peer.get(),
                    share = share.get(),
                    block = mine.block,
                    "a partial decryption differs"
                );
                return disagree(&format!("partial decryption of share {share} in block {}", mine.block));
            }
        }
    }
    Ok(())
}
