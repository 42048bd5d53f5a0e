//! Putting new bodies in the place of those that a registration has had.

use crate::{
    batch_id::BatchId,
    error::StoreError,
    manifest::{BatchEntry, Manifest, ManifestFile},
    names::Origin,
    panel_store::{PanelStore, RegistrationCommit, batch_entry},
    shape::{BODY_BYTES, BodyBytes, PanelShape},
    slots::{SlotRange, SlotSet},
};
use locus_commitment::{BodyDigest, DatasetBodyDigest};
use std::collections::BTreeMap;

/// What a batch has in the rows of datasets that have no bodies any more. Such rows are never used; zeros, because
/// they add nothing to the stored sums.
pub static FILLER_BODY: BodyBytes = [0; BODY_BYTES];

impl PanelShape {
    /// H(b) of a dataset that is [`FILLER_BODY`] in every column: what a batch with such rows declares for them.
    pub fn filler_digest(self) -> DatasetBodyDigest {
        DatasetBodyDigest::of_bodies(&vec![BodyDigest::of_body(&FILLER_BODY); self.column_count()])
    }
}

impl PanelStore {
    /// Puts a sealed batch in the place of all bodies that a registration has had: from the manifest returned on, its
    /// slots have the new ones. What has the old ones goes with compaction of the shards (see
    /// [`Manifest::fragmented_shards`]) and garbage collection.
    ///
    /// The batch has as many rows as the registration, and `datasets` says in batch order which digest each dataset is
    /// now registered with; `None` where it was revoked, so that the batch has a [`FILLER_BODY`] there. Slots that
    /// were erased stay empty. Tombstoned ones that were not erased yet go over to the batch with the rest, without
    /// becoming usable, so that erasing them works as before; if the batch has more than a filler for a tombstoned
    /// slot, [`Manifest::pending_erasure`] has the slot until its shards are compacted.
    ///
    /// Doing the same again changes nothing, also when the batch was compacted or collected since. Which of two
    /// batches is the newer one is for the caller to know.
    ///
    /// # Errors
    /// [`StoreError::DatasetMismatch`] when the batch has other bodies, [`StoreError::DatasetMissing`] for a slot in
    /// use without digest, [`StoreError::SlotsNotRegistered`], [`StoreError::DigestCount`],
    /// [`StoreError::BatchNotSealed`], [`StoreError::BatchInUse`], [`StoreError::Collected`]; nothing is changed then.
    pub async fn replace_registration(
        &self,
        commit: RegistrationCommit,
        datasets: &[Option<DatasetBodyDigest>],
    ) -> Result<Manifest, StoreError> {
        let manifest = self.latest().await?;
        if self.holds(&manifest, commit.first_slot, datasets).await? {
            return Ok(manifest);
        }
        let sealed = self.sealed_batch(commit.batch).await?;
        self.check_datasets(&sealed, datasets).await?;
        let range = SlotRange { first: commit.first_slot, count: sealed.rows() };
        if !range.is_valid() {
            return Err(StoreError::SlotsNotRegistered { first: range.first, count: range.count });
        }
        let entry = batch_entry(commit, &sealed);
        self.amend(Some(Origin::Batch(commit.batch)), |current| replaced(current, &entry, datasets)).await
    }

    /// Whether the slots from `first_slot` on are registered in `manifest` and those in use have bodies with the
    /// digests in `datasets`, whatever object they are in. Slots that were tombstoned or erased are not looked at.
    ///
    /// # Errors
    /// Those of storage: [`StoreError::MissingObject`] when garbage was collected since `manifest` was the newest.
    pub async fn holds(
        &self,
        manifest: &Manifest,
        first_slot: u32,
        datasets: &[Option<DatasetBodyDigest>],
    ) -> Result<bool, StoreError> {
        // No more datasets than `u32` has numbers are in a valid range.
        let range = SlotRange { first: first_slot, count: u32::try_from(datasets.len()).unwrap_or(u32::MAX) };
        if !range.is_valid() || !manifest.covers(range) {
            return Ok(false);
        }
        let mut expected = BTreeMap::new();
        for (slot, dataset) in range.iter().zip(datasets).filter(|(slot, _)| manifest.is_live(*slot)) {
            let Some(dataset) = dataset else { return Ok(false) };
            expected.insert(slot, *dataset);
        }
        for part in manifest.parts() {
            let of_part = |range: &SlotRange| expected.range(range.first..range.first + range.count);
            let here: Vec<(&u32, &DatasetBodyDigest)> = part.slots().iter().flat_map(of_part).collect();
            if here.is_empty() {
                continue;
            }
            let reader = self.open(part).await?;
            let mut rows = Vec::with_capacity(here.len());
            for (&slot, &dataset) in here {
                let Some(position) = reader.position(slot) else { return Ok(false) };
                rows.push((position, dataset));
            }
            match reader.digests(&[], &rows).await {
                Err(StoreError::DatasetMismatch { .. }) => return Ok(false),
                read => drop(read?),
            }
        }
        Ok(true)
    }
}

/// The manifest after `current`, with the batch of `entry` in all slots of its registration that are held; `None` when
/// there is nothing to do.
fn replaced(
    current: &Manifest,
    entry: &BatchEntry,
    datasets: &[Option<DatasetBodyDigest>],
) -> Result<Option<ManifestFile>, StoreError> {
    let range = SlotRange { first: entry.first_slot, count: entry.rows };
    let is_other = |other: &BatchEntry| {
        let place = |entry: &BatchEntry| (entry.registration, entry.first_slot, entry.rows);
        overlaps(other, range) && place(other) != place(entry)
    };
    if !current.covers(range) || current.file().batches.iter().any(is_other) {
        return Err(StoreError::SlotsNotRegistered { first: range.first, count: range.count });
    }
    // A slot in use would get a row of which nobody has said what it is.
    let mut rows = (0..).zip(range.iter().zip(datasets));
    if let Some((row, _)) = rows.find(|(_, (slot, dataset))| dataset.is_none() && current.is_live(*slot)) {
        return Err(StoreError::DatasetMissing { row });
    }
    if let Some(same) = current.file().batches.iter().find(|other| other.batch == entry.batch) {
        return if overlaps(same, range) { Ok(None) } else { Err(StoreError::BatchInUse(BatchId(entry.batch.0))) };
    }
    let whole = SlotSet::from_range(range)?;
    if whole.intersection(&current.live()).is_empty() {
        return Ok(None);
    }
    let mut next = current.file().clone();
    next.batches.retain(|other| !overlaps(other, range));
    next.batches.push(holding(entry.clone(), current.held())?);
    next.batches.sort_by_key(|entry| entry.first_slot);
    for shard in &mut next.shards {
        if shard.slots.iter().any(|slots| overlap(*slots, range)) {
            let slots = SlotSet::try_from_iter(shard.slots.iter().flat_map(|slots| slots.iter()))?;
            shard.slots = slots.difference(&whole).ranges();
        }
    }
    next.shards.retain(|shard| !shard.slots.is_empty());
    Ok(Some(next))
}

/// `entry` with those of its slots that are in `held`.
fn holding(mut entry: BatchEntry, held: &SlotSet) -> Result<BatchEntry, StoreError> {
    for part in &mut entry.parts {
        let slots = SlotSet::try_from_iter(part.slots.iter().flat_map(|slots| slots.iter()))?;
        part.slots = slots.intersection(held).ranges();
    }
    Ok(entry)
}

fn overlaps(entry: &BatchEntry, range: SlotRange) -> bool {
    overlap(SlotRange { first: entry.first_slot, count: entry.rows }, range)
}

fn overlap(left: SlotRange, right: SlotRange) -> bool {
    left.contains(right.first) || right.contains(left.first)
}
