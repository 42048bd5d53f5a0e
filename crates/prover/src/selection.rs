//! Who is in a cohort, as places in the registry tree, and the hash that commits to it.
//!
//! Nothing here needs the tree: a keyholder knows from registrations alone where every dataset is.

use locus_commitment::{
    field::{FieldBytes, decode_field, encode_field},
    merkle::LEVEL_BITS,
};
use locus_ledger::{Cohort, RegistrationId};
use locus_proofs::{
    cohort::{CohortShape, payouts_after},
    registry::GROUP_SIZE,
};
use std::{collections::BTreeMap, fmt};

/// Datasets of a group, as a number of datasets.
const GROUP_DATASETS: u32 = 5;
const _: () = assert!(GROUP_DATASETS as usize == GROUP_SIZE);

/// A dataset by its registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegisteredDataset {
    /// The registration.
    pub registration: RegistrationId,
    /// Its place in the registration, from 0.
    pub ordinal: u32,
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

/// Where registrations are, from all registrations of a panel in their order with their numbers of datasets.
pub fn groups_of_registrations(
    registrations: impl IntoIterator<Item = (RegistrationId, u32)>,
) -> BTreeMap<RegistrationId, RegisteredGroups> {
    let mut first_group = 0;
    let mut place = |(registration, dataset_count): (RegistrationId, u32)| {
        let groups = RegisteredGroups { first_group, dataset_count };
        first_group = groups.first_group.saturating_add(dataset_count.div_ceil(GROUP_DATASETS));
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
    /// The tree has no such place.
    #[error("{0} is outside the registry tree")]
    Outside(RegisteredDataset),
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

/// Selected datasets by shard and group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    shape: CohortShape,
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
        shape: CohortShape,
        datasets: impl IntoIterator<Item = RegisteredDataset>,
        groups_of: impl Fn(RegistrationId) -> Option<RegisteredGroups>,
    ) -> Result<Self, SelectionError> {
        let mut selection = Self { shape, groups: BTreeMap::new(), size: 0 };
        for dataset in datasets {
            let found = groups_of(dataset.registration).filter(|groups| dataset.ordinal < groups.dataset_count);
            let groups = found.ok_or(SelectionError::NotRegistered(dataset))?;
            let (place, member) = place_of(&groups, dataset.ordinal);
            if place >> (LEVEL_BITS * shape.depth()) != 0 {
                return Err(SelectionError::Outside(dataset));
            }
            let place = u32::try_from(place).map_err(|_| SelectionError::Outside(dataset))?;
            let selected = &mut selection.groups.entry(place).or_default()[member];
            if std::mem::replace(selected, true) {
                return Err(SelectionError::Duplicate(dataset));
            }
            selection.size += 1;
        }
        if selection.size == 0 { Err(SelectionError::Empty) } else { Ok(selection) }
    }

    /// Number of people.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Shards with selected datasets, ascending.
    pub fn shards(&self) -> Vec<u32> {
        let bits = LEVEL_BITS * self.shape.shard_levels();
        let mut shards: Vec<u32> = self.groups.keys().map(|place| place >> bits).collect();
        shards.dedup();
        shards
    }

    /// The datasets selected in each group of a shard.
    pub(crate) fn of_shard(&self, shard: u32) -> Vec<[bool; GROUP_SIZE]> {
        let first = u64::from(shard) << (LEVEL_BITS * self.shape.shard_levels());
        let places = first..first + self.shape.groups() as u64;
        let group = |place: u64| u32::try_from(place).ok().and_then(|place| self.groups.get(&place).copied());
        places.map(|place| group(place).unwrap_or_default()).collect()
    }

    /// Size of a shard, then place and members of every group, ascending: equal for equal selections only.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![u8::try_from(self.shape.shard_levels()).unwrap_or(u8::MAX)];
        for (place, selected) in &self.groups {
            bytes.extend_from_slice(&place.to_le_bytes());
            bytes.extend(selected.map(u8::from));
        }
        bytes
    }
}

/// Place of a dataset's group, and the dataset's place in the group.
pub(crate) fn place_of(groups: &RegisteredGroups, ordinal: u32) -> (u64, usize) {
    let ordinal = ordinal as usize;
    (u64::from(groups.first_group) + (ordinal / GROUP_SIZE) as u64, ordinal % GROUP_SIZE)
}

/// The payouts' hash of a cohort of exactly these datasets under these blindings, by shard.
///
/// # Errors
/// [`SelectionError::Blindings`] unless there is one canonical blinding for each shard.
pub fn payouts_of(selection: &Selection, blindings: &BTreeMap<u32, FieldBytes>) -> Result<FieldBytes, SelectionError> {
    if !blindings.keys().copied().eq(selection.shards()) {
        return Err(SelectionError::Blindings);
    }
    let mut payouts = None;
    for (shard, blinding) in blindings {
        let blinding = decode_field(&blinding.0).map_err(|_| SelectionError::Blindings)?;
        let before = payouts.unwrap_or_default();
        payouts = Some(payouts_after(before, *shard, blinding, &selection.of_shard(*shard)));
    }
    payouts.map(|payouts| FieldBytes(encode_field(&payouts))).ok_or(SelectionError::Empty)
}

/// Whether a cohort is of exactly these datasets: what a keyholder checks of a cohort that is proven on the chain, with
/// its own selection, before it signs the cohort's id. The proof has shown everything else.
///
/// # Errors
/// [`SelectionError::Size`], [`SelectionError::Blindings`] or [`SelectionError::Payouts`].
pub fn check_selection(
    selection: &Selection,
    cohort: &Cohort,
    blindings: &BTreeMap<u32, FieldBytes>,
) -> Result<(), SelectionError> {
    if cohort.size != selection.size {
        return Err(SelectionError::Size { expected: selection.size, found: cohort.size });
    }
    let payouts = payouts_of(selection, blindings)?;
    let last = selection.shards().last() == Some(&cohort.shard);
    if payouts == cohort.payouts && last { Ok(()) } else { Err(SelectionError::Payouts) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGISTRATIONS: [(u64, u32); 3] = [(1, 1), (2, 78), (4, 12)];

    fn shape() -> CohortShape {
        CohortShape::try_new(1, 2).unwrap()
    }

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
        Selection::try_new(shape(), datasets(names), |id| places.get(&id).copied())
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
        assert_eq!((selection.size(), selection.shards()), (5, vec![0, 1]));
        let [first, second] = [0, 1].map(|shard| selection.of_shard(shard));
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
        let beyond = |_| Some(RegisteredGroups { first_group: 255, dataset_count: 6 });
        let outside = Selection::try_new(shape(), datasets(&[(1, 5)]), beyond);
        assert_eq!(outside, Err(SelectionError::Outside(datasets(&[(1, 5)])[0])));
        assert!(Selection::try_new(shape(), datasets(&[(1, 4)]), beyond).is_ok());
    }

    #[test]
    fn a_cohort_is_of_one_selection_only() {
        let selection = select(&[(1, 0), (2, 4), (4, 11)]).unwrap();
        let blindings = blindings(&[0, 1]);
        let payouts = payouts_of(&selection, &blindings).unwrap();
        let cohort = Cohort { shard: 1, size: 3, payouts, ..Cohort::empty() };
        assert_eq!(check_selection(&selection, &cohort, &blindings), Ok(()));
        for others in [[(1, 0), (2, 3), (4, 11)], [(1, 0), (2, 4), (4, 10)], [(2, 0), (2, 4), (4, 11)]] {
            let other = select(&others).unwrap();
            assert_eq!(check_selection(&other, &cohort, &blindings), Err(SelectionError::Payouts), "{others:?}");
        }
        let more = select(&[(1, 0), (2, 4), (2, 9), (4, 11)]).unwrap();
        let size = Err(SelectionError::Size { expected: 4, found: 3 });
        assert_eq!(check_selection(&more, &cohort, &blindings), size);
        let mut changed = blindings.clone();
        changed.insert(1, FieldBytes([9; 32]));
        assert_eq!(check_selection(&selection, &cohort, &changed), Err(SelectionError::Payouts));
        changed.insert(1, FieldBytes([0xff; 32]));
        assert_eq!(check_selection(&selection, &cohort, &changed), Err(SelectionError::Blindings), "not canonical");
        changed.remove(&1);
        assert_eq!(check_selection(&selection, &cohort, &changed), Err(SelectionError::Blindings));
        let elsewhere = Cohort { shard: 2, ..cohort };
        assert_eq!(check_selection(&selection, &elsewhere, &blindings), Err(SelectionError::Payouts));
    }
}
