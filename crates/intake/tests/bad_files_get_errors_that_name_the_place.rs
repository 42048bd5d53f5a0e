//! Whatever is wrong with a file, its owner learns which file, which line, and what to do.

mod common;

use common::{build, panel_of, read, read_with, vcf, write};
use locus_genomics::{Assembly, Panel, Variant};
use locus_intake::{CohortSource, IntakeOptions, PlinkFiles};
use std::{io::Write as _, path::Path};

const HEADER: &str = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ta\tb\n";
const RECORD: &str = "1\t5\t.\tA\tC\t.\t.\t.\tGT\t0/1\t1/1\n";

fn panel() -> Panel {
    panel_of(Assembly::GRCh38, &["1:5:A:C", "1:9:A:C"])
}

/// Reads bytes as a VCF and returns the error's text without the directory.
fn vcf_error(bytes: impl AsRef<[u8]>) -> String {
    let dir = tempfile::tempdir().expect("a directory");
    let path = write(dir.path(), "cohort.vcf", bytes);
    let error = read(&vcf(path), &panel()).expect_err("a bad file").to_string();
    error.replace(&format!("{}/", dir.path().display()), "")
}

fn gzipped(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).expect("written");
    encoder.finish().expect("finished")
}

fn bgzipped(text: &str) -> Vec<u8> {
    let mut writer = noodles::bgzf::io::Writer::new(Vec::new());
    writer.write_all(text.as_bytes()).expect("written");
    writer.finish().expect("finished")
}

/// Text that does not compress to nothing, so that there is something to cut off.
fn long_vcf() -> String {
    let record = |position: u32| {
        RECORD.replace("\t5\t.", &format!("\t{}\tid{}", position, position.wrapping_mul(2_654_435_761)))
    };
    (10..4000).fold(format!("{HEADER}{RECORD}"), |text, position| text + &record(position))
}

#[test]
fn compressed_files_are_read_by_their_first_bytes_whatever_their_name() {
    let text = long_vcf();
    for bytes in
        [gzipped(&text), bgzipped(&text), zstd::encode_all(text.as_bytes(), 3).expect("packed"), text.into_bytes()]
    {
        let dir = tempfile::tempdir().expect("a directory");
        let path = write(dir.path(), "cohort.vcf", bytes);
        assert_eq!(read(&vcf(path), &panel()).expect("a cohort").report.files[0].records, 3991);
    }
}

#[test]
fn cut_off_and_damaged_compressed_files_are_told_apart_from_short_ones() {
    let text = long_vcf();
    let cut_off = "cohort.vcf: the compressed data end early: the file is cut off, fetch it again";
    for packed in [gzipped(&text), bgzipped(&text), zstd::encode_all(text.as_bytes(), 3).expect("packed")] {
        for len in [packed.len() - 1, packed.len() - 9, packed.len() / 2, 40] {
            assert_eq!(vcf_error(&packed[..len]), cut_off, "{len} of {} bytes", packed.len());
        }
        let mut damaged = packed.clone();
        let middle = damaged.len() / 2;
        damaged[middle..middle + 8].fill(0xff);
        let error = vcf_error(&damaged);
        let is_seen = error.contains("damaged") || error.contains("cut off") || error.contains("line ");
        assert!(is_seen, "{error}");
    }
    // Cut between two blocks, a BGZF file decompresses without complaint: only its end mark tells.
    let blocks = bgzipped(&text);
    assert_eq!(vcf_error(&blocks[..blocks.len() - 28]), cut_off);
}

#[test]
fn files_of_another_kind_are_named() {
    assert_eq!(vcf_error(""), "cohort.vcf: the file is empty: fetch or export it again");
    assert_eq!(vcf_error([0x89, b'P', b'N', b'G', 0, 1, 2, 3]), "cohort.vcf: this is not a VCF or BCF file");
    assert_eq!(vcf_error("PK\x03\x04rest"), "cohort.vcf: this is a zip archive: unpack it first");
    assert_eq!(vcf_error("rs1\t1\t5\tAA\n"), "cohort.vcf: this is not a VCF or BCF file");
    let panel = panel();
    let missing = read(&vcf("/nonexistent/file.vcf"), &panel).expect_err("no file").to_string();
    assert!(missing.starts_with("/nonexistent/file.vcf: cannot be opened: "), "{missing}");
    let directory = read(&vcf("/"), &panel).expect_err("a directory").to_string();
    assert_eq!(directory, "/: this is not a regular file");
}

#[test]
fn broken_headers_are_named() {
    let columns = "expected the column names #CHROM POS ID REF ALT QUAL FILTER INFO, separated by tabs";
    for (text, expected) in [
        ("##fileformat=VCFv4.2\n".to_owned(), "cohort.vcf: the file ends within its header: fetch it again".to_owned()),
        (format!("##fileformat=VCFv4.2\n{RECORD}"), format!("cohort.vcf: line 2: {columns}")),
        (HEADER.replace("\tREF\tALT", "\tALT\tREF") + RECORD, format!("cohort.vcf: line 2: {columns}")),
        (
            HEADER.replace("FORMAT", "format"),
            "cohort.vcf: line 2: expected the column name FORMAT after INFO".to_owned(),
        ),
        (
            HEADER.replace("\ta\tb", "\ta\ta"),
            "cohort.vcf: line 2: sample \"a\" is listed twice: give every person a name of their own".to_owned(),
        ),
        (HEADER.replace("\ta\tb", ""), "cohort.vcf: there is no sample column: is this a sites-only file?".to_owned()),
        (HEADER.to_owned(), "cohort.vcf: the file has no records".to_owned()),
    ] {
        assert_eq!(vcf_error(&text), expected, "{text}");
    }
    let binary = [b"##fileformat=VCFv4.2\n##x=\xff\xfe\n", HEADER.as_bytes()].concat();
    assert_eq!(vcf_error(binary), "cohort.vcf: line 2: the line is not text: is the file damaged or of another kind?");
}

#[test]
fn broken_records_are_named_by_line() {
    for (record, expected) in [
        ("1\t9\t.\tA\tC\t.\t.\t.\tGT\t0/1\n", "line 4: expected 11 columns, found 10"),
        ("1\t9\t.\tA\tC\t.\t.\t.\tGT\t0/1\t0/1\t0/1\n", "line 4: expected 11 columns, found 12"),
        ("1\t9 .\tA\tC\t.\t.\t.\tGT\t0/1\t0/1\n", "line 4: expected 11 columns, found 10"),
        ("1\tnine\t.\tA\tC\t.\t.\t.\tGT\t0/1\t0/1\n", "line 4: \"nine\" is not a position"),
        ("1\t-9\t.\tA\tC\t.\t.\t.\tGT\t0/1\t0/1\n", "line 4: \"-9\" is not a position"),
        ("1\t9\t.\tA\tC\t.\t.\t.\tGT\t0/1\t0/x\n", "line 4: \"0/x\" is not a genotype"),
        ("1\t9\t.\tA\tC\t.\t.\t.\tGT\t0/1\t0/2\n", "line 4: genotype \"0/2\" names an allele that the record lacks"),
        ("1\t9\t.\tA\tC\t.\t.\t.\tGT:DP\t0/1:3\t\n", "line 4: \"\" is not a genotype"),
        ("\x00\x01\x02\n", "line 4: expected 11 columns, found 1"),
    ] {
        let text = format!("{HEADER}{RECORD}{record}");
        assert_eq!(vcf_error(&text), format!("cohort.vcf: {expected}"));
    }
}

#[test]
fn wrong_assemblies_are_refused_by_header_and_by_contradiction() {
    let with = |line: &str| HEADER.replace("VCFv4.2\n", &format!("VCFv4.2\n{line}\n")) + RECORD;
    for (line, expected) in [
        (
            "##reference=file:///refs/hs37d5.fa",
            "the header declares GRCh37 (file:///refs/hs37d5.fa), the panel is on GRCh38: lift the file over, or choose a panel on GRCh37",
        ),
        (
            "##contig=<ID=chr1,assembly=hg19>",
            "the header declares GRCh37 (hg19), the panel is on GRCh38: lift the file over, or choose a panel on GRCh37",
        ),
        (
            "##contig=<ID=1,length=249250621>",
            "the header declares 249250621 bases for chromosome 1, GRCh38 has 248956422: the file is on another assembly",
        ),
    ] {
        assert_eq!(vcf_error(with(line)), format!("cohort.vcf: {expected}"));
    }
    let dir = tempfile::tempdir().expect("a directory");
    for line in [
        "##reference=GRCh38.fa",
        "##contig=<ID=1,length=248956422>",
        "##source=lifted from hg19",
        "##reference=hg38 lifted from hg19",
    ] {
        let path = write(dir.path(), "good.vcf", with(line));
        assert!(read(&vcf(path), &panel()).is_ok(), "{line}");
    }
    let stated = IntakeOptions { assembly: Some(Assembly::GRCh38), ..IntakeOptions::default() };
    let path = write(dir.path(), "stated.vcf", with("##reference=hg19"));
    assert!(read_with(&vcf(&path), &panel(), &stated).is_ok(), "the owner knows better");
    let other = IntakeOptions { assembly: Some(Assembly::GRCh37), ..IntakeOptions::default() };
    assert!(read_with(&vcf(&path), &panel(), &other).is_err());
}

#[test]
fn a_file_that_mostly_contradicts_the_panel_is_on_another_assembly() {
    let variants: Vec<Variant> = (1..=40).map(|position| format!("1:{position}:A:C").parse().expect("an id")).collect();
    let panel = Panel::try_new("p", Assembly::GRCh38, false, variants.iter().map(Variant::as_ref)).expect("a panel");
    let file = |contradicting: u32| {
        (1..=40).fold(HEADER.to_owned(), |text, position| {
            let alleles = if position <= contradicting { "G\tT" } else { "A\tC" };
            text + &format!("1\t{position}\t.\t{alleles}\t.\t.\t.\tGT\t0/1\t0/0\n")
        })
    };
    let dir = tempfile::tempdir().expect("a directory");
    let path = write(dir.path(), "c.vcf", file(21));
    let error = read(&vcf(path), &panel).expect_err("mostly contradicting").to_string();
    assert!(error.contains("21 of 40 records have other alleles than the panel"), "{error}");
    let path = write(dir.path(), "c.vcf", file(20));
    let report = read(&vcf(path), &panel).expect("as many agree").report;
    assert_eq!((report.variants_matched, report.variants_refused), (20, 20));
}

#[test]
fn nothing_on_the_panel_and_missing_calls_on_a_complete_panel_are_errors() {
    assert_eq!(
        vcf_error(format!("{HEADER}{}", RECORD.replace("\t5\t", "\t6\t"))),
        "cohort.vcf: none of 1 records is on the panel: is it the right panel?"
    );
    let dir = tempfile::tempdir().expect("a directory");
    let path = write(dir.path(), "cohort.vcf", format!("{HEADER}{RECORD}"));
    let error = read(&vcf(&path), &panel().with_complete_calls(true)).expect_err("1:9:A:C is absent").to_string();
    assert!(
        error.contains("2 calls are missing (the first at 1:9:A:C), and the panel declares complete calls"),
        "{error}"
    );
    let covered = panel_of(Assembly::GRCh38, &["1:5:A:C"]).with_complete_calls(true);
    assert!(read(&vcf(&path), &covered).is_ok());
}

/// Two people, three variants: `.bed`, `.bim`, `.fam`.
const BED: [u8; 6] = [0x6c, 0x1b, 0x01, 0b1110, 0b1000, 0b0101];
const BIM: &str = "1\trs1\t0\t5\tC\tA\n1\trs2\t0\t9\tC\tA\n1\trs3\t0\t11\tC\tA\n";
const FAM: &str = "f a 0 0 1 -9\nf b 0 0 2 -9\n";

fn plink_in(dir: &Path, bed: &[u8], bim: &str, fam: &str) -> CohortSource {
    write(dir, "x.bed", bed);
    write(dir, "x.bim", bim);
    write(dir, "x.fam", fam);
    CohortSource::Plink(PlinkFiles::of_prefix(&dir.join("x")))
}

#[test]
fn plink_files_that_do_not_belong_together_are_named() {
    let dir = tempfile::tempdir().expect("a directory");
    assert!(read(&plink_in(dir.path(), &BED, BIM, FAM), &panel()).is_ok());
    let long_bed = [&BED[..], &[0]].concat();
    let six = "f a 0 0 1 -9\n".to_owned() + "f b 0 0 1 -9\nf c 0 0 1 -9\nf d 0 0 1 -9\nf e 0 0 1 -9\n";
    for (bed, bim, fam, expected) in [
        (
            &BED[..5],
            BIM,
            FAM,
            "x.bed: 2 people on 3 variants take 6 bytes, the file has 5: do .bed, .bim and .fam belong together?",
        ),
        (
            &long_bed,
            BIM,
            FAM,
            "x.bed: 2 people on 3 variants take 6 bytes, the file has more: do .bed, .bim and .fam belong together?",
        ),
        (
            &BED,
            BIM,
            &six,
            "x.bed: 5 people on 3 variants take 9 bytes, the file has 6: do .bed, .bim and .fam belong together?",
        ),
        (&[0x6c, 0x1b, 0x00, 1], BIM, FAM, "x.bed: this .bed is individual-major: convert it with plink --make-bed"),
        (b"BED", BIM, FAM, "x.bed: this is not a PLINK 1 .bed file"),
        (&BED[..2], BIM, FAM, "x.bed: this is not a PLINK 1 .bed file"),
        (&[], BIM, FAM, "x.bed: the file is empty: fetch or export it again"),
        (&BED, "1\trs1\t0\t5\tC\n", FAM, "x.bim: line 1: expected 6 columns, found 5"),
        (&BED, "1\trs1\t0\tfive\tC\tA\n", FAM, "x.bim: line 1: \"five\" is not a position"),
        (&BED, BIM, "f a 0 0 1 -9\nb 0 0 2 -9\n", "x.fam: line 2: expected 6 columns, found 5"),
        (
            &BED,
            BIM,
            "f a 0 0 1 -9\ng a 0 0 2 -9\n",
            "x.fam: sample \"a\" is listed twice: give every person a name of their own",
        ),
        (&BED, "", FAM, "x.bim: the file is empty: fetch or export it again"),
        (&BED, BIM, "\n", "x.fam: line 1: expected 6 columns, found 0"),
    ] {
        let error = read(&plink_in(dir.path(), bed, bim, fam), &panel()).expect_err(expected).to_string();
        assert_eq!(error.replace(&format!("{}/", dir.path().display()), ""), expected);
    }
}

#[test]
fn raw_text_without_a_usable_assembly_or_format_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let good = "# build 38\n# rsid\tchromosome\tposition\tgenotype\nrs1\t1\t5\tAC\n";
    let check = |text: &str| {
        let path = write(dir.path(), "me.txt", text);
        let found = read(&CohortSource::TwentyThree(path), &panel());
        found
            .map(|cohort| cohort.samples[0].to_string())
            .map_err(|error| error.to_string().replace(&format!("{}/", dir.path().display()), ""))
    };
    assert_eq!(check(good).as_deref(), Ok("me"));
    for (text, expected) in [
        (
            good.replace("build 38", "build 36"),
            "me.txt: the file names neither GRCh37 nor GRCh38 as its assembly: state the assembly",
        ),
        (
            good.replace("build 38", "reference human assembly build 37"),
            "me.txt: the header declares GRCh37 (# reference human assembly build 37), the panel is on GRCh38: lift the file over, or choose a panel on GRCh37",
        ),
        (good.replace("AC", "AX"), "me.txt: line 3: \"AX\" is not a genotype"),
        (good.replace("\t5\t", "\tfive\t"), "me.txt: line 3: \"five\" is not a position"),
        (good.to_owned() + "rs2\t1\t9\n", "me.txt: line 4: expected 4 columns, found 3"),
        ("# build 38\nrs1,1,5,AC\n".to_owned(), "me.txt: this is not a 23andMe raw data file"),
        ("# build 38\n".to_owned(), "me.txt: the file has no records"),
    ] {
        assert_eq!(check(&text), Err(expected.to_owned()), "{text}");
    }
}

#[test]
fn a_panel_cannot_be_built_from_letters_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = write(dir.path(), "me.txt", "# build 38\nrs1\t1\t5\tAC\n");
    let error = build("p", Assembly::GRCh38, CohortSource::TwentyThree(path)).expect_err("no alleles").to_string();
    assert!(error.contains("does not tell reference from alternate alleles"), "{error}");
}
