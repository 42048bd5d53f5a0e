//! Privacy budgets: one account a person, charged in the transaction that stores the answer.

use super::{META, Store, StoreError, answers::StoredAnswer, exact, exact::ExactAnswer, succession::TAKEN_SEQUENCE};
use locus_commitment::{Digest32, PersonTag};
use locus_privacy::{ChargeName, ChargeOutcome, ChargeRequest, NetworkParameters, PersonBudget};
use prost::Message as _;
use redb::{ReadableDatabase as _, ReadableTable as _, TableDefinition, WriteTransaction};
use std::collections::BTreeSet;

/// Person to an encoded budget.
pub(super) const BUDGETS: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("budgets");
/// (charge name, use number) to an encoded [`UseRecord`].
pub(super) const USES: TableDefinition<(&[u8; 32], u64), &[u8]> = TableDefinition::new("uses");
/// Question key to the slots left out for want of budget when it was last answered, 8 bytes each.
pub(super) const EXCLUSIONS: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("exclusions");
/// Names of charges that all three keyholders are known to have made.
pub(super) const CHARGED_BY_ALL: TableDefinition<&[u8; 32], ()> = TableDefinition::new("charged_by_all");
/// Name of the number of answers charged so far in the meta table.
pub(super) const SEQUENCE: &str = "charge_sequence";

pub(super) fn create_tables(transaction: &WriteTransaction) -> Result<(), StoreError> {
    transaction.open_table(BUDGETS)?;
    transaction.open_table(USES)?;
    transaction.open_table(EXCLUSIONS)?;
    transaction.open_table(CHARGED_BY_ALL)?;
    Ok(())
}

/// Who used datasets, when and for what.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct UseRecord {
    /// 32 bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) order: bytes::Bytes,
    /// 20 bytes.
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) researcher: bytes::Bytes,
    /// Purpose bits.
    #[prost(uint32, tag = "3")]
    pub(crate) purpose: u32,
    /// Seconds since the Unix epoch.
    #[prost(uint64, tag = "4")]
    pub(crate) at_unix_s: u64,
    /// Variants asked for.
    #[prost(uint32, tag = "5")]
    pub(crate) variant_count: u32,
}

/// A person in a cohort.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MemberCharge {
    /// Registry slot of the dataset.
    pub(crate) slot: u64,
    /// Whose budget is charged.
    pub(crate) person: PersonTag,
}

/// Everything that becomes durable when an answer is committed.
pub(crate) struct AnswerRecord<'a> {
    /// The order.
    pub(crate) order: Digest32,
    /// What every member is charged.
    pub(crate) charge: ChargeRequest,
    /// What every member is charged beside it.
    pub(crate) also: &'a [ChargeRequest],
    /// The members.
    pub(crate) members: &'a [MemberCharge],
    /// In the exact tier: what it adds to the history of exact answers.
    pub(crate) exact: ExactAnswer<'a>,
    /// Key of the question without its cohort.
    pub(crate) question: Digest32,
    /// Slots left out for want of budget.
    pub(crate) budget_exclusions: BTreeSet<u64>,
    /// What the members' statements will say.
    pub(crate) use_record: UseRecord,
    /// What is stored beside the charge.
    pub(crate) outcome: Outcome<'a>,
}

/// What a charge is for.
#[derive(Clone, Copy)]
pub(crate) enum Outcome<'a> {
    /// An answer that was computed.
    Answer {
        /// The answer.
        answer: &'a StoredAnswer,
        /// How often the order had been prepared when its computation began.
        times_prepared: u64,
    },
    /// An attempt to compute one with the other keyholders.
    Attempt(u64),
}

impl Store {
    /// Charges everyone and stores the answer, all or nothing, durable when this returns. An order
    /// that was answered before is left as it is.
    ///
    /// An answer to a preparation that was replaced while it was computed is refused: it would be repeated, to
    /// preparations that nobody else has any more.
    ///
    /// In filtered answers the charge comes first, with the attempt it is for; a later attempt at the same
    /// question charges nothing more. The answer then follows by [`put_filtered_answer`](Self::put_filtered_answer).
    pub(crate) fn commit_answer(
        &self,
        record: &AnswerRecord<'_>,
        parameters: &NetworkParameters,
    ) -> Result<(), StoreError> {
        let is_of_order = |made: &UseRecord| made.order == record.use_record.order;
        let is_told = self.uses(&record.charge.name)?.iter().any(is_of_order);
        // What another keyholder handed over is its word, and frees nobody of a charge.
        let made_here = self.uses_after(&record.charge.name, self.meta(TAKEN_SEQUENCE)?.unwrap_or(0))?;
        let is_charged = made_here.iter().any(is_of_order);
        let transaction = self.database.begin_write()?;
        if let Outcome::Answer { times_prepared, .. } = record.outcome {
            if Self::times_prepared_in(&transaction, &record.order)? != times_prepared {
                return Err(StoreError::PreparedAnew);
            }
            if Self::is_answered_in(&transaction, &record.order)? {
                return Ok(());
            }
        }
        if is_charged && record.also.is_empty() {
            Self::put_outcome(&transaction, &record.order, record.outcome)?;
            transaction.commit()?;
            return Ok(());
        }
        // The name covers the cohort, and its first use was kept in the transaction that charged everybody in it.
        let charge = made_here.is_empty().then_some(&record.charge);
        let charges: Vec<&ChargeRequest> = charge.into_iter().chain(record.also).collect();
        let newly_charged = match charges[..] {
            [] => false,
            _ => Self::charge_members(&transaction, record.members, &charges, parameters)?,
        };
        exact::record(&transaction, &record.exact, parameters)?;
        {
            let mut meta = transaction.open_table(META)?;
            let sequence = meta.get(SEQUENCE)?.map_or(0, |value| value.value());
            let next = sequence.saturating_add(1);
            if !is_told {
                let mut uses = transaction.open_table(USES)?;
                uses.insert((&record.charge.name.0, next), record.use_record.encode_to_vec().as_slice())?;
            }
            meta.insert(SEQUENCE, next)?;
            let slots: Vec<u8> = record.budget_exclusions.iter().flat_map(|slot| slot.to_le_bytes()).collect();
            transaction.open_table(EXCLUSIONS)?.insert(&record.question.0, slots.as_slice())?;
        }
        Self::put_outcome(&transaction, &record.order, record.outcome)?;
        transaction.commit()?;
        tracing::info!(order = %record.order, members = record.members.len(), newly_charged, "answer committed");
        Ok(())
    }

    /// Makes all `charges` of every member; false when all were made before.
    fn charge_members(
        transaction: &WriteTransaction,
        members: &[MemberCharge],
        charges: &[&ChargeRequest],
        parameters: &NetworkParameters,
    ) -> Result<bool, StoreError> {
        let mut newly_charged = false;
        let mut budgets = transaction.open_table(BUDGETS)?;
        for member in members {
            let mut budget = match budgets.get(&member.person.0)? {
                Some(bytes) => PersonBudget::parse(bytes.value())?,
                None => PersonBudget::new(),
            };
            let mut is_changed = false;
            for charge in charges {
                is_changed |= budget.charge(charge, parameters)? == ChargeOutcome::Charged;
            }
            if is_changed {
                newly_charged = true;
                budgets.insert(&member.person.0, budget.to_bytes().as_slice())?;
            }
        }
        Ok(newly_charged)
    }

    /// Notes that all three keyholders have charged under this name.
    pub(super) fn note_charged_by_all(transaction: &WriteTransaction, name: &[u8; 32]) -> Result<(), StoreError> {
        transaction.open_table(CHARGED_BY_ALL)?.insert(name, ())?;
        Ok(())
    }

    /// Whether all three keyholders are known to have charged under this name.
    pub(crate) fn is_charged_by_all(&self, name: &ChargeName) -> Result<bool, StoreError> {
        let table = self.database.begin_read()?.open_table(CHARGED_BY_ALL)?;
        let noted = table.get(&name.0)?;
        Ok(noted.is_some())
    }

    /// Slots of those who cannot pay `charge` any more.
    pub(crate) fn exhausted(
        &self,
        members: &[MemberCharge],
        charge: &ChargeRequest,
        parameters: &NetworkParameters,
    ) -> Result<BTreeSet<u64>, StoreError> {
        let table = self.database.begin_read()?.open_table(BUDGETS)?;
        let mut exhausted = BTreeSet::new();
        for member in members {
            let budget = match table.get(&member.person.0)? {
                Some(bytes) => PersonBudget::parse(bytes.value())?,
                None => PersonBudget::new(),
            };
            if budget.check(charge, parameters).is_err() {
                exhausted.insert(member.slot);
            }
        }
        Ok(exhausted)
    }

    /// A person's budget.
    pub(crate) fn budget(&self, person: &PersonTag) -> Result<PersonBudget, StoreError> {
        let table = self.database.begin_read()?.open_table(BUDGETS)?;
        match table.get(&person.0)? {
            Some(bytes) => Ok(PersonBudget::parse(bytes.value())?),
            None => Ok(PersonBudget::new()),
        }
    }

    /// Uses charged under a name, oldest first.
    pub(crate) fn uses(&self, name: &ChargeName) -> Result<Vec<UseRecord>, StoreError> {
        self.uses_after(name, 0)
    }

    /// The same, of those with larger numbers than `last`; they begin with 1.
    fn uses_after(&self, name: &ChargeName, last: u64) -> Result<Vec<UseRecord>, StoreError> {
        let table = self.database.begin_read()?.open_table(USES)?;
        let mut uses = Vec::new();
        for entry in table.range((&name.0, last.saturating_add(1))..=(&name.0, u64::MAX))? {
            let (_, bytes) = entry?;
            uses.push(UseRecord::decode(bytes.value()).map_err(|_| StoreError::Damaged("use"))?);
        }
        Ok(uses)
    }

    /// Whether an answer of this name was given before.
    pub(crate) fn is_answered(&self, name: &ChargeName) -> Result<bool, StoreError> {
        let table = self.database.begin_read()?.open_table(USES)?;
        let answered = table.range((&name.0, 0)..=(&name.0, u64::MAX))?.next().is_some();
        Ok(answered)
    }

    /// Slots left out for want of budget when the question was last answered.
    pub(crate) fn last_budget_exclusions(&self, question: &Digest32) -> Result<Option<BTreeSet<u64>>, StoreError> {
        let table = self.database.begin_read()?.open_table(EXCLUSIONS)?;
        let Some(bytes) = table.get(&question.0)? else { return Ok(None) };
        let (slots, rest) = bytes.value().as_chunks::<8>();
        if !rest.is_empty() {
            return Err(StoreError::Damaged("exclusions"));
        }
        Ok(Some(slots.iter().map(|slot| u64::from_le_bytes(*slot)).collect()))
    }

    /// Number of answers charged so far; it never goes down.
    pub(crate) fn charge_sequence(&self) -> Result<u64, StoreError> {
        Ok(self.meta(SEQUENCE)?.unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::surcharge_owed;
    use locus_privacy::{Rho, RhoCost, Tier};
    use locus_wire::pb::keyholder::AnswerCommitment;

    const PERSON: PersonTag = PersonTag([1; 32]);

    fn charge(name: u8, rho_nano: u64) -> ChargeRequest {
        let cost = RhoCost { dp: Rho::from_nano(rho_nano), flooding: Rho::ZERO };
        ChargeRequest { name: ChargeName([name; 32]), tier: Tier::Open, cost, at_unix_s: 1_800_000_000 }
    }

    /// Commits to the answer of this name in an order with these keyholders. Tells what was spent since the beginning.
    fn commit(store: &Store, order: u8, name: u8, participants: &[u32]) -> (StoredAnswer, Rho) {
        let answer = StoredAnswer {
            commitment: Some(AnswerCommitment { answer_digest: vec![name; 32].into(), ..Default::default() }),
            participants: participants.to_vec(),
            ..Default::default()
        };
        let charge = charge(name, 1_000);
        let record = AnswerRecord {
            order: Digest32([order; 32]),
            charge,
            also: &surcharge_owed(store, &charge, participants.len())
                .expect("it reads")
                .into_iter()
                .collect::<Vec<_>>(),
            members: &[MemberCharge { slot: 1, person: PERSON }],
            exact: ExactAnswer::default(),
            question: Digest32([0x77; 32]),
            budget_exclusions: BTreeSet::new(),
            use_record: UseRecord { order: vec![order; 32].into(), ..UseRecord::default() },
            outcome: Outcome::Answer { answer: &answer, times_prepared: 0 },
        };
        store.commit_answer(&record, &NetworkParameters::standard()).expect("it commits");
        (answer, store.budget(&PERSON).expect("it reads").spent_in_lifetime())
    }

    #[test]
    fn a_pair_pays_the_surcharge_unless_all_three_are_known_to_have_charged() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::open(dir.path()).expect("it opens");
        // A relay that never asks the third to commit: its charge is not known, so the pair pays as a pair.
        assert_eq!(commit(&store, 1, 1, &[1, 2, 3]).1, Rho::from_nano(1_000));
        assert_eq!(commit(&store, 2, 1, &[1, 2]).1, Rho::from_nano(1_500));
        assert_eq!(commit(&store, 3, 1, &[1, 2]).1, Rho::from_nano(1_500), "once");
        // Control: what is released with the commitments of all three was charged by all.
        let (answer, spent) = commit(&store, 4, 2, &[1, 2, 3]);
        assert_eq!(spent, Rho::from_nano(2_500));
        assert!(store.mark_released(&Digest32([4; 32]), &answer).expect("it writes"));
        assert_eq!(commit(&store, 5, 2, &[1, 2]).1, Rho::from_nano(2_500));
        // A release by a pair says nothing of the third.
        let (answer, spent) = commit(&store, 6, 3, &[1, 3]);
        assert_eq!(spent, Rho::from_nano(4_000));
        assert!(store.mark_released(&Digest32([6; 32]), &answer).expect("it writes"));
        assert_eq!(commit(&store, 7, 3, &[1, 2, 3]).1, Rho::from_nano(4_000));
        for name in 1..=3 {
            let expected = if name == 1 { 3 } else { 2 };
            assert_eq!(store.uses(&ChargeName([name; 32])).expect("it reads").len(), expected);
        }
    }

    #[test]
    fn an_order_answered_anew_by_a_pair_pays_the_surcharge_and_is_one_use() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::open(dir.path()).expect("it opens");
        commit(&store, 1, 1, &[1, 2, 3]);
        assert!(store.forget_unreleased(&Digest32([1; 32])).expect("it writes"));
        assert_eq!(commit(&store, 1, 1, &[1, 2]).1, Rho::from_nano(1_500));
        assert_eq!(store.uses(&ChargeName([1; 32])).expect("it reads").len(), 1);
        assert_eq!(store.charge_sequence().expect("it reads"), 2, "peers see that budgets changed");
    }
}
