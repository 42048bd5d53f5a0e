//! When people may be answered exactly.
//!
//! The history of exact answers belongs to people, not to batches or dataset versions: whoever was
//! answered keeps a *group*, the people that every exact answer so far took together with them. See
//! SPEC section 6.

use crate::{
    error::PrivacyError,
    parameters::{NetworkParameterValues, NetworkParameters},
};
use std::collections::{BTreeMap, BTreeSet};

/// People whom every exact answer so far took together or left out together, and who were first
/// answered as members of the same sealed batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExactGroup {
    /// The batch through which they were first answered.
    pub batch: u64,
    /// Number among the groups of that batch, from 1.
    pub number: u16,
}

impl ExactGroup {
    /// Length of [`to_bytes`](Self::to_bytes).
    pub const BYTES: usize = 10;

    /// Batch, then number, little endian.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.batch.to_le_bytes());
        bytes[8..].copy_from_slice(&self.number.to_le_bytes());
        bytes
    }

    /// The group of [`to_bytes`](Self::to_bytes).
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let [b0, b1, b2, b3, b4, b5, b6, b7, n0, n1] = bytes;
        Self { batch: u64::from_le_bytes([b0, b1, b2, b3, b4, b5, b6, b7]), number: u16::from_le_bytes([n0, n1]) }
    }
}

/// A person in the cohort of an exact answer. A person occurs in a cohort once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExactMember {
    /// The sealed batch of the dataset that speaks for them.
    pub batch: u64,
    /// Their group; `None` when no exact answer has taken them yet.
    pub group: Option<ExactGroup>,
}

/// The cohort of an exact answer, held against the history.
///
/// Linear combinations of exact answers can compute exactly the sums over groups and unions of
/// groups. So an answer is admitted when it takes, of every group, nobody, everybody, or so many
/// that neither part is smaller than `exact_change_min`, and of people never answered before nobody
/// or at least as many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExactCohort {
    members: Vec<ExactMember>,
    /// Size of every group that a member belongs to, members or not.
    sizes: BTreeMap<ExactGroup, u32>,
}

/// What the history becomes by an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExactRefinement {
    /// The new group of each member, in the order of the members.
    pub groups: Vec<ExactGroup>,
    /// Sizes of all groups that are new or became smaller.
    pub sizes: BTreeMap<ExactGroup, u32>,
}

/// People who are answered together or not at all as far as one cohort is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Unit {
    /// Members of a group.
    Answered(ExactGroup),
    /// Members never answered before, by their batch.
    Fresh(u64),
    /// All members of a batch.
    Batch(u64),
}

impl ExactCohort {
    /// The cohort `members`; `sizes` says how many people each of their groups has in all.
    ///
    /// # Errors
    /// [`PrivacyError::Encoding`] when a size is missing or smaller than the number of members.
    pub fn try_new(members: Vec<ExactMember>, sizes: BTreeMap<ExactGroup, u32>) -> Result<Self, PrivacyError> {
        let cohort = Self { members, sizes };
        for (unit, inside) in cohort.count(&BTreeSet::new()) {
            if let Unit::Answered(group) = unit
                && cohort.sizes.get(&group).is_none_or(|size| *size < inside)
            {
                let reason = "a group is smaller than its members";
                return Err(PrivacyError::Encoding { object: "exact history", reason });
            }
        }
        Ok(cohort)
    }

    /// The members, in the order given.
    pub fn members(&self) -> &[ExactMember] {
        &self.members
    }

    /// Every batch that a member or its group belongs to.
    pub fn batches(&self) -> BTreeSet<u64> {
        let of_member = |member: &ExactMember| [Some(member.batch), member.group.map(|group| group.batch)];
        self.members.iter().flat_map(of_member).flatten().collect()
    }

    /// Checks that the cohort may be answered exactly. A cohort that was answered stays admitted
    /// while its batches are large enough.
    ///
    /// # Errors
    /// - [`PrivacyError::ExactTooFew`] when a batch has fewer than `exact_batch_min` members;
    /// - [`PrivacyError::ExactIsolates`] when the answer, with all earlier ones, would set fewer than
    ///   `exact_change_min` people apart.
    pub fn admits(&self, parameters: &NetworkParameters) -> Result<(), PrivacyError> {
        let faults = self.faults(&BTreeSet::new(), parameters);
        faults.into_iter().next().map_or(Ok(()), |(_, fault)| Err(fault))
    }

    /// Places of the members to leave out so that the rest is admitted: whole batches, whole groups,
    /// and everybody in a batch who was never answered. May be all.
    pub fn exclusions(&self, parameters: &NetworkParameters) -> BTreeSet<usize> {
        let mut excluded = BTreeSet::new();
        loop {
            let faults: BTreeSet<Unit> = self.faults(&excluded, parameters).into_iter().map(|(unit, _)| unit).collect();
            if faults.is_empty() {
                return excluded;
            }
            // Everybody of a faulty unit is left out, so each round leaves out somebody more.
            let is_faulty = |member: &ExactMember| units_of(member).iter().any(|unit| faults.contains(unit));
            let places = self.members.iter().enumerate().filter(|(_, member)| is_faulty(member));
            excluded.extend(places.map(|(place, _)| place));
        }
    }

    /// The history after an answer over this cohort. `last_numbers` holds, for every batch, the
    /// largest number of a group in use; none when absent.
    ///
    /// # Errors
    /// Those of [`admits`](Self::admits); [`PrivacyError::Encoding`] when a batch has too many groups.
    pub fn refine(
        &self,
        last_numbers: &BTreeMap<u64, u16>,
        parameters: &NetworkParameters,
    ) -> Result<ExactRefinement, PrivacyError> {
        self.admits(parameters)?;
        let mut last_numbers = last_numbers.clone();
        let mut next_of = |batch: u64| {
            let last = last_numbers.entry(batch).or_insert(0);
            let reason = "a batch has too many groups";
            let next = last.checked_add(1).ok_or(PrivacyError::Encoding { object: "exact history", reason })?;
            *last = next;
            Ok::<_, PrivacyError>(ExactGroup { batch, number: next })
        };
        let mut renamed: BTreeMap<Unit, ExactGroup> = BTreeMap::new();
        let mut sizes = BTreeMap::new();
        for (unit, inside) in self.count(&BTreeSet::new()) {
            match unit {
                Unit::Fresh(batch) => {
                    let group = next_of(batch)?;
                    renamed.insert(unit, group);
                    sizes.insert(group, inside);
                }
                Unit::Answered(group) => {
                    let outside = self.sizes.get(&group).map_or(0, |size| size.saturating_sub(inside));
                    if outside > 0 {
                        let split = next_of(group.batch)?;
                        renamed.insert(unit, split);
                        sizes.insert(split, inside);
                        sizes.insert(group, outside);
                    }
                }
                Unit::Batch(_) => {}
            }
        }
        let new_group = |member: &ExactMember| {
            let [unit, _] = units_of(member);
            // Members of a group that was taken whole keep it.
            renamed.get(&unit).copied().or(member.group)
        };
        let groups: Option<Vec<ExactGroup>> = self.members.iter().map(new_group).collect();
        let reason = "a member has no group";
        let groups = groups.ok_or(PrivacyError::Encoding { object: "exact history", reason })?;
        Ok(ExactRefinement { groups, sizes })
    }

    /// Members of every unit, without those in `excluded`.
    fn count(&self, excluded: &BTreeSet<usize>) -> BTreeMap<Unit, u32> {
        let mut counts = BTreeMap::new();
        for (_, member) in self.members.iter().enumerate().filter(|(place, _)| !excluded.contains(place)) {
            for unit in units_of(member) {
                *counts.entry(unit).or_insert(0) += 1;
            }
        }
        counts
    }

    /// What forbids an answer over the members that are not in `excluded`.
    fn faults(&self, excluded: &BTreeSet<usize>, parameters: &NetworkParameters) -> Vec<(Unit, PrivacyError)> {
        let NetworkParameterValues { exact_batch_min, exact_change_min, .. } = *parameters.values();
        let mut faults = Vec::new();
        for (unit, inside) in self.count(excluded) {
            let smallest = match unit {
                Unit::Batch(_) => {
                    if inside < exact_batch_min {
                        let fault = PrivacyError::ExactTooFew { members: inside, members_min: exact_batch_min };
                        faults.push((unit, fault));
                    }
                    continue;
                }
                Unit::Fresh(_) => inside,
                Unit::Answered(group) => {
                    let outside = self.sizes.get(&group).map_or(0, |size| size.saturating_sub(inside));
                    if outside > 0 { inside.min(outside) } else { inside }
                }
            };
            if smallest < exact_change_min {
                let fault = PrivacyError::ExactIsolates { group: smallest, group_min: exact_change_min };
                faults.push((unit, fault));
            }
        }
        faults
    }
}

/// What a member is counted under: its group, or its batch among those never answered, and its batch.
fn units_of(member: &ExactMember) -> [Unit; 2] {
    [member.group.map_or(Unit::Fresh(member.batch), Unit::Answered), Unit::Batch(member.batch)]
}
