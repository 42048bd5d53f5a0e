//! Withdrawing data for good: revocation on the chain, then erasure of bodies and key seeds.

use crate::{
    enrol::{EnrolmentEvent, EnrolmentRecords},
    error::ClientError,
    keystore::Keystore,
    network::Network,
    offer::registration_state,
    service::{SIGHT, Services, name, retrying},
};
use bytes::Bytes;
use locus_ledger::RegistrationId;
use locus_sharing::KeyholderIndex;
use locus_wire::{
    convert::field,
    pb::{archive as archive_pb, exchange as pb},
};
use tonic::Code;

/// How long a signed revocation can be submitted.
const REVOCATION_LIFETIME_S: u64 = 3_600;
/// Any two keyholders hold both copies of one share: without it nothing can be decrypted.
const RECEIPTS_MIN: usize = 2;

/// What became of datasets that were to be erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// The registration.
    pub registration: RegistrationId,
    /// Its datasets.
    pub ordinals: Vec<u32>,
    /// Keyholders that have destroyed their key seeds, proved by their signatures, ascending.
    pub keyholders: Vec<KeyholderIndex>,
    /// Encrypted bodies that the archive removed.
    pub bodies_removed: u64,
}

impl Erasure {
    /// Whether the ciphertexts can never be read again, wherever copies may be: two keyholders
    /// have destroyed their seeds, and with them both copies of one share of every key.
    pub fn is_unreadable_for_ever(&self) -> bool {
        self.keyholders.len() >= RECEIPTS_MIN
    }

    /// Whether all three keyholders have given receipts.
    pub fn is_complete(&self) -> bool {
        self.keyholders.len() == KeyholderIndex::ALL.len()
    }
}

/// Revokes datasets: from the next block on no answer counts them, whatever was agreed before. No
/// ordinals mean all datasets. Returns the ordinals revoked now or before.
///
/// # Errors
/// [`ClientError::Ordinals`] for a dataset that the registration does not have, [`ClientError::Call`]
/// with the contract's reason.
pub async fn revoke(
    services: &Services,
    network: &Network,
    keystore: &Keystore,
    registration: RegistrationId,
    ordinals: &[u32],
    now_unix_s: u64,
) -> Result<Vec<u32>, ClientError> {
    let state = registration_state(services, registration).await?;
    let ordinals = check_ordinals(ordinals, state.dataset_count)?;
    if ordinals.iter().all(|ordinal| state.revoked.binary_search(ordinal).is_ok()) {
        return Ok(ordinals);
    }
    let deadline_unix_s = now_unix_s.saturating_add(REVOCATION_LIFETIME_S);
    let hash = network.contracts().revocation_signing_hash(registration, &ordinals, deadline_unix_s);
    let request = pb::RevokeDatasetsRequest {
        registration_id: registration.0,
        ordinals: ordinals.clone(),
        deadline_unix_s,
        signature: keystore.sign(&hash)?,
    };
    let call = || {
        let (mut exchange, request) = (services.exchange.clone(), request.clone());
        async move { exchange.revoke_datasets(request).await }
    };
    retrying(name::EXCHANGE, call).await?;
    Ok(ordinals)
}

/// Revokes datasets, has their bodies and key seeds erased, checks the keyholders' receipts and
/// records them on the chain. Running it again completes what was missing.
///
/// # Errors
/// As [`revoke`]; [`ClientError::Receipt`] for a receipt that is not its keyholder's.
pub async fn erase(
    services: &Services,
    network: &Network,
    keystore: &Keystore,
    registration: RegistrationId,
    ordinals: &[u32],
    records: &EnrolmentRecords,
    now_unix_s: u64,
) -> Result<Erasure, ClientError> {
    let ordinals = revoke(services, network, keystore, registration, ordinals, now_unix_s).await?;
    records.note_revocation(&network.id(), registration, &ordinals)?;
    let response = erase_bodies(services, registration, &ordinals).await?;
    let mut keyholders = Vec::new();
    for receipt in response.receipts {
        let keyholder = check_receipt(network, registration, &ordinals, receipt.keyholder, &receipt.signature)?;
        record(services, registration, &ordinals, keyholder, receipt.signature).await?;
        keyholders.push(keyholder);
    }
    keyholders.sort_unstable();
    keyholders.dedup();
    let numbers = keyholders.iter().map(|keyholder| keyholder.get()).collect();
    records.append(&EnrolmentEvent::Erased {
        market: Some(network.id().into()),
        registration_id: registration.0,
        ordinals: ordinals.clone(),
        keyholders: numbers,
    })?;
    Ok(Erasure { registration, ordinals, keyholders, bodies_removed: response.bodies_removed })
}

/// Ascending, different, existing; all of them when none is named.
fn check_ordinals(ordinals: &[u32], dataset_count: u32) -> Result<Vec<u32>, ClientError> {
    if ordinals.is_empty() {
        return Ok((0..dataset_count).collect());
    }
    let mut sorted = ordinals.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    if sorted.last().is_some_and(|last| *last >= dataset_count) {
        return Err(ClientError::Ordinals { last: dataset_count.saturating_sub(1) });
    }
    Ok(sorted)
}

/// Asks the archive, which may see the revocation a moment later than the exchange.
async fn erase_bodies(
    services: &Services,
    registration: RegistrationId,
    ordinals: &[u32],
) -> Result<archive_pb::EraseDatasetsResponse, ClientError> {
    let request = archive_pb::EraseDatasetsRequest { registration_id: registration.0, ordinals: ordinals.to_vec() };
    let mut attempt = 1;
    loop {
        let call = || {
            let (mut archive, request) = (services.archive.clone(), request.clone());
            async move { archive.erase_datasets(request).await }
        };
        let error = match retrying(name::ARCHIVE, call).await {
            Ok(response) => return Ok(response),
            Err(error) => error,
        };
        let not_seen_yet = matches!(error.code, Code::FailedPrecondition | Code::NotFound);
        if !not_seen_yet || !SIGHT.pause_after(attempt).await {
            return Err(error.into());
        }
        attempt += 1;
    }
}

fn check_receipt(
    network: &Network,
    registration: RegistrationId,
    ordinals: &[u32],
    number: u32,
    signature: &[u8],
) -> Result<KeyholderIndex, ClientError> {
    let malformed = |error| ClientError::Malformed { service: name::ARCHIVE, error };
    let number = field::keyholder("receipts.keyholder", number).map_err(malformed)?;
    let keyholder = KeyholderIndex::try_new(number)?;
    let hash = network.contracts().erasure_signing_hash(registration, ordinals, number);
    if network.is_signed_by(keyholder, &hash, signature) {
        Ok(keyholder)
    } else {
        Err(ClientError::Receipt { keyholder: number })
    }
}

/// Puts a receipt on the chain; one that is there already is as good.
async fn record(
    services: &Services,
    registration: RegistrationId,
    ordinals: &[u32],
    keyholder: KeyholderIndex,
    signature: Bytes,
) -> Result<(), ClientError> {
    let request = pb::RecordErasureRequest {
        registration_id: registration.0,
        ordinals: ordinals.to_vec(),
        keyholder: u32::from(keyholder.get()),
        signature,
    };
    let call = || {
        let (mut exchange, request) = (services.exchange.clone(), request.clone());
        async move { exchange.record_erasure(request).await }
    };
    match retrying(name::EXCHANGE, call).await {
        Ok(_) => Ok(()),
        Err(error) if error.code == Code::AlreadyExists => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinals_are_sorted_unique_and_existing() {
        assert_eq!(check_ordinals(&[3, 1, 3], 4).ok(), Some(vec![1, 3]));
        assert_eq!(check_ordinals(&[], 3).ok(), Some(vec![0, 1, 2]));
        assert!(matches!(check_ordinals(&[4], 4), Err(ClientError::Ordinals { last: 3 })));
    }

    #[test]
    fn two_receipts_make_a_dataset_unreadable_and_three_complete_the_erasure() {
        let erasure = |count: usize| Erasure {
            registration: RegistrationId(1),
            ordinals: vec![0],
            keyholders: KeyholderIndex::ALL[..count].to_vec(),
            bodies_removed: 0,
        };
        assert_eq!([0, 1, 2, 3].map(|count| erasure(count).is_unreadable_for_ever()), [false, false, true, true]);
        assert_eq!([2, 3].map(|count| erasure(count).is_complete()), [false, true]);
    }
}
