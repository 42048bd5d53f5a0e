#![doc = include_str!("../SPEC.md")]

mod index;

pub use index::{
    CHECK_SLOTS, PANEL_BLOCK_SLOTS, PanelBlockIndex, PanelDigest, Plane, Slot, VARIANTS_PER_PANEL_BLOCK,
    VariantIndex,
};
