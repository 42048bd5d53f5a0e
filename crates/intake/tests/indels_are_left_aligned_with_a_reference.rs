//! With a reference sequence, indels match wherever their caller put them, and reference alleles
//! are checked.

mod common;

use common::{ignore_progress, panel_of, read, read_with, vcf, write};
use locus_genomics::{Assembly, Chrom, VariantIndex};
use locus_intake::{
    CohortSource, CompleteCalls, IntakeOptions, PanelRequest, PanelSource, PlinkFiles, RefusalReason as R, build_panel,
};
use std::path::{Path, PathBuf};

/// Where the only known bases of the made-up chromosome lie, 1-based.
const START: usize = 70_001;
const BASES: &[u8] = b"GTCACACACAGAAAAT";

/// Chromosome 21 of GRCh38 in length, N nearly everywhere, in lines of 60.
fn write_fasta(dir: &Path) -> PathBuf {
    let chrom = Chrom::try_new(21).expect("an autosome");
    let mut bases = vec![b'N'; Assembly::GRCh38.chrom_bases(chrom) as usize];
    bases[START - 1..START - 1 + BASES.len()].copy_from_slice(BASES);
    let mut text = b">chr21 made up\n".to_vec();
    for line in bases.chunks(60) {
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    write(dir, "reference.fa", text)
}

const HEADER: &str = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ta\n";

#[test]
fn indels_and_reference_alleles_follow_the_reference() {
    let dir = tempfile::tempdir().expect("a directory");
    let reference = Some(write_fasta(dir.path()));
    // The reference at 70,001 reads GTCACACACAGAAAAT: a CA repeat from 70,003, A's from 70,012.
    let panel = panel_of(Assembly::GRCh38, &["21:70002:TCA:T", "21:70011:G:GA", "21:70004:A:G"]);
    let records = "21\t70008\t.\tACA\tA\t.\t.\t.\tGT\t0/1\n\
        21\t70015\t.\tA\tAA\t.\t.\t.\tGT\t1/1\n\
        21\t70004\t.\tA\tG\t.\t.\t.\tGT\t0/1\n\
        21\t70005\t.\tA\tG\t.\t.\t.\tGT\t0/1\n";
    let path = write(dir.path(), "a.vcf", format!("{HEADER}{records}"));
    let without = read(&vcf(&path), &panel).expect("a cohort").report;
    assert_eq!((without.variants_matched, without.files[0].off_panel), (1, 3));
    let options = IntakeOptions { reference: reference.clone(), ..IntakeOptions::default() };
    let with = read_with(&vcf(&path), &panel, &options).expect("a cohort");
    assert_eq!(with.report.variants_matched, 3);
    assert_eq!(with.report.files[0].refused[&R::ReferenceMismatch].count, 1);
    assert_eq!(with.spool.counts(VariantIndex(1)).expect("a row").het(), 1);

    let request = PanelRequest {
        name: "aligned".to_owned(),
        assembly: Assembly::GRCh38,
        complete_calls: CompleteCalls::Detect,
        reference: reference.clone(),
    };
    let source = PanelSource::Cohort(vcf(&path));
    let (built, report) = build_panel(&source, &request, dir.path(), &mut ignore_progress).expect("a panel");
    assert_eq!(built.variants().collect::<Vec<_>>(), panel.variants().collect::<Vec<_>>());
    assert_eq!((report.missing_calls, built.complete_calls()), (Some(0), true));
    let other = PanelRequest { assembly: Assembly::GRCh37, ..request };
    let error = build_panel(&source, &other, dir.path(), &mut ignore_progress).expect_err("another assembly");
    assert!(error.to_string().contains("46709983 bases for chromosome 21, GRCh37 has 48129895"), "{error}");

    plink_indels_need_the_reference_to_be_exchanged(dir.path(), reference);
}

/// `.bim` lines with the two alleles of a deletion in either order.
fn plink_indels_need_the_reference_to_be_exchanged(dir: &Path, reference: Option<PathBuf>) {
    let panel = panel_of(Assembly::GRCh38, &["21:70002:TCA:T", "21:70004:A:G"]);
    write(dir, "x.bed", [0x6c, 0x1b, 0x01, 0b10, 0b00]);
    write(dir, "x.fam", "f a 0 0 1 -9\n");
    let read_bim = |bim: &str, options: &IntakeOptions| {
        write(dir, "x.bim", bim);
        let source = CohortSource::Plink(PlinkFiles::of_prefix(&dir.join("x")));
        read_with(&source, &panel, options).expect("a cohort").report
    };
    let snv = "21 rs1 0 70004 G A\n";
    let exchanged = format!("{snv}21 del 0 70002 TCA T\n");
    let without = read_bim(&exchanged, &IntakeOptions::default());
    assert_eq!((without.variants_matched, without.files[0].refused[&R::Swapped].count), (1, 1));
    let options = IntakeOptions { reference, ..IntakeOptions::default() };
    let with = read_bim(&exchanged, &options);
    assert_eq!((with.variants_matched, with.files[0].swapped), (2, 1));
    let written = read_bim(&format!("{snv}21 del 0 70002 T TCA\n"), &IntakeOptions::default());
    assert_eq!((written.variants_matched, written.files[0].swapped), (2, 0));
}

#[test]
fn a_reference_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = write(dir.path(), "a.vcf", format!("{HEADER}1\t5\t.\tA\tC\t.\t.\t.\tGT\t0/1\n"));
    let panel = panel_of(Assembly::GRCh38, &["1:5:A:C"]);
    for (text, expected) in [
        (">1\nACGT\n", "the header declares 4 bases for chromosome 1"),
        (">scaffold\nACGT\n", "the reference sequence has no chromosome 1 to 22"),
        ("no fasta\n", "the reference sequence cannot be used"),
        ("", "the reference sequence has no chromosome 1 to 22"),
    ] {
        let reference = Some(write(dir.path(), "r.fa", text));
        let options = IntakeOptions { reference, ..IntakeOptions::default() };
        let error = read_with(&vcf(&path), &panel, &options).expect_err(expected).to_string();
        assert!(error.contains("r.fa: ") && error.contains(expected), "{error}");
    }
    let options = IntakeOptions { reference: Some(dir.path().join("none.fa")), ..IntakeOptions::default() };
    let error = read_with(&vcf(&path), &panel, &options).expect_err("no such file").to_string();
    assert!(error.contains("none.fa"), "{error}");
}
