//! The variants of a panel that a query asks for.

use crate::{
    domain::{DST_SELECTION, sha3_256},
    index::{CHECK_SLOTS, PanelBlockIndex, PanelDigest, Slot, VARIANTS_PER_PANEL_BLOCK, VariantIndex},
    panel::Panel,
    variant::{Variant, VariantError},
};
use std::{fmt, ops::Range};

/// One bit a slot: slot `s` is bit `s % 64` of word `s / 64`.
pub type SlotMask = [u64; 64];

/// Why a list of variants is not a selection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// Nothing is selected.
    #[error("select at least one variant")]
    Empty,
    /// An index past the panel's last variant.
    #[error("variant index {index} is past the panel's {variant_count} variants")]
    PastEnd {
        /// The index.
        index: u32,
        /// Variants of the panel.
        variant_count: u32,
    },
    /// An id that is not one.
    #[error("{id:?}: {source}")]
    Id {
        /// The text given.
        id: String,
        /// What is wrong.
        source: VariantError,
    },
    /// A variant that the panel lacks.
    #[error("variant {0} is not on the panel: list the panel's variants, or use another panel")]
    NotOnPanel(String),
    /// Bytes that are not the canonical encoding of a selection of this panel.
    #[error("the encoded variant selection is damaged or belongs to another panel")]
    Encoding,
}

/// A set of variants of one panel; never empty. Kept as runs of neighbours, so that a whole panel
/// takes eight bytes and a scattered list eight bytes a variant.
#[derive(Clone, PartialEq, Eq)]
pub struct VariantSelection {
    panel: PanelDigest,
    variant_count: u32,
    /// Sorted, not empty, with a gap between one and the next.
    runs: Vec<Range<u32>>,
}

impl VariantSelection {
    /// All variants of `panel`.
    pub fn all(panel: &Panel) -> Self {
        let variant_count = panel.variant_count();
        let whole = 0..variant_count;
        Self { panel: panel.digest(), variant_count, runs: vec![whole] }
    }

    /// These variants, in any order; repetitions count once.
    ///
    /// # Errors
    /// [`SelectionError::Empty`] or [`SelectionError::PastEnd`].
    pub fn from_indices(
        panel: &Panel,
        indices: impl IntoIterator<Item = VariantIndex>,
    ) -> Result<Self, SelectionError> {
        let variant_count = panel.variant_count();
        let mut sorted: Vec<u32> = indices.into_iter().map(|index| index.0).collect();
        sorted.sort_unstable();
        if let Some(index) = sorted.last().copied().filter(|index| *index >= variant_count) {
            return Err(SelectionError::PastEnd { index, variant_count });
        }
        let mut runs: Vec<Range<u32>> = Vec::new();
        for index in sorted {
            match runs.last_mut().filter(|run| index <= run.end) {
                Some(run) => run.end = index + 1,
                None => runs.push(index..index + 1),
            }
        }
        if runs.is_empty() {
            return Err(SelectionError::Empty);
        }
        Ok(Self { panel: panel.digest(), variant_count, runs })
    }

    /// The variants with these ids (`chrom:pos:ref:alt`, with or without `chr`), in any order.
    ///
    /// # Errors
    /// [`SelectionError`] for the first id that is malformed or not on the panel.
    pub fn from_ids<'a>(panel: &Panel, ids: impl IntoIterator<Item = &'a str>) -> Result<Self, SelectionError> {
        let find = |id: &str| {
            let parsed: Result<Variant, VariantError> = id.parse();
            let variant = parsed.map_err(|source| SelectionError::Id { id: id.to_owned(), source })?;
            panel.find(variant.as_ref()).ok_or_else(|| SelectionError::NotOnPanel(variant.to_string()))
        };
        let indices: Result<Vec<VariantIndex>, SelectionError> = ids.into_iter().map(find).collect();
        Self::from_indices(panel, indices?)
    }

    /// A selection of these ranges of variant indices (end exclusive) of a panel with this digest
    /// and number of variants, which the caller compares with the panel at hand.
    ///
    /// # Errors
    /// [`SelectionError::Encoding`] unless the ranges are ascending, not empty, not adjacent and
    /// within the panel.
    pub fn try_from_ranges(
        panel: PanelDigest,
        variant_count: u32,
        ranges: impl IntoIterator<Item = Range<u32>>,
    ) -> Result<Self, SelectionError> {
        let mut runs: Vec<Range<u32>> = Vec::new();
        for range in ranges {
            let gap = runs.last().is_none_or(|run| run.end < range.start);
            if !gap || range.is_empty() || range.end > variant_count {
                return Err(SelectionError::Encoding);
            }
            runs.push(range);
        }
        if runs.is_empty() { Err(SelectionError::Encoding) } else { Ok(Self { panel, variant_count, runs }) }
    }

    /// The variants as ranges of indices: ascending, with a gap between one and the next.
    pub fn ranges(&self) -> &[Range<u32>] {
        &self.runs
    }

    /// The panel the indices belong to.
    pub fn panel(&self) -> PanelDigest {
        self.panel
    }

    /// M: number of variants selected, at least 1.
    pub fn count(&self) -> u32 {
        self.runs.iter().map(|run| run.end - run.start).sum()
    }

    /// Whether every variant of the panel is selected.
    pub fn is_all(&self) -> bool {
        self.count() == self.variant_count
    }

    /// Whether this variant is selected.
    pub fn contains(&self, index: VariantIndex) -> bool {
        let after = self.runs.partition_point(|run| run.start <= index.0);
        after.checked_sub(1).is_some_and(|place| self.runs[place].contains(&index.0))
    }

    /// The variants selected, ascending.
    pub fn indices(&self) -> impl Iterator<Item = VariantIndex> + '_ {
        self.runs.iter().cloned().flatten().map(VariantIndex)
    }

    /// The panel blocks with a selected variant, ascending.
    pub fn blocks(&self) -> Vec<PanelBlockIndex> {
        let block_of = |index: u32| index / VARIANTS_PER_PANEL_BLOCK;
        let mut blocks: Vec<PanelBlockIndex> =
            self.runs.iter().flat_map(|run| block_of(run.start)..=block_of(run.end - 1)).map(PanelBlockIndex).collect();
        blocks.dedup();
        blocks
    }

    /// Number of variants selected in `block`.
    pub fn count_in_block(&self, block: PanelBlockIndex) -> u32 {
        self.runs_in_block(block).map(|run| run.end - run.start).sum()
    }

    /// The variants selected in `block`, ascending, with their slots.
    pub fn slots_in_block(&self, block: PanelBlockIndex) -> impl Iterator<Item = (VariantIndex, Slot)> + '_ {
        self.runs_in_block(block).flatten().map(VariantIndex).map(|index| (index, index.place().1))
    }

    /// The slots selected in `block`; check slots never are.
    pub fn slot_mask(&self, block: PanelBlockIndex) -> SlotMask {
        let mut mask = [0; 64];
        for (_, slot) in self.slots_in_block(block) {
            mask[slot.index() / 64] |= 1 << (slot.index() % 64);
        }
        mask
    }

    /// The one encoding of this selection, clause 6 of this crate's specification.
    pub fn to_canonical_bytes(&self) -> Vec<u8> {
        let run_count = u32::try_from(self.runs.len()).unwrap_or(u32::MAX);
        let runs = self.runs.iter().flat_map(|run| [run.start, run.end - run.start]);
        let numbers = [self.variant_count, run_count].into_iter().chain(runs);
        self.panel.0.into_iter().chain(numbers.flat_map(u32::to_le_bytes)).collect()
    }

    /// Parses [`to_canonical_bytes`](Self::to_canonical_bytes) of a selection of `panel`.
    ///
    /// # Errors
    /// [`SelectionError::Encoding`] for anything but the canonical encoding.
    pub fn from_canonical_bytes(panel: &Panel, bytes: &[u8]) -> Result<Self, SelectionError> {
        let selection = Self::decode_unbound(bytes)?;
        let bound = selection.panel == panel.digest() && selection.variant_count == panel.variant_count();
        if bound { Ok(selection) } else { Err(SelectionError::Encoding) }
    }

    /// Parses a canonical encoding without the panel at hand: the selection claims a panel digest
    /// and a number of variants, which the caller compares with the panel.
    ///
    /// # Errors
    /// [`SelectionError::Encoding`] for anything but the canonical encoding of some selection.
    pub fn decode_unbound(bytes: &[u8]) -> Result<Self, SelectionError> {
        let (digest, rest) = bytes.split_first_chunk().ok_or(SelectionError::Encoding)?;
        let (words, tail) = rest.as_chunks::<4>();
        let mut numbers = words.iter().map(|word| u32::from_le_bytes(*word));
        let (Some(variant_count), Some(run_count), []) = (numbers.next(), numbers.next(), tail) else {
            return Err(SelectionError::Encoding);
        };
        let pairs = numbers.len() / 2;
        if numbers.len() % 2 != 0 || u32::try_from(pairs).ok() != Some(run_count) || run_count == 0 {
            return Err(SelectionError::Encoding);
        }
        let mut ranges = Vec::with_capacity(pairs);
        while let (Some(start), Some(len)) = (numbers.next(), numbers.next()) {
            ranges.push(start..start.checked_add(len).ok_or(SelectionError::Encoding)?);
        }
        Self::try_from_ranges(PanelDigest(*digest), variant_count, ranges)
    }

    /// SHA3-256 of the canonical bytes.
    pub fn digest(&self) -> [u8; 32] {
        sha3_256(DST_SELECTION, &[&self.to_canonical_bytes()])
    }

    /// The parts of the runs that lie in `block`.
    fn runs_in_block(&self, block: PanelBlockIndex) -> impl Iterator<Item = Range<u32>> + '_ {
        let start = block.0.saturating_mul(VARIANTS_PER_PANEL_BLOCK);
        let end = start.saturating_add(VARIANTS_PER_PANEL_BLOCK);
        let first = self.runs.partition_point(|run| run.end <= start);
        let here = self.runs[first..].iter().take_while(move |run| run.start < end);
        here.map(move |run| run.start.max(start)..run.end.min(end))
    }
}

const _: () = assert!(CHECK_SLOTS + VARIANTS_PER_PANEL_BLOCK == 64 * 64, "a slot mask covers one panel block");

impl fmt::Debug for VariantSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VariantSelection({} of {} variants of {})", self.count(), self.variant_count, self.panel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assembly::Assembly;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const VARIANTS: u32 = 9000;

    fn panel() -> Panel {
        let list: Vec<Variant> =
            (1..=VARIANTS).map(|position| format!("1:{position}:A:C").parse().expect("an id")).collect();
        Panel::try_new("t", Assembly::GRCh37, true, list.iter().map(Variant::as_ref)).expect("a panel")
    }

    fn select(panel: &Panel, indices: &[u32]) -> Result<VariantSelection, SelectionError> {
        VariantSelection::from_indices(panel, indices.iter().copied().map(VariantIndex))
    }

    #[test]
    fn a_selection_does_not_depend_on_order_or_repetition() {
        let panel = panel();
        let sorted = select(&panel, &[3, 4, 5, 4080, 8999]).expect("a selection");
        let shuffled = select(&panel, &[8999, 4, 3, 4080, 5, 4]).expect("a selection");
        assert_eq!(sorted.to_canonical_bytes(), shuffled.to_canonical_bytes());
        assert_eq!(sorted.digest(), shuffled.digest());
        assert_eq!(sorted.count(), 5);
        assert_ne!(select(&panel, &[3, 4, 5, 4080]).expect("a selection").digest(), sorted.digest());
    }

    #[test]
    fn ids_with_and_without_prefix_select_their_variants() {
        let panel = panel();
        let selected = VariantSelection::from_ids(&panel, ["chr1:4081:A:C", "1:1:A:C"]).expect("both exist");
        assert_eq!(selected.indices().collect::<Vec<_>>(), [VariantIndex(0), VariantIndex(4080)]);
        let absent = VariantSelection::from_ids(&panel, ["1:1:A:G"]);
        assert_eq!(absent, Err(SelectionError::NotOnPanel("1:1:A:G".into())));
        assert!(matches!(VariantSelection::from_ids(&panel, ["rs1"]), Err(SelectionError::Id { .. })));
    }

    #[test]
    fn nothing_and_indices_past_the_end_are_refused() {
        let panel = panel();
        assert_eq!(select(&panel, &[]), Err(SelectionError::Empty));
        let past = SelectionError::PastEnd { index: VARIANTS, variant_count: VARIANTS };
        assert_eq!(select(&panel, &[1, VARIANTS]), Err(past));
    }

    #[test]
    fn the_whole_panel_is_one_run_and_no_check_slot() {
        let panel = panel();
        let all = VariantSelection::all(&panel);
        assert!(all.is_all());
        assert_eq!(all.to_canonical_bytes().len(), 32 + 8 + 8);
        assert_eq!(all.blocks(), [PanelBlockIndex(0), PanelBlockIndex(1), PanelBlockIndex(2)]);
        assert_eq!(all.slot_mask(PanelBlockIndex(0))[0], !0xffff);
        assert_eq!(all.slot_mask(PanelBlockIndex(0))[1..], [u64::MAX; 63]);
        assert_eq!(all.count_in_block(PanelBlockIndex(2)), VARIANTS - 2 * 4080);
        assert_eq!(all.count_in_block(PanelBlockIndex(3)), 0);
    }

    #[test]
    fn a_selection_of_another_panel_is_refused() {
        let other = Panel::try_new("u", Assembly::GRCh37, true, panel().variants()).expect("a panel");
        let bytes = VariantSelection::all(&panel()).to_canonical_bytes();
        assert_eq!(VariantSelection::from_canonical_bytes(&other, &bytes), Err(SelectionError::Encoding));
        assert!(VariantSelection::from_canonical_bytes(&panel(), &bytes).is_ok());
    }

    #[test]
    fn encodings_that_say_the_same_differently_are_refused() {
        let encode = |numbers: &[u32]| {
            let digest = panel().digest().0;
            digest.into_iter().chain(numbers.iter().flat_map(|number| number.to_le_bytes())).collect::<Vec<u8>>()
        };
        let decodes = |numbers: &[u32]| VariantSelection::decode_unbound(&encode(numbers)).is_ok();
        assert!(decodes(&[VARIANTS, 2, 0, 1, 2, 3]));
        for damaged in [
            &[VARIANTS, 0][..],
            &[VARIANTS, 1, 0, 0],
            &[VARIANTS, 2, 0, 1],
            &[VARIANTS, 1, 0, 1, 2, 3],
            &[VARIANTS, 2, 0, 1, 1, 3],
            &[VARIANTS, 2, 2, 3, 0, 1],
            &[VARIANTS, 1, VARIANTS, 1],
            &[VARIANTS, 1, 1, u32::MAX],
            &[VARIANTS],
        ] {
            assert!(!decodes(damaged), "{damaged:?}");
        }
        assert!(VariantSelection::decode_unbound(&[0; 33]).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn masks_indices_and_encodings_describe_the_same_set(
            indices in proptest::collection::btree_set(0..VARIANTS, 1..200), start in 0..VARIANTS, len in 0u32..5000,
        ) {
            let panel = panel();
            let set: BTreeSet<u32> = indices.into_iter().chain(start..(start + len).min(VARIANTS)).collect();
            let list: Vec<u32> = set.iter().copied().collect();
            let selection = select(&panel, &list).expect("a selection");
            prop_assert_eq!(selection.indices().map(|index| index.0).collect::<Vec<_>>(), list.clone());
            prop_assert_eq!(selection.count() as usize, list.len());
            for index in (0..VARIANTS).step_by(7) {
                prop_assert_eq!(selection.contains(VariantIndex(index)), set.contains(&index));
            }
            let mut from_masks = Vec::new();
            for block in selection.blocks() {
                let mask = selection.slot_mask(block);
                let ones: u32 = mask.iter().map(|word| word.count_ones()).sum();
                prop_assert_eq!(ones, selection.count_in_block(block));
                for slot in (0..4096).filter(|slot| mask[slot / 64] >> (slot % 64) & 1 == 1) {
                    let slot = u32::try_from(slot).ok().and_then(Slot::try_new).expect("a slot");
                    from_masks.push(VariantIndex::at(block, slot).expect("no check slot").0);
                }
            }
            prop_assert_eq!(from_masks, list);
            let ranges = selection.ranges().iter().cloned();
            let from_ranges = VariantSelection::try_from_ranges(panel.digest(), VARIANTS, ranges);
            prop_assert_eq!(from_ranges, Ok(selection.clone()));
            let bytes = selection.to_canonical_bytes();
            prop_assert_eq!(VariantSelection::from_canonical_bytes(&panel, &bytes), Ok(selection));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            if let Ok(selection) = VariantSelection::decode_unbound(&bytes) {
                prop_assert_eq!(selection.to_canonical_bytes(), bytes);
            }
        }
    }
}
