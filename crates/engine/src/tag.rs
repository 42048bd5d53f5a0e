//! Linear tags: what lets a sum be checked against its rows without hashing them again.
//!
//! SPEC clause 4. A tag is an element of the field of p = 2^127 - 1; tags add up as bodies do.

use locus_store::{BODY_BYTES, BODY_WORDS, BodyBytes, BodySum};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The Mersenne prime 2^127 - 1.
const P: u128 = (1 << 127) - 1;
/// Bits of one limb of a multiplier.
const LIMB_BITS: u32 = 52;
const LIMB_MASK: u64 = (1 << LIMB_BITS) - 1;
/// Names the expansion of a tag key.
const EXPANSION_CONTEXT: &str = "locus/engine/tag-multipliers/v1";

// A product of a 64-bit word and a limb, added up over a body, fits 128 bits.
const _: () = assert!(BODY_WORDS.is_power_of_two() && 64 + LIMB_BITS + BODY_WORDS.trailing_zeros() <= 128);
// An exact sum of 2^26 bodies and any false one differ by less than p in every word (SPEC 4.3).
const _: () = assert!(locus_store::SLOT_LIMIT <= 1 << 26 && 64 + 26 + 2 < 127);
// A multiplier is below p.
const _: () = assert!(2 * LIMB_BITS < 127);

/// A tag of a body, or of a sum of bodies: an integer below p.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag(u128);

impl Tag {
    /// The tag of the sum of no bodies.
    pub const ZERO: Self = Self(0);

    /// The tag of a sum: tags add up as bodies do.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self::reduced(self.0 + other.0)
    }

    /// As kept by the reader: little endian.
    pub(crate) fn to_bytes(self) -> [u8; 16] {
        self.0.to_le_bytes()
    }

    /// A kept tag; `None` for anything else.
    pub(crate) fn parse(bytes: [u8; 16]) -> Option<Self> {
        let value = u128::from_le_bytes(bytes);
        (value < P).then_some(Self(value))
    }

    fn reduced(value: u128) -> Self {
        let folded = (value & P) + (value >> 127);
        Self(if folded >= P { folded - P } else { folded })
    }

    /// Times 2^bits, which turns the 127 bits of the value round.
    fn shifted(self, bits: u32) -> Self {
        Self::reduced(((self.0 << bits) & P) | (self.0 >> (127 - bits)))
    }
}

/// The secret multipliers of one reader: 4096 integers below 2^104, in two limbs each.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct TagKey {
    low: Vec<u64>,
    high: Vec<u64>,
}

impl TagKey {
    /// Expands 32 secret bytes. Whoever knows them can change bodies unseen.
    pub fn expand(secret: &[u8; 32]) -> Self {
        let mut reader = blake3::Hasher::new_derive_key(EXPANSION_CONTEXT).update(secret).finalize_xof();
        let mut limbs = || {
            let mut bytes = [0; BODY_BYTES];
            reader.fill(&mut bytes);
            let limbs = bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word) & LIMB_MASK).collect();
            bytes.zeroize();
            limbs
        };
        Self { low: limbs(), high: limbs() }
    }

    /// The tag of one body.
    pub fn tag(&self, body: &BodyBytes) -> Tag {
        self.dot(body.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)))
    }

    /// The tag of an exact sum, or `None` when it is no sum of at most 2^26 bodies.
    pub fn tag_of_sum(&self, sum: &BodySum) -> Option<Tag> {
        let exact = sum.exact()?;
        let mask = u128::from(u64::MAX);
        let part = |shift: u32| exact.iter().map(move |word| u64::try_from((word >> shift) & mask).unwrap_or(0));
        Some(self.dot(part(0)).plus(self.dot(part(64)).shifted(64)))
    }

    /// The sum of products of words and multipliers.
    fn dot(&self, words: impl Iterator<Item = u64>) -> Tag {
        let (mut low, mut high) = (0u128, 0u128);
        for ((word, low_limb), high_limb) in words.zip(&self.low).zip(&self.high) {
            let word = u128::from(word);
            low = low.wrapping_add(word.wrapping_mul(u128::from(*low_limb)));
            high = high.wrapping_add(word.wrapping_mul(u128::from(*high_limb)));
        }
        Tag::reduced(low).plus(Tag::reduced(high).shifted(LIMB_BITS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn body(seed: u64) -> Box<BodyBytes> {
        let mut state = seed;
        let mut body = Box::new([0; BODY_BYTES]);
        for word in body.as_chunks_mut::<8>().0 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *word = if state >> 62 == 0 { [0xff; 8] } else { state.to_le_bytes() };
        }
        body
    }

    fn sum(bodies: &[Box<BodyBytes>]) -> Box<BodySum> {
        let mut sum = BodySum::zero();
        bodies.iter().for_each(|body| sum.add_body(body));
        sum
    }

    /// a * b modulo p by doubling, as a definition to compare with.
    fn product(mut a: u128, mut b: u128) -> u128 {
        let mut result = 0;
        while b > 0 {
            if b & 1 == 1 {
                result = (result + a) % P;
            }
            a = a * 2 % P;
            b >>= 1;
        }
        result
    }

    #[test]
    fn a_tag_is_the_inner_product_with_the_multipliers() {
        let key = TagKey::expand(&[1; 32]);
        let body = body(5);
        let words = body.as_chunks::<8>().0.iter().map(|word| u128::from(u64::from_le_bytes(*word)));
        let multipliers = key.low.iter().zip(&key.high).map(|(low, high)| u128::from(*low) + (u128::from(*high) << 52));
        let expected = words.zip(multipliers).fold(0, |tag, (word, by)| (tag + product(word, by)) % P);
        assert_eq!(key.tag(&body), Tag(expected));
        assert_ne!(TagKey::expand(&[2; 32]).tag(&body), Tag(expected), "another key gives other tags");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn tags_add_up_as_bodies_do(seeds in prop::collection::vec(any::<u64>(), 0..9)) {
            let key = TagKey::expand(&[3; 32]);
            let bodies: Vec<_> = seeds.into_iter().map(body).collect();
            let tags = bodies.iter().fold(Tag::ZERO, |tags, body| tags.plus(key.tag(body)));
            prop_assert_eq!(key.tag_of_sum(&sum(&bodies)), Some(tags));
        }

        #[test]
        fn any_one_changed_bit_of_a_sum_changes_its_tag(place in 0..BODY_WORDS, bit in 0u32..64) {
            let key = TagKey::expand(&[3; 32]);
            let bodies = [body(1), body(2), body(3)];
            let honest = key.tag_of_sum(&sum(&bodies));
            let mut changed = bodies.clone();
            changed[1][place * 8 + (bit / 8) as usize] ^= 1 << (bit % 8);
            prop_assert_ne!(key.tag_of_sum(&sum(&changed)), honest);
        }
    }

    /// What is zero modulo 2^64, or modulo the prime, must not be zero for a tag.
    #[test]
    fn changes_that_cancel_modulo_a_number_are_seen() {
        let key = TagKey::expand(&[4; 32]);
        let honest = sum(&[body(1), body(2)]);
        let tag = key.tag_of_sum(&honest).expect("two bodies");
        // 2^63 twice is nothing modulo 2^64 but not in an exact sum.
        let mut twice = honest.clone();
        for _ in 0..2 {
            let mut half = Box::new([0; BODY_BYTES]);
            half[7] = 0x80;
            twice.add_body(&half);
        }
        assert_eq!(twice.words, honest.words, "the positive control: the words are the same");
        assert_ne!(key.tag_of_sum(&twice), Some(tag));
        // The same integer in other halves is the same sum, with the same words.
        let mut shifted = honest.clone();
        shifted.high_halves[0] -= 1;
        assert_eq!(key.tag_of_sum(&shifted), Some(tag));
        // p is nothing in the field, but no sum can be changed by that much.
        let mut beyond = honest;
        beyond.high_halves[0] += 1 << 58;
        assert_eq!(key.tag_of_sum(&beyond), None);
    }
}
