//! Sums of whole cohorts, kept so that a question asked again reads one stored sum for each column, and a cohort that has
//! grown only its new rows.

use crate::{
    error::EngineError,
    registered::RegisteredBodies,
    tag::{Tag, TagKey},
    tags::TagStorageError,
};
use locus_genomics::PanelDigest;
use locus_store::{BodySum, Column, SUM_BYTES, SlotRange, SlotSet};
use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

/// Cohorts of a panel whose sums are kept: those asked for last.
pub const COHORTS_KEPT_MAX: usize = 4;
/// Bytes of a kept sum: the tag of its rows, and the sum.
const KEPT_BYTES: usize = 16 + SUM_BYTES;
/// Bytes of a cohort in the list: its digest and the number of its ranges; then 8 for each range.
const COHORT_HEAD_BYTES: usize = 36;

/// What a cohort is known by: a digest of its slots and of the H(b) they are registered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CohortDigest(pub [u8; 32]);

/// Names the sum of a cohort in one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CohortSumName {
    /// The panel.
    pub panel: PanelDigest,
    /// The cohort.
    pub cohort: CohortDigest,
    /// The column.
    pub column: Column,
}

impl CohortSumName {
    /// The name as 69 bytes: panel, cohort, panel block, plane; big endian. Those of a cohort are neighbours.
    pub fn to_bytes(&self) -> [u8; 69] {
        let mut bytes = [0; 69];
        bytes[..32].copy_from_slice(&self.panel.0);
        bytes[32..64].copy_from_slice(&self.cohort.0);
        bytes[64..68].copy_from_slice(&self.column.block.0.to_be_bytes());
        bytes[68] = self.column.plane.code();
        bytes
    }
}

/// What changes in a storage at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CohortSumChange {
    /// The panel.
    pub panel: PanelDigest,
    /// Its new list of cohorts.
    pub cohorts: Vec<u8>,
    /// Sums to keep.
    pub sums: Vec<(CohortSumName, Vec<u8>)>,
    /// Cohorts whose sums are no longer needed.
    pub forgotten: Vec<CohortDigest>,
}

/// Where sums of cohorts are kept. Nobody else may be able to write it. What is lost is computed again.
pub trait CohortSumStorage: Send + Sync {
    /// The list of a panel's cohorts, if there is one.
    ///
    /// # Errors
    /// When storage fails.
    fn cohorts(&self, panel: PanelDigest) -> Result<Option<Vec<u8>>, TagStorageError>;

    /// A sum, if it is kept.
    ///
    /// # Errors
    /// When storage fails.
    fn sum(&self, name: &CohortSumName) -> Result<Option<Vec<u8>>, TagStorageError>;

    /// Makes a change, whole or not at all.
    ///
    /// # Errors
    /// When storage fails.
    fn change(&self, change: &CohortSumChange) -> Result<(), TagStorageError>;
}

/// The sums of one reader's cohorts.
pub(crate) struct CohortSums {
    storage: Box<dyn CohortSumStorage>,
    /// Parts that a question must touch for its sums to be kept: below, the stored sums of the parts are few as well.
    parts_min: usize,
    changing: Mutex<()>,
}

impl fmt::Debug for CohortSums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CohortSums")
    }
}

/// What a question begins from: a cohort of which the sums of all its columns are kept, and all of whose members are in its
/// selection.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) digest: CohortDigest,
    /// The sums, in the order of the columns.
    pub(crate) sums: Vec<Box<BodySum>>,
    /// What the question selects besides.
    pub(crate) rest: SlotSet,
}

impl CohortSums {
    pub(crate) fn new(storage: Box<dyn CohortSumStorage>, parts_min: usize) -> Self {
        Self { storage, parts_min, changing: Mutex::new(()) }
    }

    /// Whether sums over so many parts are kept.
    pub(crate) fn is_worth(&self, parts: usize) -> bool {
        parts >= self.parts_min
    }

    /// The largest kept cohort within `selection` whose members are registered with the same bodies as then, and of which
    /// the sums of all `columns` are kept: of a question in several pieces those of another piece may be there before these.
    pub(crate) fn base(
        &self,
        key: &TagKey,
        panel: PanelDigest,
        columns: &[Column],
        selection: &SlotSet,
        registered: &dyn RegisteredBodies,
    ) -> Result<Option<Base>, EngineError> {
        let mut cohorts = self.load(panel)?;
        cohorts.retain(|(_, slots)| slots.difference(selection).is_empty());
        cohorts.sort_by_key(|(_, slots)| std::cmp::Reverse(slots.len()));
        for (digest, slots) in cohorts {
            // A sum that is not kept costs one look, a digest all members.
            let Some(sums) = self.sums(key, panel, digest, columns)? else { continue };
            if cohort_digest(panel, &slots, registered)? == digest {
                return Ok(Some(Base { digest, sums, rest: selection.difference(&slots) }));
            }
        }
        Ok(None)
    }

    /// The kept sums of a cohort; `None` when one of them is not kept.
    fn sums(
        &self,
        key: &TagKey,
        panel: PanelDigest,
        cohort: CohortDigest,
        columns: &[Column],
    ) -> Result<Option<Vec<Box<BodySum>>>, EngineError> {
        let mut sums = Vec::with_capacity(columns.len());
        for &column in columns {
            let Some(sum) = self.sum(key, &CohortSumName { panel, cohort, column })? else { return Ok(None) };
            sums.push(sum);
        }
        Ok(Some(sums))
    }

    /// A kept sum; `None` when it is not kept or does not have its tag.
    fn sum(&self, key: &TagKey, name: &CohortSumName) -> Result<Option<Box<BodySum>>, EngineError> {
        let Some(kept) = self.storage.sum(name).map_err(EngineError::Tags)? else { return Ok(None) };
        let Some((tag, sum)) = kept.split_first_chunk::<16>() else { return Ok(None) };
        let sum =
            BodySum::parse(sum).filter(|sum| Tag::parse(*tag).is_some_and(|tag| key.tag_of_sum(sum) == Some(tag)));
        Ok(sum)
    }

    /// Keeps the sums of a cohort, which agree with the tags of its rows, in place of those asked for longest ago. The
    /// cohort that they were begun from counts as asked for too: the next columns of the question begin from it.
    pub(crate) fn keep(
        &self,
        key: &TagKey,
        panel: PanelDigest,
        cohort: (CohortDigest, &SlotSet),
        base: Option<CohortDigest>,
        sums: &[(Column, Box<BodySum>)],
    ) -> Result<(), EngineError> {
        let (digest, slots) = cohort;
        let record = |(column, sum): &(Column, Box<BodySum>)| {
            let tag = key.tag_of_sum(sum)?;
            let mut bytes = Vec::with_capacity(KEPT_BYTES);
            bytes.extend_from_slice(&tag.to_bytes());
            bytes.extend_from_slice(&sum.to_bytes());
            Some((CohortSumName { panel, cohort: digest, column: *column }, bytes))
        };
        let sums = sums.iter().filter_map(record).collect();
        // Others may change the list meanwhile.
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut cohorts = self.load(panel)?;
        cohorts.retain(|(kept, _)| *kept != digest);
        // The order of the others stays as it is.
        cohorts.sort_by_key(|(kept, _)| Some(*kept) != base);
        cohorts.insert(0, (digest, slots.clone()));
        let forgotten = cohorts.drain(COHORTS_KEPT_MAX.min(cohorts.len())..).map(|(digest, _)| digest).collect();
        let change = CohortSumChange { panel, cohorts: list_to_bytes(&cohorts), sums, forgotten };
        self.storage.change(&change).map_err(EngineError::Tags)
    }

    /// The list of cohorts, last asked for first; empty when it is not there or damaged.
    fn load(&self, panel: PanelDigest) -> Result<Vec<(CohortDigest, SlotSet)>, EngineError> {
        let bytes = self.storage.cohorts(panel).map_err(EngineError::Tags)?;
        Ok(bytes.and_then(|bytes| parse_list(&bytes)).unwrap_or_default())
    }
}

/// The digest of a cohort: BLAKE3 in key derivation mode over panel, and slot and H(b) of every member.
pub(crate) fn cohort_digest(
    panel: PanelDigest,
    slots: &SlotSet,
    registered: &dyn RegisteredBodies,
) -> Result<CohortDigest, EngineError> {
    let mut hasher = blake3::Hasher::new_derive_key("locus/engine/cohort/v1");
    hasher.update(&panel.0);
    for slot in slots.iter() {
        let digest = registered.body_digest(slot).ok_or(EngineError::NotRegistered { slot })?;
        hasher.update(&slot.to_be_bytes());
        hasher.update(&digest.0.0);
    }
    Ok(CohortDigest(hasher.finalize().into()))
}

fn list_to_bytes(cohorts: &[(CohortDigest, SlotSet)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (digest, slots) in cohorts {
        let ranges = slots.ranges();
        bytes.extend_from_slice(&digest.0);
        // A set of slots below 2^26 has fewer than 2^25 ranges.
        bytes.extend_from_slice(&u32::try_from(ranges.len()).unwrap_or(u32::MAX).to_be_bytes());
        for range in ranges {
            bytes.extend_from_slice(&range.first.to_be_bytes());
            bytes.extend_from_slice(&range.count.to_be_bytes());
        }
    }
    bytes
}

fn parse_list(mut bytes: &[u8]) -> Option<Vec<(CohortDigest, SlotSet)>> {
    let mut cohorts = Vec::new();
    while !bytes.is_empty() {
        let (head, rest) = bytes.split_first_chunk::<COHORT_HEAD_BYTES>()?;
        let (digest, count) = head.split_first_chunk::<32>()?;
        let count = u32::from_be_bytes(count.try_into().ok()?) as usize;
        let (ranges, rest) = rest.split_at_checked(count.checked_mul(8)?)?;
        let mut slots = SlotSet::new();
        for range in ranges.as_chunks::<8>().0 {
            let [first, count] =
                [0, 4].map(|at| u32::from_be_bytes([range[at], range[at + 1], range[at + 2], range[at + 3]]));
            slots.insert_range(SlotRange { first, count }).ok()?;
        }
        cohorts.push((CohortDigest(*digest), slots));
        bytes = rest;
    }
    Some(cohorts)
}
