//! Sets of registry slots.

use crate::error::StoreError;
use serde::{Deserialize, Serialize};

/// Registry slots of one panel are `0..SLOT_LIMIT` (67 million people), so that a set of them
/// never needs more than 8 MiB.
pub const SLOT_LIMIT: u32 = 1 << 26;

const WORD_BITS: u32 = u64::BITS;

/// A run of consecutive registry slots, or of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "(u32, u32)", from = "(u32, u32)")]
pub struct SlotRange {
    /// First slot.
    pub first: u32,
    /// Number of slots.
    pub count: u32,
}

impl From<SlotRange> for (u32, u32) {
    fn from(range: SlotRange) -> Self {
        (range.first, range.count)
    }
}

impl From<(u32, u32)> for SlotRange {
    fn from((first, count): (u32, u32)) -> Self {
        Self { first, count }
    }
}

impl SlotRange {
    /// First slot after the range; 64 bits, so that it cannot overflow.
    pub fn end(self) -> u64 {
        u64::from(self.first) + u64::from(self.count)
    }

    /// Whether `slot` is in the range.
    pub fn contains(self, slot: u32) -> bool {
        slot >= self.first && u64::from(slot) < self.end()
    }

    /// The slots of the range.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = u32> {
        (0..self.count).map(move |offset| self.first.wrapping_add(offset))
    }

    /// Whether all slots are below [`SLOT_LIMIT`] and there is at least one.
    pub(crate) fn is_valid(self) -> bool {
        self.count > 0 && self.end() <= u64::from(SLOT_LIMIT)
    }
}

/// A set of registry slots, as a bitmap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SlotSet {
    words: Vec<u64>,
}

impl SlotSet {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// The slots of one range.
    ///
    /// # Errors
    /// [`StoreError::SlotLimit`] when the range reaches [`SLOT_LIMIT`].
    pub fn from_range(range: SlotRange) -> Result<Self, StoreError> {
        let mut set = Self::new();
        set.insert_range(range)?;
        Ok(set)
    }

    /// The slots of an iterator.
    ///
    /// # Errors
    /// [`StoreError::SlotLimit`] when a slot reaches [`SLOT_LIMIT`].
    pub fn try_from_iter(slots: impl IntoIterator<Item = u32>) -> Result<Self, StoreError> {
        let mut set = Self::new();
        for slot in slots {
            set.insert(slot)?;
        }
        Ok(set)
    }

    /// Adds one slot.
    ///
    /// # Errors
    /// [`StoreError::SlotLimit`] when it reaches [`SLOT_LIMIT`].
    pub fn insert(&mut self, slot: u32) -> Result<(), StoreError> {
        if slot >= SLOT_LIMIT {
            return Err(StoreError::SlotLimit { slot, limit: SLOT_LIMIT });
        }
        let word = (slot / WORD_BITS) as usize;
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (slot % WORD_BITS);
        Ok(())
    }

    /// Adds a range of slots.
    ///
    /// # Errors
    /// [`StoreError::SlotLimit`] when the range reaches [`SLOT_LIMIT`]; the set is then unchanged.
    pub fn insert_range(&mut self, range: SlotRange) -> Result<(), StoreError> {
        if range.end() > u64::from(SLOT_LIMIT) {
            let slot = u32::try_from(range.end() - 1).unwrap_or(u32::MAX);
            return Err(StoreError::SlotLimit { slot, limit: SLOT_LIMIT });
        }
        range.iter().try_for_each(|slot| self.insert(slot))
    }

    /// Whether `slot` is in the set.
    pub fn contains(&self, slot: u32) -> bool {
        let word = self.words.get((slot / WORD_BITS) as usize).copied().unwrap_or(0);
        word >> (slot % WORD_BITS) & 1 == 1
    }

    /// Number of slots.
    pub fn len(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// Whether there are no slots.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// All slots, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.words.iter().zip(0u32..).flat_map(|(&word, index)| {
            std::iter::successors(Some(word), |rest| Some(rest & rest.wrapping_sub(1)))
                .take_while(|&rest| rest != 0)
                .map(move |rest| index * WORD_BITS + rest.trailing_zeros())
        })
    }

    /// The slots as maximal ranges, ascending.
    pub fn ranges(&self) -> Vec<SlotRange> {
        let mut ranges: Vec<SlotRange> = Vec::new();
        for slot in self.iter() {
            match ranges.last_mut() {
                Some(last) if last.end() == u64::from(slot) => last.count += 1,
                _ => ranges.push(SlotRange { first: slot, count: 1 }),
            }
        }
        ranges
    }

    /// Adds all slots of `other`.
    pub fn union_with(&mut self, other: &Self) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (word, more) in self.words.iter_mut().zip(&other.words) {
            *word |= more;
        }
    }

    /// The slots that are in both sets.
    pub fn intersection(&self, other: &Self) -> Self {
        let words = self.words.iter().zip(&other.words).map(|(left, right)| left & right).collect();
        Self { words }.trimmed()
    }

    /// The slots of this set that are not in `other`.
    pub fn difference(&self, other: &Self) -> Self {
        let rest = other.words.iter().copied().chain(std::iter::repeat(0));
        let words = self.words.iter().zip(rest).map(|(left, right)| left & !right).collect();
        Self { words }.trimmed()
    }

    /// The smallest slot of the set.
    pub fn first(&self) -> Option<u32> {
        self.iter().next()
    }

    /// Drops empty words at the end, so that equal sets compare equal.
    fn trimmed(mut self) -> Self {
        while self.words.last() == Some(&0) {
            self.words.pop();
        }
        self
    }

    /// The set of these ranges, if they are valid, ascending, apart from each other and not empty:
    /// the one spelling a set has in stored JSON.
    pub(crate) fn from_canonical_ranges(ranges: &[SlotRange]) -> Option<Self> {
        let mut set = Self::new();
        let mut free = 0;
        for range in ranges {
            if !range.is_valid() || (free > 0 && u64::from(range.first) <= free) {
                return None;
            }
            set.insert_range(*range).ok()?;
            free = range.end();
        }
        Some(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn set(slots: &BTreeSet<u32>) -> SlotSet {
        SlotSet::try_from_iter(slots.iter().copied()).expect("small slots")
    }

    proptest! {
        #[test]
        fn a_slot_set_behaves_like_a_sorted_set(
            left in prop::collection::btree_set(0u32..300, 0..80),
            right in prop::collection::btree_set(0u32..300, 0..80),
        ) {
            let (a, b) = (set(&left), set(&right));
            prop_assert_eq!(a.iter().collect::<BTreeSet<_>>(), left.clone());
            prop_assert_eq!(a.len(), left.len() as u64);
            prop_assert_eq!(a.intersection(&b), set(&left.intersection(&right).copied().collect()));
            prop_assert_eq!(a.difference(&b), set(&left.difference(&right).copied().collect()));
            let mut union = a.clone();
            union.union_with(&b);
            prop_assert_eq!(union.iter().collect::<BTreeSet<_>>(), left.union(&right).copied().collect());
            prop_assert_eq!(SlotSet::from_canonical_ranges(&a.ranges()), Some(a));
        }
    }

    #[test]
    fn a_set_of_ranges_has_one_spelling() {
        let range = |first, count| SlotRange { first, count };
        for bad in [
            vec![range(0, 0)],
            vec![range(0, 2), range(2, 1)],
            vec![range(0, 3), range(2, 1)],
            vec![range(5, 1), range(2, 1)],
            vec![range(SLOT_LIMIT, 1)],
            vec![range(u32::MAX, u32::MAX)],
        ] {
            assert_eq!(SlotSet::from_canonical_ranges(&bad), None, "{bad:?}");
        }
        assert!(SlotSet::from_canonical_ranges(&[range(0, 2), range(3, 1)]).is_some());
    }

    #[test]
    fn a_slot_past_the_limit_is_refused_before_memory_is_taken() {
        assert!(SlotSet::new().insert(SLOT_LIMIT).is_err());
        assert!(SlotSet::from_range(SlotRange { first: SLOT_LIMIT - 1, count: 2 }).is_err());
        assert!(SlotSet::from_range(SlotRange { first: SLOT_LIMIT - 1, count: 1 }).is_ok());
    }
}
