//! Which slots of a panel block an answer releases.

use crate::constants::{CHECK_SLOT_COUNT, RING_DIMENSION};
use locus_genomics::{PANEL_BLOCK_SLOTS, Slot};
use locus_privacy::SlotMask;

/// The slots of a panel block that an answer releases: the 16 check slots, then the requested
/// ones, ascending. Body sums and partial decryptions list exactly these.
pub fn released_slots(requested: &SlotMask) -> impl Iterator<Item = Slot> {
    let is_released = |slot: &Slot| slot.is_check() || requested.contains(*slot);
    (0..PANEL_BLOCK_SLOTS).filter_map(Slot::try_new).filter(is_released)
}

/// Number of released slots.
pub fn released_count(requested: &SlotMask) -> usize {
    CHECK_SLOT_COUNT + requested_count(requested)
}

/// Picks the values of the released slots from those of all slots of a panel block.
pub fn select_released(requested: &SlotMask, values: &[u64; RING_DIMENSION]) -> Vec<u64> {
    released_slots(requested).map(|slot| values[slot.index()]).collect()
}

pub(crate) fn requested_count(requested: &SlotMask) -> usize {
    usize::try_from(requested.count()).unwrap_or(RING_DIMENSION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn released_slots_are_the_check_slots_then_the_requested_ones() {
        let requested = [4095, 16, 200].map(|number| Slot::try_new(number).expect("below 4096"));
        let mask = SlotMask::try_new(requested).expect("no check slot");
        let released: Vec<u32> = released_slots(&mask).map(Slot::get).collect();
        assert_eq!(released, (0..16).chain([16, 200, 4095]).collect::<Vec<_>>());
        assert_eq!(released_count(&mask), 19);
        let mut values = [0; RING_DIMENSION];
        values.iter_mut().zip(0..).for_each(|(value, number)| *value = number);
        assert_eq!(select_released(&mask, &values)[16..], [16, 200, 4095]);
    }
}
