//! Deleting what no query can need any more.

use crate::{
    backend::blocking,
    batch_id::BatchId,
    error::StoreError,
    manifest::{Manifest, ManifestFile},
    names::{Listed, Origin, PartName},
    panel_store::PanelStore,
    shape::SHARD_SLOTS,
    slots::SlotSet,
};
use futures::TryStreamExt;
use object_store::{ObjectMeta, path::Path};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::SystemTime,
};

/// Objects that are deleted between two listings.
const DELETE_AT_ONCE: usize = 10_000;

/// What may be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GarbagePolicy {
    /// Manifests that were replaced before this time, and what only they name, are deleted; it must
    /// leave the longest query time to end. `None` deletes all but the newest: a query that still
    /// uses an older one then fails with [`StoreError::MissingObject`] and starts over.
    pub superseded_before: Option<SystemTime>,
    /// Uploads that are not registered and were last written to before this time are deleted; it
    /// must leave the longest upload and its registration time to end.
    pub abandoned_before: SystemTime,
}

/// What garbage collection deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GarbageReport {
    /// Manifest versions.
    pub manifests: u64,
    /// Other objects.
    pub objects: u64,
    /// Files that an interrupted write left behind in a local store.
    pub leftovers: u64,
}

/// What erasure did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErasureReport {
    /// The manifest without the slots.
    pub manifest: Manifest,
    /// What was deleted.
    pub garbage: GarbageReport,
}

/// A listed data object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListedData {
    pub(crate) origin: Origin,
    pub(crate) part: Option<PartName>,
    pub(crate) claim: bool,
}

/// What the panel's objects are, from one listing.
#[derive(Debug, Default)]
struct Inventory {
    manifests: BTreeMap<u64, SystemTime>,
    origins: BTreeMap<Origin, SystemTime>,
}

impl PanelStore {
    /// Removes the bodies of `slots` from storage: tombstones them, rewrites the shards whose
    /// objects have them without them, and collects garbage, with whatever a compaction of the
    /// slots' shards has left that no manifest names, however new it is: nobody else may be
    /// compacting them. With no grace for superseded objects the bytes are gone when this returns.
    /// Safe to repeat after any error.
    ///
    /// # Errors
    /// Those of [`tombstone`](Self::tombstone), [`compact`](Self::compact) and
    /// [`collect_garbage`](Self::collect_garbage).
    pub async fn erase(&self, slots: &SlotSet, policy: GarbagePolicy) -> Result<ErasureReport, StoreError> {
        let tombstoned = self.tombstone(slots).await?;
        self.compact(&tombstoned.shards_storing(slots)).await?;
        let shards = slots.iter().map(|slot| slot / SHARD_SLOTS).collect();
        let garbage = self.collect(policy, &shards, &BTreeSet::new()).await?;
        Ok(ErasureReport { manifest: self.latest().await?, garbage })
    }

    /// Deletes superseded manifests and objects, abandoned uploads, and what an interrupted
    /// collection left. Objects this crate did not write are not touched.
    ///
    /// # Errors
    /// Those of storage; what is left is deleted next time.
    pub async fn collect_garbage(&self, policy: GarbagePolicy) -> Result<GarbageReport, StoreError> {
        self.collect_garbage_sparing(policy, &BTreeSet::new()).await
    }

    /// As [`collect_garbage`](Self::collect_garbage), but the uploads in `spared` are not abandoned, however old they are.
    ///
    /// # Errors
    /// Those of storage; what is left is deleted next time.
    pub async fn collect_garbage_sparing(
        &self,
        policy: GarbagePolicy,
        spared: &BTreeSet<BatchId>,
    ) -> Result<GarbageReport, StoreError> {
        self.collect(policy, &BTreeSet::new(), spared).await
    }

    /// As [`collect_garbage_sparing`](Self::collect_garbage_sparing). Generations of the shards in `idle`, which nobody is
    /// writing, are abandoned at any age if no manifest that is kept names them.
    async fn collect(
        &self,
        policy: GarbagePolicy,
        idle: &BTreeSet<u32>,
        spared: &BTreeSet<BatchId>,
    ) -> Result<GarbageReport, StoreError> {
        let latest = self.latest().await?;
        let inventory = self.inventory().await?;
        let expired = expired_versions(&inventory, latest.version(), policy.superseded_before);
        let mut in_use = BTreeSet::new();
        let mut parts_in_use: BTreeSet<PartName> = BTreeSet::new();
        let mut superseded = BTreeSet::new();
        for &version in inventory.manifests.keys() {
            let manifest = match self.version(version).await {
                Err(StoreError::UnknownVersion(_)) => continue,
                loaded => loaded?,
            };
            let origins = manifest.file().origins();
            if expired.contains(&version) {
                superseded.extend(origins);
            } else {
                in_use.extend(origins);
                parts_in_use.extend(manifest.parts().iter().map(|part| part.name));
            }
        }
        let is_idle = |origin: &Origin| matches!(origin, Origin::Shard { shard, .. } if idle.contains(shard));
        let is_spared = |origin: &Origin| matches!(origin, Origin::Batch(batch) if spared.contains(batch));
        let is_abandoned = |(origin, newest): &(&Origin, &SystemTime)| {
            is_idle(origin) || (**newest < policy.abandoned_before && !is_spared(origin))
        };
        let abandoned = inventory.origins.iter().filter(is_abandoned);
        let mut unused: BTreeSet<Origin> = abandoned.map(|(origin, _)| *origin).collect();
        unused.extend(superseded);
        let unused: Vec<Origin> = unused.difference(&in_use).copied().collect();
        self.retire(&unused).await?;
        let retiring: BTreeSet<Origin> = self.latest().await?.file().retiring.iter().copied().collect();

        let mut report = GarbageReport { manifests: expired.len() as u64, ..GarbageReport::default() };
        for version in expired {
            self.store.delete(&self.names.manifest(version)).await?;
        }
        let superseded_part = |listed: &ListedData| {
            in_use.contains(&listed.origin) && listed.part.is_some_and(|part| !parts_in_use.contains(&part))
        };
        let garbage = |listed: &ListedData| retiring.contains(&listed.origin) && !listed.claim;
        report.objects = self.delete_objects(|listed| garbage(listed) || superseded_part(listed)).await?;
        for &origin in &retiring {
            self.store.delete(&self.names.claim(origin)).await?;
        }
        report.objects += retiring.len() as u64;
        self.amend(None, |current| {
            let left: Vec<Origin> =
                current.file().retiring.iter().filter(|origin| !retiring.contains(origin)).copied().collect();
            if left.len() == current.file().retiring.len() {
                return Ok(None);
            }
            Ok(Some(ManifestFile { retiring: left, ..current.file().clone() }))
        })
        .await?;
        report.leftovers = self.delete_leftovers(policy.abandoned_before, idle).await?;
        Ok(report)
    }

    /// Marks those of `origins` that the newest manifest does not use as on their way out, so that
    /// they cannot be committed any more, and returns them.
    pub(crate) async fn retire(&self, origins: &[Origin]) -> Result<BTreeSet<Origin>, StoreError> {
        let manifest = self
            .amend(None, |current| {
                let used = current.file().origins();
                let mut retiring: BTreeSet<Origin> = current.file().retiring.iter().copied().collect();
                retiring.extend(origins.iter().filter(|origin| !used.contains(origin)));
                if retiring.len() == current.file().retiring.len() {
                    return Ok(None);
                }
                let retiring = retiring.into_iter().collect();
                Ok(Some(ManifestFile { retiring, ..current.file().clone() }))
            })
            .await?;
        let retiring = manifest.file().retiring.iter();
        Ok(retiring.filter(|origin| origins.contains(origin)).copied().collect())
    }

    /// Deletes everything of an origin; `false` when the newest manifest uses it. An origin that is already gone is fine.
    pub(crate) async fn discard(&self, origin: Origin) -> Result<bool, StoreError> {
        if !self.retire(&[origin]).await?.contains(&origin) {
            return Ok(false);
        }
        self.delete_objects(|listed| listed.origin == origin && !listed.claim).await?;
        self.store.delete(&self.names.claim(origin)).await?;
        Ok(true)
    }

    /// Deletes the data objects that `chosen` names, in pieces, so that memory stays flat, and
    /// returns how many there were.
    pub(crate) async fn delete_objects(&self, chosen: impl Fn(&ListedData) -> bool) -> Result<u64, StoreError> {
        let mut deleted = 0;
        loop {
            let names = self.objects(&chosen, DELETE_AT_ONCE).await?;
            if names.is_empty() {
                return Ok(deleted);
            }
            for name in &names {
                self.store.delete(name).await?;
            }
            deleted += names.len() as u64;
        }
    }

    async fn objects(&self, chosen: &impl Fn(&ListedData) -> bool, count_max: usize) -> Result<Vec<Path>, StoreError> {
        let root = self.names.root();
        let mut listed = self.store.inner().list(Some(root));
        let mut names = Vec::new();
        while let Some(meta) = listed.try_next().await.map_err(|error| StoreError::backend(root, error))? {
            let Listed::Data { origin, part, claim } = self.names.classify(&meta.location) else { continue };
            if chosen(&ListedData { origin, part, claim }) {
                names.push(meta.location);
            }
            if names.len() == count_max {
                break;
            }
        }
        Ok(names)
    }

    async fn inventory(&self) -> Result<Inventory, StoreError> {
        let root = self.names.root();
        let mut listed = self.store.inner().list(Some(root));
        let mut inventory = Inventory::default();
        while let Some(meta) = listed.try_next().await.map_err(|error| StoreError::backend(root, error))? {
            let modified = modified(&meta);
            match self.names.classify(&meta.location) {
                Listed::Manifest(version) => drop(inventory.manifests.insert(version, modified)),
                Listed::Data { origin, .. } => {
                    let newest = inventory.origins.entry(origin).or_insert(modified);
                    *newest = modified.max(*newest);
                }
                Listed::Unknown => {}
            }
        }
        Ok(inventory)
    }

    /// Deletes files that an interrupted write to a local directory left: those last written to before `before`, and those
    /// of generations of the shards in `idle`. Listings do not show them. Their names end in `#` and digits.
    async fn delete_leftovers(&self, before: SystemTime, idle: &BTreeSet<u32>) -> Result<u64, StoreError> {
        let Some(root) = self.store.local_root().cloned() else { return Ok(0) };
        let mut folder = root.clone();
        folder.extend(self.names.root().parts().map(|part| part.as_ref().to_owned()));
        let (names, idle) = (self.names.clone(), idle.clone());
        blocking(move || {
            let mut deleted = 0;
            for file in files_below(folder)? {
                let Some(whole) = unfinished(&file) else { continue };
                let name = Path::from_iter(
                    whole.strip_prefix(&root).unwrap_or(&whole).iter().filter_map(|part| part.to_str()),
                );
                let origin = match names.classify(&name) {
                    Listed::Data { origin, .. } => Some(origin),
                    _ => None,
                };
                let is_idle = matches!(origin, Some(Origin::Shard { shard, .. }) if idle.contains(&shard));
                let old = |source: &PathBuf| Ok(source.metadata()?.modified()? < before);
                if is_idle || old(&file).map_err(|source| local_error(&file, source))? {
                    std::fs::remove_file(&file).map_err(|source| local_error(&file, source))?;
                    deleted += 1;
                }
            }
            Ok(deleted)
        })
        .await?
    }
}

impl Manifest {
    /// Shards to compact so that no object in use has the bodies of `slots` any more: those in
    /// which the parts that have them hold anything.
    fn shards_storing(&self, slots: &SlotSet) -> BTreeSet<u32> {
        let stores =
            |part: &&crate::Part| part.stored().iter().any(|range| range.iter().any(|slot| slots.contains(slot)));
        let parts = self.parts().iter().filter(stores);
        parts.flat_map(|part| part.slots.iter()).flat_map(|range| range.iter()).map(|slot| slot / SHARD_SLOTS).collect()
    }
}

/// Versions before `latest` that were replaced before `before`; all of them without it.
fn expired_versions(inventory: &Inventory, latest: u64, before: Option<SystemTime>) -> BTreeSet<u64> {
    let versions = inventory.manifests.range(..latest).map(|(version, _)| *version);
    let replaced = |version: u64| inventory.manifests.range(version + 1..).next().map(|(_, modified)| *modified);
    let expired = |version: &u64| match (replaced(*version), before) {
        (Some(replaced), Some(before)) => replaced < before,
        (replaced, None) => replaced.is_some(),
        (None, Some(_)) => false,
    };
    versions.filter(expired).collect()
}

fn modified(meta: &ObjectMeta) -> SystemTime {
    SystemTime::from(meta.last_modified)
}

/// The file that an interrupted write of `file` was to become; `None` when it is not left over from one.
fn unfinished(file: &std::path::Path) -> Option<PathBuf> {
    let (whole, suffix) = file.file_name()?.to_str()?.rsplit_once('#')?;
    let is_leftover = !suffix.is_empty() && suffix.bytes().all(|byte| byte.is_ascii_digit());
    is_leftover.then(|| file.with_file_name(whole))
}

/// All files below `folder`, which need not exist.
pub(crate) fn files_below(folder: PathBuf) -> Result<Vec<PathBuf>, StoreError> {
    let mut files = Vec::new();
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            entries => entries.map_err(|source| local_error(&folder, source))?,
        };
        for entry in entries {
            let path = entry.map_err(|source| local_error(&folder, source))?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    Ok(files)
}

fn local_error(path: &std::path::Path, source: std::io::Error) -> StoreError {
    StoreError::LocalFile { name: path.display().to_string(), source }
}
