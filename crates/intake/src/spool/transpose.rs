//! From rows of people to rows of variants.

use super::BLOCK_GENOTYPE_BYTES;

/// Variants handled together: their genotypes of one person fill eight bytes.
const VARIANTS_PER_WORD: usize = 32;

/// Transposes rows of `row_bytes` bytes (one a variant, two bits a person) into
/// [`BLOCK_GENOTYPE_BYTES`] bytes for each of `people` (two bits a variant, zero past the last).
pub(super) fn to_people(rows: &[u8], row_bytes: usize, people: usize) -> Vec<u8> {
    let mut out = vec![0; people * BLOCK_GENOTYPE_BYTES];
    for (word_index, word_rows) in rows.chunks(VARIANTS_PER_WORD * row_bytes).enumerate() {
        let place = word_index * VARIANTS_PER_WORD / 4;
        let width = (BLOCK_GENOTYPE_BYTES - place).min(8);
        for column in 0..row_bytes {
            let words = column_words(word_rows, row_bytes, column);
            let first_person = column * 4;
            for (person, word) in (first_person..people.min(first_person + 4)).zip(words) {
                let start = person * BLOCK_GENOTYPE_BYTES + place;
                out[start..start + width].copy_from_slice(&word.to_le_bytes()[..width]);
            }
        }
    }
    out
}

/// The genotypes of the four people of one byte column over up to 32 variants, a word a person.
fn column_words(rows: &[u8], row_bytes: usize, column: usize) -> [u64; 4] {
    let mut tiles = [0u32; VARIANTS_PER_WORD / 4];
    for (variant, byte) in rows[column..].iter().step_by(row_bytes).enumerate() {
        tiles[variant / 4] |= u32::from(*byte) << (8 * (variant % 4));
    }
    let mut words = [0u64; 4];
    for (place, tile) in tiles.into_iter().enumerate() {
        let bytes = transpose_tile(tile).to_le_bytes();
        for (word, byte) in words.iter_mut().zip(bytes) {
            *word |= u64::from(byte) << (8 * place);
        }
    }
    words
}

/// Transposes a 4 x 4 matrix of 2-bit elements, element (i, j) at bit `8 i + 2 j`: first swaps the
/// 2 x 2 blocks off the diagonal, then the elements off the diagonal within each block.
fn transpose_tile(tile: u32) -> u32 {
    let blocks = (tile ^ (tile >> 12)) & 0x0000_f0f0;
    let tile = tile ^ blocks ^ (blocks << 12);
    let elements = (tile ^ (tile >> 6)) & 0x00cc_00cc;
    tile ^ elements ^ (elements << 6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tile_is_transposed_element_by_element() {
        for row in 0..4 {
            for column in 0..4 {
                for value in 1..4u32 {
                    let expected = value << (8 * column + 2 * row);
                    assert_eq!(transpose_tile(value << (8 * row + 2 * column)), expected, "({row}, {column})");
                }
            }
        }
    }
}
