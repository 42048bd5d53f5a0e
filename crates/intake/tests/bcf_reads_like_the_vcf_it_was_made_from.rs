//! BCF files, written by another library, give the genotypes and reports of their VCF.

mod common;

use common::{build, data_dir, read, read_with, vcf, write};
use locus_genomics::{Assembly, VariantIndex};
use locus_intake::{Cohort, IntakeOptions};
use noodles::{bcf, vcf as noodles_vcf};
use noodles_vcf::variant::io::Write as _;
use std::path::{Path, PathBuf};

/// Every kind of call and record that both formats can say, nine samples.
const TEXT: &str = include_str!("vectors/every_kind_of_record.vcf");
/// The same, converted by htslib: `bcftools view --no-version -Ob` (bcftools 1.16).
const BINARY: &[u8] = include_bytes!("vectors/every_kind_of_record.bcf");

/// Converts the first records of a VCF.
fn to_bcf(vcf_path: &Path, records: usize, bcf_path: PathBuf) -> PathBuf {
    let mut reader = noodles_vcf::io::reader::Builder::default().build_from_path(vcf_path).expect("a VCF");
    let header = reader.read_header().expect("a header");
    let mut writer = bcf::io::Writer::new(std::fs::File::create(&bcf_path).expect("a file"));
    writer.write_variant_header(&header).expect("written");
    for record in reader.record_bufs(&header).take(records) {
        writer.write_variant_record(&header, &record.expect("a record")).expect("written");
    }
    writer.try_finish().expect("an end mark");
    bcf_path
}

fn assert_same(left: &Cohort, right: &Cohort) {
    assert_eq!(left.samples, right.samples);
    for variant in (0..left.spool.variant_count()).map(VariantIndex) {
        assert_eq!(left.spool.row(variant).expect("a row"), right.spool.row(variant).expect("a row"), "{variant:?}");
    }
    let (left, right) = (&left.report, &right.report);
    assert_eq!(left.missing_calls, right.missing_calls);
    for (text, binary) in left.files.iter().zip(&right.files) {
        assert_eq!((text.format.as_str(), binary.format.as_str()), ("VCF", "BCF"));
        assert_eq!((text.records, text.matched, text.off_panel), (binary.records, binary.matched, binary.off_panel));
        assert_eq!(text.reference_blocks, binary.reference_blocks);
        let counts = |report: &locus_intake::FileReport| {
            report.refused.iter().map(|(reason, refusals)| (*reason, refusals.count)).collect::<Vec<_>>()
        };
        assert_eq!(counts(text), counts(binary));
    }
}

#[test]
fn every_kind_of_record_reads_the_same() {
    let dir = tempfile::tempdir().expect("a directory");
    let text = write(dir.path(), "all.vcf", TEXT);
    let binary = write(dir.path(), "all.bcf", BINARY);
    let ids = [
        "1:100:A:C",
        "1:200:A:C",
        "1:200:A:G",
        "1:200:A:T",
        "1:300:A:C",
        "1:400:A:C",
        "1:500:ACGTACGTACGTACGTACGT:A",
        "1:600:A:G",
        "1:650:A:C",
        "1:700:A:C",
        "1:701:A:C",
        "1:710:A:C",
        "1:720:A:C",
        "2:100:A:C",
        "2:101:A:C",
    ];
    let panel = common::panel_of(Assembly::GRCh38, &ids);
    for pass_only in [false, true] {
        let options = IntakeOptions { pass_only, ..IntakeOptions::default() };
        let from_text = read_with(&vcf(&text), &panel, &options).expect("a cohort");
        let from_binary = read_with(&vcf(&binary), &panel, &options).expect("a cohort");
        assert_same(&from_text, &from_binary);
        assert_eq!(from_text.report.variants_refused, 3, "no genotypes, haploid, polyploid");
        let depth = from_binary.spool.counts(VariantIndex(8)).expect("a row");
        assert_eq!(depth.missing(), 3, "zero depth is no call");
    }
    let (from_text, _) = build("p", Assembly::GRCh38, vcf(&text)).expect("a panel");
    let (from_binary, _) = build("p", Assembly::GRCh38, vcf(&binary)).expect("a panel");
    assert_eq!(from_text, from_binary);
}

#[test]
fn a_real_cohort_reads_the_same() {
    let Some(data) = data_dir() else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let text = data.join("kgp3_chr22_demo/kgp3_chr22_demo.vcf.gz");
    let binary = to_bcf(&text, 300, dir.path().join("demo.bcf"));
    let (panel, _) = build("demo", Assembly::GRCh37, vcf(&binary)).expect("a panel");
    let (from_text, from_binary) = (read(&vcf(text), &panel), read(&vcf(binary), &panel));
    let (from_text, from_binary) = (from_text.expect("a cohort"), from_binary.expect("a cohort"));
    assert!(panel.variant_count() > 290);
    for variant in (0..panel.variant_count()).map(VariantIndex) {
        assert_eq!(from_text.spool.row(variant).expect("a row"), from_binary.spool.row(variant).expect("a row"));
    }
}

#[test]
fn cut_off_and_damaged_records_are_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut plain = Vec::new();
    std::io::copy(&mut noodles::bgzf::io::Reader::new(BINARY), &mut plain).expect("unpacked");
    let panel = common::panel_of(Assembly::GRCh38, &["1:100:A:C"]);
    assert!(read(&vcf(write(dir.path(), "plain.bcf", &plain)), &panel).is_ok(), "uncompressed BCF is read too");
    for cut in [1, 7, 100] {
        let path = write(dir.path(), "cut.bcf", &plain[..plain.len() - cut]);
        let error = read(&vcf(path), &panel).expect_err("cut off").to_string();
        assert!(error.ends_with("the compressed data end early: the file is cut off, fetch it again"), "{error}");
    }
    let header_len = u32::from_le_bytes([plain[5], plain[6], plain[7], plain[8]]) as usize;
    let first_record = 9 + header_len;
    for (place, message) in [
        (first_record + 3, "record 1: the record is damaged"),
        (first_record + 8, "record 1: the record is damaged: its sequence is not in the header"),
    ] {
        let mut damaged = plain.clone();
        damaged[place] = 0x7f;
        let path = write(dir.path(), "damaged.bcf", &damaged);
        let error = read(&vcf(path), &panel).expect_err("damaged").to_string();
        assert!(error.contains(message), "{error}");
    }
}
