//! Sets of values of one attribute.

/// Which values of an attribute, by place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ValueSet(Vec<bool>);

impl ValueSet {
    /// The values in `0..count` for which `holds`.
    pub(super) fn of(count: usize, holds: impl Fn(usize) -> bool) -> Self {
        Self((0..count).map(holds).collect())
    }

    pub(super) fn contains(&self, value: usize) -> bool {
        self.0.get(value).copied().unwrap_or(false)
    }

    pub(super) fn count(&self) -> usize {
        self.0.iter().filter(|value| **value).count()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn places(&self) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().filter(|(_, is_in)| **is_in).map(|(place, _)| place)
    }

    pub(super) fn union(&self, other: &Self) -> Self {
        Self::of(self.len(), |value| self.contains(value) || other.contains(value))
    }
}
