//! Names of ontology terms.

use crate::error::PhenotypeError;
use std::{fmt, str::FromStr};

/// Most letters of each half of a term's name.
const PART_LENGTH_MAX: usize = 32;

/// A compact identifier of an ontology term, such as `HP:0000819` or `ICD10:E11.9`. The prefix is
/// kept in upper case; the local part as written.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Curie {
    prefix: String,
    local: String,
}

impl Curie {
    /// The term `prefix:local`.
    ///
    /// # Errors
    /// [`PhenotypeError::Curie`] unless the prefix is 1 to 32 letters, digits or `_`, and the local
    /// part 1 to 32 letters, digits, `.`, `-` or `_`.
    pub fn try_new(prefix: &str, local: &str) -> Result<Self, PhenotypeError> {
        let is_length = |part: &str| (1..=PART_LENGTH_MAX).contains(&part.len());
        let is_prefix = prefix.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !(is_length(prefix) && is_length(local) && is_prefix && local.chars().all(is_local)) {
            return Err(PhenotypeError::Curie(format!("{prefix}:{local}").chars().take(80).collect()));
        }
        Ok(Self { prefix: prefix.to_ascii_uppercase(), local: local.to_owned() })
    }

    /// The ontology, in upper case.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The term within it.
    pub fn local(&self) -> &str {
        &self.local
    }
}

/// Whether `c` may stand in the local part.
pub(crate) fn is_local(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')
}

impl FromStr for Curie {
    type Err = PhenotypeError;

    fn from_str(text: &str) -> Result<Self, PhenotypeError> {
        let (prefix, local) = text.split_once(':').unwrap_or((text, ""));
        Self::try_new(prefix, local)
    }
}

impl fmt::Display for Curie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.prefix, self.local)
    }
}

impl fmt::Debug for Curie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_compared_without_case_and_local_parts_with_it() {
        let curie = |text: &str| text.parse::<Curie>();
        assert_eq!(curie("icd10:E11.9"), curie("ICD10:E11.9"));
        assert_ne!(curie("ICD10:E11").ok(), curie("ICD10:e11").ok());
        assert_eq!(curie("hp:0000819").map(|term| term.to_string()), Ok("HP:0000819".to_owned()));
        for text in ["", "HP", "HP:", ":1", "HP:00 1", "H P:1", "HP:1:2", "HP:ü", &"x".repeat(40)] {
            assert!(matches!(curie(text), Err(PhenotypeError::Curie(_))), "{text}");
        }
    }
}
