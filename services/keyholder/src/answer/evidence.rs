//! Markets that settle on proven cohorts: whether the cohort on the chain is the one of an answer.
//!
//! The chain says that its cohort consents, how large it is, what it costs and what its ciphertexts add
//! up to. Only whoever answered knows that it is this cohort, which is what a keyholder signs.

use crate::{
    error::KeyholderError,
    keyholder::Keyholder,
    store::{StoreError, StoredAnswer},
};
use locus_cohort::{Selection, cohort_statement};
use locus_commitment::field::FieldBytes;
use locus_ledger::{CohortEvidence, OrderRecord, OrderState, cohort_id};
use locus_proofs::registry::PRICE_UNIT;
use locus_wire::{
    convert::field::{self, FieldError},
    pb::keyholder as pb,
};
use std::collections::BTreeMap;

impl Keyholder {
    /// The evidence that the settlement of an answer is signed with; `None` where settlements need none, and
    /// for an order that is settled already.
    pub(super) async fn evidence(
        &self,
        record: &OrderRecord,
        stored: &StoredAnswer,
        message: Option<&pb::ProvenCohort>,
    ) -> Result<Option<CohortEvidence>, KeyholderError> {
        if !self.settles_on_cohorts() {
            return Ok(None);
        }
        let Some(message) = message else {
            let is_open = record.state == OrderState::Open;
            return if is_open { Err(KeyholderError::StepMissing("the proof of the cohort")) } else { Ok(None) };
        };
        let evidence = CohortEvidence::try_from(field::required("cohort.evidence", &message.evidence)?)?;
        self.check_sums(stored, &evidence)?;
        self.check_members(record, stored, message, &evidence)?;
        let order = &record.order;
        let view = self.view();
        if evidence.researcher_accredited != view.is_accredited_researcher(&order.researcher, record.block) {
            return Err(KeyholderError::OtherCohort("says something else about the researcher"));
        }
        if evidence.choice.proven_only != stored.proven_only {
            return Err(KeyholderError::OtherCohort("says something else about proofs than the order requires"));
        }
        let statement = cohort_statement(order, &evidence).ok_or(KeyholderError::OrderMismatch("purpose"))?;
        if !self.is_cohort_proven(&cohort_id(&statement, &evidence.cohort)).await? {
            return Err(KeyholderError::OtherCohort("is not proven on the chain"));
        }
        Ok(Some(evidence))
    }

    fn check_sums(&self, stored: &StoredAnswer, evidence: &CohortEvidence) -> Result<(), KeyholderError> {
        let own = stored.commitment.as_ref().ok_or(KeyholderError::StepMissing("the commitment"))?;
        if evidence.cohort.size != u64::from(own.cohort_size) {
            return Err(KeyholderError::OtherCohort("has another size"));
        }
        let price: u128 = stored.price.parse().map_err(|_| StoreError::Damaged("answer"))?;
        if evidence.cohort.total_price_units.checked_mul(PRICE_UNIT) != Some(price) {
            return Err(KeyholderError::OtherCohort("has another price"));
        }
        Ok(())
    }

    /// The payouts' hash opens to exactly the members that this keyholder has counted.
    fn check_members(
        &self,
        record: &OrderRecord,
        stored: &StoredAnswer,
        message: &pb::ProvenCohort,
        evidence: &CohortEvidence,
    ) -> Result<(), KeyholderError> {
        let blinding = |blinding: &pb::proven_cohort::Blinding| -> Result<(u32, FieldBytes), FieldError> {
            Ok((blinding.shard, FieldBytes(field::array("cohort.blindings.blinding", &blinding.blinding)?)))
        };
        let blindings = message.blindings.iter().map(blinding).collect::<Result<BTreeMap<_, _>, _>>()?;
        let view = self.view();
        let selection = Selection::of_slots(&view, &record.order.panel, stored.slots.iter().copied());
        let selection = selection.map_err(|_| StoreError::Damaged("answer"))?;
        let shard_groups = usize::try_from(message.shard_groups).unwrap_or(usize::MAX);
        let checked = selection.check(shard_groups, &evidence.cohort, &blindings);
        checked.map_err(|_| KeyholderError::OtherCohort("has other members"))
    }
}
