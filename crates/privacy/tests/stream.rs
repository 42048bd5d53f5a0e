//! A deterministic byte source for tests: AES-256 in counter mode from a zero counter block.

use aes::{
    Aes256,
    cipher::{KeyIvInit, StreamCipher},
};
use ctr::Ctr128BE;
use locus_privacy::{UniformBytes, UniformWords};

pub(crate) struct AesStream(Ctr128BE<Aes256>);

impl AesStream {
    pub(crate) fn new(key: [u8; 32]) -> Self {
        Self(Ctr128BE::new(&key.into(), &[0; 16].into()))
    }
}

impl UniformBytes for AesStream {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
        self.0.apply_keystream(bytes);
    }
}

/// The words of the stream whose key is `seed`, little endian, then zeros.
pub(crate) fn seeded_words(seed: u64) -> UniformWords<AesStream> {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    UniformWords::new(AesStream::new(key))
}

/// A uniform real in [0, 1) with 32 bits, for simulated attackers and genomes.
pub(crate) fn uniform_real(words: &mut UniformWords<AesStream>) -> f64 {
    f64::from(words.next_word()) / 4_294_967_296.0
}
