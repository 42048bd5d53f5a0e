//! Rows, columns and limits of a panel's ciphertexts.

use crate::error::StoreError;
use locus_genomics::{PANEL_BLOCK_SLOTS, PanelBlockIndex, Plane};

/// Counters of one body.
pub const BODY_WORDS: usize = PANEL_BLOCK_SLOTS as usize;
/// Bytes of one body: [`BODY_WORDS`] little-endian `u64`.
pub const BODY_BYTES: usize = BODY_WORDS * 8;
/// Bytes of one body digest.
pub(crate) const DIGEST_BYTES: usize = 32;
/// Registry slots of one shard, and most rows of one object: 1024 bodies are 32 MiB.
pub const SHARD_SLOTS: u32 = 1024;
/// Rows of a row group: 2 MiB of bodies, the unit of reading.
pub const GROUP_ROWS: u32 = 64;
/// Rows of a Parquet page.
pub const PAGE_ROWS: u32 = 32;
/// Most datasets of one batch, which is one registration.
pub const BATCH_ROWS_MAX: u32 = 4096;
/// Most panel blocks: 256 carry a million variants; four times that is allowed.
pub const PANEL_BLOCKS_MAX: u32 = 1024;
/// Most bodies handed over in one call: 8 MiB, the largest buffer this crate keeps.
pub const APPEND_ROWS_MAX: u32 = 256;

const _: () = assert!(BODY_BYTES == 32_768);
const _: () = assert!(SHARD_SLOTS.is_multiple_of(GROUP_ROWS) && GROUP_ROWS.is_multiple_of(PAGE_ROWS));
const _: () = assert!(APPEND_ROWS_MAX as usize * BODY_BYTES == 8 << 20);

/// One body as it is stored.
pub type BodyBytes = [u8; BODY_BYTES];

/// One column of a panel's ciphertexts: a panel block on one plane. Ordered block first, which is
/// the order in which bodies are hashed into a dataset's digest and uploaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Column {
    /// The panel block.
    pub block: PanelBlockIndex,
    /// The plane.
    pub plane: Plane,
}

/// How many columns a panel has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PanelShape {
    blocks: u32,
    complete_calls: bool,
}

impl PanelShape {
    /// The shape of a panel with this many panel blocks; one that declares complete calls has no
    /// missing plane.
    ///
    /// # Errors
    /// [`StoreError::ShapeLimit`] unless `1 <= blocks <= PANEL_BLOCKS_MAX`.
    pub fn try_new(blocks: u32, complete_calls: bool) -> Result<Self, StoreError> {
        if blocks == 0 || blocks > PANEL_BLOCKS_MAX {
            return Err(StoreError::ShapeLimit { blocks, limit: PANEL_BLOCKS_MAX });
        }
        Ok(Self { blocks, complete_calls })
    }

    /// Panel blocks of the panel.
    pub fn blocks(self) -> u32 {
        self.blocks
    }

    /// Whether the panel has no missing plane.
    pub fn complete_calls(self) -> bool {
        self.complete_calls
    }

    /// Planes of the panel, calls first.
    pub fn planes(self) -> &'static [Plane] {
        Plane::of_panel(self.complete_calls)
    }

    /// Number of columns.
    pub fn column_count(self) -> usize {
        self.blocks as usize * self.planes().len()
    }

    /// All columns, in the order of the dataset digest.
    pub fn columns(self) -> impl Iterator<Item = Column> {
        (0..self.blocks).flat_map(move |block| {
            self.planes().iter().map(move |&plane| Column { block: PanelBlockIndex(block), plane })
        })
    }

    /// Place of `column` in [`columns`](Self::columns).
    ///
    /// # Errors
    /// [`StoreError::UnknownColumn`] when the panel does not have it.
    pub fn position(self, column: Column) -> Result<usize, StoreError> {
        let plane = self.planes().iter().position(|&plane| plane == column.plane);
        match plane {
            Some(plane) if column.block.0 < self.blocks => Ok(column.block.0 as usize * self.planes().len() + plane),
            _ => Err(StoreError::UnknownColumn(column)),
        }
    }

    /// The column at `position` of [`columns`](Self::columns), if there is one.
    pub(crate) fn column_at(self, position: usize) -> Option<Column> {
        let planes = self.planes();
        let block = u32::try_from(position / planes.len()).ok().filter(|&block| block < self.blocks)?;
        Some(Column { block: PanelBlockIndex(block), plane: planes[position % planes.len()] })
    }

    /// Number of planes, for messages.
    pub(crate) fn plane_count(self) -> u32 {
        if self.complete_calls { 1 } else { 2 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_has_the_position_at_which_it_is_listed() {
        for complete_calls in [true, false] {
            let shape = PanelShape::try_new(3, complete_calls).expect("three blocks are allowed");
            let columns: Vec<Column> = shape.columns().collect();
            assert_eq!(columns.len(), shape.column_count());
            for (position, &column) in columns.iter().enumerate() {
                assert_eq!(shape.position(column).expect("listed"), position);
                assert_eq!(shape.column_at(position), Some(column));
            }
            assert_eq!(shape.column_at(columns.len()), None);
        }
    }

    #[test]
    fn a_complete_panel_has_no_missing_plane_and_no_block_past_its_end() {
        let shape = PanelShape::try_new(2, true).expect("two blocks are allowed");
        assert!(shape.position(Column { block: PanelBlockIndex(0), plane: Plane::Missing }).is_err());
        assert!(shape.position(Column { block: PanelBlockIndex(2), plane: Plane::Calls }).is_err());
        assert!(PanelShape::try_new(0, true).is_err());
        assert!(PanelShape::try_new(PANEL_BLOCKS_MAX + 1, true).is_err());
    }
}
