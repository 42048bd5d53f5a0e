//! The history of exact answers: which people were always answered together.

use super::{Store, StoreError};
use locus_commitment::PersonTag;
use locus_ledger::RegistrationId;
use locus_privacy::{ExactCohort, ExactGroup, ExactMember, NetworkParameters};
use redb::{ReadableDatabase as _, ReadableTable, TableDefinition, WriteTransaction};
use std::collections::BTreeMap;

/// Person to the encoded group, for everybody who was ever answered exactly.
const GROUPS: TableDefinition<&[u8; 32], &[u8; ExactGroup::BYTES]> = TableDefinition::new("exact_groups");
/// (batch, number) of a group to the number of people in it.
const SIZES: TableDefinition<(u64, u16), u32> = TableDefinition::new("exact_group_sizes");

pub(super) fn create_tables(transaction: &WriteTransaction) -> Result<(), StoreError> {
    transaction.open_table(GROUPS)?;
    transaction.open_table(SIZES)?;
    Ok(())
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

/// Makes an exact answer over `people` part of the history, or refuses it.
pub(super) fn record(
    transaction: &WriteTransaction,
    people: &[ExactPerson],
    parameters: &NetworkParameters,
) -> Result<(), StoreError> {
    if people.is_empty() {
        return Ok(());
    }
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
