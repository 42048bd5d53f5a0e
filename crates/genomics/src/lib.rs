#![doc = include_str!("../SPEC.md")]

mod assembly;
mod data_use;
mod domain;
mod genotype;
mod index;
mod panel;
mod selection;
mod variant;

pub use assembly::{AUTOSOMES, Assembly, AssemblyError, Chrom, ChromError, NonAutosome};
pub use data_use::{
    Condition, ConditionMatch, DataUse, DataUseError, DataUseRefusal, Declarations, DuoTerm, Purpose, PurposeCode,
};
pub use genotype::{Genotype, GenotypeCounts, GenotypeCountsError, PackedGenotypes, PackedGenotypesError};
pub use index::{
    CHECK_SLOTS, PANEL_BLOCK_SLOTS, PanelBlockIndex, PanelDigest, Plane, Slot, VARIANTS_PER_PANEL_BLOCK, VariantIndex,
};
pub use panel::{
    PANEL_ALLELE_BASES_MAX, PANEL_NAME_BYTES_MAX, PANEL_VARIANTS_MAX, Panel, PanelBuilder, PanelDecodeError,
    PanelError, PanelTextError, PanelTextProblem,
};
pub use selection::{SelectionError, SlotMask, VariantSelection};
pub use variant::{ALLELE_BASES_MAX, POSITION_MAX, Variant, VariantError, VariantRef};
