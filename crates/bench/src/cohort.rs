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

    /// For notes.
    pub(crate) fn describe(&self) -> String {
        format!("{} ({} people x {} variants)", self.name, self.people, self.variants)
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
