//! New keys for the datasets of a registration, by order of the market's admin.

use crate::{
    error::ClientError,
    keystore::KeystoreError,
    network::Network,
    offer::{registration_state, wait_until},
    progress::{Progress, Stage},
    service::{CallError, Services, name, retrying},
};
use locus_ledger::{AccountKey, DatasetKeys, RegistrationId, RekeyRequest, rekey_request_hash};
use locus_wire::{
    convert::{FieldError, parse_rekeyed_keys, rekeyed_keys},
    pb::{
        archive::{self as archive_pb, rekey_datasets_response::Event},
        exchange as exchange_pb, keyholder as pb,
    },
};

/// How long a signed order can be taken, and the chain takes the keys.
const ORDER_LIFETIME_S: u64 = 6 * 3_600;

/// New keys that the keyholders have signed, and that the chain does not have yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttestedKeys {
    /// The registration.
    pub registration: RegistrationId,
    /// The generation of keys that results.
    pub generation: u8,
    /// By ordinal; `None` for datasets that were left out, all of which are revoked.
    pub keys: Vec<Option<DatasetKeys>>,
    /// Until when the chain takes them.
    pub deadline_unix_s: u64,
    /// Signatures of keyholders 1, 2 and 3.
    pub attestations: [Vec<u8>; 3],
}

impl AttestedKeys {
    /// Datasets that get new keys.
    pub fn dataset_count(&self) -> usize {
        self.keys.iter().flatten().count()
    }

    /// Has the exchange put the keys on the chain, where they come into force, and waits until they are final. Anybody may.
    ///
    /// # Errors
    /// [`ClientError::Call`] with the contract's reason.
    pub async fn submit(&self, services: &Services) -> Result<(), ClientError> {
        let request = exchange_pb::RekeyDatasetsRequest {
            registration_id: self.registration.0,
            generation: u32::from(self.generation),
            keys: rekeyed_keys(&self.keys).keys,
            attestations: self.attestations.iter().map(|signature| signature.clone().into()).collect(),
            deadline_unix_s: self.deadline_unix_s,
        };
        let call = || {
            let (mut exchange, request) = (services.exchange.clone(), request.clone());
            async move { exchange.rekey_datasets(request).await }
        };
        retrying(name::EXCHANGE, call).await?;
        wait_until(services, self.registration, |state| state.generation >= self.generation).await
    }
}

/// Has the keyholders draw and attest new keys of all datasets of a registration. Asking again gives the same keys until the
/// chain has them.
///
/// # Errors
/// [`ClientError::Call`] with the reason, for example when a keyholder is down.
pub async fn attest_new_keys(
    services: &Services,
    network: &Network,
    admin: &AccountKey,
    registration: RegistrationId,
    now_unix_s: u64,
    progress: &dyn Progress,
) -> Result<AttestedKeys, ClientError> {
    let generation = registration_state(services, registration).await?.generation.saturating_add(1);
    let deadline_unix_s = now_unix_s.saturating_add(ORDER_LIFETIME_S);
    let hash = rekey_request_hash(&network.id(), &RekeyRequest { registration, generation, deadline_unix_s });
    let order = pb::RekeyingOrder {
        registration_id: registration.0,
        generation: u32::from(generation),
        deadline_unix_s,
        admin: admin.address().0.to_vec().into(),
        signature: admin.sign_digest(&hash).map_err(KeystoreError::from)?.to_bytes().to_vec().into(),
    };
    let receipt = lead(services, order, progress).await?;
    let malformed = |error| ClientError::Malformed { service: name::ARCHIVE, error };
    let [first, second, third] = receipt.attestations.as_slice() else {
        return Err(malformed(FieldError::refused("receipt.attestations", "there are not three")));
    };
    let attestations = [first, second, third].map(|signature| signature.to_vec());
    if (receipt.registration_id, receipt.generation) != (registration.0, u32::from(generation)) {
        return Err(malformed(FieldError::refused("receipt", "it is about other keys")));
    }
    let keys = parse_rekeyed_keys("receipt.keys", &receipt.keys).map_err(malformed)?;
    Ok(AttestedKeys { registration, generation, keys, deadline_unix_s: receipt.deadline_unix_s, attestations })
}

/// Makes the archive put the new bodies in the place of the old ones now, rather than when it next looks at the chain.
///
/// # Errors
/// [`ClientError::Call`].
pub async fn publish_new_keys(services: &Services, registration: RegistrationId) -> Result<(), ClientError> {
    let request = archive_pb::PublishRegistrationRequest { registration_id: registration.0 };
    let mut archive = services.archive.clone();
    archive.publish_registration(request).await.map_err(|status| CallError::new(name::ARCHIVE, &status))?;
    Ok(())
}

async fn lead(
    services: &Services,
    order: pb::RekeyingOrder,
    progress: &dyn Progress,
) -> Result<archive_pb::RekeyReceipt, ClientError> {
    let failed = |status: tonic::Status| CallError::new(name::ARCHIVE, &status);
    let request = archive_pb::RekeyDatasetsRequest { order: Some(order) };
    let mut archive = services.archive.clone();
    let mut events = archive.rekey_datasets(request).await.map_err(failed)?.into_inner();
    while let Some(message) = events.message().await.map_err(failed)? {
        match message.event {
            Some(Event::Progress(step)) => progress.report(Stage::of_upload(&step.stage), step.done, step.total),
            Some(Event::Receipt(receipt)) => return Ok(receipt),
            None => {}
        }
    }
    Err(ClientError::Malformed { service: name::ARCHIVE, error: FieldError::refused("receipt", "there is none") })
}
