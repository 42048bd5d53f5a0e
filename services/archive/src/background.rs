//! What an archive does by itself: follow the chain, compact, collect garbage.

use crate::{archive::Archive, error::ArchiveError};
use locus_ledger::{ChainView, RegistrationId};
use locus_store::{Manifest, PanelStore, SHARD_SLOTS};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError},
    time::{Duration, SystemTime},
};
use tokio_util::sync::CancellationToken;

/// Pause after a failure to follow the chain.
const RETRY_PAUSE: Duration = Duration::from_secs(5);
/// Parts in a shard from which on it is rewritten as one. A sum opens every part, so fewer are
/// faster; rewriting a shard copies at most 32 MiB for each of its columns.
const COMPACT_PARTS_MIN: usize = 8;

/// Publishes new registrations and takes revoked datasets out of use, as soon as the chain shows them.
pub(crate) async fn follow_chain(archive: Arc<Archive>, stop: CancellationToken) {
    let mut view = archive.view.clone();
    let mut tombstoned = BTreeSet::new();
    loop {
        let current = view.snapshot();
        let followed = follow_once(&archive, &current, &mut tombstoned).await;
        let wait = async {
            match followed {
                Ok(()) => view.newer_than(&current).await.is_some(),
                Err(error) => {
                    tracing::warn!(%error, "the store does not follow the chain yet");
                    tokio::time::sleep(RETRY_PAUSE).await;
                    true
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            goes_on = wait => if !goes_on { return },
        }
    }
}

/// Revocations come first: they must not wait for a registration that cannot be published.
pub(crate) async fn follow_once(
    archive: &Archive,
    view: &ChainView,
    tombstoned: &mut BTreeSet<(RegistrationId, u32)>,
) -> Result<(), ArchiveError> {
    archive.tombstone_revoked(view, tombstoned).await?;
    archive.publish_new(view).await?;
    archive.publish_rekeyed(view).await
}

/// Removes what expired, compacts and collects garbage, again and again.
pub(crate) async fn keep_house(archive: Arc<Archive>, stop: CancellationToken) {
    let period = Duration::from_secs(archive.limits.housekeeping_s.max(1));
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(period) => {}
        }
        if let Err(error) = clean_once(&archive).await {
            tracing::warn!(%error, "housekeeping failed; it will be tried again");
        }
    }
}

pub(crate) async fn clean_once(archive: &Archive) -> Result<(), ArchiveError> {
    archive.discard_expired().await?;
    let grace = Duration::from_secs(archive.limits.superseded_grace_s);
    for panel in archive.panels.list() {
        let store = archive.panel_store(panel.digest, panel.shape);
        compact(archive, &store).await?;
        let superseded_before = SystemTime::now().checked_sub(grace).unwrap_or(SystemTime::UNIX_EPOCH);
        store.collect_garbage(archive.garbage_policy(Some(superseded_before))).await?;
    }
    Ok(())
}

async fn compact(archive: &Archive, store: &PanelStore) -> Result<(), ArchiveError> {
    let manifest = store.latest().await?;
    let replaced = || archive.replaced.lock().unwrap_or_else(PoisonError::into_inner);
    let with_old_bodies = replaced().get(&store.panel()).cloned().unwrap_or_default();
    let mut shards = crowded_shards(&manifest);
    shards.extend(with_old_bodies.intersection(&manifest.fragmented_shards()));
    if !shards.is_empty() {
        store.compact(&shards).await?;
        tracing::info!(panel = %store.panel(), shards = shards.len(), "shards compacted");
    }
    if let Some(left) = replaced().get_mut(&store.panel()) {
        left.retain(|shard| !with_old_bodies.contains(shard));
    }
    Ok(())
}

/// Shards that are spread over many parts.
fn crowded_shards(manifest: &Manifest) -> BTreeSet<u32> {
    let mut parts: BTreeMap<u32, usize> = BTreeMap::new();
    for part in manifest.parts() {
        let ranges = part.slots().iter().filter(|range| range.count > 0);
        let shards: BTreeSet<u32> = ranges
            .flat_map(|range| range.first / SHARD_SLOTS..=(range.first + (range.count - 1)) / SHARD_SLOTS)
            .collect();
        for shard in shards {
            *parts.entry(shard).or_insert(0) += 1;
        }
    }
    parts.into_iter().filter(|(_, count)| *count >= COMPACT_PARTS_MIN).map(|(shard, _)| shard).collect()
}
