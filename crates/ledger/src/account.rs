//! Accounts: secp256k1 keys that sign transactions and EIP-712 messages.

use alloy_primitives::{B256, Signature};
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use locus_commitment::{Address, Digest32};
use std::fmt;
use zeroize::Zeroizing;

/// Bytes of a signature: r, s and v (27 or 28).
pub const SIGNATURE_BYTES: usize = 65;

/// Why a key or a signature is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// The 32 bytes are zero or not below the group order.
    #[error("the bytes are not a secp256k1 private key: generate a new key")]
    Key,
    /// Signing failed.
    #[error("the key could not sign")]
    Sign,
    /// The signature has a wrong length, a high s or no signer.
    #[error("the bytes are not an ECDSA signature of 65 bytes with a low s")]
    Signature,
}

/// An account's private key.
#[derive(Clone)]
pub struct AccountKey(PrivateKeySigner);

/// The account; the key is never shown.
impl fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccountKey of {}", self.address())
    }
}

impl AccountKey {
    /// The key with these bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, AccountError> {
        PrivateKeySigner::from_bytes(&B256::from(*bytes)).map(Self).map_err(|_| AccountError::Key)
    }

    /// A fresh key from the caller's randomness.
    pub fn generate(rng: &mut impl rand_core::CryptoRng) -> Self {
        loop {
            let mut bytes = Zeroizing::new([0u8; 32]);
            rng.fill_bytes(&mut *bytes);
            // All but a 2^-128 part of the 32-byte strings are keys.
            if let Ok(key) = Self::from_bytes(&bytes) {
                return key;
            }
        }
    }

    /// The key's bytes, for a key file.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes().0)
    }

    /// The account.
    pub fn address(&self) -> Address {
        Address(self.0.address().into_array())
    }

    /// Signs a 32-byte digest.
    pub fn sign_digest(&self, digest: &Digest32) -> Result<AccountSignature, AccountError> {
        let signature = self.0.sign_hash_sync(&B256::from(digest.0)).map_err(|_| AccountError::Sign)?;
        Ok(AccountSignature(signature.as_bytes()))
    }

    pub(crate) fn signer(&self) -> &PrivateKeySigner {
        &self.0
    }
}

/// An ECDSA signature: r, s, v.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountSignature([u8; SIGNATURE_BYTES]);

impl AccountSignature {
    /// r, s, v.
    pub fn to_bytes(self) -> [u8; SIGNATURE_BYTES] {
        self.0
    }
}

/// The account whose key made `signature` over `digest`. High-s signatures are refused, because
/// every signature has exactly one low form.
pub fn recover(digest: &Digest32, signature: &[u8]) -> Result<Address, AccountError> {
    let signature = Signature::from_raw(signature).map_err(|_| AccountError::Signature)?;
    if signature.normalize_s().is_some() {
        return Err(AccountError::Signature);
    }
    let signer = signature.recover_address_from_prehash(&B256::from(digest.0));
    Ok(Address(signer.map_err(|_| AccountError::Signature)?.into_array()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_names_its_signer_and_no_one_else() {
        let key = AccountKey::from_bytes(&[7; 32]).expect("a valid key");
        let digest = Digest32([1; 32]);
        let signature = key.sign_digest(&digest).expect("keys sign").to_bytes();
        assert_eq!(recover(&digest, &signature), Ok(key.address()));
        assert_ne!(recover(&Digest32([2; 32]), &signature), Ok(key.address()));
        assert_eq!(recover(&digest, &signature[..64]), Err(AccountError::Signature));
    }

    #[test]
    fn both_libraries_recover_the_same_signers_and_refuse_the_same_bytes() {
        let mut signers = 0;
        for seed in 1..=200u8 {
            let key = AccountKey::from_bytes(&[seed; 32]).expect("a valid key");
            let mut digest = Digest32([seed.wrapping_mul(7); 32]);
            let mut signature = key.sign_digest(&digest).expect("keys sign").to_bytes();
            match seed % 4 {
                0 => {}
                1 => digest.0[31] ^= seed,
                2 => signature[usize::from(seed) % 32] ^= 1,
                _ => signature[63] ^= 1,
            }
            let parsed = Signature::from_raw(&signature).expect("well formed");
            // The same in k256, which shares no code with libsecp256k1.
            let other = parsed.recover_from_prehash(&B256::from(digest.0)).ok();
            let other = other.map(|key| Address(alloy_primitives::Address::from_public_key(&key).into_array()));
            assert_eq!(recover(&digest, &signature).ok(), other, "{seed}");
            signers += usize::from(other == Some(key.address()));
        }
        assert_eq!(signers, 50);
        let mut none = [0; SIGNATURE_BYTES];
        none[64] = 27;
        assert_eq!(recover(&Digest32([1; 32]), &none), Err(AccountError::Signature));
    }

    #[test]
    fn the_high_form_of_a_signature_is_refused() {
        let key = AccountKey::from_bytes(&[7; 32]).expect("a valid key");
        let digest = Digest32([1; 32]);
        let low = Signature::from_raw(&key.sign_digest(&digest).expect("keys sign").to_bytes()).expect("well formed");
        let order = alloy_primitives::uint!(0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141_U256);
        let high = Signature::new(low.r(), order - low.s(), !low.v());
        // Control: the high form recovers the same signer, so only the rule tells them apart.
        let recovered = high.recover_address_from_prehash(&B256::from(digest.0)).expect("recovers");
        assert_eq!(Address(recovered.into_array()), key.address());
        assert_eq!(recover(&digest, &high.as_bytes()), Err(AccountError::Signature));
    }

    #[test]
    fn a_key_does_not_show_itself() {
        let key = AccountKey::from_bytes(&[0x5a; 32]).expect("a valid key");
        assert!(!format!("{key:?}").contains("5a5a"));
    }
}
