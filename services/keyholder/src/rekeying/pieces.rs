//! What one keyholder tells another about its changed shares: sealed under a key that only these two can derive, and that nobody
//! can when the re-keying is over.

use crate::error::KeyholderError;
use bytes::Bytes;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _, Nonce, aead::Aead as _};
use locus_commitment::Digest32;
use locus_sharing::{KeyholderIndex, RekeyingSeed};
use locus_wire::{convert::field, pb::keyholder::RekeyingPiece};
use zeroize::Zeroizing;

/// One direction between two keyholders that hold a share in common.
#[derive(Clone)]
pub(super) struct Channel {
    /// Of the common share.
    pub(super) seed: RekeyingSeed,
    pub(super) session: Digest32,
    pub(super) from: KeyholderIndex,
    pub(super) to: KeyholderIndex,
}

impl Channel {
    fn cipher(&self, salt: &[u8; 32]) -> ChaCha20Poly1305 {
        let key = self.seed.message_key(&self.session, self.from, self.to, salt);
        ChaCha20Poly1305::new((&*key).into())
    }
}

/// Seals the pieces of one stream.
pub(super) struct Sealer {
    cipher: ChaCha20Poly1305,
    salt: [u8; 32],
    next: u32,
}

impl Sealer {
    pub(super) fn new(channel: &Channel) -> Result<Self, KeyholderError> {
        let mut salt = [0; 32];
        getrandom::fill(&mut salt).map_err(crate::store::StoreError::from)?;
        Ok(Self { cipher: channel.cipher(&salt), salt, next: 0 })
    }

    pub(super) fn seal(&mut self, plaintext: &[u8], is_last: bool) -> Result<RekeyingPiece, KeyholderError> {
        let number = self.next;
        let sealed = self.cipher.encrypt(&nonce(number, is_last), plaintext);
        let sealed = sealed.map_err(|_| KeyholderError::RekeyingPiece(number))?;
        self.next += 1;
        let salt = if number == 0 { Bytes::copy_from_slice(&self.salt) } else { Bytes::new() };
        Ok(RekeyingPiece { number, is_last, sealed: sealed.into(), salt })
    }
}

/// Opens the pieces of one stream, in their order and up to the last.
pub(super) struct Opener {
    channel: Channel,
    cipher: Option<ChaCha20Poly1305>,
    next: u32,
    is_over: bool,
}

impl Opener {
    pub(super) fn new(channel: Channel) -> Self {
        Self { channel, cipher: None, next: 0, is_over: false }
    }

    pub(super) fn open(&mut self, piece: &RekeyingPiece) -> Result<Zeroizing<Vec<u8>>, KeyholderError> {
        let refused = KeyholderError::RekeyingPiece(self.next);
        if self.is_over || piece.number != self.next {
            return Err(refused);
        }
        let cipher = match &self.cipher {
            Some(cipher) => cipher,
            None => self.cipher.insert(self.channel.cipher(&field::array("piece.salt", &piece.salt)?)),
        };
        let opened = cipher.decrypt(&nonce(piece.number, piece.is_last), piece.sealed.as_ref());
        let opened = opened.map(Zeroizing::new).map_err(|_| refused)?;
        (self.next, self.is_over) = (self.next + 1, piece.is_last);
        Ok(opened)
    }

    /// Whether the last piece was opened.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }
}

/// Number of the piece (4), and whether it is the last (1).
fn nonce(number: u32, is_last: bool) -> Nonce {
    let mut nonce = [0; 12];
    nonce[..4].copy_from_slice(&number.to_le_bytes());
    nonce[4] = u8::from(is_last);
    Nonce::from(nonce)
}
