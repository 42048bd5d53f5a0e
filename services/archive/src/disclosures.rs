//! Documents that offers name: checked, kept beside the ciphertexts, handed out by digest.

use crate::{archive::Archive, error::ArchiveError};
use bytes::Bytes;
use locus_cohort::{DISCLOSURE_BYTES_MAX, DisclosureDocument, DisclosureRefusal, disclosure_digest};
use locus_commitment::Digest32;
use locus_ledger::RegistrationId;
use locus_service::blocking;

/// Most documents of one registration. Only its registrant can make new ones, and each costs some kilobytes.
const DISCLOSURES_MAX: usize = 64;

impl Archive {
    /// Takes in a document whose proof holds. Taking it in again changes nothing.
    pub(crate) async fn put_disclosure(&self, bytes: Bytes) -> Result<Digest32, ArchiveError> {
        if bytes.len() > DISCLOSURE_BYTES_MAX {
            return Err(DisclosureRefusal::Format.into());
        }
        let document = DisclosureDocument::parse(&bytes)?;
        let verifier = self.disclosure_verifier.clone().ok_or(ArchiveError::NoProofKey)?;
        let (registration, digest) = (document.registration(), disclosure_digest(&bytes));
        let view = self.view.refreshed().await?;
        if view.is_revoked(registration, 0) {
            return Err(ArchiveError::DisclosureOfRevoked(registration));
        }
        if self.disclosure(registration, digest).await.is_ok() {
            return Ok(digest);
        }
        if self.store.disclosure_count(registration.0, DISCLOSURES_MAX).await? >= DISCLOSURES_MAX {
            return Err(ArchiveError::DisclosuresFull { registration, count_max: DISCLOSURES_MAX });
        }
        let network = self.contracts().network;
        blocking(move || document.verify(&verifier, network, &view)).await?;
        self.store.put_disclosure(registration.0, digest, bytes).await?;
        tracing::info!(registration = registration.0, disclosure = %digest, "disclosure taken in");
        Ok(digest)
    }

    /// A document by registration and digest.
    pub(crate) async fn disclosure(
        &self,
        registration: RegistrationId,
        digest: Digest32,
    ) -> Result<Bytes, ArchiveError> {
        let read = self.store.disclosure(registration.0, digest, DISCLOSURE_BYTES_MAX as u64).await?;
        let intact = read.filter(|bytes| disclosure_digest(bytes) == digest);
        intact.ok_or(ArchiveError::UnknownDisclosure(digest))
    }
}
