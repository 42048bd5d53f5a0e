//! Rewriting a shard as one object per column, without the slots that were tombstoned.

use crate::{
    batch_id::Hex32,
    error::StoreError,
    manifest::{Manifest, ManifestFile, Part, ShardEntry},
    names::{Origin, PartName},
    panel_store::PanelStore,
    part::{
        reader::{PartReader, read_windows},
        writer::{ColumnWriter, PartWriter, WrittenPart},
    },
    shape::{Column, SHARD_SLOTS},
    slots::{SlotRange, SlotSet},
};
use bytes::Bytes;
use locus_commitment::Digest32;
use std::collections::BTreeSet;

/// How often a shard is rewritten because its data changed meanwhile.
const COMPACT_ATTEMPTS_MAX: u32 = 16;
/// How many generations are tried until one is free.
const CLAIM_ATTEMPTS_MAX: u32 = 1000;

/// What a compaction of one shard reads, and leaves out.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Plan {
    shard: u32,
    /// Parts with slots in the shard, and these slots.
    sources: Vec<(PartName, Digest32, SlotSet)>,
    keep: SlotSet,
    drop: SlotSet,
    generation: u32,
}

impl PanelStore {
    /// Rewrites the shards in `shards` that are fragmented (see
    /// [`Manifest::fragmented_shards`]), one after the other; each becomes visible by itself. The
    /// objects that are replaced stay until garbage is collected.
    ///
    /// # Errors
    /// [`StoreError::BodyMismatch`], [`StoreError::DigestMismatch`] when stored data are damaged:
    /// nothing is rewritten from data that do not check. Otherwise those of storage.
    pub async fn compact(&self, shards: &BTreeSet<u32>) -> Result<Manifest, StoreError> {
        for &shard in shards {
            self.compact_shard(shard).await?;
        }
        self.latest().await
    }

    async fn compact_shard(&self, shard: u32) -> Result<(), StoreError> {
        for _ in 0..COMPACT_ATTEMPTS_MAX {
            let manifest = self.latest().await?;
            let Some(plan) = Plan::new(&manifest, shard) else { return Ok(()) };
            if self.carry_out(&manifest, &plan).await? {
                return Ok(());
            }
        }
        Err(StoreError::Contended(COMPACT_ATTEMPTS_MAX))
    }

    /// Rewrites a shard as planned from `manifest`; `false` when its data have changed meanwhile. No manifest ever names what
    /// was written in vain, so that only whoever wrote it knows that it is not needed: it is deleted here.
    async fn carry_out(&self, manifest: &Manifest, plan: &Plan) -> Result<bool, StoreError> {
        if plan.keep.is_empty() {
            return self.replace(plan, None).await;
        }
        let generation = self.claim_generation(manifest, plan).await?;
        let replaced = match self.rewrite(manifest, plan, generation).await {
            Ok(written) => self.replace(plan, Some((generation, written.index_digest))).await,
            Err(error) => Err(error),
        };
        if matches!(replaced, Ok(true)) {
            return Ok(true);
        }
        let discarded = self.discard(Origin::Shard { shard: plan.shard, generation }).await;
        match replaced {
            Ok(false) | Err(StoreError::Collected(_)) => discarded.map(|_| false),
            // What could not be deleted either goes with an erasure in the shard, or with garbage collection.
            failed => failed,
        }
    }

    /// Reserves the next generation of the shard for this compaction alone. One that is still marked as on its way out
    /// cannot be committed, even when its claim is gone.
    async fn claim_generation(&self, manifest: &Manifest, plan: &Plan) -> Result<u32, StoreError> {
        let origin = |generation| Origin::Shard { shard: plan.shard, generation };
        let is_free = |generation: &u32| !manifest.file().retiring.contains(&origin(*generation));
        for generation in (plan.generation..).filter(is_free).take(CLAIM_ATTEMPTS_MAX as usize) {
            match self.store.create(&self.names.claim(origin(generation)), Vec::new()).await {
                Err(StoreError::ObjectExists { .. }) => {}
                created => return created.map(|()| generation),
            }
        }
        Err(StoreError::Contended(CLAIM_ATTEMPTS_MAX))
    }

    /// Writes the objects of a new generation.
    async fn rewrite(&self, manifest: &Manifest, plan: &Plan, generation: u32) -> Result<WrittenPart, StoreError> {
        let origin = Origin::Shard { shard: plan.shard, generation };
        let name = PartName { origin, part: 0 };
        let mut readers = Vec::with_capacity(plan.sources.len());
        for part in manifest.parts().iter().filter(|part| plan.sources.iter().any(|source| source.0 == part.name)) {
            readers.push(self.open(part).await?);
        }
        let runs = copy_runs(plan, &readers);
        let slots = plan.keep.iter().collect();
        let mut writer = PartWriter::new(self.store.clone(), self.names.clone(), name, self.shape, slots);
        for column in self.shape.columns() {
            let mut column_writer = writer.begin_column()?;
            for (reader, positions) in &runs {
                column_writer = copy(&readers[*reader], column, positions, column_writer).await?;
            }
            writer.end_column(column_writer).await?;
        }
        let mut written = writer.finish().await?;
        written.objects.push(self.names.claim(origin));
        self.store.persist(written.objects.clone()).await?;
        Ok(written)
    }

    /// Makes the new generation, if any, take the place of what it was written from. `false` when
    /// that has changed meanwhile.
    async fn replace(&self, plan: &Plan, written: Option<(u32, Digest32)>) -> Result<bool, StoreError> {
        let shard = plan.shard;
        let origin = written.map(|(generation, _)| Origin::Shard { shard, generation });
        let manifest = self
            .amend(origin, |current| {
                if sources(current, shard) != plan.sources {
                    return Ok(None);
                }
                let mut next = current.file().clone();
                plan.remove_sources(&mut next);
                if let Some((generation, index_digest)) = written {
                    next.shards.push(ShardEntry {
                        shard,
                        generation,
                        index_digest: Hex32::from(index_digest),
                        slots: plan.keep.ranges(),
                    });
                    next.shards.sort_by_key(|entry| entry.shard);
                }
                let mut erased = current.erased().clone();
                erased.union_with(&plan.drop);
                next.erased = erased.ranges();
                Ok(Some(next))
            })
            .await?;
        Ok(plan.is_done(&manifest, written))
    }
}

impl Plan {
    /// What to do with `shard`, or `None` when it is one generation without tombstones already.
    fn new(manifest: &Manifest, shard: u32) -> Option<Self> {
        let sources = sources(manifest, shard);
        let mut slots = SlotSet::new();
        for (_, _, held) in &sources {
            slots.union_with(held);
        }
        let keep = slots.difference(manifest.tombstones());
        let drop = slots.intersection(manifest.tombstones());
        let compacted = matches!(sources.as_slice(), [(PartName { origin: Origin::Shard { .. }, .. }, _, _)]);
        if sources.is_empty() || (compacted && drop.is_empty()) {
            return None;
        }
        let current = manifest.file().shards.iter().find(|entry| entry.shard == shard);
        let generation = current.map_or(1, |entry| entry.generation.saturating_add(1));
        Some(Self { shard, sources, keep, drop, generation })
    }

    fn remove_sources(&self, file: &mut ManifestFile) {
        file.shards.retain(|entry| entry.shard != self.shard);
        for part in file.batches.iter_mut().flat_map(|entry| &mut entry.parts) {
            part.slots = part.slots.iter().flat_map(|range| outside_shard(*range, self.shard)).collect();
        }
        file.drop_empty_batches();
    }

    /// Whether `manifest` has the result of this plan.
    fn is_done(&self, manifest: &Manifest, written: Option<(u32, Digest32)>) -> bool {
        match written {
            Some((generation, digest)) => manifest.file().shards.iter().any(|entry| {
                (entry.shard, entry.generation, entry.index_digest) == (self.shard, generation, digest.into())
            }),
            None => manifest.held().intersection(&self.drop).is_empty(),
        }
    }
}

/// Parts of `manifest` with slots in `shard`, and these slots.
fn sources(manifest: &Manifest, shard: u32) -> Vec<(PartName, Digest32, SlotSet)> {
    let in_shard = |part: &Part| {
        let slots = part.slots.iter().flat_map(|range| split_at_shard(*range, shard).1.iter());
        SlotSet::try_from_iter(slots).unwrap_or_default()
    };
    let parts = manifest.parts().iter().map(|part| (part.name, part.index_digest, in_shard(part)));
    parts.filter(|(_, _, slots)| !slots.is_empty()).collect()
}

/// What is left of `range` outside `shard`: nothing, one piece or two.
fn outside_shard(range: SlotRange, shard: u32) -> Vec<SlotRange> {
    let (before, _, after) = split_at_shard(range, shard);
    [before, after].into_iter().filter(|piece| piece.count > 0).collect()
}

/// The pieces of `range` before, in and after `shard`; a piece may be empty.
fn split_at_shard(range: SlotRange, shard: u32) -> (SlotRange, SlotRange, SlotRange) {
    let end = range.first.saturating_add(range.count);
    let start = shard.saturating_mul(SHARD_SLOTS).clamp(range.first, end);
    let stop = shard.saturating_add(1).saturating_mul(SHARD_SLOTS).clamp(range.first, end);
    let piece = |first, last| SlotRange { first, count: last - first };
    (piece(range.first, start), piece(start, stop), piece(stop, end))
}

/// The rows to copy, in slot order: runs of one reader and its positions.
fn copy_runs(plan: &Plan, readers: &[PartReader]) -> Vec<(usize, Vec<u32>)> {
    let mut runs: Vec<(usize, Vec<u32>)> = Vec::new();
    for slot in plan.keep.iter() {
        let holds = |reader: &PartReader| reader.part().slots.iter().any(|range| range.contains(slot));
        let Some(reader) = readers.iter().position(holds) else { continue };
        let Some(position) = readers[reader].position(slot) else { continue };
        match runs.last_mut() {
            Some((last, positions)) if *last == reader => positions.push(position),
            _ => runs.push((reader, vec![position])),
        }
    }
    runs
}

/// Copies rows of one column, checking each.
async fn copy(
    reader: &PartReader,
    column: Column,
    positions: &[u32],
    mut writer: ColumnWriter,
) -> Result<ColumnWriter, StoreError> {
    let digests = reader.digests(&[column], &[]).await?;
    let digests: Vec<_> = digests.column(column).unwrap_or_default().to_vec();
    for window in read_windows(positions) {
        for run in reader.read(column, &window).await? {
            let digests = digests.clone();
            let checked: Result<Bytes, StoreError> = crate::backend::blocking(move || {
                run.visit_checked(&digests, usize::MAX, |_| {}).map(|()| run.into_bytes())
            })
            .await?;
            writer = writer.append(checked?).await?.0;
        }
    }
    Ok(writer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GarbagePolicy, PanelShape, Store, conformance::SyntheticBatch};
    use futures::TryStreamExt as _;
    use locus_genomics::PanelDigest;
    use std::time::SystemTime;

    const FIRST: SyntheticBatch = SyntheticBatch { seed: 1, rows: 3 };
    const SECOND: SyntheticBatch = SyntheticBatch { seed: 2, rows: 3 };

    async fn panel_with_a_batch() -> PanelStore {
        let panel = Store::memory().panel(PanelDigest([7; 32]), PanelShape::try_new(1, true).expect("one block"));
        FIRST.enrol(&panel, 0).await.expect("memory works");
        panel
    }

    /// Objects of all generations of shards.
    async fn generations(panel: &PanelStore) -> Vec<String> {
        let all: Vec<_> = panel.store.inner().list(None).try_collect().await.expect("memory lists");
        let names = all.iter().map(|meta| meta.location.to_string());
        names.filter(|name| name.contains("/gen=")).collect()
    }

    #[tokio::test]
    async fn a_compaction_that_was_overtaken_leaves_nothing_and_the_next_one_succeeds() {
        let panel = panel_with_a_batch().await;
        let manifest = panel.latest().await.expect("readable");
        let plan = Plan::new(&manifest, 0).expect("fragmented");
        SECOND.enrol(&panel, 10).await.expect("memory works");
        assert!(!panel.carry_out(&manifest, &plan).await.expect("no failure"), "the shard has changed");
        assert_eq!(generations(&panel).await, Vec::<String>::new());
        let compacted = panel.compact(&BTreeSet::from([0])).await.expect("nobody is faster");
        assert!(compacted.fragmented_shards().is_empty());
        assert!(!generations(&panel).await.is_empty(), "the control: what is in use is there");
    }

    #[tokio::test]
    async fn a_generation_that_a_collection_has_left_marked_is_not_used() {
        let panel = panel_with_a_batch().await;
        let marked = Origin::Shard { shard: 0, generation: 1 };
        panel.retire(&[marked]).await.expect("memory works");
        let compacted = panel.compact(&BTreeSet::from([0])).await.expect("another generation is free");
        assert!(!compacted.file().origins().contains(&marked));
        assert!(compacted.fragmented_shards().is_empty());
        let now = SystemTime::now();
        let policy = GarbagePolicy { superseded_before: None, abandoned_before: now };
        panel.collect_garbage(policy).await.expect("memory works");
        assert!(panel.latest().await.expect("readable").file().retiring.is_empty());
    }

    #[test]
    fn a_range_is_cut_at_the_borders_of_a_shard() {
        let range = |first, count| SlotRange { first, count };
        let cases = [
            (range(1000, 100), vec![range(1000, 24)], range(1024, 76)),
            (range(1024, 1024), vec![], range(1024, 1024)),
            (range(0, 4096), vec![range(0, 1024), range(2048, 2048)], range(1024, 1024)),
            (range(0, 10), vec![range(0, 10)], range(10, 0)),
            (range(5000, 10), vec![range(5000, 10)], range(5000, 0)),
        ];
        for (whole, outside, inside) in cases {
            assert_eq!(outside_shard(whole, 1), outside, "{whole:?}");
            assert_eq!(split_at_shard(whole, 1).1, inside, "{whole:?}");
        }
    }
}
