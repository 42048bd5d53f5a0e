//! Where a variant lives: panel, panel block, plane and slot.

use std::fmt;

/// Slots (polynomial coefficients) of one panel block; fixed by the ring dimension.
pub const PANEL_BLOCK_SLOTS: u32 = 4096;
/// Leading slots of every panel block that are homozygous reference in every dataset, so that a
/// ciphertext and its key seeds can be checked without learning anything.
pub const CHECK_SLOTS: u32 = 16;
/// Variants carried by one panel block.
pub const VARIANTS_PER_PANEL_BLOCK: u32 = PANEL_BLOCK_SLOTS - CHECK_SLOTS;

const _: () = assert!(PANEL_BLOCK_SLOTS.is_power_of_two() && CHECK_SLOTS < PANEL_BLOCK_SLOTS);

/// SHA3-256 of a panel's canonical bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PanelDigest(pub [u8; 32]);

impl fmt::Display for PanelDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PanelDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PanelDigest({self})")
    }
}

/// Place of a variant in its panel, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VariantIndex(pub u32);

/// Place of a panel block in its panel, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PanelBlockIndex(pub u32);

/// Coefficient of a ciphertext, `0..PANEL_BLOCK_SLOTS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

impl Slot {
    /// The slot with this number, or `None` when it is not below [`PANEL_BLOCK_SLOTS`].
    pub fn try_new(slot: u32) -> Option<Self> {
        u16::try_from(slot).ok().filter(|_| slot < PANEL_BLOCK_SLOTS).map(Self)
    }

    /// The slot's number.
    pub fn get(self) -> u32 {
        u32::from(self.0)
    }

    /// The slot's number as an index into a body.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// Whether this is one of the [`CHECK_SLOTS`].
    pub fn is_check(self) -> bool {
        self.get() < CHECK_SLOTS
    }
}

impl VariantIndex {
    /// The panel block and slot that carry this variant.
    pub fn place(self) -> (PanelBlockIndex, Slot) {
        let block = self.0 / VARIANTS_PER_PANEL_BLOCK;
        let slot = CHECK_SLOTS + self.0 % VARIANTS_PER_PANEL_BLOCK;
        (PanelBlockIndex(block), Slot(u16::try_from(slot).unwrap_or(u16::MAX)))
    }

    /// The variant carried at `slot` of `block`, or `None` for a check slot or past `u32::MAX`.
    pub fn at(block: PanelBlockIndex, slot: Slot) -> Option<Self> {
        let in_block = slot.get().checked_sub(CHECK_SLOTS)?;
        block.0.checked_mul(VARIANTS_PER_PANEL_BLOCK)?.checked_add(in_block).map(Self)
    }
}

/// Which flags of the genotypes a ciphertext carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Plane {
    /// Heterozygous and homozygous-alternate flags.
    Calls,
    /// Missing-call flags; a panel that declares complete calls has none.
    Missing,
}

impl Plane {
    /// The planes of a panel, in the order used everywhere (calls first).
    pub fn of_panel(complete_calls: bool) -> &'static [Plane] {
        if complete_calls { &[Plane::Calls] } else { &[Plane::Calls, Plane::Missing] }
    }

    /// The byte that names the plane on disk, on the wire and in hashes.
    pub fn code(self) -> u8 {
        match self {
            Plane::Calls => 0,
            Plane::Missing => 1,
        }
    }

    /// The plane with this [`code`](Self::code).
    pub fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Plane::Calls),
            1 => Some(Plane::Missing),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variant_has_one_place_and_no_variant_sits_in_a_check_slot() {
        for index in [0, 1, 4079, 4080, 4081, 23_769, 1_048_575] {
            let (block, slot) = VariantIndex(index).place();
            assert!(!slot.is_check());
            assert_eq!(VariantIndex::at(block, slot), Some(VariantIndex(index)));
        }
        assert_eq!(VariantIndex(4080).place(), (PanelBlockIndex(1), Slot(16)));
    }

    #[test]
    fn check_slots_carry_no_variant() {
        let slot = Slot::try_new(CHECK_SLOTS - 1);
        assert_eq!(slot.and_then(|slot| VariantIndex::at(PanelBlockIndex(3), slot)), None);
        assert_eq!(Slot::try_new(PANEL_BLOCK_SLOTS), None);
    }
}
