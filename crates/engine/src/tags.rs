//! Keeping tags: which body has which, and for which registered dataset it was computed.

use crate::{
    error::EngineError,
    tag::{Tag, TagKey},
};
use locus_commitment::{DatasetBodyDigest, Digest32};
use locus_genomics::PanelDigest;
use locus_store::{Column, SHARD_SLOTS};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, PoisonError},
};

/// Bytes of one record: H(b) of the dataset, and the tag.
const RECORD_BYTES: usize = 48;
/// Bytes of a block of tags.
pub const TAG_BLOCK_BYTES: usize = SHARD_SLOTS as usize * RECORD_BYTES;

/// Names the tags of one column of one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TagBlockName {
    /// The panel.
    pub panel: PanelDigest,
    /// The column.
    pub column: Column,
    /// The shard: 1024 consecutive registry slots.
    pub shard: u32,
}

impl TagBlockName {
    /// The name as 41 bytes: panel, panel block, plane, shard; integers big endian.
    pub fn to_bytes(&self) -> [u8; 41] {
        let mut bytes = [0; 41];
        bytes[..32].copy_from_slice(&self.panel.0);
        bytes[32..36].copy_from_slice(&self.column.block.0.to_be_bytes());
        bytes[36] = self.column.plane.code();
        bytes[37..].copy_from_slice(&self.shard.to_be_bytes());
        bytes
    }
}

/// What a tag storage failed with.
pub type TagStorageError = Box<dyn std::error::Error + Send + Sync>;

/// Where a reader keeps its tags. Nobody else may be able to write it, or to read the key. What is
/// lost is computed again.
pub trait TagStorage: Send + Sync {
    /// The block of this name, if there is one.
    ///
    /// # Errors
    /// When storage fails.
    fn load(&self, name: &TagBlockName) -> Result<Option<Vec<u8>>, TagStorageError>;

    /// Keeps blocks, each of [`TAG_BLOCK_BYTES`], in place of those of the same names.
    ///
    /// # Errors
    /// When storage fails.
    fn store(&self, blocks: &[(TagBlockName, Vec<u8>)]) -> Result<(), TagStorageError>;
}

/// The tags of one reader, and the key they are made with.
pub struct RowTags {
    pub(crate) key: TagKey,
    storage: Box<dyn TagStorage>,
    changing: Mutex<()>,
}

impl fmt::Debug for RowTags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RowTags")
    }
}

/// A tag computed from a body that has the digest of its dataset.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FreshTag {
    pub(crate) slot: u32,
    pub(crate) dataset: DatasetBodyDigest,
    pub(crate) tag: Tag,
}

impl RowTags {
    /// Tags kept in `storage`, all made with `key`.
    pub fn new(key: TagKey, storage: Box<dyn TagStorage>) -> Self {
        Self { key, storage, changing: Mutex::new(()) }
    }

    /// Tags kept in memory under `key`, for a process that reads few bodies: 48 bytes a body.
    pub fn in_memory(key: TagKey) -> Self {
        Self::new(key, Box::new(MemoryTags::default()))
    }

    /// The tags of the bodies of `datasets` (slot and H(b), ascending) in one column; `None` for
    /// those that were not computed yet, or for another dataset.
    pub(crate) fn find(
        &self,
        panel: PanelDigest,
        column: Column,
        datasets: &[(u32, DatasetBodyDigest)],
    ) -> Result<Vec<Option<Tag>>, EngineError> {
        let mut found = Vec::with_capacity(datasets.len());
        for datasets in datasets.chunk_by(|left, right| left.0 / SHARD_SLOTS == right.0 / SHARD_SLOTS) {
            let Some((first, _)) = datasets.first() else { continue };
            let block = self.load(&TagBlockName { panel, column, shard: first / SHARD_SLOTS })?;
            found.extend(datasets.iter().map(|(slot, dataset)| record(&block, *slot, dataset)));
        }
        Ok(found)
    }

    /// Keeps tags.
    pub(crate) fn keep(&self, panel: PanelDigest, fresh: &[(Column, Vec<FreshTag>)]) -> Result<(), EngineError> {
        let mut by_block: BTreeMap<TagBlockName, Vec<FreshTag>> = BTreeMap::new();
        for (column, tags) in fresh {
            for tag in tags {
                let name = TagBlockName { panel, column: *column, shard: tag.slot / SHARD_SLOTS };
                by_block.entry(name).or_default().push(*tag);
            }
        }
        // Others may add to the same block meanwhile.
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut blocks = Vec::with_capacity(by_block.len());
        for (name, tags) in by_block {
            let mut block = self.load(&name)?;
            for fresh in tags {
                let (_, record) = block.split_at_mut(record_start(fresh.slot));
                record[..32].copy_from_slice(&fresh.dataset.0.0);
                record[32..RECORD_BYTES].copy_from_slice(&fresh.tag.to_bytes());
            }
            blocks.push((name, block));
        }
        self.storage.store(&blocks).map_err(EngineError::Tags)
    }

    /// A block as kept, or one without tags: all bits set is no tag.
    fn load(&self, name: &TagBlockName) -> Result<Vec<u8>, EngineError> {
        let block = self.storage.load(name).map_err(EngineError::Tags)?;
        Ok(block.filter(|block| block.len() == TAG_BLOCK_BYTES).unwrap_or_else(|| vec![0xff; TAG_BLOCK_BYTES]))
    }
}

fn record_start(slot: u32) -> usize {
    (slot % SHARD_SLOTS) as usize * RECORD_BYTES
}

fn record(block: &[u8], slot: u32, dataset: &DatasetBodyDigest) -> Option<Tag> {
    let start = record_start(slot);
    let (digest, tag) = block.get(start..start + RECORD_BYTES)?.split_first_chunk::<32>()?;
    let tag = Tag::parse(*tag.first_chunk()?)?;
    (DatasetBodyDigest(Digest32(*digest)) == *dataset).then_some(tag)
}

/// Tags in this process's memory.
#[derive(Default)]
struct MemoryTags(Mutex<BTreeMap<TagBlockName, Vec<u8>>>);

impl TagStorage for MemoryTags {
    fn load(&self, name: &TagBlockName) -> Result<Option<Vec<u8>>, TagStorageError> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned())
    }

    fn store(&self, blocks: &[(TagBlockName, Vec<u8>)]) -> Result<(), TagStorageError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(blocks.iter().cloned());
        Ok(())
    }
}
