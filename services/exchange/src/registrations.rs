//! Registering datasets, describing registrations, revoking and recording erasures.

use crate::{error::ExchangeError, exchange::Exchange};
use locus_commitment::{Address, DatasetId};
use locus_genomics::PanelDigest;
use locus_ledger::{
    ChainView, Ciphertexts, DatasetKeys, DatasetLeaf, MarketEvent, Registration, RegistrationId, RegistrationRecord,
    leaves_hash,
};
use locus_wire::{convert::FieldError, pb::exchange as pb};

/// A signed batch, parsed.
pub(crate) struct SignedBatch {
    pub(crate) registration: Registration,
    pub(crate) leaves: Vec<DatasetLeaf>,
    /// In markets that settle on proven cohorts.
    pub(crate) ciphertexts: Option<Ciphertexts>,
    pub(crate) registrant_signature: Vec<u8>,
    /// Empty without accreditor.
    pub(crate) accreditor_signature: Vec<u8>,
    /// Keyholders 1, 2 and 3.
    pub(crate) attestations: [Vec<u8>; 3],
}

impl<'a> From<&'a RegistrationRecord> for Registered<'a> {
    fn from(record: &'a RegistrationRecord) -> Self {
        Self {
            id: record.id,
            panel: record.panel,
            version: record.version,
            first_slot: record.first_slot,
            leaves: record.registered_leaves(),
        }
    }
}

/// How a registration is asked for.
pub(crate) enum RegistrationKey {
    Number(RegistrationId),
    Batch { registrant: Address, batch_nonce: u64 },
}

/// Whether these are the datasets of a batch nonce. Dataset ids derive from it, so the first one tells.
fn are_of_batch(leaves: &[DatasetLeaf], registrant: Address, batch_nonce: u64) -> bool {
    let first = DatasetId::derive(registrant, batch_nonce, 0);
    leaves.first().is_some_and(|leaf| leaf.dataset == first)
}

/// The final registration made under a batch nonce.
fn find_batch(view: &ChainView, registrant: Address, batch_nonce: u64) -> Option<&RegistrationRecord> {
    let is_it = |record: &&RegistrationRecord| {
        record.registrant == registrant && are_of_batch(&record.leaves, registrant, batch_nonce)
    };
    view.registrations().find(is_it)
}

impl SignedBatch {
    /// The answer when the batch was registered before; refused when its nonce was used for another one.
    fn registered_before(&self, found: &Registered<'_>) -> Result<pb::RegisterDatasetsResponse, ExchangeError> {
        let asked = &self.registration;
        if *found.leaves != *self.leaves || found.panel != asked.panel || found.version != asked.version {
            return Err(ExchangeError::BatchNonceUsed);
        }
        Ok(pb::RegisterDatasetsResponse {
            registration_id: found.id.0,
            first_slot: found.first_slot,
            tx_hash: Default::default(),
        })
    }
}

/// A registration under the nonce of a batch.
struct Registered<'a> {
    id: RegistrationId,
    panel: PanelDigest,
    version: u32,
    first_slot: u64,
    leaves: &'a [DatasetLeaf],
}

impl Exchange {
    /// Registers a batch, or finds it when the same batch is registered already.
    pub(crate) async fn register(&self, batch: &SignedBatch) -> Result<pb::RegisterDatasetsResponse, ExchangeError> {
        let view = self.refreshed().await?;
        if let Some(known) = find_batch(&view, batch.registration.registrant, batch.registration.batch_nonce) {
            return batch.registered_before(&known.into());
        }
        let submitted = self
            .ledger()
            .register_signed(
                &batch.registration,
                &batch.leaves,
                batch.ciphertexts.as_ref(),
                (&batch.registrant_signature, &batch.accreditor_signature, &batch.attestations),
            )
            .await;
        match submitted {
            Ok(registered) => Ok(pb::RegisterDatasetsResponse {
                registration_id: registered.registration.0,
                first_slot: registered.first_slot,
                tx_hash: registered.transaction.0.to_vec().into(),
            }),
            Err(error) if error.refusal() == Some("DatasetRegistryBatchNonceUsed") => {
                // Another try of the same batch was faster, or its answer was lost.
                self.registered_lately(batch).await
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The registration of a batch whose nonce the contract has seen, final or not.
    async fn registered_lately(&self, batch: &SignedBatch) -> Result<pb::RegisterDatasetsResponse, ExchangeError> {
        let (account, nonce) = (batch.registration.registrant, batch.registration.batch_nonce);
        let view = self.refreshed().await?;
        if let Some(known) = find_batch(&view, account, nonce) {
            return batch.registered_before(&known.into());
        }
        for event in self.events_after(&view).await? {
            if let MarketEvent::DatasetsRegistered {
                registration: id,
                registrant,
                panel,
                version,
                first_slot,
                leaves,
                ..
            } = event
                && registrant == account
                && are_of_batch(&leaves, account, nonce)
            {
                return batch.registered_before(&Registered { id, panel, version, first_slot, leaves: &leaves });
            }
        }
        Err(ExchangeError::BatchNonceUsed)
    }

    /// Describes a registration.
    pub(crate) async fn registration(
        &self,
        key: RegistrationKey,
        ordinal: Option<u32>,
    ) -> Result<pb::GetRegistrationResponse, ExchangeError> {
        let view = self.refreshed().await?;
        let record = match key {
            RegistrationKey::Number(id) => view.registration(id).ok_or(ExchangeError::UnknownRegistration(id)),
            RegistrationKey::Batch { registrant, batch_nonce } => {
                find_batch(&view, registrant, batch_nonce).ok_or(ExchangeError::UnknownBatch)
            }
        }?;
        let leaf_of = |ordinal: u32| {
            let leaf = usize::try_from(ordinal).ok().and_then(|place| record.leaves.get(place));
            leaf.ok_or_else(|| FieldError::refused("ordinal", "the registration has no such dataset"))
        };
        let leaf = ordinal.map(leaf_of).transpose()?.map(Into::into);
        let posted = self.ledger().offer_nonce(record.id).await?;
        let offer = view.finalized().and_then(|finalized| crate::offers::in_force(&view, record, finalized.number));
        Ok(pb::GetRegistrationResponse {
            registration_id: record.id.0,
            registrant: record.registrant.0.to_vec().into(),
            first_slot: record.first_slot,
            dataset_count: u32::try_from(record.leaves.len()).unwrap_or(u32::MAX),
            panel_digest: record.panel.0.to_vec().into(),
            version: record.version,
            accreditor: record.accreditor.map(|account| account.0.to_vec()).unwrap_or_default().into(),
            leaves_hash: leaves_hash(record.registered_leaves()).0.to_vec().into(),
            revoked_ordinals: view.revoked_of(record.id).collect(),
            offer: offer.map(Into::into),
            next_offer_nonce: posted.saturating_add(1),
            leaf,
            generation: record.generation().into(),
        })
    }

    /// Brings new keys into force; returns the transaction, or nothing when the chain has this generation already.
    pub(crate) async fn rekey(
        &self,
        registration: RegistrationId,
        generation: u8,
        keys: &[Option<DatasetKeys>],
        deadline_unix_s: u64,
        attestations: &[Vec<u8>; 3],
    ) -> Result<Option<[u8; 32]>, ExchangeError> {
        let is_done =
            || async { Ok::<_, ExchangeError>(self.ledger().rekey_generation(registration).await? >= generation) };
        if is_done().await? {
            return Ok(None);
        }
        match self.ledger().rekey_datasets(registration, keys, deadline_unix_s, attestations).await {
            Ok(transaction) => Ok(Some(transaction.0)),
            // Another try may have been faster; the signatures are for one generation.
            Err(error) if error.refusal().is_some() && is_done().await? => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Revokes datasets; returns the transaction.
    pub(crate) async fn revoke(
        &self,
        registration: RegistrationId,
        ordinals: &[u32],
        deadline_unix_s: u64,
        signature: &[u8],
    ) -> Result<[u8; 32], ExchangeError> {
        Ok(self.ledger().revoke_datasets(registration, ordinals, deadline_unix_s, signature).await?.0)
    }

    /// Records a deletion receipt; returns the transaction.
    pub(crate) async fn record_erasure(
        &self,
        registration: RegistrationId,
        ordinals: &[u32],
        keyholder: u8,
        signature: &[u8],
    ) -> Result<[u8; 32], ExchangeError> {
        Ok(self.ledger().record_erasure(registration, ordinals, keyholder, signature).await?.0)
    }
}
