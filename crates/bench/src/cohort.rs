//! The real cohort that rows use.

use anyhow::{Context as _, Result};
use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

/// A PLINK 1 fileset, not compressed, as every program reads it.
pub(crate) struct CohortFiles {
    /// Path without `.bed`, `.bim`, `.fam`.
    pub(crate) prefix: PathBuf,
    /// Its name.
    pub(crate) name: String,
    /// Its individuals.
    pub(crate) people: u32,
    /// Its variants.
    pub(crate) variants: u32,
}

impl CohortFiles {
    /// The whole cohort beside the repository, or the committed extract of it.
    pub(crate) fn find(root: &Path, work: &Path) -> Result<Self> {
        let extract = root.join("services/locus/demo/kgp3_exome_4500");
        let whole = root.join("../shared/data/kgp3_exome/kgp3_exome");
        let chosen = std::env::var_os("LOCUS_BENCH_COHORT").map(PathBuf::from);
        let source = chosen.unwrap_or_else(|| if exists(&whole, "fam") { whole } else { extract });
        let name = source.file_name().context("a cohort has a name")?.to_string_lossy().into_owned();
        let folder = work.join("cohort");
        fs::create_dir_all(&folder)?;
        let prefix = folder.join(&name);
        for kind in ["bed", "bim", "fam"] {
            decode(&source, &prefix, kind)?;
        }
        let lines = |kind: &str| -> Result<u32> {
            let text = fs::read_to_string(with(&prefix, kind))?;
            Ok(u32::try_from(text.lines().count())?)
        };
        Ok(Self { people: lines("fam")?, variants: lines("bim")?, prefix, name })
    }

    /// Simulates a cohort: genotypes in Hardy-Weinberg proportions at frequencies from 0.05 to 0.5, whose
    /// numbers follow from place and nothing else.
    pub(crate) fn simulate(prefix: &Path, people: u32, variants: u32) -> Result<Self> {
        let (mut fam, mut bim) = (String::new(), String::new());
        for person in 0..people {
            fam += &format!("S{person} S{person} 0 0 0 -9\n");
        }
        let mut bed = vec![0x6c, 0x1b, 0x01];
        let mut words = 0x9e37_79b9_7f4a_7c15u64;
        for variant in 0..variants {
            // Chromosomes 1 to 22, spaced like exons.
            let (chrom, place) = (1 + variant / 3_000, 10_000 + variant % 3_000 * 10_000);
            bim += &format!("{chrom} v{variant} 0 {place} G A\n");
            let threshold = u64::from(13 + variant % 115);
            for first in (0..people).step_by(4) {
                let mut byte = 0;
                for person in first..people.min(first + 4) {
                    words = words.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
                    let copies = u8::from(words >> 56 < threshold) + u8::from(words >> 40 & 0xff < threshold);
                    // A1, the alternate allele, homozygous is 0, heterozygous 2, none 3.
                    byte |= [3u8, 2, 0][usize::from(copies)] << (2 * (person - first));
                }
                bed.push(byte);
            }
        }
        for (kind, content) in [("fam", fam.as_bytes()), ("bim", bim.as_bytes()), ("bed", bed.as_slice())] {
            fs::write(with(prefix, kind), content)?;
        }
        Ok(Self { prefix: prefix.to_path_buf(), name: "simulated".to_owned(), people, variants })
    }

    /// For notes.
    pub(crate) fn describe(&self) -> String {
        format!("{} ({} people x {} variants)", self.name, self.people, self.variants)
    }

    /// Names of the individuals, in order.
    pub(crate) fn sample_names(&self) -> Result<Vec<String>> {
        let text = fs::read_to_string(with(&self.prefix, "fam"))?;
        let name = |line: &str| line.split_ascii_whitespace().nth(1).map(str::to_owned);
        text.lines().map(|line| name(line).context("a line of the .fam file is too short")).collect()
    }

    /// Ids of the variants, in order.
    pub(crate) fn variant_ids(&self) -> Result<Vec<String>> {
        let text = fs::read_to_string(with(&self.prefix, "bim"))?;
        let id = |line: &str| {
            let mut fields = line.split_ascii_whitespace();
            let (chrom, _, _, position) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
            let (alt, reference) = (fields.next()?, fields.next()?);
            Some(format!("{chrom}:{position}:{reference}:{alt}"))
        };
        text.lines().map(|line| id(line).context("a line of the .bim file is too short")).collect()
    }
}

fn with(prefix: &Path, kind: &str) -> PathBuf {
    PathBuf::from(format!("{}.{kind}", prefix.display()))
}

fn exists(prefix: &Path, kind: &str) -> bool {
    with(prefix, kind).is_file()
}

/// Copies one file of the fileset, decoding it when it is compressed.
fn decode(source: &Path, prefix: &Path, kind: &str) -> Result<()> {
    let open = |suffix: &str| File::open(with(source, &format!("{kind}{suffix}"))).ok();
    let mut input: Box<dyn Read> = if let Some(file) = open("") {
        Box::new(file)
    } else if let Some(file) = open(".zst") {
        Box::new(zstd::stream::read::Decoder::new(file)?)
    } else {
        let file = open(".gz").with_context(|| format!("{}.{kind} is missing", source.display()))?;
        Box::new(flate2::read::MultiGzDecoder::new(file))
    };
    io::copy(&mut input, &mut File::create(with(prefix, kind))?)?;
    Ok(())
}
