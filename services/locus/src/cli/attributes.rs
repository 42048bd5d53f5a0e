//! `locus attributes` as it is parsed.

use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// `locus attributes`.
#[derive(Debug, Subcommand)]
pub(crate) enum AttributesCommand {
    /// Share attributes of people that you enrolled among the keyholders; nobody else sees any
    Add(AttributesAddArgs),
    /// List the attribute schemas in use
    Schemas,
    /// Show the attributes of a schema
    Schema {
        /// Its digest, or a schema document
        schema: String,
        /// Write the schema document here
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// `locus attributes add`.
#[derive(Debug, Args)]
pub(crate) struct AttributesAddArgs {
    /// Tab-separated table, Phenopackets or FHIR bundles; people have the names that they had in the genotype file
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    pub(crate) from: Vec<PathBuf>,
    /// Schema document (JSON), or the digest of a schema in use
    #[arg(long, value_name = "FILE|DIGEST")]
    pub(crate) schema: String,
    /// Mapping document (JSON) from columns, codes and units of the source to the schema [default: columns are called
    /// as attributes]
    #[arg(long, value_name = "FILE")]
    pub(crate) mapping: Option<PathBuf>,
    /// Format of the source [default: by the name of the first file]
    #[arg(long)]
    pub(crate) format: Option<AttributeFormatArg>,
    /// Number of the registration [default: all that were enrolled from this folder and have one of these people]
    #[arg(long, value_name = "N")]
    pub(crate) registration: Option<u64>,
}

/// A format of attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AttributeFormatArg {
    /// Tab-separated table: one line of names, one line a person
    Table,
    /// GA4GH Phenopackets of version 2, JSON or protobuf
    Phenopackets,
    /// FHIR R4 bundles in JSON
    Fhir,
}
