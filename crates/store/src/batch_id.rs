//! Names of batches, and hexadecimal digests in stored JSON.

use locus_commitment::Digest32;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::fmt;

/// Name of one uploaded batch: 32 bytes that the writer never uses twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub [u8; 32]);

impl BatchId {
    /// Parses 64 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        parse_hex32(text).map(Self)
    }
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Digest32(self.0))
    }
}

impl fmt::Debug for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BatchId({self})")
    }
}

/// 32 bytes that are written as 64 lower-case hexadecimal digits in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hex32(pub(crate) [u8; 32]);

impl From<Digest32> for Hex32 {
    fn from(digest: Digest32) -> Self {
        Self(digest.0)
    }
}

impl From<Hex32> for Digest32 {
    fn from(hex: Hex32) -> Self {
        Self(hex.0)
    }
}

impl Serialize for Hex32 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Digest32(self.0))
    }
}

impl<'de> Deserialize<'de> for Hex32 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_hex32(&text).map(Self).ok_or_else(|| D::Error::custom("not 64 lower-case hexadecimal digits"))
    }
}

/// 32 bytes from exactly 64 lower-case hexadecimal digits.
pub(crate) fn parse_hex32(text: &str) -> Option<[u8; 32]> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_spelling_of_an_id_is_accepted() {
        let id = BatchId([0xab; 32]);
        assert_eq!(BatchId::parse(&id.to_string()), Some(id));
        assert_eq!(BatchId::parse(&id.to_string().to_uppercase()), None);
        assert_eq!(BatchId::parse(&id.to_string()[1..]), None);
        assert_eq!(BatchId::parse(&format!("0x{}", &id.to_string()[2..])), None);
    }
}
