//! The uniform random digits that a sampler consumes.

use zeroize::Zeroize;

/// Words fetched from the source at a time; the choice does not change which words come out.
const BUFFER_WORDS: usize = 256;
/// Bytes of a word.
const WORD_BYTES: usize = 4;

/// An endless source of independent uniform bytes, such as an extendable-output function or a
/// block cipher in counter mode.
///
/// A source belongs to one consumer: bytes may be fetched ahead of use.
pub trait UniformBytes {
    /// Fills `bytes` with the next bytes of the source.
    fn fill(&mut self, bytes: &mut [u8]);
}

/// A source of uniform digits in base 2^[`DIGIT_BITS`](Self::DIGIT_BITS). The samplers are exact for
/// every base, which lets tests use a tiny one where ties between digits are common.
pub(crate) trait Digits {
    /// Bits of a digit, 1 to 32.
    const DIGIT_BITS: u32;

    /// The next digit.
    fn next_digit(&mut self) -> u32;
}

/// The 32-bit little-endian words of a byte source, in order. The words decide secret noise, so
/// they are erased when this is dropped.
pub struct UniformWords<S: UniformBytes> {
    source: S,
    words: [u32; BUFFER_WORDS],
    next: usize,
}

impl<S: UniformBytes> UniformWords<S> {
    /// Reads words from the start of `source`.
    pub fn new(source: S) -> Self {
        Self { source, words: [0; BUFFER_WORDS], next: BUFFER_WORDS }
    }

    /// The next word: bytes 4 i to 4 i + 4 of the source, little endian, for the i-th call.
    pub fn next_word(&mut self) -> u32 {
        if self.next == BUFFER_WORDS {
            self.refill();
        }
        let word = self.words[self.next];
        self.next += 1;
        word
    }

    #[cold]
    fn refill(&mut self) {
        let mut bytes = [0; BUFFER_WORDS * WORD_BYTES];
        self.source.fill(&mut bytes);
        let (chunks, _) = bytes.as_chunks::<WORD_BYTES>();
        for (word, chunk) in self.words.iter_mut().zip(chunks) {
            *word = u32::from_le_bytes(*chunk);
        }
        bytes.zeroize();
        self.next = 0;
    }
}

impl<S: UniformBytes> Digits for UniformWords<S> {
    const DIGIT_BITS: u32 = 32;

    fn next_digit(&mut self) -> u32 {
        self.next_word()
    }
}

impl<S: UniformBytes> Drop for UniformWords<S> {
    fn drop(&mut self) {
        self.words.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes 0, 1, 2, ... modulo 251, a prime, so that no two buffers are alike.
    struct Counting(u64);

    impl UniformBytes for Counting {
        fn fill(&mut self, bytes: &mut [u8]) {
            for byte in bytes {
                *byte = u8::try_from(self.0 % 251).expect("below 251");
                self.0 += 1;
            }
        }
    }

    #[test]
    fn words_are_the_bytes_in_order_across_buffers() {
        let mut words = UniformWords::new(Counting(0));
        let mut bytes = Counting(0);
        for place in 0..3 * BUFFER_WORDS {
            let mut expected = [0; WORD_BYTES];
            bytes.fill(&mut expected);
            assert_eq!(words.next_word(), u32::from_le_bytes(expected), "word {place}");
        }
    }
}
