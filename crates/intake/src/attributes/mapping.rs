//! Which fields of a source are which attributes.

use crate::error::{FileProblem, IntakeError};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::Path};

/// How a source's own names become those of a schema. Ontology terms need no mapping. A table without
/// one names its people in the first column, and columns called as attributes are those attributes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AttributeMapping {
    /// Column of a table that names people.
    pub person: String,
    /// Contents of a table that mean unknown.
    pub missing: Vec<String>,
    /// Columns of a table.
    pub columns: Vec<ColumnMapping>,
    /// Where a person's sex goes.
    pub sex: Option<ValueMapping>,
    /// Attribute of the age in years.
    pub age: Option<String>,
    /// Day on which ages are reckoned from birth dates, `YYYY-MM-DD`; without it birth dates are not
    /// used.
    pub age_on: Option<String>,
    /// Codes of measurements, such as `LOINC:39156-5`.
    pub measurements: Vec<MeasurementMapping>,
    /// Codes of units, such as `UCUM:kg/m2` or `NCIT:C64387`, and what the schema calls them.
    pub units: BTreeMap<String, String>,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnMapping {
    /// Its name.
    pub column: String,
    /// The attribute, or an ontology term.
    pub attribute: String,
    /// What its contents are in the schema; contents not listed stand as they are. For flags and
    /// terms: `yes` or `no`.
    #[serde(default)]
    pub values: BTreeMap<String, String>,
    /// Unit of its numbers, when it is not the schema's.
    #[serde(default)]
    pub unit: Option<String>,
}

/// A field with named values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueMapping {
    /// The attribute.
    pub attribute: String,
    /// Values of the source, in lower case (`female`, `male`, `other`), and of the schema.
    pub values: BTreeMap<String, String>,
}

/// A measurement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasurementMapping {
    /// Its code.
    pub code: String,
    /// The attribute.
    pub attribute: String,
}

impl AttributeMapping {
    /// Reads a mapping document.
    ///
    /// # Errors
    /// [`FileProblem::Json`] with the place that is wrong.
    pub fn parse_json(path: &Path, text: &str) -> Result<Self, IntakeError> {
        serde_json::from_str(text).map_err(|error| {
            let problem = FileProblem::Json { format: "an attribute mapping", reason: error.to_string() };
            IntakeError::File { path: path.to_owned(), problem }
        })
    }
}
