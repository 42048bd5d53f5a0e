//! Names of people in cohort files.

use crate::limits::{SAMPLE_NAME_BYTES_MAX, SAMPLES_MAX};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt};

/// The name of one person in a cohort file. It stays with the person who enrols: nothing derived
/// from a dataset depends on it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SampleId(String);

/// Why names are not the samples of a cohort.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SampleError {
    /// An empty name, a too long one, or one with control characters.
    #[error("a sample name has 1 to {SAMPLE_NAME_BYTES_MAX} bytes without control characters, not {0:?}")]
    Name(String),
    /// The same name twice.
    #[error("sample {0:?} is listed twice: give every person a name of their own")]
    Duplicate(String),
    /// No sample at all.
    #[error("there is no sample column: is this a sites-only file?")]
    None,
    /// More than [`SAMPLES_MAX`].
    #[error("there are more than {SAMPLES_MAX} samples: split the cohort")]
    TooMany,
}

impl SampleId {
    /// A sample with this name.
    ///
    /// # Errors
    /// [`SampleError::Name`].
    pub fn try_new(name: &str) -> Result<Self, SampleError> {
        let fits = (1..=SAMPLE_NAME_BYTES_MAX).contains(&name.len());
        if fits && !name.chars().any(char::is_control) {
            Ok(Self(name.to_owned()))
        } else {
            Err(SampleError::Name(name.chars().take(40).collect()))
        }
    }

    /// The name of a person whose file says nothing better.
    pub(crate) fn unnamed() -> Self {
        Self("person".to_owned())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SampleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for SampleId {
    type Error = SampleError;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::try_new(&name)
    }
}

impl From<SampleId> for String {
    fn from(sample: SampleId) -> Self {
        sample.0
    }
}

/// The samples of a cohort, in file order.
///
/// # Errors
/// [`SampleError`] for no name, too many, a bad one, or one that occurs twice.
pub(crate) fn check_samples<'a>(names: impl Iterator<Item = &'a str>) -> Result<Vec<SampleId>, SampleError> {
    let mut samples = Vec::new();
    let mut seen = BTreeSet::new();
    for name in names {
        if samples.len() == SAMPLES_MAX {
            return Err(SampleError::TooMany);
        }
        let sample = SampleId::try_new(name)?;
        if !seen.insert(name) {
            return Err(SampleError::Duplicate(name.to_owned()));
        }
        samples.push(sample);
    }
    if samples.is_empty() { Err(SampleError::None) } else { Ok(samples) }
}
