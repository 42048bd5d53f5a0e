//! The market that the client trusts: remembered at first contact, compared ever after.

use crate::{
    error::ClientError,
    files::{self, FileError},
    service::{Services, name, retrying},
};
use locus_commitment::{Digest32, NetworkId};
use locus_ledger::{Contracts, recover};
use locus_privacy::NetworkParameters;
use locus_sharing::{KeyholderIndex, seal::SealingPublicKey};
use locus_wire::{convert::NetworkInfo, pb::exchange as pb};
use prost::Message as _;
use std::path::{Path, PathBuf};

/// Largest file of a remembered market: three keys and a few numbers.
const NETWORK_FILE_BYTES_MAX: u64 = 16 << 10;

/// The exchange describes another market than the one remembered.
#[derive(Debug, thiserror::Error)]
#[error(
    "the exchange's {what} differs from the one remembered in {file}: seeds and payments would go to others; if the change was announced, remove the file and try again",
    file = file.display()
)]
pub struct NetworkChanged {
    /// What differs.
    pub what: &'static str,
    /// Where the market is remembered.
    pub file: PathBuf,
}

/// A market: its contracts, rules and keyholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    info: NetworkInfo,
    sealing_keys: [SealingPublicKey; 3],
}

impl Network {
    /// Checks a description.
    ///
    /// # Errors
    /// [`ClientError::Sharing`] for a keyholder key that is none.
    pub fn try_new(info: NetworkInfo) -> Result<Self, ClientError> {
        let [first, second, third] = &info.committee;
        let key = |bytes: &[u8]| SealingPublicKey::parse(bytes);
        let sealing_keys = [key(&first.hpke_public_key)?, key(&second.hpke_public_key)?, key(&third.hpke_public_key)?];
        Ok(Self { info, sealing_keys })
    }

    /// Asks the exchange, without remembering: for a first look, or where the caller trusts it.
    ///
    /// # Errors
    /// [`ClientError::Call`] or [`ClientError::Malformed`].
    pub async fn fetch(services: &Services) -> Result<Self, ClientError> {
        let call = || {
            let mut exchange = services.exchange.clone();
            async move { exchange.get_network(pb::GetNetworkRequest {}).await }
        };
        let message = retrying(name::EXCHANGE, call).await?;
        let info = NetworkInfo::try_from(&message)
            .map_err(|error| ClientError::Malformed { service: name::EXCHANGE, error })?;
        Self::try_new(info)
    }

    /// Asks the exchange and compares with what `file` remembers; the first time, remembers it.
    ///
    /// # Errors
    /// [`ClientError::NetworkChanged`] when contracts, rules or keyholders differ.
    pub async fn fetch_pinned(services: &Services, file: &Path) -> Result<Self, ClientError> {
        let fetched = Self::fetch(services).await?;
        match Self::load(file)? {
            None => fetched.save(file)?,
            Some(known) => fetched.check_same(&known, file)?,
        }
        Ok(fetched)
    }

    /// The market remembered in `file`, if there is one.
    ///
    /// # Errors
    /// [`ClientError::File`] or [`ClientError::Malformed`] for a damaged file.
    pub fn load(file: &Path) -> Result<Option<Self>, ClientError> {
        if !file.exists() {
            return Ok(None);
        }
        let bytes = files::read_limited(file, NETWORK_FILE_BYTES_MAX)?;
        let damaged = |error| ClientError::Malformed { service: "file of the remembered market", error };
        let message = pb::GetNetworkResponse::decode(bytes.as_slice()).map_err(|_| {
            let kind = locus_wire::convert::FieldErrorKind::Missing;
            damaged(locus_wire::convert::FieldError::new("network", kind))
        })?;
        Ok(Some(Self::try_new(NetworkInfo::try_from(&message).map_err(damaged)?)?))
    }

    fn save(&self, file: &Path) -> Result<(), FileError> {
        if let Some(folder) = file.parent() {
            files::create_private_folder(folder)?;
        }
        files::replace_file(file, &pb::GetNetworkResponse::from(&self.info).encode_to_vec())
    }

    fn check_same(&self, known: &Self, file: &Path) -> Result<(), Box<NetworkChanged>> {
        let (now, then) = (&self.info, &known.info);
        let kind = |info: &NetworkInfo| (info.contracts, info.token_name.clone(), info.settles_on_cohorts);
        let what = if kind(now) != kind(then) {
            "set of contracts"
        } else if now.parameters != then.parameters {
            "set of privacy rules"
        } else if now.committee != then.committee || now.committee_epoch != then.committee_epoch {
            "keyholder committee"
        } else {
            return Ok(());
        };
        Err(Box::new(NetworkChanged { what, file: file.to_path_buf() }))
    }

    /// Its name.
    pub fn id(&self) -> NetworkId {
        self.info.contracts.network
    }

    /// Its contracts.
    pub fn contracts(&self) -> &Contracts {
        &self.info.contracts
    }

    /// Its privacy rules.
    pub fn parameters(&self) -> &NetworkParameters {
        &self.info.parameters
    }

    /// Number of the keyholder committee, which attestations are bound to.
    pub fn committee_epoch(&self) -> u64 {
        self.info.committee_epoch
    }

    /// EIP-712 name of the payment token.
    pub fn token_name(&self) -> &str {
        &self.info.token_name
    }

    /// Whether orders settle on cohorts that are proven on the chain; then datasets are registered with
    /// commitments to their ciphertexts.
    pub fn settles_on_cohorts(&self) -> bool {
        self.info.settles_on_cohorts
    }

    /// Everything, as the exchange describes it.
    pub fn info(&self) -> &NetworkInfo {
        &self.info
    }

    /// The key that seeds for a keyholder are sealed to.
    pub fn sealing_key(&self, keyholder: KeyholderIndex) -> &SealingPublicKey {
        &self.sealing_keys[keyholder.position()]
    }

    /// Whether `signature` over `digest` is the keyholder's.
    pub fn is_signed_by(&self, keyholder: KeyholderIndex, digest: &Digest32, signature: &[u8]) -> bool {
        let signer = self.info.committee[keyholder.position()].signer;
        recover(digest, signature).is_ok_and(|recovered| recovered == signer)
    }
}

#[cfg(test)]
pub(crate) mod tests;
