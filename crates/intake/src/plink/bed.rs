//! From `.bed` codes to packed genotypes.
//!
//! Both have two bits a person, the first in the low bits. A `.bed` counts the first allele
//! downwards: 0 two copies, 1 no call, 2 one copy, 3 none.

/// The low bit of each two-bit code.
const LOW: u64 = 0x5555_5555_5555_5555;

/// Converts a row. With `first_is_alt` the first allele is the alternate one: 0, 1, 2, 3 become
/// HomAlt, Missing, Het, HomRef; otherwise HomRef, Missing, Het, HomAlt.
pub(super) fn convert(calls: &[u8], first_is_alt: bool, people: usize, row: &mut [u8]) {
    let (words, rest) = calls.as_chunks::<8>();
    let (out_words, out_rest) = row.as_chunks_mut::<8>();
    for (word, out) in words.iter().zip(out_words) {
        *out = convert_word(u64::from_le_bytes(*word), first_is_alt).to_le_bytes();
    }
    for (byte, out) in rest.iter().zip(out_rest) {
        [*out, ..] = convert_word(u64::from(*byte), first_is_alt).to_le_bytes();
    }
    clear_padding(row, people);
}

/// Whether anybody carries the first allele.
pub(super) fn has_first_allele(calls: &[u8], people: usize) -> bool {
    let carriers = |byte: u8, used: u8| {
        // Codes 0 and 2: the low bit is clear.
        !byte & 0x55 & used != 0
    };
    let (whole, partial) = calls.split_at(people / 4);
    let used = (1u8 << (2 * (people % 4))).wrapping_sub(1);
    whole.iter().any(|byte| carriers(*byte, u8::MAX)) || partial.iter().any(|byte| carriers(*byte, used))
}

fn convert_word(word: u64, first_is_alt: bool) -> u64 {
    let low = word & LOW;
    let high = (word >> 1) & LOW;
    let new_high = if first_is_alt { !high & LOW } else { low };
    new_high << 1 | (low ^ high)
}

fn clear_padding(row: &mut [u8], people: usize) {
    let used = people % 4;
    if let Some(last) = row.last_mut().filter(|_| used != 0) {
        *last &= (1 << (2 * used)) - 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use locus_genomics::Genotype::{self, Het, HomAlt, HomRef, Missing};
    use locus_genomics::PackedGenotypes;

    fn converted(calls: &[u8], first_is_alt: bool, people: usize) -> Vec<Genotype> {
        let mut row = vec![0xff; people.div_ceil(4)];
        convert(calls, first_is_alt, people, &mut row);
        PackedGenotypes::try_from_bytes(row, people).expect("no padding bits").iter().collect()
    }

    #[test]
    fn the_four_codes_convert_in_both_allele_orders() {
        let calls = [0b11_10_01_00];
        assert_eq!(converted(&calls, true, 4), [HomAlt, Missing, Het, HomRef]);
        assert_eq!(converted(&calls, false, 4), [HomRef, Missing, Het, HomAlt]);
    }

    #[test]
    fn long_rows_convert_like_short_ones_and_padding_is_cleared() {
        let calls: Vec<u8> = (0..37u8).map(|byte| byte.wrapping_mul(73)).collect();
        for people in [145, 146, 147, 148] {
            for first_is_alt in [true, false] {
                let long = converted(&calls, first_is_alt, people);
                let short: Vec<Genotype> =
                    calls.iter().flat_map(|byte| converted(&[*byte], first_is_alt, 4)).take(people).collect();
                assert_eq!(long, short, "{people} people");
            }
        }
    }

    #[test]
    fn carriers_of_the_first_allele_are_seen_within_the_people_only() {
        assert!(!has_first_allele(&[0b11_11_01_11, 0b0000_0011], 5));
        assert!(has_first_allele(&[0b11_11_01_11, 0b0000_0011], 6));
        assert!(has_first_allele(&[0b11_10_01_11], 4));
        assert!(has_first_allele(&[0b00_11_01_11], 4));
    }
}
