//! The history of exact answers: which people were always answered together.

use super::{Store, StoreError};
use locus_commitment::{Digest32, PersonTag, Sha3Writer, sha3_256};
use locus_ledger::RegistrationId;
use locus_privacy::{ExactCohort, ExactGroup, ExactMember, NetworkParameters};
use redb::{ReadableDatabase as _, ReadableTable, TableDefinition, WriteTransaction};
use std::collections::BTreeMap;

/// Person to the encoded group, for everybody who was ever answered exactly.
pub(super) const GROUPS: TableDefinition<&[u8; 32], &[u8; ExactGroup::BYTES]> = TableDefinition::new("exact_groups");
/// (batch, number) of a group to the number of people in it.
pub(super) const SIZES: TableDefinition<(u64, u16), u32> = TableDefinition::new("exact_group_sizes");

/// Digests of the sets of people that were ever answered exactly.
pub(super) const ANSWERED: TableDefinition<&[u8; 32], ()> = TableDefinition::new("exact_answered");

const DST_SET: &str = "locus/keyholder/exact-set/v1";
const DST_HISTORY: &str = "locus/keyholder/exact-history/v1";

pub(super) fn create_tables(transaction: &WriteTransaction) -> Result<(), StoreError> {
    transaction.open_table(GROUPS)?;
    transaction.open_table(SIZES)?;
    transaction.open_table(ANSWERED)?;
    Ok(())
}

/// The people of an exact answer, and what its participants knew when they agreed on it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ExactAnswer<'a> {
    /// All members; nobody in the other tiers.
    pub(crate) people: &'a [ExactPerson],
    /// The history that must not have changed since, when not all keyholders take part.
    pub(crate) history: Option<Digest32>,
}

/// A person in the cohort of an exact answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExactPerson {
    /// The sealed batch of the dataset that speaks for them.
    pub(crate) batch: RegistrationId,
    /// Who they are.
    pub(crate) person: PersonTag,
}

impl Store {
    /// A cohort held against everything that was answered exactly so far. People occur once.
    pub(crate) fn exact_cohort(&self, people: &[ExactPerson]) -> Result<ExactCohort, StoreError> {
        let transaction = self.database.begin_read()?;
        read_cohort(&transaction.open_table(GROUPS)?, &transaction.open_table(SIZES)?, people)
    }
}

impl Store {
    /// Names all sets of people that were ever answered exactly.
    pub(crate) fn exact_history(&self) -> Result<Digest32, StoreError> {
        history_of(&self.database.begin_read()?.open_table(ANSWERED)?)
    }
}

fn history_of(answered: &impl ReadableTable<&'static [u8; 32], ()>) -> Result<Digest32, StoreError> {
    let mut writer = Sha3Writer::new(DST_HISTORY);
    for entry in answered.iter()? {
        writer.part(entry?.0.value());
    }
    Ok(writer.finish())
}

fn set_digest(people: &[ExactPerson]) -> Digest32 {
    let mut tags: Vec<&[u8]> = people.iter().map(|person| person.person.0.as_slice()).collect();
    tags.sort_unstable();
    sha3_256(DST_SET, &tags)
}

fn read_cohort(
    groups: &impl ReadableTable<&'static [u8; 32], &'static [u8; ExactGroup::BYTES]>,
    sizes: &impl ReadableTable<(u64, u16), u32>,
    people: &[ExactPerson],
) -> Result<ExactCohort, StoreError> {
    let mut members = Vec::with_capacity(people.len());
    let mut sizes_of = BTreeMap::new();
    for person in people {
        let group = groups.get(&person.person.0)?.map(|bytes| ExactGroup::from_bytes(*bytes.value()));
        if let Some(group) = group
            && !sizes_of.contains_key(&group)
        {
            let size = sizes.get((group.batch, group.number))?.ok_or(StoreError::Damaged("exact group"))?;
            sizes_of.insert(group, size.value());
        }
        members.push(ExactMember { batch: person.batch.0, group });
    }
    Ok(ExactCohort::try_new(members, sizes_of)?)
}

/// Makes an exact answer part of the history, or refuses it.
pub(super) fn record(
    transaction: &WriteTransaction,
    answer: &ExactAnswer<'_>,
    parameters: &NetworkParameters,
) -> Result<(), StoreError> {
    let people = answer.people;
    if people.is_empty() {
        return Ok(());
    }
    let mut answered = transaction.open_table(ANSWERED)?;
    if let Some(agreed) = answer.history
        && history_of(&answered)? != agreed
    {
        return Err(StoreError::ExactHistoryMoved);
    }
    answered.insert(&set_digest(people).0, ())?;
    let mut groups = transaction.open_table(GROUPS)?;
    let mut sizes = transaction.open_table(SIZES)?;
    let cohort = read_cohort(&groups, &sizes, people)?;
    let mut last_numbers = BTreeMap::new();
    for batch in cohort.batches() {
        if let Some(entry) = sizes.range((batch, 0)..=(batch, u16::MAX))?.next_back() {
            last_numbers.insert(batch, entry?.0.value().1);
        }
    }
    let refined = cohort.refine(&last_numbers, parameters)?;
    for ((person, member), group) in people.iter().zip(cohort.members()).zip(&refined.groups) {
        // The same cohort again changes nothing.
        if member.group != Some(*group) {
            groups.insert(&person.person.0, &group.to_bytes())?;
        }
    }
    for (group, size) in &refined.sizes {
        sizes.insert((group.batch, group.number), size)?;
    }
    Ok(())
}
