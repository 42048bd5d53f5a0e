//! People's attributes from tables, Phenopackets and FHIR bundles.

mod collect;
mod fhir;
mod mapping;
mod phenopacket;
mod report;
mod table;

use crate::{
    error::{FileProblem, IntakeError},
    input::Input,
    limits::DOCUMENT_BYTES_MAX,
    sample::SampleId,
};
use collect::Collector;
use locus_phenotype::{AttributeSchema, PersonAttributes};
pub use mapping::AttributeMapping;
pub use report::{AttributeReport, DropReason, Dropped};
use std::path::{Path, PathBuf};

/// Where attributes come from. Files may be compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttributeSource {
    /// A tab-separated table with one line of column names and one line a person.
    Table(PathBuf),
    /// GA4GH Phenopackets of version 2, JSON or protobuf by content, one person each; several about
    /// one person add up.
    Phenopackets(Vec<PathBuf>),
    /// FHIR R4 bundles in JSON with Patient, Condition and Observation resources.
    Fhir(Vec<PathBuf>),
}

/// People with their attributes, in order of their names.
pub struct AttributeIntake {
    /// Names, ascending.
    pub samples: Vec<SampleId>,
    /// Attributes of each.
    pub people: Vec<PersonAttributes>,
    /// What was used and what was dropped.
    pub report: AttributeReport,
}

impl AttributeIntake {
    /// The attributes of the person of this name.
    pub fn of(&self, sample: &SampleId) -> Option<&PersonAttributes> {
        let place = self.samples.binary_search(sample).ok()?;
        self.people.get(place)
    }
}

/// Reads the attributes that `schema` knows.
///
/// # Errors
/// [`IntakeError`] when a file cannot be read to its end, is malformed, does not name its people, or
/// the mapping names attributes that the schema does not have. What is well formed and not in the
/// schema is dropped and reported.
pub fn read_attributes(
    source: &AttributeSource,
    schema: &AttributeSchema,
    mapping: &AttributeMapping,
) -> Result<AttributeIntake, IntakeError> {
    let mut collector = Collector::new(schema, mapping);
    match source {
        AttributeSource::Table(path) => table::read(path, mapping, &mut collector)?,
        AttributeSource::Phenopackets(paths) => {
            paths.iter().try_for_each(|path| phenopacket::read(path, &mut collector))?;
        }
        AttributeSource::Fhir(paths) => paths.iter().try_for_each(|path| fhir::read(path, &mut collector))?,
    }
    collector.finish()
}

/// The whole content of a file.
fn read_document(path: &Path) -> Result<Vec<u8>, IntakeError> {
    let mut input = Input::open(path)?;
    let mut bytes = Vec::new();
    input.read_up_to(&mut bytes, DOCUMENT_BYTES_MAX + 1)?;
    if bytes.len() > DOCUMENT_BYTES_MAX {
        return Err(problem(path, FileProblem::TooLarge { max: DOCUMENT_BYTES_MAX }));
    }
    Ok(bytes)
}

fn problem(path: &Path, problem: FileProblem) -> IntakeError {
    IntakeError::File { path: path.to_owned(), problem }
}
