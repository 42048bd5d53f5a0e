//! Biallelic variants in normal form.

use crate::assembly::{Chrom, ChromError};
use std::{fmt, str::FromStr};

mod normalise;

/// Longest allele, in bases. Longer ones are structural variants, which hard genotype calls on a
/// panel do not represent.
pub const ALLELE_BASES_MAX: usize = 1024;
/// Largest position; the longest human chromosome has 249 million bases.
pub const POSITION_MAX: u32 = 300_000_000;

/// Why alleles and a position do not make a variant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VariantError {
    /// Position 0 or beyond any chromosome.
    #[error("position {0} is outside 1..={POSITION_MAX}")]
    Position(u32),
    /// An allele without bases, with more than [`ALLELE_BASES_MAX`], or with anything but A, C, G, T.
    #[error("an allele must be 1 to {ALLELE_BASES_MAX} of the letters A, C, G and T")]
    Allele,
    /// Reference and alternate are equal.
    #[error("reference and alternate allele are equal")]
    SameAlleles,
    /// The alleles share bases that the normal form leaves out.
    #[error("the alleles share leading or trailing bases: give them in parsimonious form")]
    NotNormalised,
    /// The reference allele is not what the reference sequence says.
    #[error("the reference allele is not what the reference sequence has at position {0}")]
    ReferenceDiffers(u32),
    /// Left alignment moved further than any real repeat reaches.
    #[error("the indel at position {0} can be shifted further than any real repeat")]
    ShiftTooLong(u32),
    /// A text that is not `chrom:pos:ref:alt`.
    #[error("a variant id has the form chrom:pos:ref:alt")]
    Id,
    /// The chromosome is not an autosome.
    #[error(transparent)]
    Chrom(#[from] ChromError),
}

/// A biallelic variant: position 1-based, alleles in upper case, parsimonious (no shared trailing
/// base, and no shared leading base beyond the anchor of an indel). Whether an indel is also
/// left-aligned cannot be seen without the reference sequence; see [`Variant::left_align`].
///
/// Order: chromosome, position, reference allele, alternate allele; alleles bytewise.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Variant {
    chrom: Chrom,
    position: u32,
    ref_allele: Box<str>,
    alt_allele: Box<str>,
}

/// A borrowed [`Variant`], as panels hand them out; the same normal form holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VariantRef<'a> {
    pub(crate) chrom: Chrom,
    pub(crate) position: u32,
    pub(crate) ref_allele: &'a str,
    pub(crate) alt_allele: &'a str,
}

impl Variant {
    /// A variant whose alleles are already in normal form.
    ///
    /// # Errors
    /// [`VariantError`] for a position, allele or pair of alleles that is not one.
    pub fn try_new(chrom: Chrom, position: u32, ref_allele: &str, alt_allele: &str) -> Result<Self, VariantError> {
        check_parts(position, ref_allele.as_bytes(), alt_allele.as_bytes())?;
        if !normalise::is_parsimonious(ref_allele.as_bytes(), alt_allele.as_bytes()) {
            return Err(VariantError::NotNormalised);
        }
        Ok(Self { chrom, position, ref_allele: ref_allele.into(), alt_allele: alt_allele.into() })
    }

    /// The normal form of a variant given with any shared bases and in any letter case: shared
    /// trailing bases are cut first, then shared leading ones, each allele keeping at least one.
    ///
    /// # Errors
    /// [`VariantError`] for a position, allele or pair of alleles that is not one.
    pub fn normalise(chrom: Chrom, position: u32, ref_allele: &[u8], alt_allele: &[u8]) -> Result<Self, VariantError> {
        let ref_upper = ref_allele.to_ascii_uppercase();
        let alt_upper = alt_allele.to_ascii_uppercase();
        check_parts(position, &ref_upper, &alt_upper)?;
        let trimmed = normalise::trim(position, &ref_upper, &alt_upper);
        Self::from_trimmed(chrom, trimmed.position, trimmed.ref_allele, trimmed.alt_allele)
    }

    /// The same variant as far left as the reference sequence allows [[TAK15]]; substitutions stay
    /// where they are. `reference_base` gives the base of this chromosome at a 1-based position.
    /// A base that is unknown or not A, C, G, T ends the shift.
    ///
    /// # Errors
    /// [`VariantError::ReferenceDiffers`] when the reference allele contradicts the sequence (the
    /// usual sign of a wrong assembly), [`VariantError::ShiftTooLong`] past 100,000 bases.
    ///
    /// [TAK15]: https://doi.org/10.1093/bioinformatics/btv112
    pub fn left_align(&self, reference_base: impl Fn(u32) -> Option<u8>) -> Result<Self, VariantError> {
        let shifted = normalise::left_align(
            self.position,
            self.ref_allele.as_bytes(),
            self.alt_allele.as_bytes(),
            reference_base,
        )?;
        Self::from_trimmed(self.chrom, shifted.position, &shifted.ref_allele, &shifted.alt_allele)
    }

    /// The borrowed form.
    pub fn as_ref(&self) -> VariantRef<'_> {
        VariantRef {
            chrom: self.chrom,
            position: self.position,
            ref_allele: &self.ref_allele,
            alt_allele: &self.alt_allele,
        }
    }

    /// The chromosome.
    pub fn chrom(&self) -> Chrom {
        self.chrom
    }

    /// Position of the first reference base, 1-based.
    pub fn position(&self) -> u32 {
        self.position
    }

    /// The reference allele.
    pub fn ref_allele(&self) -> &str {
        &self.ref_allele
    }

    /// The alternate allele.
    pub fn alt_allele(&self) -> &str {
        &self.alt_allele
    }

    fn from_trimmed(chrom: Chrom, position: u32, ref_allele: &[u8], alt_allele: &[u8]) -> Result<Self, VariantError> {
        let text = |allele: &[u8]| std::str::from_utf8(allele).map(Box::from).map_err(|_| VariantError::Allele);
        Ok(Self { chrom, position, ref_allele: text(ref_allele)?, alt_allele: text(alt_allele)? })
    }
}

impl<'a> VariantRef<'a> {
    /// The chromosome.
    pub fn chrom(self) -> Chrom {
        self.chrom
    }

    /// Position of the first reference base, 1-based.
    pub fn position(self) -> u32 {
        self.position
    }

    /// The reference allele.
    pub fn ref_allele(self) -> &'a str {
        self.ref_allele
    }

    /// The alternate allele.
    pub fn alt_allele(self) -> &'a str {
        self.alt_allele
    }

    /// Whether one base replaces one base.
    pub fn is_snv(self) -> bool {
        self.ref_allele.len() == 1 && self.alt_allele.len() == 1
    }

    /// Whether the variant reads the same on both strands (A/T and C/G substitutions), so that
    /// letters reported without a strand cannot be told apart.
    pub fn is_strand_ambiguous(self) -> bool {
        matches!((self.ref_allele, self.alt_allele), ("A", "T") | ("T", "A") | ("C", "G") | ("G", "C"))
    }

    /// The owned form.
    pub fn to_owned(self) -> Variant {
        Variant {
            chrom: self.chrom,
            position: self.position,
            ref_allele: self.ref_allele.into(),
            alt_allele: self.alt_allele.into(),
        }
    }
}

fn check_parts(position: u32, ref_allele: &[u8], alt_allele: &[u8]) -> Result<(), VariantError> {
    if position == 0 || position > POSITION_MAX {
        return Err(VariantError::Position(position));
    }
    let is_allele = |allele: &[u8]| {
        (1..=ALLELE_BASES_MAX).contains(&allele.len())
            && allele.iter().all(|base| matches!(base, b'A' | b'C' | b'G' | b'T'))
    };
    if !is_allele(ref_allele) || !is_allele(alt_allele) {
        return Err(VariantError::Allele);
    }
    if ref_allele == alt_allele {
        return Err(VariantError::SameAlleles);
    }
    Ok(())
}

/// The id `chrom:pos:ref:alt`, chromosome without prefix.
impl fmt::Display for VariantRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}:{}", self.chrom, self.position, self.ref_allele, self.alt_allele)
    }
}

/// The id `chrom:pos:ref:alt`, chromosome without prefix.
impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

impl FromStr for Variant {
    type Err = VariantError;

    /// Parses an id `chrom:pos:ref:alt` (chromosome with or without `chr`) into the normal form.
    fn from_str(id: &str) -> Result<Self, Self::Err> {
        let mut parts = id.split(':');
        let (Some(chrom), Some(position), Some(ref_allele), Some(alt_allele), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(VariantError::Id);
        };
        let position = position.parse().map_err(|_| VariantError::Id)?;
        Self::normalise(chrom.parse()?, position, ref_allele.as_bytes(), alt_allele.as_bytes())
    }
}

#[cfg(test)]
mod tests;
