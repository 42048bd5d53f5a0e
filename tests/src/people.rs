//! People whose genotypes follow from a number, so that every truth can be computed.

use locus_genomics::Genotype;
use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    ops::Range,
    path::Path,
};

/// Made-up people: each genotype is an independent draw that follows from `seed`.
#[derive(Debug, Clone)]
pub struct People {
    /// Their numbers; two groups with the same seed and different numbers are different people.
    pub numbers: Range<u32>,
    /// Variants on their panel.
    pub variants: u32,
    /// What their genotypes follow from.
    pub seed: u64,
    /// Whether one call in sixteen is missing.
    pub missing: bool,
}

impl People {
    /// `count` people with calls at all of `variants` variants.
    pub fn new(count: u32, variants: u32, seed: u64) -> Self {
        Self { numbers: 0..count, variants, seed, missing: false }
    }

    /// The next `count` people of the same kind.
    pub fn next(&self, count: u32) -> Self {
        Self { numbers: self.numbers.end..self.numbers.end + count, ..self.clone() }
    }

    /// The genotype of the person at `place` of this group.
    pub fn genotype(&self, place: u32, variant: u32) -> Genotype {
        let person = u64::from(self.numbers.start + place);
        let draw = mix(self.seed ^ mix(person << 32 | u64::from(variant)));
        match draw % 48 {
            0..3 if self.missing => Genotype::Missing,
            draw if draw % 3 == 0 => Genotype::HomRef,
            draw if draw % 3 == 1 => Genotype::Het,
            _ => Genotype::HomAlt,
        }
    }

    /// How many of them have `genotype` at a variant.
    pub fn count(&self, variant: u32, genotype: Genotype) -> i64 {
        let places = 0..self.numbers.end - self.numbers.start;
        places.map(|place| i64::from(self.genotype(place, variant) == genotype)).sum()
    }

    /// Writes them as a VCF of GRCh38: variant v is chr1:1000+10v A to C.
    pub fn write_vcf(&self, path: &Path) -> io::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        write!(file, "##fileformat=VCFv4.2\n##contig=<ID=chr1,length=248956422,assembly=GRCh38>\n")?;
        writeln!(file, "##FORMAT=<ID=GT,Number=1,Type=String,Description=\"Genotype\">")?;
        write!(file, "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT")?;
        for number in self.numbers.clone() {
            write!(file, "\tP{number}")?;
        }
        writeln!(file)?;
        for variant in 0..self.variants {
            write!(file, "chr1\t{}\t.\tA\tC\t.\tPASS\t.\tGT", 1_000 + 10 * variant)?;
            for place in 0..self.numbers.end - self.numbers.start {
                let call = match self.genotype(place, variant) {
                    Genotype::HomRef => "0/0",
                    Genotype::Het => "0/1",
                    Genotype::HomAlt => "1/1",
                    Genotype::Missing => "./.",
                };
                write!(file, "\t{call}")?;
            }
            writeln!(file)?;
        }
        file.flush()
    }
}

/// The finaliser of SplitMix64.
fn mix(word: u64) -> u64 {
    let mut word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
