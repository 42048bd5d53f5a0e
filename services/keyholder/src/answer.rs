//! Answering an order in three steps: prepare, commit, release.
//!
//! Nothing about an answer leaves before every member's charge is on disk, and a share's partial
//! decryption leaves only when the other holder of the share has committed to the same bytes.

mod compute;
mod disclosed;
mod evidence;
mod filtered;
mod question;
mod release;
mod rounds;
#[cfg(test)]
mod tests;

use crate::{
    error::KeyholderError,
    keyholder::Keyholder,
    store::{
        AnswerRecord, DatasetKey, ExactAnswer, ExactPerson, MemberCharge, Outcome, Store, StoreError, StoredAnswer,
        UseRecord,
    },
};
use locus_cohort::{AnswerPlan, Cohort, FilterShape, Member, PlanRefusal, SelectionShape, attributes_digest};
use locus_commitment::{Digest32, PersonTag, sha3_256};
use locus_ledger::{OrderId, OrderState};
use locus_phenotype::SelectionRelease;
use locus_privacy::{ChargeName, ChargeRequest, Rho, RhoCost, Tier};
use locus_sharing::{AttributeCommitment, KeyholderIndex};
use locus_wire::{pb::keyholder as pb, relay};
use question::{Asked, AskedFilter};
pub(crate) use rounds::Courier;
use std::collections::BTreeSet;

const DST_SURCHARGE: &str = "locus/keyholder/surcharge/v1";
const DST_RENEWAL: &str = "locus/keyholder/renewal/v1";

impl Keyholder {
    /// First step: says which eligible slots this keyholder leaves out.
    pub(crate) async fn prepare(&self, question: &pb::Question) -> Result<pb::Preparation, KeyholderError> {
        let asked = self.ask(question).await?;
        if let Some(stored) = self.store().preparation(&asked.order_id.0)?
            && self.repeats_answer(&asked, &stored)?
        {
            return Ok(stored);
        }
        self.check_answerable(&asked)?;
        let undisclosed = self.undisclosed(&asked).await?;
        let excluded = self.exclusions(&asked, undisclosed)?;
        let attempt = match asked.filter {
            Some(_) => self.store().next_attempt(&asked.order_id.0)?,
            None => 0,
        };
        self.sign_preparation(&asked.order_id, asked.record.order.tier, excluded, attempt)
    }

    /// Whether there is an answer to repeat: not one of which nothing has left, when somebody in it has left since. The
    /// next preparation forgets that; the order is answered with those who stayed, and they are charged for both.
    fn repeats_answer(&self, asked: &Asked, prepared: &pb::Preparation) -> Result<bool, KeyholderError> {
        let Some(answer) = self.store().answer(&asked.order_id.0)? else { return Ok(false) };
        if asked.record.state != OrderState::Open || answer.is_released {
            return Ok(true);
        }
        let gone = asked.eligible.revoked_slots(&self.view(), asked.record.block);
        Ok(gone.iter().all(|slot| prepared.excluded_slots.contains(slot)))
    }

    /// Signs a preparation and keeps it. An answer that was not released is forgotten.
    fn sign_preparation(
        &self,
        order: &OrderId,
        tier: Tier,
        excluded: BTreeSet<u64>,
        attempt: u64,
    ) -> Result<pb::Preparation, KeyholderError> {
        let exact_history = match tier {
            Tier::Exact => self.store().exact_history()?.0.to_vec().into(),
            Tier::Open | Tier::Vetted => Default::default(),
        };
        let mut preparation = pb::Preparation {
            keyholder: u32::from(self.index().get()),
            order_id: order.0.0.to_vec().into(),
            excluded_slots: excluded.into_iter().collect(),
            charge_sequence: self.store().charge_sequence()?,
            signature: Default::default(),
            seen: self.store().peer_sequences()?.into_iter().map(ledger_length).collect(),
            exact_history,
            attempt,
        };
        preparation.signature = self.sign(&relay::preparation_digest(&self.network(), &preparation))?;
        if !self.store().put_preparation(&order.0, &preparation)? {
            return Err(KeyholderError::AnswerFinal);
        }
        Ok(preparation)
    }

    /// Second step: forms the cohort, charges it, computes and stores the answer.
    pub(crate) async fn commit(
        &self,
        question: &pb::Question,
        preparations: &[pb::Preparation],
    ) -> Result<pb::AnswerCommitment, KeyholderError> {
        let asked = self.ask(question).await?;
        // Before anything is read that a new preparation changes.
        let times_prepared = self.store().times_prepared(&asked.order_id.0)?;
        let kept = self.store().answer(&asked.order_id.0)?;
        let is_final = kept.as_ref().is_some_and(|answer| answer.is_released) || asked.record.state != OrderState::Open;
        let kept = kept.and_then(|answer| answer.commitment);
        if let (true, Some(commitment)) = (is_final, &kept) {
            return Ok(commitment.clone());
        }
        if asked.filter.is_some() {
            return Err(KeyholderError::OrderMismatch("way to ask: filtered questions are evaluated, and the call"));
        }
        let (participants, excluded) = self.check_preparations(&asked.order_id, preparations).await?;
        let cohort = Cohort::try_new(&asked.eligible, &excluded)?;
        if let Some(commitment) = kept.filter(|kept| kept.cohort_digest.as_ref() == cohort.digest().0.0) {
            return Ok(commitment);
        }
        self.check_answerable(&asked)?;
        // The others would not commit to the cohort of the answer that is kept any more.
        if !self.store().forget_unreleased(&asked.order_id.0)? {
            return Err(KeyholderError::AnswerFinal);
        }
        let plan = self.plan(&asked, &cohort)?;
        cohort.check(&plan, self.parameters(), asked.record.order.max_price)?;
        self.check_nobody_revoked(&asked, &cohort)?;
        let mut answer = self.compute(&asked, &cohort, &plan, &participants).await?;
        self.note_cohort(&mut answer, &asked, &cohort);
        let agreement = Agreement { preparations, participants: &participants, excluded: &excluded };
        self.charge(&asked, &cohort, &plan, &agreement, Outcome::Answer { answer: &answer, times_prepared })?;
        // Another call may have stored its answer first; what is stored is what will be released.
        let stored = self.store().answer(&asked.order_id.0)?.and_then(|answer| answer.commitment);
        stored.ok_or_else(|| StoreError::PreparedAnew.into())
    }

    /// Notes in an answer what its settlement is held against, in a market that settles on proven cohorts.
    fn note_cohort(&self, answer: &mut StoredAnswer, asked: &Asked, cohort: &Cohort) {
        if self.settles_on_cohorts() {
            answer.slots = cohort.members().iter().map(|member| member.slot).collect();
            answer.proven_only = asked.requirements.proven_only();
        }
    }

    /// Charges everybody in the cohort, with what the charge is for, all or nothing.
    fn charge(
        &self,
        asked: &Asked,
        cohort: &Cohort,
        plan: &AnswerPlan,
        agreement: &Agreement<'_>,
        outcome: Outcome<'_>,
    ) -> Result<(), KeyholderError> {
        let order = asked.record.order;
        let charges: Vec<MemberCharge> = cohort.members().iter().map(charge_of).collect();
        let exact_people = if order.tier == Tier::Exact { exact_people(cohort) } else { Vec::new() };
        let is_whole = agreement.participants.len() == KeyholderIndex::ALL.len();
        if order.tier == Tier::Exact && !is_whole && self.store().is_exact_doubtful()? {
            let text = "two keyholders told this one different histories of exact answers: wait for the third";
            return Err(KeyholderError::Disagreement(text.to_owned()));
        }
        let history = match order.tier {
            Tier::Exact => agreed_history(agreement.preparations)?,
            Tier::Open | Tier::Vetted => None,
        };
        let now = self.now_unix_s();
        let charge = charge_request(plan, cohort, now)?;
        let mut also = Vec::new();
        also.extend(surcharge_owed(self.store(), &charge, agreement.participants.len())?);
        if asked.filter.is_some() && self.store().is_charged_before_succession(&charge.name)? {
            also.push(ChargeRequest { name: renewal_name(&charge.name), ..charge });
        }
        let record = AnswerRecord {
            order: asked.order_id.0,
            charge,
            also: &also,
            members: &charges,
            exact: ExactAnswer { people: &exact_people, history },
            question: asked.question_key,
            budget_exclusions: self.budget_exclusions(asked, agreement.excluded)?,
            use_record: UseRecord {
                order: asked.order_id.0.0.to_vec().into(),
                researcher: order.researcher.0.to_vec().into(),
                purpose: order.purpose,
                at_unix_s: now,
                variant_count: plan.variant_count(),
            },
            outcome,
        };
        Ok(self.store().commit_answer(&record, self.parameters())?)
    }

    /// Open, before its deadline, within the privacy caps of its tier.
    fn check_answerable(&self, asked: &Asked) -> Result<(), KeyholderError> {
        if asked.record.state != OrderState::Open {
            return Err(KeyholderError::OrderClosed);
        }
        if self.now_unix_s() > asked.record.order.deadline_unix_s {
            return Err(KeyholderError::OrderExpired);
        }
        Ok(())
    }

    fn plan(&self, asked: &Asked, cohort: &Cohort) -> Result<AnswerPlan, KeyholderError> {
        let shape = self.filter_shape(asked, cohort)?;
        self.plan_of_shape(asked, cohort, shape.as_ref())
    }

    fn plan_of_shape(
        &self,
        asked: &Asked,
        cohort: &Cohort,
        shape: Option<&FilterShape>,
    ) -> Result<AnswerPlan, KeyholderError> {
        let order = &asked.record.order;
        let network = self.network();
        let (panel, selection) = (asked.panel, &asked.selection);
        Ok(AnswerPlan::try_new(network, panel, selection, order.tier, order.rho, cohort, shape)?)
    }

    /// What the plan needs to know of the filter, if there is one. All members must have attributes.
    fn filter_shape(&self, asked: &Asked, cohort: &Cohort) -> Result<Option<FilterShape>, KeyholderError> {
        let Some(AskedFilter { filter, .. }) = &asked.filter else { return Ok(None) };
        let keys: Vec<DatasetKey> = cohort.members().iter().map(key_of).collect();
        let commitments = self.store().attribute_commitments(&keys, &filter.schema())?;
        let commitments = commitments.into_iter().map(|commitment| commitment.map(|commitment| commitment.0));
        let commitments: Option<Vec<Digest32>> = commitments.collect();
        let attributes = attributes_digest(cohort, commitments.ok_or(KeyholderError::UnknownSchema)?);
        let selections = filter.selection_digests().into_iter().zip(filter.releases());
        let shape = |(digest, SelectionRelease { total_count, missing_only })| SelectionShape {
            digest,
            total_count,
            missing_only,
        };
        Ok(Some(FilterShape { selections: selections.map(shape).collect(), attributes }))
    }

    /// Members of the eligible set whose attributes are not known here, or too little for an authenticated evaluation.
    fn without_attributes(&self, asked: &Asked) -> Result<BTreeSet<u64>, KeyholderError> {
        let Some(AskedFilter { filter, .. }) = &asked.filter else { return Ok(BTreeSet::new()) };
        let members = &asked.eligible.members;
        let keys: Vec<DatasetKey> = members.iter().map(key_of).collect();
        let commitments = self.store().attribute_commitments(&keys, &filter.schema())?;
        let on_one_word = match filter.is_authenticated() {
            true => self.store().handed_over(members.iter().map(|member| member.registration))?,
            false => BTreeSet::new(),
        };
        let is_unknown = |member: &Member, commitment: Option<AttributeCommitment>| {
            commitment.is_none() || on_one_word.contains(&member.registration)
        };
        let unknown = members.iter().zip(commitments).filter(|(member, commitment)| is_unknown(member, *commitment));
        Ok(unknown.map(|(member, _)| member.slot).collect())
    }

    /// Slots this keyholder leaves out: revoked as far as it has seen, `undisclosed`, without budget, or of people
    /// whom an exact answer would set apart from too few others.
    ///
    /// A question that was answered without people who had no budget stays without them, so that it
    /// costs nothing and returns the same bytes. Whoever was gone for another reason counts again when back.
    fn exclusions(&self, asked: &Asked, undisclosed: BTreeSet<u64>) -> Result<BTreeSet<u64>, KeyholderError> {
        let mut excluded = self.out_of_consent(asked, undisclosed)?;
        let cohort = Cohort::try_new(&asked.eligible, &excluded)?;
        let plan = self.plan(asked, &cohort)?;
        if self.store().is_answered(&ChargeName::from(plan.digest()))? {
            return Ok(excluded);
        }
        if let Some(last) = self.store().last_budget_exclusions(&asked.question_key)? {
            let before: BTreeSet<u64> = excluded.union(&last).copied().collect();
            if let Ok(cohort_before) = Cohort::try_new(&asked.eligible, &before) {
                let plan_before = self.plan(asked, &cohort_before)?;
                if self.store().is_answered(&ChargeName::from(plan_before.digest()))? {
                    return Ok(before);
                }
            }
        }
        let members: Vec<MemberCharge> = cohort.members().iter().map(charge_of).collect();
        let charge = charge_request(&plan, &cohort, self.now_unix_s())?;
        excluded.extend(self.store().exhausted(&members, &charge, self.parameters())?);
        Ok(excluded)
    }

    /// Of the slots that were left out, those without budget. Whoever discloses is not among them: a document that
    /// could not be read then may be readable next time.
    fn budget_exclusions(&self, asked: &Asked, excluded: &BTreeSet<u64>) -> Result<BTreeSet<u64>, KeyholderError> {
        let disclosing = asked.eligible.disclosures.iter().map(|offered| offered.slot).collect();
        Ok(excluded - &self.out_of_consent(asked, disclosing)?)
    }

    /// Slots left out whatever their budgets: revoked or withdrawn as far as this keyholder has seen, `undisclosed`,
    /// without the attributes asked about, or set apart by an exact answer.
    fn out_of_consent(&self, asked: &Asked, undisclosed: BTreeSet<u64>) -> Result<BTreeSet<u64>, KeyholderError> {
        let mut out = asked.eligible.revoked_slots(&self.view(), asked.record.block);
        out.extend(undisclosed);
        out.extend(self.without_attributes(asked)?);
        if asked.record.order.tier == Tier::Exact {
            self.leave_out_of_exact(asked, &mut out)?;
        }
        Ok(out)
    }

    /// Leaves out people until an exact answer sets no small group of them apart. All slots of a
    /// person go, so that no other dataset of the same person takes the place.
    fn leave_out_of_exact(&self, asked: &Asked, excluded: &mut BTreeSet<u64>) -> Result<(), KeyholderError> {
        let cohort = Cohort::try_new(&asked.eligible, excluded)?;
        let places = self.store().exact_cohort(&exact_people(&cohort))?.exclusions(self.parameters());
        let people: BTreeSet<PersonTag> =
            places.into_iter().filter_map(|place| cohort.members().get(place)).map(|member| member.person).collect();
        let of_people = |member: &&Member| people.contains(&member.person);
        excluded.extend(asked.eligible.members.iter().filter(of_people).map(|member| member.slot));
        Ok(())
    }

    /// Verifies the preparations and unites what they leave out.
    async fn check_preparations(
        &self,
        order: &OrderId,
        preparations: &[pb::Preparation],
    ) -> Result<(Vec<u32>, BTreeSet<u64>), KeyholderError> {
        let own = self.store().preparation(&order.0)?.ok_or(KeyholderError::StepMissing("preparation"))?;
        let mut participants = BTreeSet::new();
        let mut excluded = BTreeSet::new();
        for preparation in preparations {
            let digest = relay::preparation_digest(&self.network(), preparation);
            let peer = self.verify_peer(preparation.keyholder, &digest, &preparation.signature).await?;
            if preparation.order_id.as_ref() != order.0.0 {
                return Err(KeyholderError::OrderMismatch("preparation"));
            }
            if peer == self.index() && *preparation != own {
                return Err(KeyholderError::Disagreement("the preparation is not the last one signed here".into()));
            }
            if peer != self.index() {
                self.check_own_ledger(preparation)?;
                self.store().note_peer_sequence(preparation.keyholder, preparation.charge_sequence)?;
            }
            participants.insert(preparation.keyholder);
            excluded.extend(preparation.excluded_slots.iter().copied());
        }
        let own_index = u32::from(self.index().get());
        if participants.len() < 2 || !participants.contains(&own_index) {
            return Err(KeyholderError::StepMissing("preparations of two keyholders, one of them this one,"));
        }
        Ok((participants.into_iter().collect(), excluded))
    }

    /// Nobody may have seen a longer charge log of this keyholder than it has now. The peer's words
    /// may be old, as when an order is completed after a restart: the log only grows, so old words
    /// never accuse a keyholder that kept its log.
    fn check_own_ledger(&self, preparation: &pb::Preparation) -> Result<(), KeyholderError> {
        let now = self.store().charge_sequence()?;
        let own = u32::from(self.index().get());
        let shown = preparation.seen.iter().filter(|length| length.keyholder == own);
        let seen = shown.map(|length| length.charge_sequence).max().unwrap_or(0);
        if seen > now {
            tracing::error!(peer = preparation.keyholder, seen, now, "the privacy ledger is shorter than it was");
            return Err(KeyholderError::Rollback { peer: preparation.keyholder, seen, now });
        }
        Ok(())
    }

    /// A revocation that arrived after the preparation still counts.
    fn check_nobody_revoked(&self, asked: &Asked, cohort: &Cohort) -> Result<(), KeyholderError> {
        let view = self.view();
        let mut members = cohort.members().iter();
        if members.any(|member| asked.eligible.is_out(&view, member, asked.record.block)) {
            return Err(KeyholderError::Disagreement(
                "a member was revoked since the preparation: prepare again".into(),
            ));
        }
        Ok(())
    }
}

/// What the keyholders of an answer agreed on.
struct Agreement<'a> {
    preparations: &'a [pb::Preparation],
    participants: &'a [u32],
    excluded: &'a BTreeSet<u64>,
}

fn key_of(member: &Member) -> DatasetKey {
    DatasetKey { dataset: member.dataset, version: member.version }
}

fn ledger_length((keyholder, charge_sequence): (u32, u64)) -> pb::LedgerLength {
    pb::LedgerLength { keyholder, charge_sequence }
}

fn charge_of(member: &Member) -> MemberCharge {
    MemberCharge { slot: member.slot, person: member.person }
}

fn charge_request(plan: &AnswerPlan, cohort: &Cohort, at_unix_s: u64) -> Result<ChargeRequest, PlanRefusal> {
    let cost = plan.cost(cohort)?;
    Ok(ChargeRequest { name: ChargeName::from(plan.digest()), tier: plan.tier(), cost, at_unix_s })
}

/// Clause 4: half as much again, under a name of its own, for an answer without one of the keyholders, unless all three
/// are known to have made the charge before.
pub(crate) fn surcharge_owed(
    store: &Store,
    charge: &ChargeRequest,
    participants: usize,
) -> Result<Option<ChargeRequest>, StoreError> {
    if participants == KeyholderIndex::ALL.len() || store.is_charged_by_all(&charge.name)? {
        return Ok(None);
    }
    let half = |rho: Rho| Rho::from_nano(rho.as_nano().div_ceil(2));
    let cost = RhoCost { dp: half(charge.cost.dp), flooding: half(charge.cost.flooding) };
    Ok(Some(ChargeRequest { name: surcharge_name(&charge.name), cost, ..*charge }))
}

/// Name of what is charged beside the charge of this name.
pub(crate) fn surcharge_name(charge: &ChargeName) -> ChargeName {
    ChargeName(sha3_256(DST_SURCHARGE, &[&charge.0]).0)
}

/// Name of what is charged beside the charge of this name when a successor draws its part of the noise anew (clause 32).
pub(crate) fn renewal_name(charge: &ChargeName) -> ChargeName {
    ChargeName(sha3_256(DST_RENEWAL, &[&charge.0]).0)
}

/// When not all keyholders take part in an exact answer: the history of exact answers that all who do
/// have. Two of them share it, or each could miss what only the other knows.
fn agreed_history(preparations: &[pb::Preparation]) -> Result<Option<Digest32>, KeyholderError> {
    if preparations.len() == KeyholderIndex::ALL.len() {
        return Ok(None);
    }
    let mut histories: Vec<&[u8]> = preparations.iter().map(|preparation| preparation.exact_history.as_ref()).collect();
    histories.dedup();
    let [history] = histories[..] else {
        let text = "they were not in the same exact answers, so the next one needs all three: prepare again with all";
        return Err(KeyholderError::Disagreement(text.to_owned()));
    };
    let history = history.try_into().map_err(|_| KeyholderError::OrderMismatch("history of exact answers"))?;
    Ok(Some(Digest32(history)))
}

fn exact_people(cohort: &Cohort) -> Vec<ExactPerson> {
    let person = |member: &Member| ExactPerson { batch: member.registration, person: member.person };
    cohort.members().iter().map(person).collect()
}

/// The commitment of both planes of a share.
fn united_commitment(planes: &[Digest32]) -> Digest32 {
    let parts: Vec<&[u8]> = planes.iter().map(|digest| digest.0.as_slice()).collect();
    locus_commitment::sha3_256("locus/keyholder/share-commitment/v1", &parts)
}

fn stored_answer(
    commitment: pb::AnswerCommitment,
    shares: Vec<pb::ReleasedShare>,
    cohort: &Cohort,
    participants: &[u32],
) -> StoredAnswer {
    let payees = cohort.payees().into_iter().map(|(account, amount)| crate::store::Payee {
        account: account.0.to_vec().into(),
        amount: amount.0.to_string(),
    });
    StoredAnswer {
        commitment: Some(commitment),
        shares,
        payees: payees.collect(),
        price: cohort.price().0.to_string(),
        participants: participants.to_vec(),
        slots: Vec::new(),
        is_released: false,
        proven_only: false,
    }
}
