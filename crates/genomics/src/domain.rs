//! Domain separation strings of this crate and the framing under which it hashes.

use sha3::{Digest as _, Sha3_256};

pub(crate) const DST_PANEL: &str = "locus/genomics/panel/v1";
pub(crate) const DST_SELECTION: &str = "locus/genomics/variant-selection/v1";
pub(crate) const DST_CONDITION: &str = "locus/genomics/condition/v1";

/// SHA3-256 over `dst` and every part, each preceded by its length as a little-endian `u64`.
pub(crate) fn sha3_256(dst: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha3_256::new();
    for part in std::iter::once(&dst.as_bytes()).chain(parts) {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}
