//! What exactly is summed over a cohort: the part of a question's name that the attributes decide.

use crate::{
    predicate::Predicate,
    schema::{AttributeIndex, AttributeKind, AttributeSchema},
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
}

impl Selection {
    /// The canonical bytes, which name the question: 1 and the predicate's bytes, or 2, attribute (2
    /// bytes, little endian), plane (1) and the predicate's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::People(predicate) => [vec![1], predicate.to_bytes()].concat(),
            Self::TraitPlane { people, quantity, plane } => {
                let [low, high] = quantity.0.to_le_bytes();
                [vec![2, low, high, *plane], people.to_bytes()].concat()
            }
        }
    }

    /// Reads canonical bytes; `None` for any others.
    pub fn from_bytes(bytes: &[u8], schema: &AttributeSchema) -> Option<Self> {
        match bytes {
            [1, predicate @ ..] => Predicate::from_bytes(predicate, schema).ok().map(Self::People),
            [2, low, high, plane, predicate @ ..] => {
                let quantity = AttributeIndex(u16::from_le_bytes([*low, *high]));
                let people = Predicate::from_bytes(predicate, schema).ok()?;
                let selection = Self::TraitPlane { people, quantity, plane: *plane };
                selection.plane_bit(schema).map(|_| selection)
            }
            _ => None,
        }
    }

    /// Numbers that are released of a selection beside its counts: the matched number, and for the lowest bit of
    /// a quantity also the sum of u^2 over its people, which no counter holds.
    pub fn total_count(&self) -> u32 {
        if matches!(self, Self::TraitPlane { plane: 0, .. }) { 2 } else { 1 }
    }

    /// Who is selected, the weight aside.
    pub fn people(&self) -> &Predicate {
        match self {
            Self::People(predicate) | Self::TraitPlane { people: predicate, .. } => predicate,
        }
    }

    /// The bit of the schema whose product with the predicate is the weight; `None` for whole people,
    /// and for a plane that the quantity does not have.
    pub fn plane_bit(&self, schema: &AttributeSchema) -> Option<usize> {
        let Self::TraitPlane { quantity, plane, .. } = self else { return None };
        let AttributeKind::Quantity { bits, .. } = schema.attribute(*quantity)?.kind else { return None };
        (*plane < bits).then(|| schema.bits_of(*quantity).start + 2 + usize::from(*plane))
    }

    /// All planes of a quantity over the people of a predicate, lowest first; empty for another
    /// attribute.
    pub fn trait_planes(people: &Predicate, quantity: AttributeIndex, schema: &AttributeSchema) -> Vec<Self> {
        match schema.attribute(quantity).map(|attribute| &attribute.kind) {
            Some(AttributeKind::Quantity { bits, .. }) => {
                (0..*bits).map(|plane| Self::TraitPlane { people: people.clone(), quantity, plane }).collect()
            }
            _ => Vec::new(),
        }
    }
}
