//! Documents that offers name, kept beside the ciphertexts by registration and digest.

use crate::{backend::Store, error::StoreError};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use locus_commitment::Digest32;
use object_store::path::Path;

impl Store {
    /// Keeps the document `bytes` of a registration under its digest, which the caller has computed from them.
    /// Keeping it again changes nothing, except that a damaged file is replaced.
    ///
    /// # Errors
    /// Those of storage.
    pub async fn put_disclosure(&self, registration: u64, digest: Digest32, bytes: Bytes) -> Result<(), StoreError> {
        self.put_file(&self.disclosure_name(registration, digest), bytes).await
    }

    /// A document of a registration, if it is here. Whether its bytes have that digest is for the caller to check.
    ///
    /// # Errors
    /// [`StoreError::ObjectTooLarge`] when it is longer than `bytes_max`, and those of storage.
    pub async fn disclosure(
        &self,
        registration: u64,
        digest: Digest32,
        bytes_max: u64,
    ) -> Result<Option<Bytes>, StoreError> {
        self.file(&self.disclosure_name(registration, digest), bytes_max).await
    }

    /// Number of documents of a registration; counts to `count_max` and no further.
    ///
    /// # Errors
    /// Those of storage.
    pub async fn disclosure_count(&self, registration: u64, count_max: usize) -> Result<usize, StoreError> {
        let folder = self.disclosure_folder(registration);
        let listed = self.inner().list(Some(&folder)).take(count_max);
        let listed: Vec<_> = listed.try_collect().await.map_err(|error| StoreError::backend(&folder, error))?;
        Ok(listed.len())
    }

    /// Removes every document of a registration.
    ///
    /// # Errors
    /// Those of storage; doing it again removes the rest.
    pub async fn delete_disclosures(&self, registration: u64) -> Result<(), StoreError> {
        let folder = self.disclosure_folder(registration);
        let listed = self.inner().list(Some(&folder)).try_collect::<Vec<_>>();
        for object in listed.await.map_err(|error| StoreError::backend(&folder, error))? {
            self.delete(&object.location).await?;
        }
        Ok(())
    }

    fn disclosure_folder(&self, registration: u64) -> Path {
        self.prefix().clone().join("disclosures").join(format!("registration={registration}"))
    }

    fn disclosure_name(&self, registration: u64, digest: Digest32) -> Path {
        self.disclosure_folder(registration).join(format!("{digest}.disclosure"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_document_is_found_by_registration_and_digest_until_all_of_the_registration_are_removed() {
        let store = Store::memory();
        let (first, second) = (Digest32([1; 32]), Digest32([2; 32]));
        for (registration, digest) in [(1, first), (1, second), (1, second), (10, first)] {
            store.put_disclosure(registration, digest, Bytes::from_static(b"document")).await.expect("writes");
        }
        assert_eq!(store.disclosure(1, second, 8).await.expect("reads").as_deref(), Some(&b"document"[..]));
        assert!(matches!(store.disclosure(1, second, 7).await, Err(StoreError::ObjectTooLarge { .. })));
        assert_eq!(store.disclosure(2, second, 8).await.expect("reads"), None);
        let count =
            async |registration, count_max| store.disclosure_count(registration, count_max).await.expect("lists");
        assert_eq!((count(1, 9).await, count(1, 1).await, count(10, 9).await, count(2, 9).await), (2, 1, 1, 0));
        store.delete_disclosures(1).await.expect("removes");
        store.delete_disclosures(1).await.expect("there is nothing left to remove");
        assert_eq!((count(1, 9).await, count(10, 9).await), (0, 1));
    }
}
