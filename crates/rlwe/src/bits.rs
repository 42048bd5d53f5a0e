//! Spreading packed bits over bytes, without branches or secret-dependent addresses.

/// Each byte of a word.
const BYTE_ONES: u64 = 0x0101_0101_0101_0101;
/// Bit i of byte i.
const DIAGONAL: u64 = 0x8040_2010_0804_0201;

/// Spreads the 8 bits of `byte` over 8 bytes of 0 or 1; bit i goes to byte i (little endian).
#[inline(always)]
pub(crate) fn spread(byte: u8) -> u64 {
    let diagonal = u64::from(byte).wrapping_mul(BYTE_ONES) & DIAGONAL;
    // A byte is 0 or a power of two; adding 0x7f sets its top bit exactly when it is not 0.
    (diagonal.wrapping_add(BYTE_ONES.wrapping_mul(0x7f)) >> 7) & BYTE_ONES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_of_every_byte_lands_in_its_own_byte() {
        for byte in 0..=255u8 {
            let expected = core::array::from_fn(|bit| (byte >> bit) & 1);
            assert_eq!(spread(byte).to_le_bytes(), expected);
        }
    }
}
