//! What a keyholder tells the world about itself before a market is deployed.

use crate::start::KeyholderKeys;
use locus_commitment::{Address, Digest32, sha3_256};
use locus_ledger::{CommitteeMember, parse_address, recover};
use locus_sharing::{KeyholderIndex, seal::SealingPublicKey};
use serde::{Deserialize, Serialize};

const DST_IDENTITY: &str = "locus/keyholder/identity/v1";

/// Why a public identity is refused.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The text is no identity.
    #[error("not a keyholder's public file: {0}; ask the keyholder for the file that `locus-keyholder init` wrote")]
    Form(String),
    /// The keyholder did not sign it.
    #[error("the signature is not the signer's: the file was changed, ask the keyholder for it again")]
    Signature,
    /// The keyholder cannot sign.
    #[error("the committee key cannot sign")]
    Sign,
}

/// The public part of a keyholder's keys, as `locus-keyholder init` writes it and `locus deploy` reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyholderIdentity {
    /// 1, 2 or 3.
    pub index: KeyholderIndex,
    /// The account that signs as a committee member.
    pub signer: Address,
    /// The key that seeds are sealed to, 1,216 bytes.
    pub hpke_public_key: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IdentityFile {
    keyholder: u8,
    signer: String,
    hpke_public_key: String,
    /// Of the signer over everything above: whoever wrote the file has the key.
    signature: String,
}

impl KeyholderIdentity {
    /// Of these keys.
    pub fn of(index: KeyholderIndex, keys: &KeyholderKeys) -> Self {
        Self { index, signer: keys.signer.address(), hpke_public_key: keys.sealing.public_key().to_bytes().to_vec() }
    }

    /// As a file, signed with the committee key.
    ///
    /// # Errors
    /// [`IdentityError::Sign`].
    pub fn to_signed_json(&self, keys: &KeyholderKeys) -> Result<String, IdentityError> {
        let signature = keys.signer.sign_digest(&self.digest()).map_err(|_| IdentityError::Sign)?;
        let file = IdentityFile {
            keyholder: self.index.get(),
            signer: self.signer.to_string(),
            hpke_public_key: hex::encode(&self.hpke_public_key),
            signature: hex::encode(signature.to_bytes()),
        };
        serde_json::to_string_pretty(&file).map_err(|error| IdentityError::Form(error.to_string()))
    }

    /// Reads a file, and checks key and signature.
    ///
    /// # Errors
    /// [`IdentityError::Form`] or [`IdentityError::Signature`].
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        let form = |reason: &dyn std::fmt::Display| IdentityError::Form(reason.to_string());
        let file: IdentityFile = serde_json::from_str(text).map_err(|error| form(&error))?;
        let identity = Self {
            index: KeyholderIndex::try_new(file.keyholder).map_err(|error| form(&error))?,
            signer: parse_address(&file.signer).map_err(|error| form(&error))?,
            hpke_public_key: hex::decode(&file.hpke_public_key).map_err(|error| form(&error))?,
        };
        SealingPublicKey::parse(&identity.hpke_public_key).map_err(|error| form(&error))?;
        let signature = hex::decode(&file.signature).map_err(|error| form(&error))?;
        match recover(&identity.digest(), &signature) {
            Ok(signer) if signer == identity.signer => Ok(identity),
            _ => Err(IdentityError::Signature),
        }
    }

    /// As the contracts know it.
    pub fn committee_member(&self) -> CommitteeMember {
        CommitteeMember { signer: self.signer, hpke_public_key: self.hpke_public_key.clone() }
    }

    fn digest(&self) -> Digest32 {
        sha3_256(DST_IDENTITY, &[&[self.index.get()], &self.signer.0, &self.hpke_public_key])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_survives_its_file_and_no_part_of_it_can_be_changed() {
        let dir = tempfile::tempdir().expect("a folder");
        let keys = KeyholderKeys::load_or_create(dir.path()).expect("keys");
        let other = KeyholderKeys::load_or_create(&dir.path().join("other")).expect("keys");
        let index = KeyholderIndex::try_new(2).expect("an index");
        let identity = KeyholderIdentity::of(index, &keys);
        let text = identity.to_signed_json(&keys).expect("signed");
        assert_eq!(KeyholderIdentity::parse(&text).expect("valid"), identity);

        let other_key = hex::encode(other.sealing.public_key().to_bytes());
        for (from, to) in [
            ("\"keyholder\": 2", "\"keyholder\": 3"),
            (identity.signer.to_string().as_str(), other.signer.address().to_string().as_str()),
            (hex::encode(&identity.hpke_public_key).as_str(), other_key.as_str()),
        ] {
            let changed = text.replace(from, to);
            assert_ne!(changed, text);
            assert!(matches!(KeyholderIdentity::parse(&changed), Err(IdentityError::Signature)), "{from}");
        }
        assert!(matches!(KeyholderIdentity::parse("{}"), Err(IdentityError::Form(_))));
    }
}
