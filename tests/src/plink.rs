//! Ground truth: what plink2 counted.

use anyhow::{Context as _, Result, bail, ensure};
use locus_genomics::Variant;
use std::{collections::BTreeMap, path::Path};

/// Genotype counts of one variant as `plink2 --geno-counts` prints them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlinkCounts {
    /// Its id; `chrom:pos:ref:alt` where the data have no other.
    pub id: String,
    /// Reference allele.
    pub ref_allele: String,
    /// Alternate allele.
    pub alt_allele: String,
    /// Homozygous reference, heterozygous, homozygous alternate, missing.
    pub counts: [i64; 4],
}

/// Counts of named variants in normal form, from rows whose ids name them; structural variants are
/// left out.
pub fn by_variant(rows: &[PlinkCounts]) -> Result<BTreeMap<Variant, [i64; 4]>> {
    let mut counts = BTreeMap::new();
    for row in rows.iter().filter(|row| !row.alt_allele.starts_with('<')) {
        let parts: Vec<&str> = row.id.split(':').collect();
        let &[chrom, position, ref_allele, alt_allele] = &parts[..] else { bail!("{} names no variant", row.id) };
        let (ref_allele, alt_allele) = (ref_allele.as_bytes(), alt_allele.as_bytes());
        let variant = Variant::normalise(chrom.parse()?, position.parse()?, ref_allele, alt_allele)?;
        ensure!(counts.insert(variant, row.counts).is_none(), "{} is listed twice", row.id);
    }
    Ok(counts)
}

/// Reads a `.gcount.zst` file, in file order.
pub fn read_plink_counts(path: &Path) -> Result<Vec<PlinkCounts>> {
    let bytes = zstd::decode_all(std::fs::File::open(path).with_context(|| path.display().to_string())?)?;
    let text = String::from_utf8(bytes)?;
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().context("an empty file")?.split('\t').collect();
    let column = |name: &str| header.iter().position(|title| *title == name).context(name.to_owned());
    let (id_column, ref_column, alt_column) = (column("ID")?, column("REF")?, column("ALT")?);
    let columns =
        [column("HOM_REF_CT")?, column("HET_REF_ALT_CTS")?, column("TWO_ALT_GENO_CTS")?, column("MISSING_CT")?];
    let mut rows = Vec::new();
    for line in lines {
        let fields: Vec<&str> = line.split('\t').collect();
        ensure!(fields.len() == header.len(), "a line with {} fields", fields.len());
        let mut counts = [0; 4];
        for (count, column) in counts.iter_mut().zip(columns) {
            *count = fields[column].parse()?;
        }
        let allele = |column: usize| fields[column].to_owned();
        let id = fields[id_column].to_owned();
        rows.push(PlinkCounts { id, ref_allele: allele(ref_column), alt_allele: allele(alt_column), counts });
    }
    Ok(rows)
}
