//! Sealing a message so that only one recipient can read it, now and with a quantum computer later.
//!
//! HPKE ([[RFC 9180]]) in base mode with KEM X-Wing ([[X-Wing]]: X25519 and ML-KEM-768), KDF
//! HKDF-SHA256 and AEAD ChaCha20Poly1305. Base mode does not authenticate the sender: every sealed
//! message of the protocol travels inside a signed one.
//!
//! [RFC 9180]: https://www.rfc-editor.org/rfc/rfc9180
//! [X-Wing]: https://datatracker.ietf.org/doc/draft-connolly-cfrg-xwing-kem/

use crate::{domain::DST_SEALING_KEY, error::SharingError};
use hpke::{
    Deserializable, Kem as _, OpModeR, OpModeS, Serializable, aead::ChaCha20Poly1305, kdf::HkdfSha256, kem::XWing,
    single_shot_open, single_shot_seal_with_rng,
};
use locus_commitment::{Digest32, sha3_256};
use rand_core::CryptoRng;
use std::fmt;
use zeroize::Zeroizing;

type KemPublicKey = <XWing as hpke::Kem>::PublicKey;
type KemPrivateKey = <XWing as hpke::Kem>::PrivateKey;
type KemEncapsulation = <XWing as hpke::Kem>::EncappedKey;

/// Bytes of an encoded [`SealingPublicKey`]: 1184 of ML-KEM-768 and 32 of X25519.
pub const SEALING_PUBLIC_KEY_BYTES: usize = 1216;
/// Bytes of a key encapsulation: 1088 of ML-KEM-768 and 32 of X25519.
pub const ENCAPSULATION_BYTES: usize = 1120;
/// Bytes of the authentication tag.
pub const TAG_BYTES: usize = 16;
/// Most bytes of one sealed message. The largest is a seed package of 1,024 datasets (128 KiB) or
/// a partial decryption of one panel block (32 KiB).
pub const SEALED_BYTES_MAX: usize = 1 << 20;
/// Most bytes of the application string; HPKE hashes it with a 16-bit length.
pub const INFO_BYTES_MAX: usize = 1024;

/// What a sealed message is bound to. Opening needs the same binding.
#[derive(Debug, Clone, Copy)]
pub struct SealBinding<'a> {
    /// The kind of message: a domain separation string.
    pub info: &'a [u8],
    /// The ids that the message belongs to, in a canonical encoding.
    pub associated_data: &'a [u8],
}

/// A recipient's public key.
#[derive(Clone, PartialEq, Eq)]
pub struct SealingPublicKey(KemPublicKey);

impl SealingPublicKey {
    /// Parses 1216 bytes; refuses another length and ML-KEM coefficients that are not reduced.
    pub fn parse(bytes: &[u8]) -> Result<Self, SharingError> {
        KemPublicKey::from_bytes(bytes).map(Self).map_err(|_| SharingError::BadPublicKey)
    }

    /// The encoding that [`parse`](Self::parse) reads.
    pub fn to_bytes(&self) -> [u8; SEALING_PUBLIC_KEY_BYTES] {
        self.0.to_bytes().into()
    }

    /// SHA3-256 of the encoded key, by which the chain and orders name it.
    pub fn digest(&self) -> Digest32 {
        sha3_256(DST_SEALING_KEY, &[&self.to_bytes()])
    }
}

impl fmt::Debug for SealingPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingPublicKey({})", self.digest())
    }
}

/// A recipient's private key; erased on drop.
#[derive(Clone)]
pub struct SealingPrivateKey(KemPrivateKey);

impl SealingPrivateKey {
    /// Derives the key pair of a 32-byte seed, as kept in key files (HPKE `DeriveKeyPair`).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(XWing::derive_keypair(seed).0)
    }

    /// A fresh key pair.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut seed[..]);
        Self::from_seed(&seed)
    }

    /// The public half.
    pub fn public_key(&self) -> SealingPublicKey {
        SealingPublicKey(XWing::sk_to_pk(&self.0))
    }
}

/// A sealed message: the key encapsulation (1120 bytes), then ciphertext and tag.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedBox(Vec<u8>);

impl SealedBox {
    /// Takes bytes from outside as a sealed message; only the length is checked before opening.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, SharingError> {
        let (min, max, got) = (ENCAPSULATION_BYTES + TAG_BYTES, SEALED_BYTES_MAX, bytes.len());
        if (min..=max).contains(&got) { Ok(Self(bytes)) } else { Err(SharingError::SealedLength { min, max, got }) }
    }

    /// The encoding that [`parse`](Self::parse) reads.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The encoding, without a copy.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl fmt::Debug for SealedBox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedBox({} bytes)", self.0.len())
    }
}

/// Seals `plaintext` for `recipient`; every call draws 64 fresh bytes from `rng`.
pub fn seal(
    recipient: &SealingPublicKey,
    binding: SealBinding<'_>,
    plaintext: &[u8],
    rng: &mut impl CryptoRng,
) -> Result<SealedBox, SharingError> {
    check_info(binding.info)?;
    let (encapsulation, ciphertext) = single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, XWing>(
        &OpModeS::Base,
        &recipient.0,
        binding.info,
        plaintext,
        binding.associated_data,
        rng,
    )
    .map_err(|_| SharingError::Seal)?;
    let mut bytes = encapsulation.to_bytes().to_vec();
    bytes.extend_from_slice(&ciphertext);
    SealedBox::parse(bytes)
}

/// Opens a message sealed for `private_key` under the same `binding`. The plaintext is erased on
/// drop. Fails with [`SharingError::Open`] whatever was wrong.
pub fn open(
    private_key: &SealingPrivateKey,
    binding: SealBinding<'_>,
    sealed: &SealedBox,
) -> Result<Zeroizing<Vec<u8>>, SharingError> {
    check_info(binding.info)?;
    let (encapsulation_bytes, ciphertext) = sealed.0.split_at_checked(ENCAPSULATION_BYTES).ok_or(SharingError::Open)?;
    let encapsulation = KemEncapsulation::from_bytes(encapsulation_bytes).map_err(|_| SharingError::Open)?;
    single_shot_open::<ChaCha20Poly1305, HkdfSha256, XWing>(
        &OpModeR::Base,
        &private_key.0,
        &encapsulation,
        binding.info,
        ciphertext,
        binding.associated_data,
    )
    .map(Zeroizing::new)
    .map_err(|_| SharingError::Open)
}

fn check_info(info: &[u8]) -> Result<(), SharingError> {
    let (max, got) = (INFO_BYTES_MAX, info.len());
    if got <= max { Ok(()) } else { Err(SharingError::InfoLength { max, got }) }
}
