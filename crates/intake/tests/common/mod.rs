//! What the integration tests share: the development data, and small files.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses its own part, and may fail loudly")]

use locus_genomics::{Assembly, GenotypeCounts, Panel, Variant, VariantIndex};
use locus_intake::{
    Cohort, CohortSource, CompleteCalls, IntakeError, IntakeOptions, PanelRequest, PanelSource, PlinkFiles,
    build_panel, read_cohort,
};
use std::{
    collections::BTreeMap,
    io::Read as _,
    path::{Path, PathBuf},
};

/// The folder of development data beside the repository, or `None`, said aloud, where there is
/// none: a test that needs it then has nothing to check.
pub(crate) fn data_dir() -> Option<PathBuf> {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo names it");
    let here = Path::new(&package);
    let found = here.ancestors().map(|dir| dir.join("../shared/data")).find(|dir| dir.join("README.md").exists());
    if found.is_none() {
        eprintln!("the development data are not beside the repository: nothing to compare with");
    }
    found
}

pub(crate) fn ignore_progress(_: locus_intake::Progress) {}

pub(crate) fn build(
    name: &str,
    assembly: Assembly,
    source: CohortSource,
) -> Result<(Panel, locus_intake::PanelReport), IntakeError> {
    let request =
        PanelRequest { name: name.to_owned(), assembly, complete_calls: CompleteCalls::Detect, reference: None };
    build_panel(&PanelSource::Cohort(source), &request, &std::env::temp_dir(), &mut ignore_progress)
}

pub(crate) fn read(source: &CohortSource, panel: &Panel) -> Result<Cohort, IntakeError> {
    read_with(source, panel, &IntakeOptions::default())
}

pub(crate) fn read_with(source: &CohortSource, panel: &Panel, options: &IntakeOptions) -> Result<Cohort, IntakeError> {
    read_cohort(source, panel, options, &std::env::temp_dir(), &mut ignore_progress)
}

pub(crate) fn panel_of(assembly: Assembly, ids: &[&str]) -> Panel {
    let variants: Vec<Variant> = ids.iter().map(|id| id.parse().expect("an id")).collect();
    Panel::try_new("test", assembly, false, variants.iter().map(Variant::as_ref)).expect("a panel")
}

pub(crate) fn plink(dir: &Path, name: &str) -> CohortSource {
    CohortSource::Plink(PlinkFiles::of_prefix(&dir.join(name).join(name)))
}

pub(crate) fn vcf(path: impl AsRef<Path>) -> CohortSource {
    CohortSource::Vcf(vec![path.as_ref().to_owned()])
}

fn unpacked(path: &Path) -> String {
    let mut text = String::new();
    let file = std::fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("zst") => zstd::stream::read::Decoder::new(file).unwrap().read_to_string(&mut text).unwrap(),
        Some("gz") => flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).unwrap(),
        _ => std::io::BufReader::new(file).read_to_string(&mut text).unwrap(),
    };
    text
}

/// Counts by plink2 (`--geno-counts`) of every variant of a data set, by normalised variant.
/// Positions come from the `.bim`, whose lines are in the same order. Structural variants are left
/// out: there are four, in kgp3_chr22_demo.
pub(crate) fn truth(dir: &Path, name: &str) -> BTreeMap<Variant, GenotypeCounts> {
    let counts = unpacked(&dir.join(name).join(format!("gt/{name}.all.gcount.zst")));
    let sites = unpacked(&dir.join(name).join(format!("{name}.bim.gz")));
    let mut all = BTreeMap::new();
    let rows = counts.lines().skip(1);
    assert_eq!(rows.clone().count(), sites.lines().count(), "{name}: as many counts as variants");
    for (row, site) in rows.zip(sites.lines()) {
        let row: Vec<&str> = row.split('\t').collect();
        let site: Vec<&str> = site.split_ascii_whitespace().collect();
        assert_eq!(row[1], site[1], "{name}: counts and variants in the same order");
        if row[3].starts_with("<CN") {
            continue;
        }
        let variant = Variant::normalise(
            site[0].parse().expect("an autosome"),
            site[3].parse().expect("a position"),
            row[2].as_bytes(),
            row[3].as_bytes(),
        );
        let number = |column: usize| row[column].parse::<u64>().expect("a count");
        let individuals = number(4) + number(5) + number(6) + number(9);
        let counts = GenotypeCounts::try_new(individuals, number(5), number(6), number(9)).expect("consistent");
        let repeated = all.insert(variant.expect("a variant"), counts);
        assert_eq!(repeated, None, "{name}: {site:?} is listed twice");
    }
    all
}

/// Compares every variant of a cohort with the truth, both ways.
pub(crate) fn assert_counts(cohort: &Cohort, panel: &Panel, truth: &BTreeMap<Variant, GenotypeCounts>) {
    assert_eq!(panel.variant_count() as usize, truth.len(), "as many variants as the truth has");
    for (index, variant) in (0..).zip(panel.variants()) {
        let expected = truth.get(&variant.to_owned()).unwrap_or_else(|| panic!("{variant} is not in the truth"));
        let found = cohort.spool.counts(VariantIndex(index)).expect("a row");
        assert_eq!(&found, expected, "{variant}");
    }
}

/// Writes a file into a directory.
pub(crate) fn write(dir: &Path, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}
