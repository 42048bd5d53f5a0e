//! What becomes of single records of a VCF.

mod common;

use common::{panel_of, read, read_with, vcf, write};
use locus_genomics::{Assembly, Genotype, Genotype::*, VariantIndex};
use locus_intake::{CohortSource, FileProblem, IntakeError, IntakeOptions, RefusalReason, RefusalReason as R};

/// A VCF with these records (fields separated by blanks) and as many samples as they have.
fn vcf_text(records: &[&str]) -> String {
    let samples = records.first().map_or(0, |record| record.split(' ').count() - 9);
    let names: Vec<String> = (0..samples).map(|sample| format!("s{sample}")).collect();
    let columns = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT";
    let records: String = records.iter().map(|record| record.replace(' ', "\t") + "\n").collect();
    format!("##fileformat=VCFv4.2\n{columns}\t{}\n{records}", names.join("\t"))
}

struct Outcome {
    genotypes: Vec<Vec<Genotype>>,
    report: locus_intake::IntakeReport,
}

impl Outcome {
    fn refused(&self) -> Vec<(RefusalReason, u64)> {
        self.report.files[0].refused.iter().map(|(reason, refusals)| (*reason, refusals.count)).collect()
    }
}

/// Reads records onto a panel of these variants; genotypes by variant, in panel order.
fn outcome_with(panel: &[&str], records: &[&str], options: &IntakeOptions) -> Result<Outcome, IntakeError> {
    let dir = tempfile::tempdir().expect("a directory");
    let path = write(dir.path(), "cohort.vcf", vcf_text(records));
    let panel = panel_of(Assembly::GRCh38, panel);
    let cohort = read_with(&vcf(path), &panel, options)?;
    let row = |index| cohort.spool.row(VariantIndex(index)).expect("a row").iter().collect();
    Ok(Outcome { genotypes: (0..panel.variant_count()).map(row).collect(), report: cohort.report })
}

fn outcome(panel: &[&str], records: &[&str]) -> Outcome {
    outcome_with(panel, records, &IntakeOptions::default()).expect("a cohort")
}

/// A record that is always on the panel, so that a cohort comes about.
const GOOD: &str = "1 5 . A C . . . GT 0/1 1/1";

#[test]
fn calls_are_read_in_every_notation() {
    for (call, expected) in [
        ("0/0", HomRef),
        ("0|1", Het),
        ("1/0", Het),
        ("1|1", HomAlt),
        ("./.", Missing),
        (".", Missing),
        ("./1", Missing),
        ("0|.", Missing),
        ("/1/1", HomAlt),
        ("0/1:35:9", Het),
    ] {
        let format = if call.contains(':') { "GT:DP:GQ" } else { "GT" };
        let found = outcome(&["1:5:A:C"], &[&format!("chr1 5 rs1 A C 50 PASS . {format} {call} 1/1")]);
        assert_eq!(found.genotypes, [[expected, HomAlt]], "{call}");
    }
}

#[test]
fn several_alternate_alleles_are_split_and_count_their_own_copies() {
    let found = outcome(&["1:5:A:C", "1:5:A:G"], &["1 5 . A C,G . . . GT 1/2 0/2 2|2 0/0 ./2 1/1"]);
    assert_eq!(found.genotypes[0], [Het, HomRef, HomRef, HomRef, Missing, HomAlt]);
    assert_eq!(found.genotypes[1], [Het, Het, HomAlt, HomRef, Missing, HomRef]);
    assert_eq!((found.report.files[0].matched, found.report.files[0].records), (2, 1));
}

#[test]
fn more_than_nine_alternate_alleles_are_told_apart() {
    let found = outcome(&["1:5:A:AT"], &["1 5 . A C,G,T,AA,AC,AG,AAA,AAC,AAG,AT,ATT . . . GT 10/10 1/0 11/10"]);
    assert_eq!(found.genotypes, [[HomAlt, HomRef, Het]]);
}

#[test]
fn alleles_match_in_normal_form_and_any_letter_case() {
    for record in ["1 5 . a g . . . GT 0/1", "1 4 . TA TG . . . GT 0/1", "1 5 . ACC GCC . . . GT 0/1"] {
        assert_eq!(outcome(&["1:5:A:G"], &[record]).genotypes, [[Het]], "{record}");
    }
    let split = outcome(&["1:5:G:GA", "1:5:GA:G"], &["1 5 . GA GAA,G . . . GT 1/2"]);
    assert_eq!(split.genotypes, [[Het], [Het]]);
}

#[test]
fn what_cannot_be_used_is_refused_with_its_reason_and_stays_missing() {
    for (record, reason) in [
        ("1 9 . C A . . . GT 0/1 0/0", R::Swapped),
        ("1 9 . T G . . . GT 0/1 0/0", R::StrandFlipped),
        ("1 9 . G A . . . GT 0/1 0/0", R::ReferenceMismatch),
        ("1 9 . A C . . . GT 0/1 1", R::Haploid),
        ("1 9 . A C . . . GT 0/1/1 0/1", R::Polyploid),
        ("1 9 . A C . . . DP 3 4", R::NoGenotypes),
        ("1 9 . A <DEL> . . . GT 0/1 0/0", R::SymbolicAllele),
        ("1 9 . A * . . . GT 0/1 0/0", R::SymbolicAllele),
        ("1 9 . A A[2:5[ . . . GT 0/1 0/0", R::SymbolicAllele),
        ("1 9 . A N . . . GT 0/1 0/0", R::AlleleLetters),
        ("1 9 . A R . . . GT 0/1 0/0", R::AlleleLetters),
        ("1 0 . A C . . . GT 0/1 0/0", R::Position),
        ("X 9 . A C . . . GT 0/1 0/0", R::NotAutosomal),
        ("chrM 9 . A C . . . GT 0/1 0/0", R::NotAutosomal),
        ("GL000207.1 9 . A C . . . GT 0/1 0/0", R::UnknownContig),
    ] {
        let found = outcome(&["1:5:A:C", "1:9:A:C"], &[GOOD, record]);
        assert_eq!(found.refused(), [(reason, 1)], "{record}");
        assert_eq!(found.genotypes[0], [Het, HomAlt], "{record}");
        assert_eq!(found.genotypes[1], [Missing, Missing], "{record}");
        let example = &found.report.files[0].refused[&reason].examples[0];
        assert!(example.starts_with("line 4: "), "{example}");
    }
    let long = format!("1 9 . A {} . . . GT 0/1 0/0", "C".repeat(1025));
    assert_eq!(outcome(&["1:5:A:C"], &[GOOD, &long]).refused(), [(R::AlleleLength, 1)]);
}

#[test]
fn another_alternate_allele_at_a_site_is_off_the_panel_not_a_contradiction() {
    let found = outcome(&["1:5:A:C", "1:9:A:C"], &[GOOD, "1 9 . A G . . . GT 0/1 0/0"]);
    assert_eq!(found.refused(), []);
    assert_eq!(found.report.files[0].off_panel, 1);
    assert_eq!(found.genotypes[1], [Missing, Missing]);
}

#[test]
fn a_repeated_record_counts_once_and_a_contradicting_one_refuses_the_variant() {
    let same = outcome(&["1:5:A:C"], &[GOOD, GOOD]);
    assert_eq!((same.report.files[0].repeated, same.refused()), (1, vec![]));
    assert_eq!(same.genotypes, [[Het, HomAlt]]);
    let other =
        outcome(&["1:5:A:C", "1:6:A:C"], &["1 6 . A C . . . GT 0/0 0/0", GOOD, "1 5 . A C . . . GT 0/0 1/1", GOOD]);
    assert_eq!(other.refused(), [(R::Duplicate, 2)]);
    assert_eq!(other.genotypes[0], [Missing, Missing]);
    assert_eq!(other.report.variants_refused, 1);
}

#[test]
fn absent_variants_are_reference_only_by_choice_and_refused_ones_never() {
    let panel = ["1:5:A:C", "1:9:A:C", "1:12:A:C", "1:14:A:C"];
    let records = [GOOD, "1 9 . A C . . . GT 1 1", "1 12 . C A . . . GT 0/0 0/0"];
    let cautious = outcome(&panel, &records);
    assert_eq!(cautious.genotypes[3], [Missing, Missing]);
    assert_eq!(cautious.report.missing_calls, 6);
    let options = IntakeOptions { assume_hom_ref: true, ..IntakeOptions::default() };
    let assumed = outcome_with(&panel, &records, &options).expect("a cohort");
    assert_eq!(assumed.genotypes[1], [Missing, Missing], "haploid");
    assert_eq!(assumed.genotypes[2], [Missing, Missing], "exchanged alleles");
    assert_eq!(assumed.genotypes[3], [HomRef, HomRef], "absent");
    let report = assumed.report;
    let counts = (report.variants_matched, report.variants_refused, report.variants_absent, report.missing_calls);
    assert_eq!(counts, (1, 2, 1, 4));
    assert!(report.absent_taken_as_reference);
}

#[test]
fn filtered_records_are_left_out_on_request() {
    let records = [GOOD, "1 9 . A C . LowQual . GT 0/1 0/1"];
    assert_eq!(outcome(&["1:5:A:C", "1:9:A:C"], &records).refused(), []);
    let options = IntakeOptions { pass_only: true, ..IntakeOptions::default() };
    let found = outcome_with(&["1:5:A:C", "1:9:A:C"], &records, &options).expect("a cohort");
    assert_eq!(found.refused(), [(R::Filtered, 1)]);
    assert_eq!(found.genotypes, [[Het, HomAlt], [Missing, Missing]]);
}

#[test]
fn reference_blocks_give_reference_calls_to_those_who_have_one() {
    let panel = ["1:10:A:C", "1:11:GT:G", "1:19:A:C", "1:20:A:C", "1:30:A:C", "1:30:A:G", "1:40:A:C"];
    let found = outcome(
        &panel,
        &[
            "1 10 . A <NON_REF> . . END=19 GT:DP:GQ:MIN_DP 0/0:30:99:20 0/0:0:0:0 ./.:0:0:0",
            "1 20 . AG A,<NON_REF> . . . GT:DP 0/0:3 0/1:9 0/0:4",
            "1 30 . A C,<NON_REF> . . . GT:DP 0/1:30 0/0:12 0/2:9",
            "1 40 . A . . . . GT:DP 0/0:3 0/0:7 0/0:8",
        ],
    );
    let expected = [
        [HomRef, Missing, Missing],
        [HomRef, Missing, Missing],
        [HomRef, Missing, Missing],
        // The deletion's anchor: who carries the deletion carries no other allele there.
        [HomRef, HomRef, HomRef],
        [Het, HomRef, HomRef],
        [HomRef, HomRef, Missing],
        [HomRef, HomRef, HomRef],
    ];
    assert_eq!(found.genotypes, expected);
    assert_eq!(found.report.files[0].reference_blocks, 4);
    assert_eq!((found.report.variants_matched, found.report.variants_covered), (1, 6));
}

#[test]
fn a_reference_block_never_replaces_a_call_nor_contradicts_the_bases() {
    let found = outcome(
        &["1:10:A:C", "1:11:A:C", "1:12:AT:A"],
        &["1 10 . A C . . . GT 0/1", "1 10 . AG . . . . GT 0/0", "1 12 . A <*> . . END=12 GT 0/0"],
    );
    assert_eq!(found.genotypes, [[Het], [Missing], [Missing]], "call kept, base differs, deletion reaches past");
    let late = outcome(&["1:10:A:C"], &["1 9 . G <*> . . END=12 GT 0/0", "1 10 . A C . . . GT 0/1"]);
    assert_eq!(late.genotypes, [[Het]], "a record of its own wins over a block");
}

#[test]
fn one_file_a_chromosome_makes_one_cohort() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = write(dir.path(), "1.vcf", vcf_text(&[GOOD]));
    let second = write(dir.path(), "2.vcf", vcf_text(&["chr2 5 . A C . . . GT 0/0 0/1"]));
    let panel = panel_of(Assembly::GRCh38, &["1:5:A:C", "2:5:A:C"]);
    let cohort = read(&CohortSource::Vcf(vec![first.clone(), second]), &panel).expect("a cohort");
    assert_eq!(cohort.report.files.len(), 2);
    assert_eq!(cohort.spool.person(1).expect("a person").iter().collect::<Vec<_>>(), [HomAlt, Het]);
    let renamed = vcf_text(&["chr2 5 . A C . . . GT 0/0 0/1"]).replace("s0\ts1", "s1\ts0");
    let third = write(dir.path(), "3.vcf", renamed);
    let error = read(&CohortSource::Vcf(vec![first, third]), &panel).expect_err("other samples");
    assert!(matches!(error, IntakeError::File { problem: FileProblem::OtherSamples { .. }, .. }), "{error}");
}

#[test]
fn each_person_keeps_their_own_column() {
    // Person i carries variant i alone: a count of two would be somebody else's call.
    let people = 21;
    let ids: Vec<String> = (0..people).map(|variant| format!("1:{}:A:C", 10 + variant)).collect();
    let records: Vec<String> = (0..people)
        .map(|variant| {
            let calls: Vec<&str> = (0..people).map(|person| if person == variant { "0|1" } else { "0|0" }).collect();
            format!("1 {} . A C . . . GT {}", 10 + variant, calls.join(" "))
        })
        .collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    let found = outcome(&ids, &records);
    for (variant, row) in found.genotypes.iter().enumerate() {
        let carriers: Vec<usize> = (0..people).filter(|person| row[*person] != HomRef).collect();
        assert_eq!(carriers, [variant]);
    }
}

#[test]
fn a_usable_record_counts_beside_an_unusable_one_at_its_position_in_either_order() {
    let (exchanged, good) = ("1 9 . C A . . . GT 0/1 0/0", "1 9 . A C . . . GT 0/1 1/1");
    for records in [[GOOD, exchanged, good], [GOOD, good, exchanged]] {
        let found = outcome(&["1:5:A:C", "1:9:A:C"], &records);
        assert_eq!(found.genotypes[1], [Het, HomAlt], "{records:?}");
        assert_eq!(found.refused(), [(R::Swapped, 1)]);
    }
}

#[test]
fn a_record_contradicts_a_panel_only_if_no_variant_there_has_its_reference_allele() {
    let found = outcome(&["1:5:A:C", "1:9:A:C", "1:9:C:A"], &[GOOD, "1 9 . A G . . . GT 0/1 0/0"]);
    assert_eq!((found.refused(), found.report.files[0].off_panel), (vec![], 1));
}
