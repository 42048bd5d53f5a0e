//! Small public VCFs with unusual features, checked against the counts in their INFO columns.

mod common;

use common::{build, data_dir, read, read_with, vcf};
use flate2::read::MultiGzDecoder;
use locus_genomics::{Assembly, Variant, VariantIndex};
use locus_intake::{IntakeOptions, RefusalReason as R};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead as _, BufReader},
    path::Path,
};

/// AC and AN of every biallelic record, as its INFO column states them.
fn stated_counts(path: &Path) -> BTreeMap<Variant, (u64, u64)> {
    let lines = BufReader::new(MultiGzDecoder::new(File::open(path).expect("the file"))).lines();
    let mut stated = BTreeMap::new();
    for line in lines.map(|line| line.expect("text")).filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.splitn(9, '\t').collect();
        let number = |key: &str| {
            let value = columns[7].split(';').find_map(|field| field.strip_prefix(key));
            value.and_then(|text| text.parse().ok())
        };
        let (Some(count), Some(all)) = (number("AC="), number("AN=")) else { continue };
        let id = [columns[0], columns[1], columns[3], columns[4]].join(":");
        if let Ok(variant) = id.parse() {
            stated.insert(variant, (count, all));
        }
    }
    stated
}

#[test]
fn allele_counts_equal_the_stated_ones() {
    let Some(data) = data_dir() else { return };
    for (name, assembly, people, stated_min) in [
        ("multi_small/kgp_2548x3042_GRCh38.vcf.gz", Assembly::GRCh38, 2548, 3_000),
        ("multi_small/kgp_highcov_GRCh38_chr1_3202x889_snv_indel_sv.vcf.gz", Assembly::GRCh38, 3202, 850),
        ("aisnp/kidd.aisnp.1kg.vcf.gz", Assembly::GRCh37, 2504, 50),
        ("aisnp/seldin.aisnp.1kg.vcf.gz", Assembly::GRCh37, 2504, 110),
    ] {
        let path = data.join("extras").join(name);
        let stated = stated_counts(&path);
        let (panel, _) = build("extra", assembly, vcf(&path)).expect("a panel");
        let cohort = read(&vcf(&path), &panel).expect("a cohort");
        assert_eq!(cohort.samples.len(), people, "{name}");
        let mut compared = 0;
        for (index, variant) in (0..).zip(panel.variants()) {
            let Some((count, all)) = stated.get(&variant.to_owned()) else { continue };
            let found = cohort.spool.counts(VariantIndex(index)).expect("a row");
            // Some subsets kept the counts of the release they were cut from: those state another AN.
            if found.allele_number() == *all {
                assert_eq!(found.allele_count(), *count, "{name} {variant}");
                compared += 1;
            }
        }
        eprintln!("{name}: {compared} of {} variants compared", panel.variant_count());
        assert!(compared >= stated_min, "{name}: {compared} compared");
    }
}

#[test]
fn unusual_files_are_read_and_reported() {
    let Some(data) = data_dir() else { return };
    for (name, assembly, people, refused) in [
        ("multi_small/kgp_phase1_chr22_5x10376.vcf.gz", Assembly::GRCh37, None, &[][..]),
        ("multi_small/tiny1000G_GRCh38_3202x1004.vcf.gz", Assembly::GRCh38, Some(3202), &[R::NotAutosomal]),
        ("single_person/HG001_GIAB_subset_GRCh38.vcf.gz", Assembly::GRCh38, Some(2), &[]),
        ("single_person/PG_NA12878_chr21_hg19.vcf.gz", Assembly::GRCh37, Some(1), &[R::SymbolicAllele]),
        ("single_person/PG_NA12878_chr21_hg38.vcf.gz", Assembly::GRCh38, Some(1), &[]),
        ("pgx/pharmcat_positions_GRCh38.vcf.gz", Assembly::GRCh38, Some(1), &[R::NotAutosomal]),
    ] {
        let path = data.join("extras").join(name);
        let (panel, report) = build("extra", assembly, vcf(&path)).expect("a panel");
        let cohort = read(&vcf(&path), &panel.with_complete_calls(false)).expect("a cohort");
        let report = (report, cohort.report);
        assert!(people.is_none_or(|people| cohort.samples.len() == people), "{name}");
        for reason in refused {
            assert!(report.1.files[0].refused.contains_key(reason), "{name}: {reason}");
        }
        let other = if assembly == Assembly::GRCh37 { Assembly::GRCh38 } else { Assembly::GRCh37 };
        // By its header, or by a position past the end of a chromosome.
        assert!(build("extra", other, vcf(&path)).is_err(), "{name} on the other assembly");
    }
}

#[test]
fn one_persons_list_of_variants_covers_a_panel_only_by_choice() {
    let Some(data) = data_dir() else { return };
    let cohort_path = data.join("extras/multi_small/kgp_2548x3042_GRCh38.vcf.gz");
    let person_path = data.join("extras/single_person/PG_NA12878_chr21_hg38.vcf.gz");
    let (panel, _) = build("chr22", Assembly::GRCh38, vcf(&cohort_path)).expect("a panel");
    let error = read(&vcf(&person_path), &panel.clone().with_complete_calls(false)).expect_err("another chromosome");
    assert!(error.to_string().contains("none of 65370 records is on the panel"), "{error}");
    let (own, _) = build("chr21", Assembly::GRCh38, vcf(&person_path)).expect("a panel");
    let ids: Vec<Variant> =
        own.variants().map(|variant| variant.to_owned()).chain(["21:5000000:A:C".parse().expect("an id")]).collect();
    let wider = locus_genomics::Panel::try_new("wide", Assembly::GRCh38, false, ids.iter().map(Variant::as_ref));
    let wider = wider.expect("a panel");
    let cautious = read(&vcf(&person_path), &wider).expect("a person").report;
    let options = IntakeOptions { assume_hom_ref: true, ..IntakeOptions::default() };
    let assuming = read_with(&vcf(&person_path), &wider, &options).expect("a person").report;
    assert_eq!(cautious.variants_absent, 1);
    assert_eq!(cautious.missing_calls, assuming.missing_calls + 1);
}
