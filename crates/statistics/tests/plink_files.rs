//! Reads PLINK filesets and tables of the shared data sets.

use locus_statistics::ClassCounts;
use std::{collections::BTreeMap, fs, io::Read, path::PathBuf};

/// The folder of a shared data set, `None` on machines without shared data.
pub(crate) fn data_set(name: &str) -> Option<PathBuf> {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo names it");
    let folder = PathBuf::from(package).join("../../../shared/data").join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("shared data set {name} is absent, nothing was compared");
    None
}

/// Lines of a zstd-compressed table as fields.
pub(crate) fn table(path: &PathBuf) -> Vec<Vec<String>> {
    let file = fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let bytes = zstd::decode_all(file).expect("it is zstd");
    let text = String::from_utf8(bytes).expect("it is text");
    text.lines().skip(1).map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

/// One column of a tab-separated table by individual id (second column).
pub(crate) fn column(path: &PathBuf, name: &str) -> BTreeMap<String, String> {
    let text = fs::read_to_string(path).expect("it is readable");
    let mut lines = text.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let header = lines.next().expect("it has a header");
    let place = header.iter().position(|field| *field == name).unwrap_or_else(|| panic!("no column {name}"));
    lines.map(|fields| (fields[1].to_owned(), fields[place].to_owned())).collect()
}

/// A PLINK 1 fileset in memory.
pub(crate) struct Fileset {
    pub(crate) ids: Vec<String>,
    pub(crate) people: Vec<String>,
    bed: Vec<u8>,
}

impl Fileset {
    pub(crate) fn read(folder: &std::path::Path, name: &str) -> Self {
        let bed_file = fs::File::open(folder.join(format!("{name}.bed.zst"))).expect("it is there");
        let bed = zstd::decode_all(bed_file).expect("it is zstd");
        let mut bim = String::new();
        let bim_file = fs::File::open(folder.join(format!("{name}.bim.gz"))).expect("it is there");
        flate2::read::GzDecoder::new(bim_file).read_to_string(&mut bim).expect("it is gzip");
        let fam = fs::read_to_string(folder.join(format!("{name}.fam"))).expect("it is there");
        let second = |text: &str| {
            text.lines().map(|line| line.split_whitespace().nth(1).expect("two columns").to_owned()).collect()
        };
        Self { ids: second(&bim), people: second(&fam), bed }
    }

    /// Copies of A1 of everybody at a variant, `None` where missing.
    pub(crate) fn calls(&self, variant: usize) -> Vec<Option<u8>> {
        let stride = self.people.len().div_ceil(4);
        let row = &self.bed[3 + variant * stride..][..stride];
        let call = |person: usize| match (row[person / 4] >> (2 * (person % 4))) & 3 {
            0 => Some(2),
            2 => Some(1),
            3 => Some(0),
            _ => None,
        };
        (0..self.people.len()).map(call).collect()
    }
}

/// Exact counts over the people of `members`.
pub(crate) fn counts(calls: &[Option<u8>], members: &[usize]) -> ClassCounts {
    let mut classes = [0u64; 4];
    for person in members {
        classes[calls[*person].map_or(3, usize::from)] += 1;
    }
    let individuals = u64::try_from(members.len()).expect("small");
    ClassCounts::exact(individuals, classes[1], classes[2], classes[3]).expect("they add up")
}
