//! Panel files, kept beside the ciphertexts under their digest.

use crate::{backend::Store, batch_id::parse_hex32, error::StoreError};
use bytes::Bytes;
use futures::TryStreamExt;
use locus_genomics::PanelDigest;
use object_store::path::Path;
use std::collections::BTreeSet;

impl Store {
    /// Keeps the panel file `bytes` under its digest, which the caller has computed from them.
    /// Keeping it again changes nothing, except that a damaged file is replaced.
    ///
    /// # Errors
    /// Those of storage.
    pub async fn put_panel_file(&self, panel: PanelDigest, bytes: Bytes) -> Result<(), StoreError> {
        self.put_file(&self.panel_file_name(panel), bytes).await
    }

    /// The panel file of `panel`, if it is here. Whether its bytes have that digest is for the
    /// caller to check.
    ///
    /// # Errors
    /// [`StoreError::ObjectTooLarge`] when it is longer than `bytes_max`, and those of storage.
    pub async fn panel_file(&self, panel: PanelDigest, bytes_max: u64) -> Result<Option<Bytes>, StoreError> {
        self.file(&self.panel_file_name(panel), bytes_max).await
    }

    /// All panels whose files are here.
    ///
    /// # Errors
    /// Those of storage.
    pub async fn panel_files(&self) -> Result<BTreeSet<PanelDigest>, StoreError> {
        let folder = self.panel_file_folder();
        let listed: Vec<_> = self
            .inner()
            .list(Some(&folder))
            .try_collect()
            .await
            .map_err(|error| StoreError::backend(&folder, error))?;
        let digest = |name: &Path| name.filename()?.strip_suffix(".panel").and_then(parse_hex32).map(PanelDigest);
        Ok(listed.iter().filter_map(|object| digest(&object.location)).collect())
    }

    fn panel_file_folder(&self) -> Path {
        self.prefix().clone().join("panels")
    }

    fn panel_file_name(&self, panel: PanelDigest) -> Path {
        self.panel_file_folder().join(format!("{panel}.panel"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PANEL: PanelDigest = PanelDigest([0xab; 32]);

    #[tokio::test]
    async fn a_panel_file_is_found_under_its_digest_and_never_read_past_the_limit() {
        let store = Store::memory();
        assert_eq!(store.panel_file(PANEL, 10).await.expect("reads"), None);
        for _ in 0..2 {
            store.put_panel_file(PANEL, Bytes::from_static(b"panel")).await.expect("writes");
        }
        assert_eq!(store.panel_file(PANEL, 5).await.expect("reads").as_deref(), Some(&b"panel"[..]));
        assert!(matches!(store.panel_file(PANEL, 4).await, Err(StoreError::ObjectTooLarge { .. })));
        assert_eq!(store.panel_files().await.expect("lists"), BTreeSet::from([PANEL]));
    }

    #[tokio::test]
    async fn a_damaged_panel_file_is_replaced() {
        let store = Store::memory();
        store.put_panel_file(PANEL, Bytes::from_static(b"pan")).await.expect("writes");
        store.put_panel_file(PANEL, Bytes::from_static(b"panel")).await.expect("writes");
        assert_eq!(store.panel_file(PANEL, 5).await.expect("reads").as_deref(), Some(&b"panel"[..]));
    }
}
