#![doc = include_str!("../SPEC.md")]

mod association;
mod columns;
mod error;
mod html;
mod plink;
mod plot;
mod ssf;
mod study;

pub use association::{
    AssociationRow, AssociationTable, Effect, EffectKind, Method, case_control_table, stratified_table, trait_table,
};
pub use columns::write_parquet;
pub use error::ReportError;
pub use html::write_html;
pub use plink::write_plink_tsv;
pub use plot::{Plot, PlotKind};
pub use ssf::{SsfSummary, ssf_metadata, write_ssf};
pub use study::{CohortCounts, NoiseStatement, Study};
