//! Whatever the bytes, every reader returns.

mod common;

use common::{ignore_progress, panel_of, write};
use locus_genomics::{Assembly, Panel};
use locus_intake::{
    CohortSource, CompleteCalls, IntakeOptions, PanelRequest, PanelSource, PlinkFiles, build_panel, read_cohort,
};
use proptest::prelude::*;
use std::path::Path;

const VCF: &str = include_str!("vectors/every_kind_of_record.vcf");
const BCF: &[u8] = include_bytes!("vectors/every_kind_of_record.bcf");

fn panel() -> Panel {
    panel_of(Assembly::GRCh38, &["1:100:A:C", "1:200:A:C", "1:200:A:G", "1:500:ACGT:A", "1:650:A:C", "2:100:A:C"])
}

/// Reads bytes as every kind of file; the outcome does not matter, only that there is one.
fn read_as_everything(dir: &Path, bytes: &[u8]) {
    let path = write(dir, "x.bed", bytes);
    let options = IntakeOptions { assembly: Some(Assembly::GRCh38), ..IntakeOptions::default() };
    let good_bim = write(dir, "good.bim", "1 a 0 100 C A\n1 b 0 200 C A\n");
    let good_fam = write(dir, "good.fam", "f a 0 0 1 -9\nf b 0 0 1 -9\nf c 0 0 1 -9\n");
    let good_bed = write(dir, "good.bed", [0x6c, 0x1b, 0x01, 1, 2]);
    let plink = |bed: &Path, bim: &Path, fam: &Path| {
        CohortSource::Plink(PlinkFiles { bed: bed.to_owned(), bim: bim.to_owned(), fam: fam.to_owned() })
    };
    for source in [
        CohortSource::Vcf(vec![path.clone()]),
        CohortSource::TwentyThree(path.clone()),
        plink(&path, &good_bim, &good_fam),
        plink(&good_bed, &path, &good_fam),
        plink(&good_bed, &good_bim, &path),
    ] {
        let _ = read_cohort(&source, &panel(), &options, dir, &mut ignore_progress);
    }
    let request = PanelRequest {
        name: "p".to_owned(),
        assembly: Assembly::GRCh38,
        complete_calls: CompleteCalls::Detect,
        reference: None,
    };
    for source in [PanelSource::Sites(path.clone()), PanelSource::Cohort(CohortSource::Vcf(vec![path]))] {
        let _ = build_panel(&source, &request, dir, &mut ignore_progress);
    }
}

fn unpacked_bcf() -> Vec<u8> {
    let mut plain = Vec::new();
    std::io::copy(&mut noodles::bgzf::io::Reader::new(BCF), &mut plain).expect("unpacked");
    plain
}

/// Replaces some bytes of a good file.
fn damage(bytes: &[u8], changes: &[(usize, u8)], from: usize) -> Vec<u8> {
    let mut damaged = bytes.to_vec();
    for (place, value) in changes {
        let span = damaged.len() - from;
        damaged[from + place % span] = *value;
    }
    damaged
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn random_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400), start in 0usize..7) {
        let starts: [&[u8]; 7] =
            [b"", b"BCF\x02\x02", &[0x6c, 0x1b, 0x01], &[0x1f, 0x8b, 8, 0], &[0x28, 0xb5, 0x2f, 0xfd], b"##fileformat=VCFv4.3\n", b"# build 38\n"];
        let dir = tempfile::tempdir().expect("a directory");
        read_as_everything(dir.path(), &[starts[start], &bytes].concat());
    }

    #[test]
    fn random_lines(text in "([0-9XYM.:/|ACGTN<>*,;=\\-]{0,6}[\t ]){0,12}\n(1\t100\t[a-z]\t[ACGT]{1,3}\t[ACGT,<>*]{1,4}\t\\.\t\\.\t[END=0-9;]{0,12}\tGT\t[0-3./|]{1,4}(\t[0-3./|]{1,4}){8}\n){0,3}") {
        let dir = tempfile::tempdir().expect("a directory");
        let header_end = VCF.find("chr1\t100").expect("the first record");
        read_as_everything(dir.path(), text.as_bytes());
        read_as_everything(dir.path(), format!("{}{text}", &VCF[..header_end]).as_bytes());
    }

    #[test]
    fn damaged_files(changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..6), cut in 0usize..2000) {
        let dir = tempfile::tempdir().expect("a directory");
        let plain = unpacked_bcf();
        let header = 9 + u32::from_le_bytes([plain[5], plain[6], plain[7], plain[8]]) as usize;
        for (bytes, from) in [(VCF.as_bytes(), 0), (BCF, 0), (plain.as_slice(), header), (plain.as_slice(), 0)] {
            let damaged = damage(bytes, &changes, from);
            read_as_everything(dir.path(), &damaged);
            read_as_everything(dir.path(), &damaged[..cut.min(damaged.len())]);
        }
    }
}
