//! Panels: taken in, checked, kept beside the ciphertexts, handed out by digest.

use crate::{config::Limits, error::ArchiveError};
use bytes::Bytes;
use locus_genomics::{Panel, PanelDigest};
use locus_service::blocking;
use locus_store::{PanelShape, Store};
use locus_wire::pb::archive::list_panels_response;
use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

/// Largest piece of a panel file in one message.
pub(crate) const PANEL_CHUNK_BYTES: usize = 1 << 20;

/// What the archive tells about a panel without reading its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PanelInfo {
    pub(crate) digest: PanelDigest,
    pub(crate) name: String,
    pub(crate) assembly: String,
    pub(crate) variant_count: u32,
    pub(crate) shape: PanelShape,
}

impl PanelInfo {
    fn of(panel: &Panel) -> Result<Self, ArchiveError> {
        Ok(Self {
            digest: panel.digest(),
            name: panel.name().to_owned(),
            assembly: panel.assembly().to_string(),
            variant_count: panel.variant_count(),
            shape: PanelShape::try_new(panel.block_count(), panel.complete_calls())?,
        })
    }

    /// The entry of a listing.
    pub(crate) fn to_entry(&self) -> list_panels_response::Panel {
        list_panels_response::Panel {
            panel_digest: self.digest.0.to_vec().into(),
            name: self.name.clone(),
            assembly: self.assembly.clone(),
            variant_count: self.variant_count,
            complete_calls: self.shape.complete_calls(),
        }
    }
}

/// All panels of an archive. The store has the files; memory has what [`PanelInfo`] says.
#[derive(Debug, Clone)]
pub(crate) struct Panels {
    store: Store,
    bytes_max: u64,
    count_max: u32,
    known: Arc<RwLock<BTreeMap<PanelDigest, PanelInfo>>>,
}

impl Panels {
    /// Reads every panel file in `store`. A file that does not have its digest is left out.
    pub(crate) async fn open(store: Store, limits: &Limits) -> Result<Self, ArchiveError> {
        let panels =
            Self { store, bytes_max: limits.panel_bytes_max, count_max: limits.panels_max, known: Arc::default() };
        for digest in panels.store.panel_files().await? {
            let Some(bytes) = panels.store.panel_file(digest, panels.bytes_max).await? else { continue };
            match parse(bytes).await {
                Ok(info) if info.digest == digest => panels.remember(info),
                _ => tracing::error!(panel = %digest, "panel file is damaged: put the panel again"),
            }
        }
        Ok(panels)
    }

    /// Takes in a whole panel file. Taking it in again changes nothing.
    pub(crate) async fn put(&self, bytes: Vec<u8>) -> Result<PanelDigest, ArchiveError> {
        let bytes = Bytes::from(bytes);
        let info = parse(bytes.clone()).await?;
        let digest = info.digest;
        let full = self.list().len() as u64 >= u64::from(self.count_max);
        if full && self.get(&digest).is_none() {
            return Err(ArchiveError::PanelsFull(self.count_max));
        }
        self.store.put_panel_file(digest, bytes).await?;
        tracing::info!(panel = %digest, name = info.name, variants = info.variant_count, "panel taken in");
        self.remember(info);
        Ok(digest)
    }

    /// Largest panel file taken in, in bytes.
    pub(crate) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// What is known of a panel.
    pub(crate) fn get(&self, digest: &PanelDigest) -> Option<PanelInfo> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()
    }

    /// All panels, by digest.
    pub(crate) fn list(&self) -> Vec<PanelInfo> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The panel file of `digest`.
    pub(crate) async fn file(&self, digest: PanelDigest) -> Result<Bytes, ArchiveError> {
        if self.get(&digest).is_none() {
            return Err(ArchiveError::UnknownPanel(digest));
        }
        let file = self.store.panel_file(digest, self.bytes_max).await?;
        file.ok_or(ArchiveError::UnknownPanel(digest))
    }

    fn remember(&self, info: PanelInfo) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).insert(info.digest, info);
    }
}

async fn parse(bytes: Bytes) -> Result<PanelInfo, ArchiveError> {
    blocking(move || PanelInfo::of(&Panel::from_canonical_bytes(&bytes)?)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use locus_genomics::{Assembly, Variant};

    fn panel(name: &str) -> Panel {
        let variants: Vec<Variant> = ["1:9:T:TA", "2:5:C:T"].iter().map(|id| id.parse().expect("an id")).collect();
        Panel::try_new(name, Assembly::GRCh38, false, variants.iter().map(Variant::as_ref)).expect("a panel")
    }

    fn limits(panels_max: u32) -> Limits {
        Limits { panels_max, ..Limits::default() }
    }

    #[tokio::test]
    async fn a_panel_is_found_by_its_digest_also_after_a_restart() {
        let store = Store::memory();
        let panels = Panels::open(store.clone(), &limits(8)).await.expect("opens");
        let bytes = panel("one").to_canonical_bytes();
        let digest = panels.put(bytes.clone()).await.expect("takes it in");
        assert_eq!(digest, panel("one").digest());
        let again = Panels::open(store, &limits(8)).await.expect("opens again");
        assert_eq!(again.file(digest).await.expect("has it"), bytes);
        assert_eq!(again.list(), panels.list());
        assert_eq!(again.get(&digest).map(|info| info.variant_count), Some(2));
    }

    #[tokio::test]
    async fn what_is_not_a_canonical_panel_is_refused_and_leaves_nothing() {
        let store = Store::memory();
        let panels = Panels::open(store.clone(), &limits(8)).await.expect("opens");
        let mut longer = panel("one").to_canonical_bytes();
        longer.push(0);
        for bytes in [Vec::new(), b"##locus-panel=1".to_vec(), longer] {
            assert!(matches!(panels.put(bytes).await, Err(ArchiveError::Panel(_))));
        }
        assert!(panels.list().is_empty());
        assert!(store.panel_files().await.expect("lists").is_empty());
        assert!(matches!(panels.file(panel("one").digest()).await, Err(ArchiveError::UnknownPanel(_))));
    }

    #[tokio::test]
    async fn a_full_archive_takes_known_panels_again_but_no_new_ones() {
        let panels = Panels::open(Store::memory(), &limits(1)).await.expect("opens");
        panels.put(panel("one").to_canonical_bytes()).await.expect("takes it in");
        panels.put(panel("one").to_canonical_bytes()).await.expect("takes it in again");
        let refused = panels.put(panel("two").to_canonical_bytes()).await;
        assert!(matches!(refused, Err(ArchiveError::PanelsFull(1))));
    }
}
