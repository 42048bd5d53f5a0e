#![doc = include_str!("../SPEC.md")]

mod alignment;
mod attributes;
mod cohort;
mod error;
mod input;
mod limits;
mod panel_build;
mod plink;
mod reference;
mod report;
mod sample;
mod spool;
mod twentythree;
mod vcf;

pub use attributes::{
    AttributeIntake, AttributeMapping, AttributeReport, AttributeSource, DropReason, Dropped, read_attributes,
};
pub use cohort::{Cohort, CohortSource, IntakeOptions, Progress, read_cohort};
pub use error::{BedFound, FileProblem, IntakeError, Place, PlaceProblem};
pub use limits::{
    ALT_ALLELES_MAX, BCF_RECORD_BYTES_MAX, EXAMPLES_MAX, HEADER_BYTES_MAX, LINE_BYTES_MAX, SAMPLE_NAME_BYTES_MAX,
    SAMPLES_MAX, SPOOL_MEMORY_BYTES_MAX, STRIP_PEOPLE_MAX,
};
pub use panel_build::{CompleteCalls, PanelReport, PanelRequest, PanelSource, build_panel};
pub use plink::PlinkFiles;
pub use report::{FileReport, IntakeReport, RefusalReason, Refusals};
pub use sample::{SampleError, SampleId};
pub use spool::{BLOCK_GENOTYPE_BYTES, BlockStrip, GenotypeSpool};
