//! When a sealed batch may be answered exactly.

use crate::{
    error::PrivacyError,
    parameters::{BATCH_SIZE_MAX, NetworkParameterValues, NetworkParameters},
};

/// Members of one sealed batch: a set of its ordinals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchMembers {
    is_member: Vec<bool>,
}

impl BatchMembers {
    /// No member yet of a batch of `batch_size` datasets.
    ///
    /// # Errors
    /// [`PrivacyError::BatchSize`] unless it is 1 to [`BATCH_SIZE_MAX`].
    pub fn none_of(batch_size: u32) -> Result<Self, PrivacyError> {
        Ok(Self { is_member: vec![false; checked_batch_size(batch_size)?] })
    }

    /// Every dataset of a batch of `batch_size`.
    ///
    /// # Errors
    /// [`PrivacyError::BatchSize`] unless it is 1 to [`BATCH_SIZE_MAX`].
    pub fn all_of(batch_size: u32) -> Result<Self, PrivacyError> {
        Ok(Self { is_member: vec![true; checked_batch_size(batch_size)?] })
    }

    /// Adds the dataset with this ordinal; adding it again changes nothing.
    ///
    /// # Errors
    /// [`PrivacyError::OrdinalRange`] when the batch has no such dataset.
    pub fn insert(&mut self, ordinal: u32) -> Result<(), PrivacyError> {
        self.set(ordinal, true)
    }

    /// Takes the dataset with this ordinal out, if it is in.
    ///
    /// # Errors
    /// [`PrivacyError::OrdinalRange`] when the batch has no such dataset.
    pub fn remove(&mut self, ordinal: u32) -> Result<(), PrivacyError> {
        self.set(ordinal, false)
    }

    fn set(&mut self, ordinal: u32, is_member: bool) -> Result<(), PrivacyError> {
        let batch_size = self.batch_size();
        let place = usize::try_from(ordinal).ok().and_then(|index| self.is_member.get_mut(index));
        *place.ok_or(PrivacyError::OrdinalRange { ordinal, batch_size })? = is_member;
        Ok(())
    }

    /// Datasets of the batch, members or not.
    pub fn batch_size(&self) -> u32 {
        count_u32(self.is_member.len())
    }

    /// Number of members.
    pub fn count(&self) -> u32 {
        count_u32(self.is_member.iter().filter(|is_member| **is_member).count())
    }
}

/// What exact answers have told apart in one sealed batch.
///
/// Every exact answer is a sum over some of the batch's members (and over other batches). Linear
/// combinations of such sums can compute exactly the sums over *atoms*: groups of datasets that
/// every answer so far took together or left out together. So the rule is that no atom which was
/// ever answered is smaller than `exact_change_min`. It implies that a batch which lost or gained
/// members is answered again only when at least `exact_change_min` of them differ, and it holds
/// against any number of answers, not only against pairs of successive ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExactHistory {
    /// The atom of each ordinal: 0 for never answered, others numbered by first ordinal.
    atoms: Vec<u16>,
}

/// Atom of the datasets that no exact answer has used.
const NEVER_ANSWERED: u16 = 0;
/// Version of the encoding, its first byte.
const VERSION: u8 = 1;

impl ExactHistory {
    /// The history of a batch that has not been answered.
    ///
    /// # Errors
    /// [`PrivacyError::BatchSize`] unless it is 1 to [`BATCH_SIZE_MAX`].
    pub fn new(batch_size: u32) -> Result<Self, PrivacyError> {
        Ok(Self { atoms: vec![NEVER_ANSWERED; checked_batch_size(batch_size)?] })
    }

    /// Checks that an exact answer over `members` may be given. Asking for the set of an earlier
    /// answer again is always admitted while it is large enough.
    ///
    /// # Errors
    /// - [`PrivacyError::BatchMismatch`] when the members are of a batch of another size;
    /// - [`PrivacyError::ExactTooFew`] when there are fewer than `exact_batch_min` members;
    /// - [`PrivacyError::ExactIsolates`] when the answer, with all earlier ones, would set fewer than
    ///   `exact_change_min` people apart.
    pub fn admits(&self, members: &BatchMembers, parameters: &NetworkParameters) -> Result<(), PrivacyError> {
        if members.is_member.len() != self.atoms.len() {
            return Err(PrivacyError::BatchMismatch {
                members: members.batch_size(),
                history: count_u32(self.atoms.len()),
            });
        }
        let NetworkParameterValues { exact_batch_min, exact_change_min, .. } = *parameters.values();
        let member_count = members.count();
        if member_count < exact_batch_min {
            return Err(PrivacyError::ExactTooFew { members: member_count, members_min: exact_batch_min });
        }
        match self.smallest_split(members) {
            Some(group) if group < exact_change_min => {
                Err(PrivacyError::ExactIsolates { group, group_min: exact_change_min })
            }
            _ => Ok(()),
        }
    }

    /// Records that an exact answer over `members` is about to be given. Store
    /// [`to_bytes`](Self::to_bytes) durably before releasing it.
    ///
    /// # Errors
    /// Those of [`admits`](Self::admits); the history is then unchanged.
    pub fn record(&mut self, members: &BatchMembers, parameters: &NetworkParameters) -> Result<(), PrivacyError> {
        self.admits(members, parameters)?;
        // Refine: datasets stay together when both their atom and their membership agree.
        let refined = self.atoms.iter().zip(&members.is_member);
        self.atoms = numbered_by_first(refined.map(|(atom, is_member)| match (*atom, *is_member) {
            (NEVER_ANSWERED, false) => None,
            answered => Some(answered),
        }));
        Ok(())
    }

    /// The size of the smallest atom that the answer would create by splitting one, if it would.
    fn smallest_split(&self, members: &BatchMembers) -> Option<u32> {
        let atom_count = usize::from(self.atoms.iter().copied().max().unwrap_or(NEVER_ANSWERED)) + 1;
        let mut inside = vec![0u32; atom_count];
        let mut outside = vec![0u32; atom_count];
        for (atom, is_member) in self.atoms.iter().zip(&members.is_member) {
            let counts = if *is_member { &mut inside } else { &mut outside };
            counts[usize::from(*atom)] += 1;
        }
        // What stays outside of the never answered atom is not set apart by any answer.
        outside[usize::from(NEVER_ANSWERED)] = 0;
        inside.into_iter().chain(outside).filter(|count| *count > 0).min()
    }

    /// Whether any exact answer was given.
    pub fn is_answered(&self) -> bool {
        self.atoms.iter().any(|atom| *atom != NEVER_ANSWERED)
    }

    /// The canonical encoding: version 1 (1 byte), batch size (4), then the atom of each ordinal (2).
    /// Integers are little endian. Atom 0 was never answered; the others are numbered from 1 by
    /// their first ordinal.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend(count_u32(self.atoms.len()).to_le_bytes());
        bytes.extend(self.atoms.iter().flat_map(|atom| atom.to_le_bytes()));
        bytes
    }

    /// Parses [`to_bytes`](Self::to_bytes), and nothing else.
    ///
    /// # Errors
    /// [`PrivacyError::Encoding`] when the bytes are not canonical, [`PrivacyError::BatchSize`] when the
    /// batch cannot be.
    pub fn parse(bytes: &[u8]) -> Result<Self, PrivacyError> {
        let (version, rest) = bytes.split_first().ok_or_else(|| broken("it is empty"))?;
        if *version != VERSION {
            return Err(broken("the version is not 1"));
        }
        let (size, rest) = rest.split_first_chunk::<4>().ok_or_else(|| broken("it is cut short"))?;
        let batch_size = checked_batch_size(u32::from_le_bytes(*size))?;
        let (chunks, remainder) = rest.as_chunks::<2>();
        if chunks.len() != batch_size || !remainder.is_empty() {
            return Err(broken("its length does not match its batch size"));
        }
        let atoms: Vec<u16> = chunks.iter().map(|chunk| u16::from_le_bytes(*chunk)).collect();
        let canonical = numbered_by_first(atoms.iter().map(|atom| Some(*atom).filter(|atom| *atom != NEVER_ANSWERED)));
        if atoms != canonical {
            return Err(broken("its atoms are not numbered by their first ordinal"));
        }
        Ok(Self { atoms })
    }
}

/// Numbers the distinct keys from 1 in order of first occurrence; no key is [`NEVER_ANSWERED`].
fn numbered_by_first<K: Ord>(keys: impl Iterator<Item = Option<K>>) -> Vec<u16> {
    let mut numbers = std::collections::BTreeMap::new();
    keys.map(|key| {
        let Some(key) = key else { return NEVER_ANSWERED };
        let next = u16::try_from(numbers.len() + 1).expect("a batch has at most 4096 datasets, hence atoms");
        *numbers.entry(key).or_insert(next)
    })
    .collect()
}

fn checked_batch_size(batch_size: u32) -> Result<usize, PrivacyError> {
    match usize::try_from(batch_size) {
        Ok(size) if (1..=BATCH_SIZE_MAX).contains(&batch_size) => Ok(size),
        _ => Err(PrivacyError::BatchSize(batch_size)),
    }
}

fn count_u32(count: usize) -> u32 {
    u32::try_from(count).expect("a batch has at most 4096 datasets")
}

fn broken(reason: &'static str) -> PrivacyError {
    PrivacyError::Encoding { object: "exact history", reason }
}
