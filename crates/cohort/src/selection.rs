//! Clause 12: who is in a cohort, as places in the registry tree, and the hash that commits to it.
//!
//! Nothing here needs the tree: registrations alone say where every dataset is.

use crate::members::Member;
use locus_commitment::{
    field::{FieldBytes, Fr, decode_field, encode_field},
    merkle::LEVEL_BITS,
};
use locus_genomics::PanelDigest;
use locus_ledger::{ChainView, Cohort, RegistrationId};
use locus_proofs::{
    cohort::payouts_after,
    registry::{GROUP_SIZE, REGISTRY_DEPTH},
};
use std::{collections::BTreeMap, fmt};

/// Datasets of a group, as a number of datasets.
const GROUP_DATASETS: u32 = 5;
const _: () = assert!(GROUP_DATASETS as usize == GROUP_SIZE);
/// Most groups of a shard that any circuit has.
const SHARD_GROUPS_MAX: usize = 256;

/// A dataset by its registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegisteredDataset {
    /// The registration.
    pub registration: RegistrationId,
    /// Its place in the registration, from 0.
    pub ordinal: u32,
}

impl From<&Member> for RegisteredDataset {
    fn from(member: &Member) -> Self {
        Self { registration: member.registration, ordinal: member.ordinal }
    }
}

impl fmt::Display for RegisteredDataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dataset {} of registration {}", self.ordinal, self.registration)
    }
}

/// Where a registration's datasets are in its panel's tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegisteredGroups {
    /// Place of the first group; five datasets are a group.
    pub first_group: u32,
    /// Datasets.
    pub dataset_count: u32,
}

impl RegisteredGroups {
    /// Place of a dataset's group, and the dataset's place in the group; `None` without such a dataset.
    pub fn place_of(&self, ordinal: u32) -> Option<(u32, usize)> {
        if ordinal >= self.dataset_count {
            return None;
        }
        let group = self.first_group.checked_add(ordinal / GROUP_DATASETS)?;
        Some((group, usize::try_from(ordinal % GROUP_DATASETS).ok()?))
    }
}

/// Where registrations are, from all registrations of a panel in their order with their numbers of datasets.
pub fn groups_of_registrations(
    registrations: impl IntoIterator<Item = (RegistrationId, u32)>,
) -> BTreeMap<RegistrationId, RegisteredGroups> {
    let mut first_group = 0u32;
    let mut place = |(registration, dataset_count): (RegistrationId, u32)| {
        let groups = RegisteredGroups { first_group, dataset_count };
        first_group = first_group.saturating_add(dataset_count.div_ceil(GROUP_DATASETS));
        (registration, groups)
    };
    registrations.into_iter().map(&mut place).collect()
}

/// Why datasets are no selection, or not the one of a cohort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// Nobody is selected.
    #[error("nobody is selected")]
    Empty,
    /// A dataset is named twice.
    #[error("{0} is selected twice")]
    Duplicate(RegisteredDataset),
    /// There is no such dataset.
    #[error("{0} is not registered")]
    NotRegistered(RegisteredDataset),
    /// A registry slot that no dataset has.
    #[error("no dataset has registry slot {0}")]
    NoSlot(u64),
    /// The tree has no such place.
    #[error("{0} is outside the registry tree")]
    Outside(RegisteredDataset),
    /// A shard of no circuit.
    #[error("no circuit has shards of {0} groups")]
    ShardSize(usize),
    /// Blindings of other shards than those with selected datasets.
    #[error("the blindings are not one for each shard of the selection")]
    Blindings,
    /// The cohort has another number of people.
    #[error("the cohort has {found} people, {expected} are selected")]
    Size {
        /// Selected.
        expected: u64,
        /// In the cohort.
        found: u64,
    },
    /// The cohort pays others.
    #[error("the cohort commits to other people than those selected")]
    Payouts,
}

/// The datasets selected in each group of a shard.
pub type ShardSelection = Vec<[bool; GROUP_SIZE]>;

/// Selected datasets by their groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    groups: BTreeMap<u32, [bool; GROUP_SIZE]>,
    size: u64,
}

impl Selection {
    /// A selection of these datasets; `groups_of` says where registrations are.
    ///
    /// # Errors
    /// [`SelectionError::Empty`], [`SelectionError::Duplicate`], [`SelectionError::NotRegistered`],
    /// [`SelectionError::Outside`].
    pub fn try_new(
        datasets: impl IntoIterator<Item = RegisteredDataset>,
        groups_of: impl Fn(RegistrationId) -> Option<RegisteredGroups>,
    ) -> Result<Self, SelectionError> {
        let mut selection = Self { groups: BTreeMap::new(), size: 0 };
        for dataset in datasets {
            let found = groups_of(dataset.registration).filter(|groups| dataset.ordinal < groups.dataset_count);
            let groups = found.ok_or(SelectionError::NotRegistered(dataset))?;
            let place =
                groups.place_of(dataset.ordinal).filter(|(group, _)| group >> (LEVEL_BITS * REGISTRY_DEPTH) == 0);
            let (group, member) = place.ok_or(SelectionError::Outside(dataset))?;
            let selected = &mut selection.groups.entry(group).or_default()[member];
            if std::mem::replace(selected, true) {
                return Err(SelectionError::Duplicate(dataset));
            }
            selection.size += 1;
        }
        if selection.size == 0 { Err(SelectionError::Empty) } else { Ok(selection) }
    }

    /// The datasets in these registry slots of a panel.
    ///
    /// # Errors
    /// As [`try_new`](Self::try_new); [`SelectionError::NoSlot`].
    pub fn of_slots(
        view: &ChainView,
        panel: &PanelDigest,
        slots: impl IntoIterator<Item = u64>,
    ) -> Result<Self, SelectionError> {
        let count = |datasets: usize| u32::try_from(datasets).unwrap_or(u32::MAX);
        let on_panel = || view.registrations_on(panel, u64::MAX);
        let groups = groups_of_registrations(on_panel().map(|one| (one.id, count(one.leaves.len()))));
        let starts: BTreeMap<u64, RegistrationId> = on_panel().map(|one| (one.first_slot, one.id)).collect();
        let dataset = |slot: u64| {
            let (first, registration) = starts.range(..=slot).next_back().ok_or(SelectionError::NoSlot(slot))?;
            let ordinal = u32::try_from(slot - first).map_err(|_| SelectionError::NoSlot(slot))?;
            Ok(RegisteredDataset { registration: *registration, ordinal })
        };
        let datasets = slots.into_iter().map(dataset).collect::<Result<Vec<_>, SelectionError>>()?;
        Self::try_new(datasets, |id| groups.get(&id).copied())
    }

    /// Number of people.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Groups with selected datasets, ascending, with those.
    pub fn groups(&self) -> impl Iterator<Item = (u32, [bool; GROUP_SIZE])> {
        self.groups.iter().map(|(place, selected)| (*place, *selected))
    }

    /// Shards of so many groups that have selected datasets, ascending.
    ///
    /// # Errors
    /// [`SelectionError::ShardSize`].
    pub fn shards(&self, shard_groups: usize) -> Result<BTreeMap<u32, ShardSelection>, SelectionError> {
        let wrong = || SelectionError::ShardSize(shard_groups);
        let width = u32::try_from(shard_groups).map_err(|_| wrong())?;
        if !(1..=SHARD_GROUPS_MAX).contains(&shard_groups) {
            return Err(wrong());
        }
        let mut shards: BTreeMap<u32, ShardSelection> = BTreeMap::new();
        for (place, selected) in self.groups() {
            let shard = shards.entry(place / width).or_insert_with(|| vec![[false; GROUP_SIZE]; shard_groups]);
            shard[usize::try_from(place % width).map_err(|_| wrong())?] = selected;
        }
        Ok(shards)
    }

    /// The payouts' hash of a cohort of exactly these datasets under these blindings, by shard.
    ///
    /// # Errors
    /// [`SelectionError::Blindings`] unless there is one canonical blinding for each shard;
    /// [`SelectionError::ShardSize`].
    pub fn payouts(
        &self,
        shard_groups: usize,
        blindings: &BTreeMap<u32, FieldBytes>,
    ) -> Result<FieldBytes, SelectionError> {
        let shards = self.shards(shard_groups)?;
        if !blindings.keys().eq(shards.keys()) {
            return Err(SelectionError::Blindings);
        }
        let mut payouts = Fr::default();
        for ((shard, selected), blinding) in shards.iter().zip(blindings.values()) {
            let blinding = decode_field(&blinding.0).map_err(|_| SelectionError::Blindings)?;
            payouts = payouts_after(payouts, *shard, blinding, selected);
        }
        Ok(FieldBytes(encode_field(&payouts)))
    }

    /// Whether a cohort is of exactly these datasets: what a keyholder checks of a cohort that is proven on the chain, with
    /// its own selection, before it signs the cohort's id. The proof has shown everything else.
    ///
    /// # Errors
    /// [`SelectionError::Size`], [`SelectionError::Blindings`], [`SelectionError::ShardSize`] or
    /// [`SelectionError::Payouts`].
    pub fn check(
        &self,
        shard_groups: usize,
        cohort: &Cohort,
        blindings: &BTreeMap<u32, FieldBytes>,
    ) -> Result<(), SelectionError> {
        if cohort.size != self.size {
            return Err(SelectionError::Size { expected: self.size, found: cohort.size });
        }
        let payouts = self.payouts(shard_groups, blindings)?;
        let last = blindings.last_key_value().is_some_and(|(shard, _)| *shard == cohort.shard);
        if payouts == cohort.payouts && last { Ok(()) } else { Err(SelectionError::Payouts) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGISTRATIONS: [(u64, u32); 3] = [(1, 1), (2, 78), (4, 12)];
    const SHARD_GROUPS: usize = 16;

    fn places() -> BTreeMap<RegistrationId, RegisteredGroups> {
        groups_of_registrations(REGISTRATIONS.map(|(id, count)| (RegistrationId(id), count)))
    }

    fn datasets(names: &[(u64, u32)]) -> Vec<RegisteredDataset> {
        let dataset =
            |(id, ordinal): &(u64, u32)| RegisteredDataset { registration: RegistrationId(*id), ordinal: *ordinal };
        names.iter().map(dataset).collect()
    }

    fn select(names: &[(u64, u32)]) -> Result<Selection, SelectionError> {
        let places = places();
        Selection::try_new(datasets(names), |id| places.get(&id).copied())
    }

    fn blindings(shards: &[u32]) -> BTreeMap<u32, FieldBytes> {
        let blinding = |shard: &u32| (*shard, FieldBytes([u8::try_from(*shard).unwrap() + 1; 32]));
        shards.iter().map(blinding).collect()
    }

    #[test]
    fn every_five_datasets_of_a_registration_are_a_group() {
        let first: Vec<u32> = places().values().map(|groups| groups.first_group).collect();
        assert_eq!(first, [0, 1, 17]);
        let selection = select(&[(1, 0), (2, 4), (2, 5), (2, 77), (4, 11)]).unwrap();
        let shards = selection.shards(SHARD_GROUPS).unwrap();
        assert_eq!((selection.size(), shards.keys().copied().collect::<Vec<_>>()), (5, vec![0, 1]));
        let [first, second] = [0, 1].map(|shard| shards[&shard].clone());
        assert_eq!(first[0], [true, false, false, false, false]);
        assert_eq!(first[1], [false, false, false, false, true]);
        assert_eq!(first[2], [true, false, false, false, false]);
        assert_eq!(second[0], [false, false, true, false, false], "ordinal 77 is in group 16");
        assert_eq!(second[3], [false, true, false, false, false], "ordinal 11 is in group 19");
        assert_eq!(first.len() + second.len(), 32);
    }

    #[test]
    fn duplicates_and_datasets_that_are_not_there_are_no_selection() {
        let [absent, unknown] = [(4, 12), (3, 0)].map(|name| datasets(&[name])[0]);
        assert_eq!(select(&[(1, 0), (4, 12)]), Err(SelectionError::NotRegistered(absent)));
        assert_eq!(select(&[(3, 0)]), Err(SelectionError::NotRegistered(unknown)));
        assert_eq!(select(&[(2, 1), (1, 0), (2, 1)]), Err(SelectionError::Duplicate(datasets(&[(2, 1)])[0])));
        assert_eq!(select(&[]), Err(SelectionError::Empty));
        let beyond = |_| Some(RegisteredGroups { first_group: (1 << 20) - 1, dataset_count: 6 });
        let outside = Selection::try_new(datasets(&[(1, 5)]), beyond);
        assert_eq!(outside, Err(SelectionError::Outside(datasets(&[(1, 5)])[0])));
        assert!(Selection::try_new(datasets(&[(1, 4)]), beyond).is_ok());
    }

    #[test]
    fn a_cohort_is_of_one_selection_only() {
        let selection = select(&[(1, 0), (2, 4), (4, 11)]).unwrap();
        let blindings = blindings(&[0, 1]);
        let payouts = selection.payouts(SHARD_GROUPS, &blindings).unwrap();
        let cohort = Cohort { shard: 1, size: 3, payouts, ..Cohort::empty() };
        let check = |selection: &Selection, blindings: &BTreeMap<u32, FieldBytes>| {
            selection.check(SHARD_GROUPS, &cohort, blindings)
        };
        assert_eq!(check(&selection, &blindings), Ok(()));
        for others in [[(1, 0), (2, 3), (4, 11)], [(1, 0), (2, 4), (4, 10)], [(2, 0), (2, 4), (4, 11)]] {
            assert_eq!(check(&select(&others).unwrap(), &blindings), Err(SelectionError::Payouts), "{others:?}");
        }
        let more = select(&[(1, 0), (2, 4), (2, 9), (4, 11)]).unwrap();
        assert_eq!(check(&more, &blindings), Err(SelectionError::Size { expected: 4, found: 3 }));
        let mut changed = blindings.clone();
        changed.insert(1, FieldBytes([9; 32]));
        assert_eq!(check(&selection, &changed), Err(SelectionError::Payouts));
        changed.insert(1, FieldBytes([0xff; 32]));
        assert_eq!(check(&selection, &changed), Err(SelectionError::Blindings), "not canonical");
        changed.remove(&1);
        assert_eq!(check(&selection, &changed), Err(SelectionError::Blindings));
        let elsewhere = Cohort { shard: 2, ..cohort };
        assert_eq!(selection.check(SHARD_GROUPS, &elsewhere, &blindings), Err(SelectionError::Payouts));
        for wrong in [0, 257] {
            let refused = selection.check(wrong, &cohort, &blindings);
            assert_eq!(refused, Err(SelectionError::ShardSize(wrong)));
        }
        assert!(selection.check(256, &cohort, &blindings).is_err(), "all are in one such shard");
    }
}
