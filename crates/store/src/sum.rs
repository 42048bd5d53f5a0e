//! Exact sums of bodies.

use crate::shape::{BODY_BYTES, BODY_WORDS, BodyBytes};

/// Bytes of a stored sum: the words, then the high halves, as little-endian `u64`.
pub const SUM_BYTES: usize = 2 * BODY_BYTES;

/// The sum of at most 2^26 bodies, exactly: what a sum modulo 2^64 loses follows from the sum of
/// the upper halves. With w the words and h the high halves, the lower halves of the bodies add up
/// to w - 2^32 h modulo 2^64, which is below 2^58, and the exact sum is that plus 2^32 h.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodySum {
    /// Sums of the words of the bodies, modulo 2^64: the counters that are asked for.
    pub words: [u64; BODY_WORDS],
    /// Sums of the upper 32 bits of these words.
    pub high_halves: [u64; BODY_WORDS],
}

/// Bound on the sum of the lower, or the upper, halves of 2^26 words.
const HALVES_END: u64 = 1 << 58;

impl BodySum {
    /// The sum of no bodies.
    pub fn zero() -> Box<Self> {
        Box::new(Self { words: [0; BODY_WORDS], high_halves: [0; BODY_WORDS] })
    }

    /// Adds one body. For many, the engine's kernel is faster.
    pub fn add_body(&mut self, body: &BodyBytes) {
        let (words, _) = body.as_chunks::<8>();
        for ((sum, high), word) in self.words.iter_mut().zip(&mut self.high_halves).zip(words) {
            let word = u64::from_le_bytes(*word);
            *sum = sum.wrapping_add(word);
            *high = high.wrapping_add(word >> 32);
        }
    }

    /// Adds another sum.
    pub fn add(&mut self, more: &Self) {
        self.combine(more, u64::wrapping_add);
    }

    /// Takes another sum away, whose bodies were among those added.
    pub fn subtract(&mut self, less: &Self) {
        self.combine(less, u64::wrapping_sub);
    }

    fn combine(&mut self, other: &Self, operation: fn(u64, u64) -> u64) {
        let words = self.words.iter_mut().zip(&other.words);
        let high_halves = self.high_halves.iter_mut().zip(&other.high_halves);
        for (mine, theirs) in words.chain(high_halves) {
            *mine = operation(*mine, *theirs);
        }
    }

    /// The exact sums, word by word, or `None` when they are not those of at most 2^26 bodies.
    pub fn exact(&self) -> Option<Vec<u128>> {
        let pairs = self.words.iter().zip(&self.high_halves);
        let exact = |(&word, &high): (&u64, &u64)| {
            let low = word.wrapping_sub(high << 32);
            (low < HALVES_END && high < HALVES_END).then(|| u128::from(low) + (u128::from(high) << 32))
        };
        pairs.map(exact).collect()
    }

    /// As it is stored: [`SUM_BYTES`].
    pub fn to_bytes(&self) -> Vec<u8> {
        self.words.iter().chain(&self.high_halves).flat_map(|word| word.to_le_bytes()).collect()
    }

    /// Reads a stored sum, which must have exactly [`SUM_BYTES`].
    pub fn parse(bytes: &[u8]) -> Option<Box<Self>> {
        let (values, rest) = bytes.as_chunks::<8>();
        if values.len() != 2 * BODY_WORDS || !rest.is_empty() {
            return None;
        }
        let mut sum = Self::zero();
        for (value, bytes) in sum.words.iter_mut().chain(&mut sum.high_halves).zip(values) {
            *value = u64::from_le_bytes(*bytes);
        }
        Some(sum)
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

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn exact_sums_are_the_sums_of_integers(seeds in prop::collection::vec(any::<u64>(), 0..9), taken in 0usize..9) {
            let bodies: Vec<_> = seeds.into_iter().map(body).collect();
            let taken = taken.min(bodies.len());
            let (mut sum, mut less) = (BodySum::zero(), BodySum::zero());
            bodies.iter().for_each(|body| sum.add_body(body));
            bodies[..taken].iter().for_each(|body| less.add_body(body));
            sum.subtract(&less);
            let exact = sum.exact().expect("few bodies");
            for (place, (found, word)) in exact.iter().zip(&sum.words).enumerate() {
                let of = |body: &BodyBytes| u128::from(u64::from_le_bytes(body.as_chunks::<8>().0[place]));
                prop_assert_eq!(*found, bodies[taken..].iter().map(|body| of(body)).sum::<u128>());
                prop_assert_eq!(found & u128::from(u64::MAX), u128::from(*word));
            }
            prop_assert_eq!(BodySum::parse(&sum.to_bytes()), Some(sum.clone()));
        }
    }

    #[test]
    fn a_sum_below_zero_is_no_sum_of_bodies() {
        let mut sum = BodySum::zero();
        sum.subtract(&{
            let mut one = BodySum::zero();
            one.add_body(&body(7));
            *one
        });
        assert_eq!(sum.exact(), None);
        assert_eq!(BodySum::parse(&sum.to_bytes()[8..]), None);
    }
}
