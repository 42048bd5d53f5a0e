//! The ciphertexts of one panel: reading and changing its manifest.

use crate::{
    backend::Store,
    batch::SealedBatch,
    batch_id::{BatchId, Hex32},
    error::StoreError,
    manifest::{BatchEntry, BatchPart, MANIFEST_BYTES_MAX, Manifest, ManifestFile, ManifestPin, Part},
    names::{Listed, Names, Origin, PartName},
    part::reader::PartReader,
    shape::{Column, PanelShape},
    slots::{SlotRange, SlotSet},
};
use futures::TryStreamExt;
use locus_commitment::DatasetBodyDigest;
use locus_genomics::PanelDigest;
use object_store::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// How often a change is tried again because another writer was faster.
const COMMIT_ATTEMPTS_MAX: u32 = 100;
/// How often the newest manifest is looked up again because it was collected meanwhile.
const LOAD_ATTEMPTS_MAX: u32 = 8;

/// The ciphertexts of one panel in a store. Cheap to clone; clones share the memory of the newest
/// manifest seen.
#[derive(Debug, Clone)]
pub struct PanelStore {
    pub(crate) store: Store,
    pub(crate) names: Names,
    pub(crate) panel: PanelDigest,
    pub(crate) shape: PanelShape,
    seen: Arc<Mutex<Option<ManifestPin>>>,
}

/// Which registration a sealed batch becomes, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegistrationCommit {
    /// The batch.
    pub batch: BatchId,
    /// Number of the registration on the chain.
    pub registration: u64,
    /// First registry slot of the registration on this panel.
    pub first_slot: u32,
}

impl PanelStore {
    pub(crate) fn new(store: Store, panel: PanelDigest, shape: PanelShape) -> Self {
        let names = Names::new(store.prefix(), panel);
        Self { store, names, panel, shape, seen: Arc::default() }
    }

    /// The panel.
    pub fn panel(&self) -> PanelDigest {
        self.panel
    }

    /// The panel's shape.
    pub fn shape(&self) -> PanelShape {
        self.shape
    }

    /// Name of the object with the bodies of one column of a part, the prefix of the store's address included.
    pub fn bodies_name(&self, part: PartName, column: Column) -> String {
        self.names.bodies(part, column).to_string()
    }

    /// Remembers that a manifest exists, for example from before a restart, so that
    /// [`latest`](Self::latest) refuses anything older.
    pub fn observe(&self, pin: ManifestPin) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.is_none_or(|seen| seen.version < pin.version) {
            *seen = Some(pin);
        }
    }

    /// The newest manifest; version 0 when the panel has no data yet.
    ///
    /// # Errors
    /// [`StoreError::RolledBack`] when a newer one was seen before, or the same version with other
    /// content.
    pub async fn latest(&self) -> Result<Manifest, StoreError> {
        for attempt in 1.. {
            match self.load_newest().await {
                Err(StoreError::UnknownVersion(_)) if attempt < LOAD_ATTEMPTS_MAX => {}
                loaded => return loaded,
            }
        }
        Err(StoreError::Contended(LOAD_ATTEMPTS_MAX))
    }

    async fn load_newest(&self) -> Result<Manifest, StoreError> {
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = self.versions(seen.map_or(0, |pin| pin.version)).await?.into_iter().max();
        let manifest = match newest {
            Some(version) => self.version(version).await?,
            None => Manifest::empty(self.panel, self.shape),
        };
        let found = manifest.pin();
        match seen {
            Some(seen) if found.version < seen.version || (found.version == seen.version && found != seen) => {
                Err(StoreError::RolledBack { seen: seen.version, found: found.version })
            }
            _ => {
                if found.version > 0 {
                    self.observe(found);
                }
                Ok(manifest)
            }
        }
    }

    /// All stored manifest versions from `first` on.
    pub(crate) async fn versions(&self, first: u64) -> Result<Vec<u64>, StoreError> {
        let folder = self.names.manifests();
        let listed = match first.checked_sub(1) {
            Some(before) if before > 0 => {
                self.store.inner().list_with_offset(Some(&folder), &self.names.manifest(before))
            }
            _ => self.store.inner().list(Some(&folder)),
        };
        let metas: Vec<_> = listed.try_collect().await.map_err(|error| StoreError::backend(&folder, error))?;
        let version = |name: &Path| match self.names.classify(name) {
            Listed::Manifest(version) => Some(version),
            _ => None,
        };
        Ok(metas.iter().filter_map(|meta| version(&meta.location)).collect())
    }

    /// One manifest version.
    ///
    /// # Errors
    /// [`StoreError::UnknownVersion`] when it was never written or has been collected.
    pub async fn version(&self, version: u64) -> Result<Manifest, StoreError> {
        let name = self.names.manifest(version);
        let bytes = self.store.read_whole(&name, MANIFEST_BYTES_MAX).await.map_err(|error| match error {
            StoreError::MissingObject { .. } => StoreError::UnknownVersion(version),
            other => other,
        })?;
        let manifest = Manifest::parse(&name, &bytes)?;
        let file = manifest.file();
        if file.version != version || file.panel != Hex32(self.panel.0) {
            return Err(StoreError::malformed(&name, "manifest belongs to another version or panel"));
        }
        if (file.blocks, file.complete_calls) != (self.shape.blocks(), self.shape.complete_calls()) {
            return Err(StoreError::ShapeMismatch {
                blocks: self.shape.blocks(),
                planes: self.shape.plane_count(),
                found_blocks: file.blocks,
                found_planes: if file.complete_calls { 1 } else { 2 },
            });
        }
        Ok(manifest)
    }

    /// The manifest version that `pin` names.
    ///
    /// # Errors
    /// Those of [`version`](Self::version), and [`StoreError::DigestMismatch`] when the content
    /// is not the pinned one.
    pub async fn pinned(&self, pin: ManifestPin) -> Result<Manifest, StoreError> {
        let manifest = self.version(pin.version).await?;
        let found = manifest.pin().digest;
        crate::part::reader::check_digest(&self.names.manifest(pin.version), pin.digest, found)?;
        Ok(manifest)
    }

    /// Opens a part of a manifest for reading.
    ///
    /// # Errors
    /// When its index is missing, malformed or not the one the manifest names.
    pub async fn open(&self, part: &Part) -> Result<PartReader, StoreError> {
        PartReader::open(self.store.clone(), self.names.clone(), self.shape, part.clone()).await
    }

    /// Registers a sealed batch: from the manifest returned on, its slots can be summed. Checks
    /// that every dataset of the batch has the digest it is registered with (`datasets`, in batch
    /// order). Doing the same again changes nothing.
    ///
    /// # Errors
    /// [`StoreError::DatasetMismatch`], [`StoreError::SlotsTaken`] (also when the same batch was
    /// committed and compacted since: see [`Manifest::covers`]), [`StoreError::BatchNotSealed`],
    /// [`StoreError::Collected`].
    pub async fn commit_registration(
        &self,
        commit: RegistrationCommit,
        datasets: &[DatasetBodyDigest],
    ) -> Result<Manifest, StoreError> {
        let sealed = self.sealed_batch(commit.batch).await?;
        let declared: Vec<_> = datasets.iter().copied().map(Some).collect();
        self.check_datasets(&sealed, &declared).await?;
        let range = SlotRange { first: commit.first_slot, count: sealed.rows() };
        if !range.is_valid() {
            return Err(StoreError::SlotLimit { slot: commit.first_slot, limit: crate::SLOT_LIMIT });
        }
        let origin = Origin::Batch(commit.batch);
        self.amend(Some(origin), |current| {
            if let Some(entry) = current.file().batch(commit.batch) {
                let same = entry.registration == commit.registration && entry.first_slot == commit.first_slot;
                return if same { Ok(None) } else { Err(StoreError::BatchInUse(commit.batch)) };
            }
            if range.iter().any(|slot| current.held().contains(slot) || current.erased().contains(slot)) {
                return Err(StoreError::SlotsTaken { first: range.first, count: range.count });
            }
            let mut next = current.file().clone();
            next.batches.push(batch_entry(commit, &sealed));
            next.batches.sort_by_key(|entry| entry.first_slot);
            Ok(Some(next))
        })
        .await
    }

    /// Checks those rows of a batch for which `datasets`, in batch order, has a digest.
    pub(crate) async fn check_datasets(
        &self,
        sealed: &SealedBatch,
        datasets: &[Option<DatasetBodyDigest>],
    ) -> Result<(), StoreError> {
        if datasets.len() != sealed.rows() as usize {
            return Err(StoreError::DigestCount { expected: sealed.rows(), found: datasets.len() });
        }
        let mut rest = datasets;
        for reader in self.open_sealed(sealed).await? {
            let (these, later) = rest.split_at(reader.row_count() as usize);
            let rows = (0..).zip(these).filter_map(|(row, dataset)| Some((row, (*dataset)?)));
            let registered: Vec<(u32, DatasetBodyDigest)> = rows.collect();
            reader.digests(&[], &registered).await?;
            rest = later;
        }
        Ok(())
    }

    /// Forbids the use of `slots` from the manifest returned on. Their bodies are removed by
    /// [`erase`](Self::erase). Doing the same again changes nothing; slots that are not stored yet
    /// may be tombstoned too.
    ///
    /// # Errors
    /// Those of storage.
    pub async fn tombstone(&self, slots: &SlotSet) -> Result<Manifest, StoreError> {
        self.amend(None, |current| {
            let mut tombstones = current.tombstones().clone();
            tombstones.union_with(slots);
            if tombstones.len() == current.tombstones().len() {
                return Ok(None);
            }
            Ok(Some(ManifestFile { tombstones: tombstones.ranges(), ..current.file().clone() }))
        })
        .await
    }

    /// Writes the next manifest version: `change` gets the newest manifest and returns the next
    /// one, or `None` when there is nothing to do. When another writer is faster, it starts over,
    /// so no change is lost. `uses` must still exist and not be on its way out.
    pub(crate) async fn amend(
        &self,
        uses: Option<Origin>,
        change: impl Fn(&Manifest) -> Result<Option<ManifestFile>, StoreError>,
    ) -> Result<Manifest, StoreError> {
        for _ in 0..COMMIT_ATTEMPTS_MAX {
            let current = self.latest().await?;
            let Some(mut next) = change(&current)? else { return Ok(current) };
            if let Some(origin) = uses {
                self.check_present(&current, origin).await?;
            }
            next.version = current.version() + 1;
            next.previous = (current.version() > 0).then(|| current.pin().digest.into());
            let name = self.names.manifest(next.version);
            let (bytes, manifest) = Manifest::encode(&name, next)?;
            match self.store.create(&name, bytes).await {
                Err(StoreError::ObjectExists { .. }) => continue,
                created => created?,
            }
            self.store.persist(vec![name]).await?;
            self.observe(manifest.pin());
            return Ok(manifest);
        }
        Err(StoreError::Contended(COMMIT_ATTEMPTS_MAX))
    }

    /// Garbage collection first marks an origin as retiring and deletes its claim last, so an
    /// origin that is neither retiring in `current` nor without claim is whole.
    async fn check_present(&self, current: &Manifest, origin: Origin) -> Result<(), StoreError> {
        if current.file().retiring.contains(&origin) {
            return Err(StoreError::Collected(origin.into()));
        }
        match self.store.head(&self.names.claim(origin)).await {
            Err(StoreError::MissingObject { .. }) => Err(StoreError::Collected(origin.into())),
            found => found.map(drop),
        }
    }
}

/// The entry of a batch that holds all slots of its registration.
pub(crate) fn batch_entry(commit: RegistrationCommit, sealed: &SealedBatch) -> BatchEntry {
    let parts = sealed.parts().iter().map(|part| {
        let first = commit.first_slot + part.first_row;
        BatchPart { index_digest: part.index_digest.into(), slots: vec![SlotRange { first, count: part.rows }] }
    });
    BatchEntry {
        batch: Hex32(commit.batch.0),
        registration: commit.registration,
        first_slot: commit.first_slot,
        rows: sealed.rows(),
        parts: parts.collect(),
    }
}
