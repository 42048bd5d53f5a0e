//! Random values that keyholders have in common without a message: pseudorandom secret sharing.

use crate::{
    domain::{DST_PRSS_KEY, DST_PRSS_STREAM},
    error::SharingError,
    index::{KeyholderIndex, ShareIndex},
    noise_key::NoiseKey,
    replicated::SharedVector,
    ring::RingWord,
};
use aes::Aes256Enc;
use ctr::{
    Ctr128BE,
    cipher::{KeyIvInit, StreamCipher},
};
use locus_commitment::{Digest32, sha3_256};
use std::collections::BTreeSet;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// One attempt at answering one question.
///
/// The attempt number must be durable before the first message of the attempt leaves: values of one
/// gate used for two runs of it reveal the difference of what they mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PrssSession {
    /// Name of the question.
    pub tau: Digest32,
    /// Number of the attempt.
    pub attempt: u64,
}

/// Public name of one pseudorandom stream: no two uses of a key may have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PrssStreamName(pub Digest32);

/// What a stream is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum StreamKind {
    Zero = 0,
    Random = 1,
    Coin = 2,
}

/// A keyholder's source of common random values in one attempt. Every gate has its values once.
#[derive(ZeroizeOnDrop)]
pub struct Prss {
    #[zeroize(skip)]
    keyholder: KeyholderIndex,
    #[zeroize(skip)]
    session: PrssSession,
    /// Keys of the released and of the other share.
    keys: [[u8; 32]; 2],
    #[zeroize(skip)]
    used: BTreeSet<(u32, StreamKind)>,
}

impl Prss {
    /// The source of `keyholder` in `session`, from the noise keys of its released share and of its
    /// other share.
    pub fn new(keyholder: KeyholderIndex, released: &NoiseKey, other: &NoiseKey, session: PrssSession) -> Self {
        let key = |noise_key: &NoiseKey| sha3_256(DST_PRSS_KEY, &[noise_key.as_bytes()]).0;
        Self { keyholder, session, keys: [key(released), key(other)], used: BTreeSet::new() }
    }

    /// The keyholder.
    pub fn keyholder(&self) -> KeyholderIndex {
        self.keyholder
    }

    /// The attempt.
    pub fn session(&self) -> PrssSession {
        self.session
    }

    /// This keyholder's part of `length` zeros: uniform values that add up to zero over the three
    /// keyholders.
    ///
    /// # Errors
    /// [`SharingError::GateReused`] when `gate` had its zeros in this attempt.
    pub fn zeros<W: RingWord>(&mut self, gate: u32, length: usize) -> Result<Zeroizing<Vec<W>>, SharingError> {
        let [mut released, other] = self.streams::<W>(gate, StreamKind::Zero, length)?;
        for (value, take) in released.iter_mut().zip(other.iter()) {
            *value = value.minus(*take);
        }
        Ok(released)
    }

    /// This keyholder's shares of `length` random values that no keyholder knows.
    ///
    /// # Errors
    /// [`SharingError::GateReused`] when `gate` had its random values in this attempt.
    pub fn random<W: RingWord>(&mut self, gate: u32, length: usize) -> Result<SharedVector<W>, SharingError> {
        let [mut released, mut other] = self.streams::<W>(gate, StreamKind::Random, length)?;
        SharedVector::new(self.keyholder, std::mem::take(&mut *released), std::mem::take(&mut *other))
    }

    /// The values of `gate` for the two shares held.
    pub(crate) fn streams<W: RingWord>(
        &mut self,
        gate: u32,
        kind: StreamKind,
        length: usize,
    ) -> Result<[Zeroizing<Vec<W>>; 2], SharingError> {
        if !self.used.insert((gate, kind)) {
            return Err(SharingError::GateReused { gate });
        }
        let shares = [self.keyholder.released_share(), self.keyholder.other_share()];
        Ok([0, 1].map(|place| {
            let name = stream_name(self.session, shares[place], gate, kind);
            stream(&self.keys[place], name, length)
        }))
    }

    /// Names of all streams used so far, two for each gate.
    pub fn stream_names(&self) -> Vec<PrssStreamName> {
        let shares = [self.keyholder.released_share(), self.keyholder.other_share()];
        let names =
            |(gate, kind): &(u32, StreamKind)| shares.map(|share| stream_name(self.session, share, *gate, *kind));
        self.used.iter().flat_map(names).collect()
    }
}

/// H(tau, attempt, gate), and which share and kind.
fn stream_name(session: PrssSession, share: ShareIndex, gate: u32, kind: StreamKind) -> PrssStreamName {
    let parts: [&[u8]; 5] =
        [&session.tau.0, &session.attempt.to_le_bytes(), &gate.to_le_bytes(), &[share.get()], &[kind as u8]];
    PrssStreamName(sha3_256(DST_PRSS_STREAM, &parts))
}

/// AES-256 in counter mode under SHA3-256(domain, key, name).
fn stream<W: RingWord>(key: &[u8; 32], name: PrssStreamName, length: usize) -> Zeroizing<Vec<W>> {
    let stream_key = Zeroizing::new(sha3_256(DST_PRSS_STREAM, &[key, &name.0.0]).0);
    words_of_key(&stream_key, length)
}

/// Words of the AES-256-CTR keystream of `key` from counter zero.
pub(crate) fn words_of_key<W: RingWord>(key: &[u8; 32], length: usize) -> Zeroizing<Vec<W>> {
    let mut bytes = vec![0; length * W::BYTES];
    Ctr128BE::<Aes256Enc>::new(key.into(), &[0; 16].into()).apply_keystream(&mut bytes);
    let words = bytes.chunks_exact(W::BYTES).map(W::read).collect();
    bytes.zeroize();
    Zeroizing::new(words)
}
