//! Filtered answers: who is counted stays shared among the three keyholders (SPEC section on filtered answers).

mod parts;
mod select;

use super::{
    Agreement,
    question::Asked,
    rounds::{Courier, Rounds},
    stored_answer, united_commitment,
};
use crate::{
    error::KeyholderError,
    keyholder::{Keyholder, system_rng},
    store::{Outcome, StoreError, StoredAnswer},
};
use locus_cohort::{AnswerPlan, Cohort, DST_SEALED_SHARE, attributes_digest, sealed_share_associated_data};
use locus_commitment::{Digest32, sha3_256};
use locus_ledger::OrderState;
use locus_privacy::{MatchFloor, Tau};
use locus_rlwe::FilteredPart;
use locus_sharing::{
    KeyholderIndex, PrssSession,
    seal::{SealBinding, seal},
    shares_of,
};
use locus_wire::{convert::field::required, pb::keyholder as pb, relay};
use select::{Selected, Selecting};
use zeroize::Zeroizing;

const DST_SESSION: &str = "locus/keyholder/evaluation/v1";

/// One attempt at one filtered answer.
#[derive(Clone, Copy)]
struct Named<'a> {
    asked: &'a Asked,
    cohort: &'a Cohort,
    plan: &'a AnswerPlan,
    /// Which attributes the plan's names are bound to.
    attributes: Digest32,
    attempt: u64,
}

impl Keyholder {
    /// Second step of a filtered answer: charges the cohort, evaluates the filter with the other keyholders,
    /// and computes and stores this one's part of the counts.
    ///
    /// The attempt is durable with the charge, before the first message leaves. An attempt that is cut off
    /// leaves nothing else; the next one is made under another number and charges the same cohort nothing more. An
    /// answer of an earlier attempt is forgotten, unless something of it may have left: then there is no other.
    pub(crate) async fn evaluate(
        &self,
        start: &pb::CommitAnswerRequest,
        courier: Courier,
    ) -> Result<pb::AnswerCommitment, KeyholderError> {
        let asked = self.ask(required("question", &start.question)?).await?;
        let attempt = start.preparations.iter().map(|preparation| preparation.attempt).max().unwrap_or(0);
        // A settled order is replayed whatever was prepared after the attempt that settled it.
        let is_over = asked.record.state != OrderState::Open;
        if let Some(commitment) = self.store().answer(&asked.order_id.0)?.and_then(|answer| answer.commitment)
            && (is_over || commitment.attempt == attempt)
        {
            return Ok(commitment);
        }
        self.check_answerable(&asked)?;
        let (participants, excluded) = self.check_preparations(&asked.order_id, &start.preparations).await?;
        if participants.len() < KeyholderIndex::ALL.len() {
            return Err(KeyholderError::StepMissing("the preparations of all three keyholders"));
        }
        if !self.store().forget_unreleased(&asked.order_id.0)? {
            return Err(KeyholderError::AnswerFinal);
        }
        let cohort = Cohort::try_new(&asked.eligible, &excluded)?;
        let shape = self.filter_shape(&asked, &cohort)?.ok_or(KeyholderError::OrderMismatch("filter"))?;
        let plan = self.plan_of_shape(&asked, &cohort, Some(&shape))?;
        cohort.check(&plan, self.parameters(), asked.record.order.max_price)?;
        self.check_nobody_revoked(&asked, &cohort)?;
        let agreement =
            Agreement { preparations: &start.preparations, participants: &participants, excluded: &excluded };
        let named = Named { asked: &asked, cohort: &cohort, plan: &plan, attributes: shape.attributes, attempt };
        let evaluation = self.evaluation(&named, courier)?;
        evaluation.check_noise()?;
        evaluation.check_rounds()?;
        self.charge(&asked, &cohort, &plan, &agreement, Outcome::Attempt(attempt))?;

        let (selected, prss) = locus_service::blocking(move || evaluation.run()).await?;
        let Selected { weights, totals } = selected;
        let parts = self.filtered_parts(&asked, &cohort, &plan, weights, prss).await?;
        let answer = self.filtered_answer(&named, &totals, &parts)?;
        let prepared = start.preparations.iter().find(|prepared| prepared.keyholder == u32::from(self.index().get()));
        let prepared = prepared.ok_or(KeyholderError::StepMissing("preparation"))?;
        if !self.store().put_filtered_answer(&asked.order_id.0, prepared, &answer)? {
            return Err(StoreError::PreparedAnew.into());
        }
        answer.commitment.ok_or(KeyholderError::StepMissing("the computation"))
    }

    /// Everything that the rounds need, read before anybody is charged.
    ///
    /// The attributes must still be those that the plan names: an enrolment that ends in between would put others
    /// under the same tau, with the same noise, and the difference of two answers would be a person.
    fn evaluation(&self, named: &Named<'_>, courier: Courier) -> Result<Selecting, KeyholderError> {
        let Named { asked, cohort, plan, attributes, attempt } = *named;
        let filter = asked.filter.clone().ok_or(KeyholderError::OrderMismatch("filter"))?;
        self.objects()?;
        let rows = self.attribute_rows(asked.panel.digest, cohort.members(), &filter.schema)?;
        if attributes_digest(cohort, rows.commitments.iter().map(|commitment| commitment.0)) != attributes {
            return Err(KeyholderError::Disagreement("attributes have changed since: prepare again".into()));
        }
        let session = PrssSession { tau: session_name(plan, asked), attempt };
        let [first, second] = shares_of(self.index());
        let keys = [(first, self.noise_key(first)?), (second, self.noise_key(second)?)];
        Ok(Selecting {
            keyholder: self.index(),
            rows: rows.shares,
            taus: first_taus(plan, filter.filter.selections().len()),
            filter,
            prss: self.prss(session)?,
            rounds: Rounds::new(self.index(), session, keys, courier),
            noise_key: self.own_noise_key()?,
            dp_share: plan.dp_share(),
            dp_total: plan.dp_total(),
            floor: MatchFloor::DEFAULT,
        })
    }

    /// Seals this keyholder's parts and signs what they commit to.
    fn filtered_answer(
        &self,
        named: &Named<'_>,
        totals: &[Vec<i64>],
        parts: &[Vec<FilteredPart>],
    ) -> Result<StoredAnswer, KeyholderError> {
        let Named { asked, cohort, plan, attributes, attempt } = *named;
        let number = self.index().get();
        let (mut blocks, mut shares) = (Vec::new(), Vec::new());
        for (block, planes) in plan.blocks().iter().zip(parts) {
            let commitments: Vec<Digest32> = planes.iter().map(|part| part.commitment(&block.tau)).collect();
            blocks.push(pb::BlockCommitment {
                block: block.block.0,
                tau: block.tau.0.0.to_vec().into(),
                share_commitments: vec![united_commitment(&commitments).0.to_vec().into()],
                selection: block.selection,
            });
            let mut payload = Zeroizing::new(Vec::new());
            for part in planes {
                payload.extend_from_slice(&Zeroizing::new(part.to_bytes()));
            }
            let totals = totals.get(block.selection as usize).ok_or(KeyholderError::StepMissing("a matched number"))?;
            payload.extend(totals.iter().flat_map(|total| total.to_le_bytes()));
            let associated_data = sealed_share_associated_data(&asked.order_id, &block.tau, number);
            let binding = SealBinding { info: DST_SEALED_SHARE, associated_data: &associated_data };
            let sealed = seal(&asked.recipient, binding, &payload, &mut system_rng())?;
            shares.push(pb::ReleasedShare {
                block: block.block.0,
                share: u32::from(number),
                sealed: sealed.into_bytes().into(),
                selection: block.selection,
            });
        }
        let mut commitment = pb::AnswerCommitment {
            keyholder: u32::from(number),
            order_id: asked.order_id.0.0.to_vec().into(),
            cohort_digest: cohort.digest().0.0.to_vec().into(),
            cohort_size: cohort.size(),
            answer_digest: plan.digest().0.0.to_vec().into(),
            blocks,
            signature: Default::default(),
            attributes_digest: attributes.0.to_vec().into(),
            attempt,
        };
        commitment.signature = self.sign(&relay::commitment_digest(&self.network(), &commitment))?;
        let everybody = KeyholderIndex::ALL.map(|keyholder| u32::from(keyholder.get()));
        let mut answer = stored_answer(commitment, shares, cohort, &everybody);
        self.note_cohort(&mut answer, asked, cohort);
        Ok(answer)
    }
}

/// Name of what common randomness is for: the answer, for this order.
fn session_name(plan: &AnswerPlan, asked: &Asked) -> Digest32 {
    sha3_256(DST_SESSION, &[&plan.digest().0.0, &asked.order_id.0.0])
}

/// The tau of each selection's first block.
fn first_taus(plan: &AnswerPlan, selections: usize) -> Vec<Tau> {
    let per_selection = plan.blocks().len() / selections.max(1);
    plan.blocks().iter().step_by(per_selection.max(1)).map(|block| block.tau).collect()
}
