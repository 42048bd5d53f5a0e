//! Erasure: the bodies leave the store, the key seeds leave the keyholders.

use crate::{
    archive::Archive,
    error::ArchiveError,
    publish::{Registered, insert_ordinal},
};
use futures::future::join_all;
use locus_commitment::Address;
use locus_ledger::{ChainView, RegistrationId, recover};
use locus_sharing::KeyholderIndex;
use locus_store::{GarbagePolicy, PanelStore, SlotSet};
use locus_wire::{
    convert::field,
    pb::{
        archive::{EraseDatasetsRequest, EraseDatasetsResponse, erase_datasets_response::Receipt},
        keyholder::EraseSeedsRequest,
    },
};
use std::{
    sync::PoisonError,
    time::{Duration, SystemTime},
};

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
        let bodies_removed = self.remove_bodies(&view, &registered, &ordinals).await?;
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
    async fn remove_bodies(
        &self,
        view: &ChainView,
        registered: &Registered<'_>,
        ordinals: &[u32],
    ) -> Result<u64, ArchiveError> {
        match self.publish(registered).await {
            // Nothing of it is here, so nothing has to go.
            Err(ArchiveError::NeverUploaded(_)) => return Ok(0),
            published => published?,
        }
        let waits_until = self.settle_rekeying(view, registered, ordinals).await?;
        let mut slots = SlotSet::new();
        for &ordinal in ordinals {
            insert_ordinal(&mut slots, registered.slots, ordinal)?;
        }
        let removed = self.remove_slots(&registered.store, &slots).await?;
        if let Some(deadline_unix_s) = waits_until {
            return Err(ArchiveError::BeingRekeyed { registration: registered.record.id, deadline_unix_s });
        }
        Ok(removed * registered.store.shape().column_count() as u64)
    }

    /// Removes all bodies of some slots, one erasure at a time; returns of how many slots nothing is left. Anybody may ask
    /// again and again: what is gone costs no work and takes nothing from those who read what was replaced since.
    async fn remove_slots(&self, store: &PanelStore, slots: &SlotSet) -> Result<u64, ArchiveError> {
        let _tidying = self.tidying.lock().await;
        let gone = || self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        let are_gone = gone().get(&store.panel()).is_some_and(|gone| slots.difference(gone).is_empty());
        if are_gone && store.latest().await?.pending_erasure().intersection(slots).is_empty() {
            return Ok(slots.len());
        }
        let report = store.erase(slots, REPLACED_AT_ONCE).await?;
        let erased = report.manifest.erased().intersection(slots);
        gone().entry(store.panel()).or_default().union_with(&erased);
        Ok(erased.len())
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
}

/// Replaced objects go at once; abandoned uploads are housekeeping's, which knows those that wait for the chain.
const REPLACED_AT_ONCE: GarbagePolicy =
    GarbagePolicy { superseded_before: None, abandoned_before: SystemTime::UNIX_EPOCH };

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
