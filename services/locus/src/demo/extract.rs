//! The extract of the 1000 Genomes Project that comes with the binary, and the plaintext truth.
//!
//! The truth is decoded here from the PLINK file by code that shares nothing with the product's own
//! readers, so that an error in them cannot hide itself.

use super::report::check;
use crate::error::CommandError;
use locus_client::research::VariantCounts;
use locus_genomics::{Assembly, Chrom, Panel};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

const BED_ZST: &[u8] = include_bytes!("../../demo/kgp3_exome_4500.bed.zst");
const BIM: &str = include_str!("../../demo/kgp3_exome_4500.bim");
const FAM: &str = include_str!("../../demo/kgp3_exome_4500.fam");
/// First bytes of a variant-major PLINK 1 file.
const BED_MAGIC: [u8; 3] = [0x6c, 0x1b, 0x01];
/// Name of the files in the demo's folder.
const NAME: &str = "kgp3_exome_4500";

/// Counts of one variant in the plaintext.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct TrueCounts {
    pub(super) het: i64,
    pub(super) hom_alt: i64,
    pub(super) missing: i64,
}

impl TrueCounts {
    pub(super) fn allele_frequency(self, people: u32) -> f64 {
        let called = i64::from(people) - self.missing;
        (self.het + 2 * self.hom_alt) as f64 / (2 * called) as f64
    }

    /// Whether a row of an answer has these counts.
    pub(super) fn is_of(self, row: &VariantCounts) -> bool {
        Self { het: row.het, hom_alt: row.hom_alt, missing: row.missing } == self
    }

    fn add(&mut self, call: Call) {
        match call {
            Call::HomRef => {}
            Call::Het => self.het += 1,
            Call::HomAlt => self.hom_alt += 1,
            Call::Missing => self.missing += 1,
        }
    }
}

/// A call as PLINK codes it when A1 is the alternate allele.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    HomAlt,
    Missing,
    Het,
    HomRef,
}

impl Call {
    /// Of the two low bits.
    fn of(code: u8) -> Self {
        match code & 3 {
            0 => Self::HomAlt,
            1 => Self::Missing,
            2 => Self::Het,
            _ => Self::HomRef,
        }
    }
}

/// One variant of the extract.
struct Site {
    chrom: &'static str,
    position: &'static str,
    ref_allele: &'static str,
    alt_allele: &'static str,
}

/// The extract.
pub(super) struct Extract {
    bed: Vec<u8>,
    row_bytes: usize,
    sites: Vec<Site>,
    samples: Vec<&'static str>,
    /// Row of a variant by its id `chrom:pos:ref:alt`.
    rows: BTreeMap<String, usize>,
}

impl Extract {
    /// Unpacks the extract.
    pub(super) fn unpack() -> Result<Self, CommandError> {
        let broken = || CommandError::Demo("the extract in this binary is damaged".to_owned());
        let bed = zstd::decode_all(BED_ZST).map_err(|_| broken())?;
        let samples: Vec<&str> = FAM.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
        let sites: Vec<Site> = BIM.lines().filter_map(parse_site).collect();
        let row_bytes = samples.len().div_ceil(4);
        let is_whole = bed.starts_with(&BED_MAGIC) && bed.len() == BED_MAGIC.len() + row_bytes * sites.len();
        check(is_whole, || "the extract in this binary is damaged".to_owned())?;
        let id = |site: &Site| format!("{}:{}:{}:{}", site.chrom, site.position, site.ref_allele, site.alt_allele);
        let rows = sites.iter().enumerate().map(|(row, site)| (id(site), row)).collect();
        Ok(Self { bed, row_bytes, sites, samples, rows })
    }

    /// Writes the PLINK files, as a biobank would have them; returns their prefix.
    pub(super) fn write(&self, folder: &Path) -> Result<PathBuf, CommandError> {
        for (extension, content) in [("bed", self.bed.as_slice()), ("bim", BIM.as_bytes()), ("fam", FAM.as_bytes())] {
            let path = folder.join(format!("{NAME}.{extension}"));
            fs::write(&path, content).map_err(CommandError::file(&path))?;
        }
        Ok(folder.join(NAME))
    }

    /// Writes the PLINK files of the first people only; a multiple of four fills whole bytes.
    pub(super) fn write_first(&self, folder: &Path, people: usize) -> Result<PathBuf, CommandError> {
        let mut bed = BED_MAGIC.to_vec();
        for row in self.bed[BED_MAGIC.len()..].chunks(self.row_bytes) {
            bed.extend_from_slice(&row[..people / 4]);
        }
        let fam: String = FAM.lines().take(people / 4 * 4).flat_map(|line| [line, "\n"]).collect();
        for (extension, content) in [("bed", bed.as_slice()), ("bim", BIM.as_bytes()), ("fam", fam.as_bytes())] {
            let path = folder.join(format!("{NAME}.{extension}"));
            fs::write(&path, content).map_err(CommandError::file(&path))?;
        }
        Ok(folder.join(NAME))
    }

    /// People.
    pub(super) fn samples(&self) -> &[&'static str] {
        &self.samples
    }

    fn call(&self, row: usize, person: usize) -> Call {
        let byte = self.bed[BED_MAGIC.len() + row * self.row_bytes + person / 4];
        Call::of(byte >> (2 * (person % 4)))
    }

    /// Counts of every panel variant over everybody, in panel order, and `again` once more.
    pub(super) fn truth(&self, panel: &Panel, again: Option<usize>) -> Result<Vec<TrueCounts>, CommandError> {
        let places: Vec<usize> = (0..self.samples.len()).chain(again).collect();
        self.truth_of(panel, &places)
    }

    /// Counts of every panel variant over the people at these places, in panel order.
    pub(super) fn truth_of(&self, panel: &Panel, places: &[usize]) -> Result<Vec<TrueCounts>, CommandError> {
        let missing = |id: &str| CommandError::Demo(format!("panel variant {id} is not in the extract"));
        panel
            .variants()
            .map(|variant| {
                let id = variant.to_string();
                let row = *self.rows.get(&id).ok_or_else(|| missing(&id))?;
                let mut counts = TrueCounts::default();
                places.iter().for_each(|person| counts.add(self.call(row, *person)));
                Ok(counts)
            })
            .collect()
    }

    /// One person's genotypes as a VCF file, such as a sequencing service hands out.
    pub(super) fn vcf_of(&self, person: usize) -> String {
        let mut text = String::from("##fileformat=VCFv4.3\n##reference=GRCh37\n");
        for chrom in Chrom::all() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "##contig=<ID={chrom},length={}>", Assembly::GRCh37.chrom_bases(chrom));
        }
        text += "##FORMAT=<ID=GT,Number=1,Type=String,Description=\"Genotype\">\n";
        text += "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tME\n";
        for (row, site) in self.sites.iter().enumerate() {
            let genotype = match self.call(row, person) {
                Call::HomRef => "0/0",
                Call::Het => "0/1",
                Call::HomAlt => "1/1",
                Call::Missing => "./.",
            };
            let Site { chrom, position, ref_allele, alt_allele } = site;
            let _ = writeln!(text, "{chrom}\t{position}\t.\t{ref_allele}\t{alt_allele}\t.\tPASS\t.\tGT\t{genotype}");
        }
        text
    }
}

/// A line of the .bim file: chrom, id, cM, position, A1 (alternate), A2 (reference).
fn parse_site(line: &'static str) -> Option<Site> {
    let mut columns = line.split_whitespace();
    let chrom = columns.next()?;
    let position = columns.nth(2)?;
    Some(Site { chrom, position, alt_allele: columns.next()?, ref_allele: columns.next()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extract_is_whole_and_large_enough() {
        let extract = Extract::unpack().expect("whole");
        assert_eq!(extract.samples().len(), 2504);
        assert!(extract.sites.len() >= 4096, "{}", extract.sites.len());
        assert_eq!(extract.rows.len(), extract.sites.len(), "every id is there once");
        let chroms: std::collections::BTreeSet<&str> = extract.sites.iter().map(|site| site.chrom).collect();
        assert_eq!(chroms.len(), 22);
    }

    #[test]
    fn the_vcf_of_a_person_has_their_calls() {
        let extract = Extract::unpack().expect("whole");
        let vcf = extract.vcf_of(3);
        let records: Vec<&str> = vcf.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(records.len(), extract.sites.len());
        let het = records.iter().filter(|line| line.ends_with("0/1")).count();
        let expected = (0..extract.sites.len()).filter(|row| extract.call(*row, 3) == Call::Het).count();
        assert_eq!(het, expected);
        assert!(het > 0);
    }
}
