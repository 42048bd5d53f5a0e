//! The circuits in use, at their full sizes.

use crate::{
    cohort::{CohortShape, cohort_shape},
    disclosure::{DisclosureShape, disclosure_shape},
    encryption::{EncryptionShape, encryption_shape},
    error::ProofsError,
    groth16::Shape,
    update::{UpdateShape, update_shape},
};

/// One of the four statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Statement {
    /// E.
    Encryption,
    /// D.
    Disclosure,
    /// C.
    Cohort,
    /// U.
    Update,
}

impl Statement {
    /// All statements.
    pub const ALL: [Self; 4] = [Self::Encryption, Self::Disclosure, Self::Cohort, Self::Update];

    /// Name of the circuit at its full size, also of its key files.
    pub fn circuit(self) -> &'static str {
        match self {
            Self::Encryption => "encryption-4096",
            Self::Disclosure => "disclosure-4080",
            Self::Cohort => "cohort-2-5",
            Self::Update => "update-64-5",
        }
    }

    /// The statement of a circuit's name.
    pub fn of_circuit(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|statement| statement.circuit() == name)
    }

    /// The rows of the circuit at its full size; takes up to a few seconds.
    ///
    /// # Errors
    /// [`ProofsError::WrongSize`], never for the sizes in use.
    pub fn shape(self) -> Result<Shape, ProofsError> {
        Ok(match self {
            Self::Encryption => encryption_shape(EncryptionShape::FULL),
            Self::Disclosure => disclosure_shape(DisclosureShape::FULL),
            Self::Cohort => cohort_shape(CohortShape::FULL),
            Self::Update => {
                update_shape(UpdateShape::FULL).map_err(|_| ProofsError::WrongSize("the batch of updates"))?
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_shapes() {
        for statement in [Statement::Encryption, Statement::Disclosure, Statement::Cohort] {
            assert_eq!(statement.shape().unwrap().name, statement.circuit());
            assert_eq!(Statement::of_circuit(statement.circuit()), Some(statement));
        }
        assert_eq!(Statement::of_circuit("encryption-64"), None);
    }
}
