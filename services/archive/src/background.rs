//! What an archive does by itself: follow the chain, compact, collect garbage.

use crate::{archive::Archive, error::ArchiveError};
use locus_ledger::{ChainView, RegistrationId};
use locus_store::{GarbagePolicy, Manifest, PanelStore, SHARD_SLOTS};
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

/// Revocations come first. What fails does not hold up the rest; each logs its failures, and the first error is returned.
pub(crate) async fn follow_once(
    archive: &Archive,
    view: &ChainView,
    tombstoned: &mut BTreeSet<(RegistrationId, u32)>,
) -> Result<(), ArchiveError> {
    let revoked = archive.tombstone_revoked(view, tombstoned).await;
    let published = archive.publish_new(view).await;
    let rekeyed = archive.publish_rekeyed(view).await;
    revoked.and(published).and(rekeyed)
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

/// One round. A panel that fails does not hold up the others; the first error is returned.
pub(crate) async fn clean_once(archive: &Archive) -> Result<(), ArchiveError> {
    let expired = archive.discard_expired().await;
    let mut outcome = expired.and(archive.discard_lapsed_rekeyings().await);
    for panel in archive.panels.list() {
        let store = archive.panel_store(panel.digest, panel.shape);
        let cleaned = clean_panel(archive, &store).await;
        if let Err(error) = &cleaned {
            tracing::warn!(panel = %panel.digest, %error, "housekeeping of a panel failed; it will be tried again");
        }
        outcome = outcome.and(cleaned);
    }
    outcome
}

/// A shard that cannot be rewritten, because what it is rewritten from is damaged, does not keep garbage from being collected.
async fn clean_panel(archive: &Archive, store: &PanelStore) -> Result<(), ArchiveError> {
    let _tidying = archive.tidying.lock().await;
    let compacted = compact(archive, store).await;
    let collected = collect_garbage(archive, store).await;
    compacted.and(collected)
}

/// A batch that waits for the chain may be as old as it likes: uploaded again with a later deadline, it keeps its objects.
async fn collect_garbage(archive: &Archive, store: &PanelStore) -> Result<(), ArchiveError> {
    let grace = Duration::from_secs(archive.limits.superseded_grace_s);
    let superseded_before = SystemTime::now().checked_sub(grace).unwrap_or(SystemTime::UNIX_EPOCH);
    let policy =
        GarbagePolicy { superseded_before: Some(superseded_before), abandoned_before: abandoned_before(archive) };
    store.collect_garbage_sparing(policy, &archive.batches.waiting()?).await?;
    Ok(())
}

/// Uploads last written to before this are too old to be registered.
fn abandoned_before(archive: &Archive) -> SystemTime {
    let lifetime = archive.limits.registration_lifetime_max_s.saturating_mul(2).saturating_add(24 * 3600);
    SystemTime::now().checked_sub(Duration::from_secs(lifetime)).unwrap_or(SystemTime::UNIX_EPOCH)
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
