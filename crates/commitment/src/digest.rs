//! SHA3-256 with one unambiguous framing for everything that is hashed off-chain.

use sha3::{Digest as _, Sha3_256};
use std::fmt;

/// A 32-byte hash value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest32(pub [u8; 32]);

impl fmt::Display for Digest32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Hashes `parts` under the domain `dst`: SHA3-256 over `dst` and every part, each preceded by its
/// length as a little-endian `u64`. The framing is injective, so no two part lists collide.
pub fn sha3_256(dst: &str, parts: &[&[u8]]) -> Digest32 {
    let mut writer = Sha3Writer::new(dst);
    for part in parts {
        writer.part(part);
    }
    writer.finish()
}

/// The framing of [`sha3_256`] for parts that are produced one after the other.
#[derive(Clone)]
pub struct Sha3Writer(Sha3_256);

impl fmt::Debug for Sha3Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sha3Writer(..)")
    }
}

impl Sha3Writer {
    /// Starts a hash in the domain `dst`.
    pub fn new(dst: &str) -> Self {
        let mut writer = Self(Sha3_256::new());
        writer.part(dst.as_bytes());
        writer
    }

    /// Adds one whole part.
    pub fn part(&mut self, part: &[u8]) -> &mut Self {
        self.begin(part.len() as u64).extend(part)
    }

    /// Starts a part of `len` bytes whose bytes follow through [`extend`](Self::extend).
    pub fn begin(&mut self, len: u64) -> &mut Self {
        self.0.update(len.to_le_bytes());
        self
    }

    /// Adds bytes of the part that was begun last.
    pub fn extend(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update(bytes);
        self
    }

    /// The digest of everything written.
    pub fn finish(self) -> Digest32 {
        Digest32(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moving_a_byte_between_parts_changes_the_digest() {
        let left = sha3_256("d", &[b"ab", b"c"]);
        assert_ne!(left, sha3_256("d", &[b"a", b"bc"]));
        assert_ne!(left, sha3_256("d", &[b"abc"]));
        assert_ne!(left, sha3_256("da", &[b"b", b"c"]));
    }

    #[test]
    fn streamed_parts_hash_like_whole_parts() {
        let mut writer = Sha3Writer::new("d");
        writer.begin(3).extend(b"a").extend(b"bc");
        assert_eq!(writer.finish(), sha3_256("d", &[b"abc"]));
    }
}
