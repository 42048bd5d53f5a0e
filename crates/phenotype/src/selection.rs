//! What exactly is summed over a cohort: the part of a question's name that the attributes decide.

use crate::{
    predicate::Predicate,
    schema::{Attribute, AttributeIndex, AttributeSchema},
};

/// Whose genotypes are summed, and with which weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Everybody whom a predicate selects, once.
    People(Predicate),
    /// Those of them in whom one bit of a quantity is set: the sums of a trait come bit by bit.
    TraitPlane {
        /// Whom.
        people: Predicate,
        /// The quantity.
        quantity: AttributeIndex,
        /// Which bit of u, from 0.
        plane: u8,
    },
    /// Those of them in whom one bit of a quantity's square is set. Only people without a call are counted by it: what
    /// regressions leave out of the sum of squares over everybody.
    SquarePlane {
        /// Whom.
        people: Predicate,
        /// The quantity.
        quantity: AttributeIndex,
        /// Which bit of u^2, from 0.
        plane: u8,
    },
}

impl Selection {
    /// The canonical bytes, which name the question: 1 and the predicate's bytes, or 2 (for a square's bit 3), attribute
    /// (2 bytes, little endian), plane (1) and the predicate's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let of_plane = |kind: u8, people: &Predicate, quantity: &AttributeIndex, plane: &u8| {
            let [low, high] = quantity.0.to_le_bytes();
            [vec![kind, low, high, *plane], people.to_bytes()].concat()
        };
        match self {
            Self::People(predicate) => [vec![1], predicate.to_bytes()].concat(),
            Self::TraitPlane { people, quantity, plane } => of_plane(2, people, quantity, plane),
            Self::SquarePlane { people, quantity, plane } => of_plane(3, people, quantity, plane),
        }
    }

    /// Reads canonical bytes; `None` for any others.
    pub fn from_bytes(bytes: &[u8], schema: &AttributeSchema) -> Option<Self> {
        match bytes {
            [1, predicate @ ..] => Predicate::from_bytes(predicate, schema).ok().map(Self::People),
            [kind @ (2 | 3), low, high, plane, predicate @ ..] => {
                let (quantity, plane) = (AttributeIndex(u16::from_le_bytes([*low, *high])), *plane);
                let people = Predicate::from_bytes(predicate, schema).ok()?;
                let selection = match kind {
                    2 => Self::TraitPlane { people, quantity, plane },
                    _ => Self::SquarePlane { people, quantity, plane },
                };
                selection.plane_bit(schema).map(|_| selection)
            }
            _ => None,
        }
    }

    /// What is released of it.
    pub fn release(&self) -> SelectionRelease {
        SelectionRelease::of_bytes(&self.to_bytes())
    }

    /// Who is selected, the weight aside.
    pub fn people(&self) -> &Predicate {
        match self {
            Self::People(predicate)
            | Self::TraitPlane { people: predicate, .. }
            | Self::SquarePlane { people: predicate, .. } => predicate,
        }
    }

    /// The bit of the schema whose product with the predicate is the weight; `None` for whole people,
    /// and for a plane that the quantity does not have.
    pub fn plane_bit(&self, schema: &AttributeSchema) -> Option<usize> {
        let (quantity, plane, is_square) = match self {
            Self::People(_) => return None,
            Self::TraitPlane { quantity, plane, .. } => (*quantity, usize::from(*plane), false),
            Self::SquarePlane { quantity, plane, .. } => (*quantity, usize::from(*plane), true),
        };
        let attribute = schema.attribute(quantity)?;
        let (before, count) = match is_square {
            false => (0, attribute.number_bits()),
            true => (attribute.number_bits(), attribute.square_bits()),
        };
        (plane < count).then(|| schema.bits_of(quantity).start + attribute.value_count() + before + plane)
    }

    /// All planes of a quantity over the people of a predicate, lowest first; empty for another
    /// attribute.
    pub fn trait_planes(people: &Predicate, quantity: AttributeIndex, schema: &AttributeSchema) -> Vec<Self> {
        let planes = schema.attribute(quantity).map_or(0, Attribute::number_bits);
        planes_of(planes).map(|plane| Self::TraitPlane { people: people.clone(), quantity, plane }).collect()
    }

    /// All planes of a quantity's square over the people of a predicate, lowest first; empty where squares are not kept.
    pub fn square_planes(people: &Predicate, quantity: AttributeIndex, schema: &AttributeSchema) -> Vec<Self> {
        let planes = schema.attribute(quantity).map_or(0, Attribute::square_bits);
        planes_of(planes).map(|plane| Self::SquarePlane { people: people.clone(), quantity, plane }).collect()
    }

    /// The selections without which this plane is not asked for: all planes of its number.
    pub(crate) fn planes_with(&self, schema: &AttributeSchema) -> Vec<Self> {
        match self {
            Self::People(_) => Vec::new(),
            Self::TraitPlane { people, quantity, .. } => Self::trait_planes(people, *quantity, schema),
            Self::SquarePlane { people, quantity, .. } => {
                let mut planes = Self::trait_planes(people, *quantity, schema);
                planes.extend(Self::square_planes(people, *quantity, schema));
                planes
            }
        }
    }
}

/// Numbers of planes: at most 32.
fn planes_of(count: usize) -> std::ops::Range<u8> {
    0..u8::try_from(count).unwrap_or(u8::MAX)
}

/// What is released of a selection. Its canonical bytes say so, also to who does not have the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SelectionRelease {
    /// Numbers beside its counts: the matched number, and for the lowest bit of a quantity also the sum of u^2 over its
    /// people, which no counter holds.
    pub total_count: u32,
    /// Whether only people without a call are counted.
    pub missing_only: bool,
}

impl SelectionRelease {
    /// Of the selection with these canonical bytes.
    pub fn of_bytes(selection: &[u8]) -> Self {
        Self {
            total_count: if matches!(selection, [2, _, _, 0, ..]) { 2 } else { 1 },
            missing_only: matches!(selection, [3, ..]),
        }
    }
}
