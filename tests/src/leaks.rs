//! Looking for secrets in everything that was written.

use aho_corasick::AhoCorasick;
use std::{collections::BTreeSet, fmt::Write as _};

/// Shortest encoding worth looking for: shorter ones occur by chance.
const NEEDLE_BYTES_MIN: usize = 12;

/// Something that must not be found.
#[derive(Debug, Clone)]
pub struct Needle {
    /// What it is.
    pub name: String,
    /// Its encodings.
    encodings: Vec<Vec<u8>>,
}

impl Needle {
    /// The secret as it is.
    pub fn secret(&self) -> &[u8] {
        self.encodings.first().map_or(&[], Vec::as_slice)
    }

    /// Bytes, in every encoding in which programs tend to write bytes.
    pub fn bytes(name: impl Into<String>, secret: &[u8]) -> Self {
        let hex = hex(secret);
        let mut encodings = vec![secret.to_vec(), hex.to_uppercase().into_bytes(), hex.into_bytes()];
        encodings.push(secret.iter().rev().copied().collect());
        for separator in [", ", ",", " "] {
            let decimal: Vec<String> = secret.iter().map(u8::to_string).collect();
            encodings.push(decimal.join(separator).into_bytes());
        }
        // Rust's own way to show bytes as text.
        encodings.push(secret.escape_ascii().to_string().into_bytes());
        for alphabet in [b"+/", b"-_"] {
            // Three alignments: the secret may stand in the middle of something longer.
            for skipped in 0..3 {
                encodings.push(base64(&secret[skipped..], *alphabet));
            }
        }
        Self { name: name.into(), encodings }
    }

    /// Counts, as numbers of every width in both orders of bytes, and as text.
    pub fn counts(name: impl Into<String>, counts: &[i64]) -> Self {
        let name = name.into();
        let mut encodings = Vec::new();
        let widths: [fn(i64) -> Vec<u8>; 6] = [
            |count| count.to_le_bytes()[..2].to_vec(),
            |count| count.to_le_bytes()[..4].to_vec(),
            |count| count.to_le_bytes().to_vec(),
            |count| count.to_be_bytes()[6..].to_vec(),
            |count| count.to_be_bytes()[4..].to_vec(),
            |count| count.to_be_bytes().to_vec(),
        ];
        for width in widths {
            let bytes: Vec<u8> = counts.iter().flat_map(|count| width(*count)).collect();
            encodings.push(hex(&bytes).into_bytes());
            encodings.extend((0..3).map(|skipped| base64(&bytes[skipped..], *b"+/")));
            encodings.push(bytes);
        }
        for separator in [", ", ",", " ", "\t", "\n"] {
            let text: Vec<String> = counts.iter().map(i64::to_string).collect();
            encodings.push(text.join(separator).into_bytes());
        }
        Self { name, encodings }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn base64(bytes: &[u8], last_two: [u8; 2]) -> Vec<u8> {
    let digit = |value: u32| match u8::try_from(value & 63).unwrap_or(0) {
        value @ 0..26 => b'A' + value,
        value @ 26..52 => b'a' + value - 26,
        value @ 52..62 => b'0' + value - 52,
        62 => last_two[0],
        _ => last_two[1],
    };
    // Whole groups only: what a rest becomes depends on what follows it.
    let groups = bytes.as_chunks::<3>().0.iter();
    groups
        .flat_map(|&[first, second, third]| {
            let word = u32::from_be_bytes([0, first, second, third]);
            [18, 12, 6, 0].map(|shift| digit(word >> shift))
        })
        .collect()
}

/// A secret that was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Where.
    pub place: String,
    /// Which needle.
    pub needle: String,
}

/// Looks for many needles at once.
pub struct Scanner {
    automaton: AhoCorasick,
    names: Vec<String>,
}

impl Scanner {
    /// A scanner for all encodings of these needles.
    pub fn new(needles: &[Needle]) -> Result<Self, aho_corasick::BuildError> {
        let mut patterns = Vec::new();
        let mut names = Vec::new();
        for needle in needles {
            for encoding in needle.encodings.iter().filter(|encoding| encoding.len() >= NEEDLE_BYTES_MIN) {
                patterns.push(encoding.clone());
                names.push(needle.name.clone());
            }
        }
        Ok(Self { automaton: AhoCorasick::new(patterns)?, names })
    }

    /// Everything found in some bytes.
    pub fn scan(&self, place: &str, bytes: &[u8]) -> BTreeSet<Finding> {
        let found = self.automaton.find_iter(bytes);
        found
            .map(|found| Finding { place: place.to_owned(), needle: self.names[found.pattern().as_usize()].clone() })
            .collect()
    }
}
