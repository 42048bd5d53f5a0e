//! Panels from every kind of list, and PLINK files whose allele order differs from the panel's.

mod common;

use common::{build, ignore_progress, panel_of, read, vcf, write};
use locus_genomics::{Assembly, Genotype, Genotype::*, Panel};
use locus_intake::{
    CohortSource, CompleteCalls, IntakeError, PanelReport, PanelRequest, PanelSource, PlinkFiles, RefusalReason as R,
    build_panel,
};
use std::path::Path;

fn of_list(text: &str) -> Result<(Panel, PanelReport), IntakeError> {
    let dir = tempfile::tempdir().expect("a directory");
    let source = PanelSource::Sites(write(dir.path(), "sites", text));
    let request = PanelRequest {
        name: "list".to_owned(),
        assembly: Assembly::GRCh38,
        complete_calls: CompleteCalls::Declared(true),
        reference: None,
    };
    build_panel(&source, &request, dir.path(), &mut ignore_progress)
}

fn ids(panel: &Panel) -> Vec<String> {
    panel.variants().map(|variant| variant.to_string()).collect()
}

#[test]
fn lists_of_every_form_give_the_same_panel() {
    let columns = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO";
    let lists = [
        "chrom\tpos\tref\talt\n2\t7\tG\tT\nchr1\t5\tA\tC,G\n".to_owned(),
        "# a comment\n1 5 A C\n1 5 A G\n\n2 7 g t\n".to_owned(),
        "id\n1:5:A:C\nchr2:7:G:T\n1:5:A:G\n".to_owned(),
        format!("##fileformat=VCFv4.2\n{columns}\n1\t5\t.\tA\tC,G\t.\t.\t.\n2\t7\t.\tG\tT\t.\t.\t.\n"),
        format!(
            "##fileformat=VCFv4.2\n{columns}\tFORMAT\ta\n1\t5\t.\tA\tC,G\t.\t.\t.\tGT\t./.\n2\t6\t.\tCG\tCT\t.\t.\t.\tGT\t./.\n"
        ),
    ];
    for text in lists {
        let (panel, report) = of_list(&text).expect("a panel");
        assert_eq!(ids(&panel), ["1:5:A:C", "1:5:A:G", "2:7:G:T"], "{text}");
        assert!(panel.complete_calls());
        assert_eq!((report.variants, report.repeated, report.missing_calls), (3, 0, None));
    }
}

#[test]
fn what_a_panel_cannot_carry_is_counted_and_left_out() {
    let (panel, report) =
        of_list("1 5 A C\nX 5 A C\n1 6 A <DEL>\n1 7 A N\nchrUn 5 A C\n1 5 A C\n1 0 A C\n").expect("a panel");
    assert_eq!(ids(&panel), ["1:5:A:C"]);
    assert_eq!((report.repeated, report.files[0].records, report.files[0].matched), (1, 7, 2));
    let refused: Vec<_> = report.files[0].refused.iter().map(|(why, found)| (*why, found.count)).collect();
    let expected =
        [(R::NotAutosomal, 1), (R::UnknownContig, 1), (R::Position, 1), (R::SymbolicAllele, 1), (R::AlleleLetters, 1)];
    assert_eq!(refused, expected);
}

#[test]
fn bad_lists_are_named_by_line() {
    for (text, expected) in [
        ("1 5 A\n", "line 1: expected 4 columns, found 3"),
        ("1 5 A C\n1 five A C\n", "line 2: \"five\" is not a position"),
        ("rs123\n", "line 1: expected 4 columns, found 1"),
        ("# nothing\n", "the file has no records"),
        ("X 5 A C\n", "a panel needs at least one variant"),
        (
            "1 248956423 A C\n",
            "variant 1:248956423:A:C lies past the end of its chromosome in GRCh38: is the assembly right?",
        ),
    ] {
        let error = of_list(text).expect_err(expected).to_string();
        assert!(error.ends_with(expected), "{error}");
    }
}

#[test]
fn complete_calls_are_found_out_by_reading_the_cohort() {
    let dir = tempfile::tempdir().expect("a directory");
    let header = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ta\tb\n";
    for (calls, complete, missing) in [("0/1\t0/0", true, 0), ("0/1\t./.", false, 1)] {
        let path = write(dir.path(), "c.vcf", format!("{header}1\t5\t.\tA\tC\t.\t.\t.\tGT\t{calls}\n"));
        let (panel, report) = build("p", Assembly::GRCh38, vcf(path)).expect("a panel");
        assert_eq!((panel.complete_calls(), report.missing_calls), (complete, Some(missing)));
    }
}

/// Four people with the codes 0, 1, 2, 3 at every variant.
fn plink(dir: &Path, bim: &str) -> CohortSource {
    write(dir, "x.bed", [vec![0x6c, 0x1b, 0x01], vec![0b11_10_01_00; bim.lines().count()]].concat());
    write(dir, "x.bim", bim);
    write(dir, "x.fam", "f a 0 0 1 -9\nf b 0 0 1 -9\nf c 0 0 1 -9\nf d 0 0 1 -9\n");
    CohortSource::Plink(PlinkFiles::of_prefix(&dir.join("x")))
}

#[test]
fn plink_alleles_match_in_either_order_where_that_is_certain() {
    const AS_WRITTEN: [Genotype; 4] = [HomAlt, Missing, Het, HomRef];
    const EXCHANGED: [Genotype; 4] = [HomRef, Missing, Het, HomAlt];
    const NONE: [Genotype; 4] = [Missing; 4];
    let dir = tempfile::tempdir().expect("a directory");
    let keeper = "1 keep 0 5 C A\n";
    for (panel, alleles, expected, refused) in [
        ("1:9:A:G", "G A", AS_WRITTEN, None),
        ("1:9:A:G", "g a", AS_WRITTEN, None),
        ("1:9:A:G", "A G", EXCHANGED, None),
        ("1:9:A:T", "T A", AS_WRITTEN, None),
        ("1:9:A:T", "A T", NONE, Some(R::StrandAmbiguous)),
        ("1:9:A:G", "C T", NONE, Some(R::StrandFlipped)),
        ("1:9:A:G", "T C", NONE, Some(R::StrandFlipped)),
        ("1:9:A:G", "C G", NONE, Some(R::ReferenceMismatch)),
        ("1:9:A:G", "C A", NONE, None),
        ("1:9:A:AG", "AG A", AS_WRITTEN, None),
        ("1:9:A:AG", "A AG", NONE, Some(R::Swapped)),
        ("1:9:A:G", "- A", NONE, Some(R::AlleleLetters)),
        ("1:9:A:G", "0 A", NONE, Some(R::OtherAllele)),
    ] {
        let source = plink(dir.path(), &format!("{keeper}chr1 x 0 9 {alleles}\n"));
        let panel = panel_of(Assembly::GRCh38, &["1:5:A:C", panel]);
        let cohort = read(&source, &panel).expect("a cohort");
        let row: Vec<Genotype> = cohort.spool.row(locus_genomics::VariantIndex(1)).expect("a row").iter().collect();
        assert_eq!(row, expected, "{panel:?} {alleles}");
        let found: Vec<R> = cohort.report.files[0].refused.keys().copied().collect();
        assert_eq!(found, refused.into_iter().collect::<Vec<_>>(), "{alleles}");
        assert_eq!(cohort.report.files[0].swapped, u64::from(expected == EXCHANGED), "{alleles}");
    }
}

#[test]
fn a_variant_that_nobody_carries_matches_by_the_allele_that_all_have() {
    let dir = tempfile::tempdir().expect("a directory");
    let panel = panel_of(Assembly::GRCh38, &["1:5:A:C", "1:9:A:G", "1:9:A:T"]);
    let source = plink(dir.path(), "1 keep 0 5 C A\n1 x 0 9 0 A\n");
    // Nobody carries A1: codes 1 and 3 only.
    write(dir.path(), "x.bed", [0x6c, 0x1b, 0x01, 0b11_10_01_00, 0b11_11_01_11]);
    let cohort = read(&source, &panel).expect("a cohort");
    for variant in [1, 2] {
        let row: Vec<Genotype> =
            cohort.spool.row(locus_genomics::VariantIndex(variant)).expect("a row").iter().collect();
        assert_eq!(row, [HomRef, Missing, HomRef, HomRef]);
    }
}

#[test]
fn plink_variants_outside_the_autosomes_are_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let source = plink(dir.path(), "1 keep 0 5 C A\n23 x 0 5 C A\n0 x 0 5 C A\n26 x 0 5 C A\n1 x 0 -7 C A\n");
    let report = read(&source, &panel_of(Assembly::GRCh38, &["1:5:A:C"])).expect("a cohort").report;
    let refused: Vec<_> = report.files[0].refused.iter().map(|(why, found)| (*why, found.count)).collect();
    assert_eq!(refused, [(R::NotAutosomal, 2), (R::UnknownContig, 1), (R::Position, 1)]);
}
