//! The rings that values are shared in.

use zeroize::Zeroize;

mod sealed {
    pub trait Sealed {}
    impl Sealed for u64 {}
    impl Sealed for u128 {}
}

/// An integer modulo 2^64 (`u64`), or modulo 2^128 (`u128`) where shares are authenticated.
pub trait RingWord: Copy + Default + Eq + Zeroize + Send + Sync + sealed::Sealed + 'static {
    /// Bytes of a value.
    const BYTES: usize;
    /// Sum.
    fn plus(self, other: Self) -> Self;
    /// Difference.
    fn minus(self, other: Self) -> Self;
    /// Product.
    fn times(self, other: Self) -> Self;
    /// The value of a small number.
    fn from_u64(value: u64) -> Self;
    /// Appends the value, little endian.
    fn write(self, bytes: &mut Vec<u8>);
    /// The value of the first [`BYTES`](Self::BYTES) bytes, little endian; missing ones are zero.
    fn read(bytes: &[u8]) -> Self;
}

macro_rules! ring_word {
    ($word:ty) => {
        impl RingWord for $word {
            const BYTES: usize = size_of::<$word>();

            fn plus(self, other: Self) -> Self {
                self.wrapping_add(other)
            }

            fn minus(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }

            fn times(self, other: Self) -> Self {
                self.wrapping_mul(other)
            }

            fn from_u64(value: u64) -> Self {
                Self::from(value)
            }

            fn write(self, bytes: &mut Vec<u8>) {
                bytes.extend(self.to_le_bytes());
            }

            fn read(bytes: &[u8]) -> Self {
                let mut word = [0; size_of::<$word>()];
                word.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
                Self::from_le_bytes(word)
            }
        }
    };
}
ring_word!(u64);
ring_word!(u128);
