//! Reference assemblies and the chromosomes a panel may name.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Number of human autosomes.
pub const AUTOSOMES: u8 = 22;

/// A human reference assembly. Positions mean nothing without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Assembly {
    /// GRCh37, also known as hg19, b37 and hs37d5.
    GRCh37,
    /// GRCh38, also known as hg38.
    GRCh38,
}

/// Returned when a text names no assembly known here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown assembly {0:?}: use GRCh37 or GRCh38")]
pub struct AssemblyError(pub String);

impl Assembly {
    /// The byte that names the assembly in canonical encodings: 37 or 38.
    pub fn code(self) -> u8 {
        match self {
            Assembly::GRCh37 => 37,
            Assembly::GRCh38 => 38,
        }
    }

    /// The assembly with this [`code`](Self::code).
    pub fn from_code(code: u8) -> Option<Self> {
        match code {
            37 => Some(Assembly::GRCh37),
            38 => Some(Assembly::GRCh38),
            _ => None,
        }
    }

    /// Bases in a chromosome of this assembly; the two assemblies differ on every autosome, so a
    /// single declared length tells them apart.
    pub fn chrom_bases(self, chrom: Chrom) -> u32 {
        let lengths = match self {
            Assembly::GRCh37 => &GRCH37_CHROM_BASES,
            Assembly::GRCh38 => &GRCH38_CHROM_BASES,
        };
        lengths[usize::from(chrom.number()) - 1]
    }
}

/// Lengths of chromosomes 1..=22 of GRCh37 (GenBank GCA_000001405.1).
const GRCH37_CHROM_BASES: [u32; 22] = [
    249_250_621,
    243_199_373,
    198_022_430,
    191_154_276,
    180_915_260,
    171_115_067,
    159_138_663,
    146_364_022,
    141_213_431,
    135_534_747,
    135_006_516,
    133_851_895,
    115_169_878,
    107_349_540,
    102_531_392,
    90_354_753,
    81_195_210,
    78_077_248,
    59_128_983,
    63_025_520,
    48_129_895,
    51_304_566,
];

/// Lengths of chromosomes 1..=22 of GRCh38 (GenBank GCA_000001405.15).
const GRCH38_CHROM_BASES: [u32; 22] = [
    248_956_422,
    242_193_529,
    198_295_559,
    190_214_555,
    181_538_259,
    170_805_979,
    159_345_973,
    145_138_636,
    138_394_717,
    133_797_422,
    135_086_622,
    133_275_309,
    114_364_328,
    107_043_718,
    101_991_189,
    90_338_345,
    83_257_441,
    80_373_285,
    58_617_616,
    64_444_167,
    46_709_983,
    50_818_468,
];

impl fmt::Display for Assembly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Assembly::GRCh37 => "GRCh37",
            Assembly::GRCh38 => "GRCh38",
        })
    }
}

impl FromStr for Assembly {
    type Err = AssemblyError;

    /// Accepts the names in common use, in any letter case: GRCh37, hg19, b37, hs37d5, build37,
    /// 37 and GRCh38, hg38, b38, build38, 38; a patch suffix such as `.p13` is ignored.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let lower = text.trim().to_ascii_lowercase();
        let base = lower.split_once(".p").map_or(lower.as_str(), |(base, _patch)| base);
        match base {
            "grch37" | "hg19" | "b37" | "hs37d5" | "hs37" | "build37" | "37" => Ok(Assembly::GRCh37),
            "grch38" | "hg38" | "b38" | "hs38" | "build38" | "38" => Ok(Assembly::GRCh38),
            _ => Err(AssemblyError(text.to_owned())),
        }
    }
}

/// An autosome, 1 to 22.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Chrom(u8);

/// Returned when a sequence name is not an autosome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChromError {
    /// A sex chromosome or the mitochondrion: known, and not carried by version 1 panels.
    #[error("chromosome {0} is not an autosome: panels carry chromosomes 1 to 22 only")]
    NotAutosomal(NonAutosome),
    /// Anything else: an unplaced contig, a decoy, a typing error.
    #[error("{0:?} names no chromosome")]
    Unknown(String),
}

/// Sequences recognised only to refuse them by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NonAutosome {
    /// Chromosome X (PLINK code 23), or its pseudo-autosomal part (PLINK XY, code 25).
    X,
    /// Chromosome Y (PLINK code 24).
    Y,
    /// The mitochondrion (M, MT; PLINK code 26).
    Mitochondrion,
}

impl fmt::Display for NonAutosome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NonAutosome::X => "X",
            NonAutosome::Y => "Y",
            NonAutosome::Mitochondrion => "MT",
        })
    }
}

impl Chrom {
    /// The autosome with this number, or `None` outside 1..=22.
    pub fn try_new(number: u8) -> Option<Self> {
        (1..=AUTOSOMES).contains(&number).then_some(Self(number))
    }

    /// The autosome's number, 1 to 22.
    pub fn number(self) -> u8 {
        self.0
    }

    /// All autosomes in order.
    pub fn all() -> impl Iterator<Item = Chrom> {
        (1..=AUTOSOMES).map(Chrom)
    }
}

impl fmt::Display for Chrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for Chrom {
    type Err = ChromError;

    /// Parses `7`, `chr7`, `CHR7`; refuses leading zeros and signs, so that one name has one form
    /// apart from the prefix.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let bare = match name.get(..3) {
            Some(prefix) if prefix.eq_ignore_ascii_case("chr") => &name[3..],
            _ => name,
        };
        match bare {
            "X" | "x" | "23" | "XY" | "xy" | "25" => return Err(ChromError::NotAutosomal(NonAutosome::X)),
            "Y" | "y" | "24" => return Err(ChromError::NotAutosomal(NonAutosome::Y)),
            "M" | "m" | "MT" | "mt" | "Mt" | "26" => {
                return Err(ChromError::NotAutosomal(NonAutosome::Mitochondrion));
            }
            _ => {}
        }
        let canonical = bare.bytes().all(|byte| byte.is_ascii_digit()) && !bare.starts_with('0');
        let number = canonical.then(|| bare.parse::<u8>().ok()).flatten();
        number.and_then(Self::try_new).ok_or_else(|| ChromError::Unknown(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assemblies_parse_by_every_name_in_common_use() {
        for name in ["GRCh37", "hg19", "b37", "hs37d5", "grch37.p13", " 37 "] {
            assert_eq!(name.parse(), Ok(Assembly::GRCh37), "{name}");
        }
        for name in ["GRCh38", "HG38", "GRCh38.p14", "38"] {
            assert_eq!(name.parse(), Ok(Assembly::GRCh38), "{name}");
        }
        for name in ["", "hg18", "GRCh39", "T2T", "3"] {
            assert!(name.parse::<Assembly>().is_err(), "{name}");
        }
    }

    #[test]
    fn no_chromosome_has_one_length_in_both_assemblies() {
        for chrom in Chrom::all() {
            assert_ne!(Assembly::GRCh37.chrom_bases(chrom), Assembly::GRCh38.chrom_bases(chrom), "{chrom}");
        }
    }

    #[test]
    fn chromosomes_parse_with_and_without_prefix() {
        for number in 1..=22u8 {
            let chrom = Chrom::try_new(number);
            assert_eq!(format!("{number}").parse().ok(), chrom);
            assert_eq!(format!("chr{number}").parse().ok(), chrom);
        }
    }

    #[test]
    fn sex_chromosomes_and_mitochondria_are_refused_by_name() {
        for (name, refused) in [
            ("X", NonAutosome::X),
            ("chrX", NonAutosome::X),
            ("23", NonAutosome::X),
            ("chrY", NonAutosome::Y),
            ("MT", NonAutosome::Mitochondrion),
            ("chrM", NonAutosome::Mitochondrion),
        ] {
            assert_eq!(name.parse::<Chrom>(), Err(ChromError::NotAutosomal(refused)), "{name}");
        }
    }

    #[test]
    fn other_sequences_are_unknown() {
        for name in ["", "0", "01", "+1", "27", "chr", "chrchr1", "chr1_gl000191_random", "GL000207.1", "é"] {
            assert_eq!(name.parse::<Chrom>(), Err(ChromError::Unknown(name.to_owned())), "{name}");
        }
    }
}
