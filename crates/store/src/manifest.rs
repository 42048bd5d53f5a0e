//! The manifest of a panel: which objects hold which registry slots. Every change writes a new
//! version; versions are never edited.

use crate::{
    batch_id::{BatchId, Hex32},
    domain::{DST_MANIFEST, DST_MANIFEST_CONTENT},
    error::StoreError,
    names::{Origin, PartName},
    shape::{BATCH_ROWS_MAX, PanelShape, SHARD_SLOTS},
    slots::{SlotRange, SlotSet},
};
use locus_commitment::{Digest32, sha3_256};
use locus_genomics::PanelDigest;
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Version of the manifest format that is written.
pub(crate) const MANIFEST_FORMAT: u32 = 2;
/// Version of manifests without a digest of their own, which are still read.
const FORMAT_WITHOUT_DIGEST: u32 = 1;
/// What stands around the digest at the end of a manifest.
const BEFORE_DIGEST: &[u8] = b",\"digest\":\"";
const AFTER_DIGEST: &[u8] = b"\"}";
/// Longest manifest: about 30,000 batches that were not compacted yet, or 50,000 compacted shards.
pub(crate) const MANIFEST_BYTES_MAX: u64 = 8 << 20;

/// The manifest as stored in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ManifestFile {
    pub(crate) format: u32,
    pub(crate) panel: Hex32,
    pub(crate) blocks: u32,
    pub(crate) complete_calls: bool,
    pub(crate) version: u64,
    /// Digest of the version before; none for version 1.
    pub(crate) previous: Option<Hex32>,
    /// Batches that still hold slots, by first slot.
    pub(crate) batches: Vec<BatchEntry>,
    /// Newest generations of compacted shards, by shard.
    pub(crate) shards: Vec<ShardEntry>,
    /// Slots that must not be used any more.
    pub(crate) tombstones: Vec<SlotRange>,
    /// Tombstoned slots that a compaction has left out.
    pub(crate) erased: Vec<SlotRange>,
    /// Abandoned origins that are being deleted and can never be committed.
    pub(crate) retiring: Vec<Origin>,
}

/// One registered batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BatchEntry {
    pub(crate) batch: Hex32,
    pub(crate) registration: u64,
    pub(crate) first_slot: u32,
    pub(crate) rows: u32,
    pub(crate) parts: Vec<BatchPart>,
}

/// One part of a registered batch, with the slots for which it is still the newest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BatchPart {
    pub(crate) index_digest: Hex32,
    pub(crate) slots: Vec<SlotRange>,
}

/// One compacted shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShardEntry {
    pub(crate) shard: u32,
    pub(crate) generation: u32,
    pub(crate) index_digest: Hex32,
    pub(crate) slots: Vec<SlotRange>,
}

/// A part as a manifest has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub(crate) name: PartName,
    /// Registry slot of row number 0: the batch's first slot, or 0.
    pub(crate) slot_base: u32,
    /// Rows stored in the objects of a batch part; for a shard generation those of `slots`, at least.
    pub(crate) stored_rows: u32,
    pub(crate) slots: Vec<SlotRange>,
    pub(crate) index_digest: Digest32,
}

impl Part {
    /// Which part it is.
    pub fn name(&self) -> PartName {
        self.name
    }

    /// Slots for which this part holds the bodies, as ascending ranges. The objects may have more
    /// rows, which are not to be used.
    pub fn slots(&self) -> &[SlotRange] {
        &self.slots
    }

    pub(crate) fn is_shard(&self) -> bool {
        matches!(self.name.origin, Origin::Shard { .. })
    }

    /// Slots whose bodies are in the part's objects, used or not. Those that a shard generation lost to a batch that
    /// replaced a registration are left out: the batch, or one that replaced it, holds them until the shard is
    /// compacted, which rewrites both.
    pub(crate) fn stored(&self) -> Vec<SlotRange> {
        if self.is_shard() {
            return self.slots.clone();
        }
        let first = self.slot_base.saturating_add(self.name.first_row());
        vec![SlotRange { first, count: self.stored_rows }]
    }
}

/// Names one version of a manifest and its exact content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ManifestPin {
    /// The version.
    pub version: u64,
    /// Digest of its bytes.
    pub digest: Digest32,
}

/// One checked version of a panel's manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    file: ManifestFile,
    digest: Digest32,
    parts: Vec<Part>,
    held: SlotSet,
    tombstones: SlotSet,
    erased: SlotSet,
}

impl Manifest {
    /// The manifest of a panel that has no data yet: version 0, which is not stored.
    pub(crate) fn empty(panel: PanelDigest, shape: PanelShape) -> Self {
        let file = ManifestFile {
            format: MANIFEST_FORMAT,
            panel: Hex32(panel.0),
            blocks: shape.blocks(),
            complete_calls: shape.complete_calls(),
            version: 0,
            previous: None,
            batches: Vec::new(),
            shards: Vec::new(),
            tombstones: Vec::new(),
            erased: Vec::new(),
            retiring: Vec::new(),
        };
        Self {
            file,
            digest: Digest32([0; 32]),
            parts: Vec::new(),
            held: SlotSet::new(),
            tombstones: SlotSet::new(),
            erased: SlotSet::new(),
        }
    }

    /// Parses and checks the manifest object `name`.
    pub(crate) fn parse(name: &Path, bytes: &[u8]) -> Result<Self, StoreError> {
        let content = without_digest(bytes).map_err(|rule| StoreError::malformed(name, rule))?;
        let file: ManifestFile = serde_json::from_slice(content.as_deref().unwrap_or(bytes))
            .map_err(|_| StoreError::malformed(name, "manifest is not valid JSON"))?;
        let format = if content.is_some() { MANIFEST_FORMAT } else { FORMAT_WITHOUT_DIGEST };
        if file.format != format {
            return Err(StoreError::malformed(name, "manifest has a format that this version does not read"));
        }
        let digest = sha3_256(DST_MANIFEST, &[bytes]);
        Self::checked(file, digest).map_err(|rule| StoreError::malformed(name, rule))
    }

    /// The bytes of `file`, and the manifest they make.
    pub(crate) fn encode(name: &Path, file: ManifestFile) -> Result<(Vec<u8>, Self), StoreError> {
        let file = ManifestFile { format: MANIFEST_FORMAT, ..file };
        let mut bytes =
            serde_json::to_vec(&file).map_err(|_| StoreError::malformed(name, "manifest cannot be written as JSON"))?;
        // The closing brace comes after the digest.
        bytes.pop();
        let digest = content_digest(&bytes);
        bytes.extend([BEFORE_DIGEST, digest.to_string().as_bytes(), AFTER_DIGEST].concat());
        if bytes.len() as u64 > MANIFEST_BYTES_MAX {
            return Err(StoreError::ManifestFull { bytes: bytes.len() as u64, limit: MANIFEST_BYTES_MAX });
        }
        let manifest = Self::parse(name, &bytes)?;
        Ok((bytes, manifest))
    }

    fn checked(file: ManifestFile, digest: Digest32) -> Result<Self, &'static str> {
        let linked = file.previous.is_some() == (file.version > 1);
        if file.version == 0 || !linked || PanelShape::try_new(file.blocks, file.complete_calls).is_err() {
            return Err("manifest has an impossible version or shape");
        }
        let canonical = |ranges: &[SlotRange]| {
            SlotSet::from_canonical_ranges(ranges).ok_or("slots of the manifest are not ascending ranges")
        };
        let tombstones = canonical(&file.tombstones)?;
        let erased = canonical(&file.erased)?;
        if !erased.difference(&tombstones).is_empty() {
            return Err("manifest has erased slots without a tombstone");
        }
        let parts = file.parts()?;
        let mut held = SlotSet::new();
        let mut counted = 0;
        for part in &parts {
            let slots = canonical(&part.slots)?;
            counted += slots.len();
            held.union_with(&slots);
        }
        if held.len() != counted || !held.intersection(&erased).is_empty() {
            return Err("manifest names two places for one slot");
        }
        Ok(Self { file, digest, parts, held, tombstones, erased })
    }

    /// The version; 0 when the panel has no data yet.
    pub fn version(&self) -> u64 {
        self.file.version
    }

    /// What pins this version and its content.
    pub fn pin(&self) -> ManifestPin {
        ManifestPin { version: self.file.version, digest: self.digest }
    }

    /// All parts that hold slots, in no particular order.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Slots whose bodies are stored, including tombstoned ones, of which a batch that replaced a registration may
    /// have fillers.
    pub fn held(&self) -> &SlotSet {
        &self.held
    }

    /// Slots that must not be used any more.
    pub fn tombstones(&self) -> &SlotSet {
        &self.tombstones
    }

    /// Tombstoned slots whose bodies a compaction has left out.
    pub fn erased(&self) -> &SlotSet {
        &self.erased
    }

    /// Slots that can be summed: stored and not tombstoned.
    pub fn live(&self) -> SlotSet {
        self.held.difference(&self.tombstones)
    }

    /// Whether `slot` can be summed.
    pub(crate) fn is_live(&self, slot: u32) -> bool {
        self.held.contains(slot) && !self.tombstones.contains(slot)
    }

    /// Whether the bodies of all slots of `range` are stored or were stored and erased: whether
    /// the registration of these slots is already committed.
    pub fn covers(&self, range: SlotRange) -> bool {
        range.iter().all(|slot| self.held.contains(slot) || self.erased.contains(slot))
    }

    /// Tombstoned slots whose bodies are still in an object that this version uses. A batch that replaced a
    /// registration may have fillers in the rows of such slots; they count until they are compacted.
    pub fn pending_erasure(&self) -> SlotSet {
        let stored = self.parts.iter().flat_map(Part::stored).flat_map(SlotRange::iter);
        let mut pending = SlotSet::new();
        for slot in stored.filter(|&slot| self.tombstones.contains(slot)) {
            // Slots of a checked manifest are below the limit, so this cannot fail.
            let _ = pending.insert(slot);
        }
        pending
    }

    /// Shards that are not yet one object per column: those with slots in batches or tombstones in
    /// their objects.
    pub fn fragmented_shards(&self) -> BTreeSet<u32> {
        let of_batches = self.parts.iter().filter(|part| !part.is_shard()).flat_map(|part| part.slots.iter());
        let mut shards: BTreeSet<u32> =
            of_batches.flat_map(|range| range.iter()).map(|slot| slot / SHARD_SLOTS).collect();
        shards.extend(self.held.intersection(&self.tombstones).iter().map(|slot| slot / SHARD_SLOTS));
        shards
    }

    pub(crate) fn file(&self) -> &ManifestFile {
        &self.file
    }
}

/// The digest that a manifest carries, of its bytes before it: a bit that changes in the newest version, whose bytes
/// nothing else names yet, is noticed and not carried over into the next.
fn content_digest(content: &[u8]) -> Digest32 {
    sha3_256(DST_MANIFEST_CONTENT, &[content])
}

/// A manifest as it was before its digest was added; `None` when it has none.
fn without_digest(bytes: &[u8]) -> Result<Option<Vec<u8>>, &'static str> {
    const DIGITS: usize = 64;
    let suffix_bytes = BEFORE_DIGEST.len() + DIGITS + AFTER_DIGEST.len();
    let Some((content, suffix)) = bytes.len().checked_sub(suffix_bytes).map(|place| bytes.split_at(place)) else {
        return Ok(None);
    };
    let digits = suffix.strip_prefix(BEFORE_DIGEST).and_then(|rest| rest.strip_suffix(AFTER_DIGEST));
    let Some(digits) = digits else { return Ok(None) };
    if content_digest(content).to_string().as_bytes() != digits {
        return Err("manifest does not have its digest: it is damaged");
    }
    Ok(Some([content, b"}"].concat()))
}

impl ManifestFile {
    /// The parts, after checking each by itself.
    fn parts(&self) -> Result<Vec<Part>, &'static str> {
        let mut parts = Vec::new();
        let mut origins = BTreeSet::new();
        for entry in &self.batches {
            let origin = Origin::Batch(BatchId(entry.batch.0));
            let whole = SlotRange { first: entry.first_slot, count: entry.rows };
            let part_count = entry.rows.div_ceil(SHARD_SLOTS) as usize;
            if !whole.is_valid() || entry.rows > BATCH_ROWS_MAX || entry.parts.len() != part_count {
                return Err("batch of the manifest has an impossible size");
            }
            if !origins.insert(origin) || entry.parts.iter().all(|part| part.slots.is_empty()) {
                return Err("manifest names a batch twice, or one without slots");
            }
            for (part, part_index) in entry.parts.iter().zip(0u32..) {
                let name = PartName { origin, part: part_index };
                let stored_rows = (entry.rows - name.first_row()).min(SHARD_SLOTS);
                let stored = SlotRange { first: entry.first_slot + name.first_row(), count: stored_rows };
                check_inside(&part.slots, stored)?;
                parts.push(Part {
                    name,
                    slot_base: entry.first_slot,
                    stored_rows,
                    slots: part.slots.clone(),
                    index_digest: part.index_digest.into(),
                });
            }
        }
        for entry in &self.shards {
            let origin = Origin::Shard { shard: entry.shard, generation: entry.generation };
            let first = entry.shard.checked_mul(SHARD_SLOTS).ok_or("shard number is too large")?;
            if entry.slots.is_empty() || entry.generation == 0 {
                return Err("shard of the manifest has no slots or generation");
            }
            check_inside(&entry.slots, SlotRange { first, count: SHARD_SLOTS })?;
            parts.push(Part {
                name: PartName { origin, part: 0 },
                slot_base: 0,
                stored_rows: entry.slots.iter().map(|range| range.count).sum(),
                slots: entry.slots.clone(),
                index_digest: entry.index_digest.into(),
            });
        }
        let ordered = self.batches.is_sorted_by(|left, right| left.first_slot < right.first_slot)
            && self.shards.is_sorted_by(|left, right| left.shard < right.shard);
        if !ordered {
            return Err("entries of the manifest are not in order");
        }
        parts.retain(|part| !part.slots.is_empty());
        Ok(parts)
    }

    /// The batch entry for `batch`.
    pub(crate) fn batch(&self, batch: BatchId) -> Option<&BatchEntry> {
        self.batches.iter().find(|entry| entry.batch == Hex32(batch.0))
    }

    /// All origins that the manifest uses.
    pub(crate) fn origins(&self) -> BTreeSet<Origin> {
        let batches = self.batches.iter().map(|entry| Origin::Batch(BatchId(entry.batch.0)));
        let shards = self.shards.iter();
        let shards = shards.map(|entry| Origin::Shard { shard: entry.shard, generation: entry.generation });
        batches.chain(shards).collect()
    }

    /// Drops batches that hold no slots any more.
    pub(crate) fn drop_empty_batches(&mut self) {
        self.batches.retain(|entry| entry.parts.iter().any(|part| !part.slots.is_empty()));
    }
}

fn check_inside(slots: &[SlotRange], whole: SlotRange) -> Result<(), &'static str> {
    let inside = |range: &SlotRange| range.is_valid() && whole.contains(range.first) && range.end() <= whole.end();
    if slots.iter().all(inside) { Ok(()) } else { Err("slots of a part lie outside it") }
}

#[cfg(test)]
mod tests;
