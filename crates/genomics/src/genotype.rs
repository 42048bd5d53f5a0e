//! Hard genotype calls, their packed form and their counts.

use std::fmt;

/// Genotype of one individual at one variant (diploid autosomes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Genotype {
    /// No copy of the alternate allele.
    HomRef,
    /// One copy.
    Het,
    /// Two copies.
    HomAlt,
    /// No call.
    Missing,
}

impl Genotype {
    /// The two-bit code: copies of the alternate allele, or 3 for a missing call.
    pub fn code(self) -> u8 {
        match self {
            Genotype::HomRef => 0,
            Genotype::Het => 1,
            Genotype::HomAlt => 2,
            Genotype::Missing => 3,
        }
    }

    /// The genotype of the low two bits of `code`.
    pub fn from_low_bits(code: u8) -> Self {
        match code & 3 {
            0 => Genotype::HomRef,
            1 => Genotype::Het,
            2 => Genotype::HomAlt,
            _ => Genotype::Missing,
        }
    }
}

/// Genotypes, four to a byte, the first in the low bits; unused high bits of the last byte are
/// zero, so that equal genotypes are equal bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct PackedGenotypes {
    bytes: Vec<u8>,
    len: usize,
}

/// Returned when bytes are not packed genotypes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackedGenotypesError {
    /// The byte count does not fit the genotype count.
    #[error("{genotypes} genotypes take {expected} packed bytes, not {found}")]
    Length {
        /// Genotypes announced.
        genotypes: usize,
        /// Bytes they take.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// Bits beyond the last genotype are set.
    #[error("unused bits of the last packed byte are not zero")]
    Padding,
}

impl PackedGenotypes {
    /// Bytes that `len` genotypes take.
    pub fn bytes_for(len: usize) -> usize {
        len.div_ceil(4)
    }

    /// `len` times the same genotype.
    pub fn filled(len: usize, genotype: Genotype) -> Self {
        let mut packed = Self { bytes: vec![genotype.code() * 0b0101_0101; Self::bytes_for(len)], len };
        packed.clear_padding();
        packed
    }

    /// Genotypes from their packed form.
    ///
    /// # Errors
    /// [`PackedGenotypesError`] when the length or the padding is wrong.
    pub fn try_from_bytes(bytes: Vec<u8>, len: usize) -> Result<Self, PackedGenotypesError> {
        let expected = Self::bytes_for(len);
        if bytes.len() != expected {
            return Err(PackedGenotypesError::Length { genotypes: len, expected, found: bytes.len() });
        }
        let mut packed = Self { bytes, len };
        if packed.clear_padding() { Ok(packed) } else { Err(PackedGenotypesError::Padding) }
    }

    /// Number of genotypes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The packed form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The genotype at `place`, or `None` past the end.
    pub fn get(&self, place: usize) -> Option<Genotype> {
        let byte = *self.bytes.get(place / 4).filter(|_| place < self.len)?;
        Some(Genotype::from_low_bits(byte >> (2 * (place % 4))))
    }

    /// Replaces the genotype at `place`; returns whether there is such a place.
    pub fn set(&mut self, place: usize, genotype: Genotype) -> bool {
        let Some(byte) = self.bytes.get_mut(place / 4).filter(|_| place < self.len) else { return false };
        let shift = 2 * (place % 4);
        *byte = (*byte & !(3 << shift)) | (genotype.code() << shift);
        true
    }

    /// The genotypes in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Genotype> + '_ {
        (0..self.len).map(|place| Genotype::from_low_bits(self.bytes[place / 4] >> (2 * (place % 4))))
    }

    /// How many of each genotype there are.
    pub fn counts(&self) -> GenotypeCounts {
        GenotypeCounts::of_packed(&self.bytes, self.len)
    }

    /// Zeroes the bits past the end; returns whether they were zero.
    fn clear_padding(&mut self) -> bool {
        let used = self.len % 4;
        let Some(last) = self.bytes.last_mut().filter(|_| used != 0) else { return true };
        let before = *last;
        *last &= (1 << (2 * used)) - 1;
        *last == before
    }
}

impl FromIterator<Genotype> for PackedGenotypes {
    fn from_iter<I: IntoIterator<Item = Genotype>>(genotypes: I) -> Self {
        let mut packed = Self { bytes: Vec::new(), len: 0 };
        for genotype in genotypes {
            let shift = 2 * (packed.len % 4);
            match packed.bytes.last_mut().filter(|_| shift != 0) {
                Some(last) => *last |= genotype.code() << shift,
                None => packed.bytes.push(genotype.code()),
            }
            packed.len += 1;
        }
        packed
    }
}

/// Shows the length only: genotypes do not belong in logs.
impl fmt::Debug for PackedGenotypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PackedGenotypes({} genotypes)", self.len)
    }
}

/// Counts of one variant over `individuals` people; het + hom_alt + missing never exceeds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GenotypeCounts {
    individuals: u64,
    het: u64,
    hom_alt: u64,
    missing: u64,
}

/// Returned when the parts of a count exceed the people counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{counted} genotypes counted over {individuals} individuals")]
pub struct GenotypeCountsError {
    /// People in the cohort.
    pub individuals: u64,
    /// Sum of the three counts, saturating.
    pub counted: u64,
}

impl GenotypeCounts {
    /// Counts over `individuals` people.
    ///
    /// # Errors
    /// [`GenotypeCountsError`] when the three counts exceed the people.
    pub fn try_new(individuals: u64, het: u64, hom_alt: u64, missing: u64) -> Result<Self, GenotypeCountsError> {
        let counted = het.saturating_add(hom_alt).saturating_add(missing);
        if counted > individuals {
            return Err(GenotypeCountsError { individuals, counted });
        }
        Ok(Self { individuals, het, hom_alt, missing })
    }

    /// Counts the first `len` genotypes of packed bytes (all of them when `bytes` is shorter).
    pub fn of_packed(bytes: &[u8], len: usize) -> Self {
        let len = len.min(bytes.len() * 4);
        let (mut het, mut hom_alt, mut missing) = (0, 0, 0);
        let mut add = |word: u64| {
            let low = word & 0x5555_5555_5555_5555;
            let high = (word >> 1) & 0x5555_5555_5555_5555;
            het += u64::from((low & !high).count_ones());
            hom_alt += u64::from((high & !low).count_ones());
            missing += u64::from((high & low).count_ones());
        };
        let (whole, partial) = bytes[..len.div_ceil(4)].split_at(len / 4);
        let (words, tail) = whole.as_chunks::<8>();
        words.iter().for_each(|word| add(u64::from_le_bytes(*word)));
        tail.iter().for_each(|byte| add(u64::from(*byte)));
        partial.iter().for_each(|byte| add(u64::from(*byte) & ((1 << (2 * (len % 4))) - 1)));
        Self { individuals: len as u64, het, hom_alt, missing }
    }

    /// People counted, with or without a call.
    pub fn individuals(&self) -> u64 {
        self.individuals
    }

    /// People without an alternate allele.
    pub fn hom_ref(&self) -> u64 {
        self.individuals - self.het - self.hom_alt - self.missing
    }

    /// People with one alternate allele.
    pub fn het(&self) -> u64 {
        self.het
    }

    /// People with two alternate alleles.
    pub fn hom_alt(&self) -> u64 {
        self.hom_alt
    }

    /// People without a call.
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// AC: alternate alleles, het + 2 hom_alt.
    pub fn allele_count(&self) -> u64 {
        self.het + 2 * self.hom_alt
    }

    /// AN: alleles called, 2 (individuals - missing).
    pub fn allele_number(&self) -> u64 {
        2 * (self.individuals - self.missing)
    }

    /// AF = AC / AN for display, or `None` when nothing was called.
    pub fn allele_frequency(&self) -> Option<f64> {
        ratio(self.allele_count(), self.allele_number())
    }

    /// Share of people with a call, for display, or `None` without people.
    pub fn call_rate(&self) -> Option<f64> {
        ratio(self.individuals - self.missing, self.individuals)
    }
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole != 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn codes_are_alternate_allele_copies() {
        let all = [Genotype::HomRef, Genotype::Het, Genotype::HomAlt, Genotype::Missing];
        assert_eq!(all.map(Genotype::code), [0, 1, 2, 3]);
        assert_eq!(all.map(|genotype| Genotype::from_low_bits(genotype.code() | 0xf0)), all);
    }

    #[test]
    fn the_first_genotype_sits_in_the_low_bits() {
        let packed: PackedGenotypes =
            [Genotype::Het, Genotype::HomAlt, Genotype::Missing, Genotype::HomRef, Genotype::Het].into_iter().collect();
        assert_eq!(packed.as_bytes(), [0b00_11_10_01, 0b01]);
    }

    #[test]
    fn padding_bits_and_lengths_are_checked() {
        assert!(PackedGenotypes::try_from_bytes(vec![0b0011_1111], 3).is_ok());
        assert_eq!(PackedGenotypes::try_from_bytes(vec![0b0100_0000], 3), Err(PackedGenotypesError::Padding));
        assert_eq!(
            PackedGenotypes::try_from_bytes(vec![0; 2], 3),
            Err(PackedGenotypesError::Length { genotypes: 3, expected: 1, found: 2 })
        );
        assert_eq!(PackedGenotypes::filled(3, Genotype::Missing).as_bytes(), [0b0011_1111]);
    }

    #[test]
    fn counts_follow_the_definitions_of_the_field() {
        let counts = GenotypeCounts::try_new(10, 3, 2, 1).expect("six of ten");
        assert_eq!((counts.hom_ref(), counts.allele_count(), counts.allele_number()), (4, 7, 18));
        assert_eq!(counts.allele_frequency(), Some(7.0 / 18.0));
        assert_eq!(counts.call_rate(), Some(0.9));
        assert_eq!(GenotypeCounts::try_new(3, 0, 0, 3).expect("all missing").allele_frequency(), None);
        assert!(GenotypeCounts::try_new(5, 3, 2, 1).is_err());
        assert!(GenotypeCounts::try_new(5, u64::MAX, 2, 1).is_err());
    }

    proptest! {
        #[test]
        fn packed_genotypes_read_back_and_count_like_a_list(codes in proptest::collection::vec(0u8..4, 0..200)) {
            let list: Vec<Genotype> = codes.iter().map(|code| Genotype::from_low_bits(*code)).collect();
            let packed: PackedGenotypes = list.iter().copied().collect();
            prop_assert_eq!(packed.iter().collect::<Vec<_>>(), list.clone());
            let mut written = PackedGenotypes::filled(list.len(), Genotype::Missing);
            for (place, genotype) in list.iter().enumerate() {
                prop_assert!(written.set(place, *genotype));
            }
            prop_assert!(!written.set(list.len(), Genotype::Het));
            prop_assert_eq!(written.get(list.len()), None);
            prop_assert_eq!(&written, &packed);
            let count = |code: u8| codes.iter().filter(|found| **found == code).count() as u64;
            let counts = packed.counts();
            prop_assert_eq!(
                (counts.hom_ref(), counts.het(), counts.hom_alt(), counts.missing()),
                (count(0), count(1), count(2), count(3))
            );
            let mut longer = packed.as_bytes().to_vec();
            longer.push(0xff);
            prop_assert_eq!(GenotypeCounts::of_packed(&longer, list.len()), counts);
        }
    }
}
