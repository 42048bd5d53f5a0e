//! Erasure: the bodies leave the store, the key seeds leave the keyholders.

use crate::{
    archive::Archive,
    error::ArchiveError,
    publish::{Registered, insert_ordinal},
};
use futures::future::join_all;
use locus_commitment::Address;
use locus_ledger::{RegistrationId, recover};
use locus_sharing::KeyholderIndex;
use locus_store::{GarbagePolicy, SlotSet};
use locus_wire::{
    convert::field,
    pb::{
        archive::{EraseDatasetsRequest, EraseDatasetsResponse, erase_datasets_response::Receipt},
        keyholder::EraseSeedsRequest,
    },
};
use std::time::{Duration, SystemTime};

/// Most datasets of one call.
const ORDINALS_MAX: usize = 4096;

impl Archive {
    /// Erases revoked datasets: physically removes their bodies, then has every keyholder destroy
    /// its seeds and sign for it. Doing it again gives the same answer.
    pub(crate) async fn erase(&self, request: &EraseDatasetsRequest) -> Result<EraseDatasetsResponse, ArchiveError> {
        let id = RegistrationId(request.registration_id);
        let view = self.view.refreshed().await?;
        let registered = self.registered(&view, id)?;
        let ordinals = parse_ordinals(&request.ordinals, registered.slots.count)?;
        if let Some(&ordinal) = ordinals.iter().find(|ordinal| !view.is_revoked(id, **ordinal)) {
            return Err(ArchiveError::NotRevoked { registration: id, ordinal });
        }
        // Only registrations of one dataset have documents.
        self.store.delete_disclosures(id.0).await?;
        let bodies_removed = self.remove_bodies(&registered, &ordinals).await?;
        let mut signers = Vec::with_capacity(3);
        for keyholder in KeyholderIndex::ALL {
            signers.push((keyholder, self.signer_of(&view, keyholder)?));
        }
        let calls = signers.into_iter().map(|(keyholder, signer)| self.erase_seeds(id, &ordinals, keyholder, signer));
        let receipts: Result<Vec<Receipt>, ArchiveError> = join_all(calls).await.into_iter().collect();
        let receipts = receipts.map_err(|source| ArchiveError::SeedsRemain { source: Box::new(source) })?;
        tracing::info!(registration = id.0, datasets = ordinals.len(), "datasets erased");
        Ok(EraseDatasetsResponse { receipts, bodies_removed })
    }

    /// Removes the bodies from every object; returns how many are no longer present.
    async fn remove_bodies(&self, registered: &Registered<'_>, ordinals: &[u32]) -> Result<u64, ArchiveError> {
        match self.publish(registered).await {
            // Nothing of it is here, so nothing has to go.
            Err(ArchiveError::NeverUploaded(_)) => return Ok(0),
            published => published?,
        }
        let mut slots = SlotSet::new();
        for &ordinal in ordinals {
            insert_ordinal(&mut slots, registered.slots, ordinal)?;
        }
        let report = registered.store.erase(&slots, self.garbage_policy(None)).await?;
        let columns = registered.store.shape().column_count() as u64;
        Ok(report.manifest.erased().intersection(&slots).len() * columns)
    }

    async fn erase_seeds(
        &self,
        id: RegistrationId,
        ordinals: &[u32],
        keyholder: KeyholderIndex,
        signer: Address,
    ) -> Result<Receipt, ArchiveError> {
        let patience = Duration::from_secs(self.limits.keyholder_wait_s);
        let request = EraseSeedsRequest { registration_id: id.0, ordinals: ordinals.to_vec() };
        let mut client = self.keyholder(keyholder);
        let response = tokio::time::timeout(patience, client.erase_seeds(request))
            .await
            .map_err(|_| ArchiveError::KeyholderSlow { keyholder, seconds: patience.as_secs() })?
            .map_err(|status| ArchiveError::Keyholder { keyholder, status })?
            .into_inner();
        let signing_hash = self.contracts().erasure_signing_hash(id, ordinals, keyholder.get());
        if recover(&signing_hash, &response.signature) != Ok(signer) {
            let what = "an erasure receipt that does not verify";
            return Err(ArchiveError::KeyholderMessage { keyholder, what });
        }
        Ok(Receipt { keyholder: u32::from(keyholder.get()), signature: response.signature })
    }

    /// What garbage collection may delete: uploads too old to be registered, and objects that were
    /// replaced before `superseded_before` (or all of them with `None`).
    pub(crate) fn garbage_policy(&self, superseded_before: Option<SystemTime>) -> GarbagePolicy {
        let lifetime = self.limits.registration_lifetime_max_s.saturating_mul(2).saturating_add(24 * 3600);
        let abandoned = SystemTime::now().checked_sub(Duration::from_secs(lifetime));
        GarbagePolicy { superseded_before, abandoned_before: abandoned.unwrap_or(SystemTime::UNIX_EPOCH) }
    }
}

fn parse_ordinals(ordinals: &[u32], datasets: u32) -> Result<Vec<u32>, ArchiveError> {
    let parsed = field::ascending("ordinals", ordinals, u64::from(datasets), ORDINALS_MAX);
    parsed.ok().filter(|ordinals| !ordinals.is_empty()).ok_or(ArchiveError::Ordinals(datasets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinals_must_be_ascending_and_inside_the_registration() {
        assert_eq!(parse_ordinals(&[0, 2, 3], 4).expect("in order"), [0, 2, 3]);
        let refused: [&[u32]; 4] = [&[], &[1, 0], &[1, 1], &[3, 4]];
        for ordinals in refused {
            assert!(matches!(parse_ordinals(ordinals, 4), Err(ArchiveError::Ordinals(4))), "{ordinals:?}");
        }
    }
}
