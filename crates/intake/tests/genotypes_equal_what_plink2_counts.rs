//! Every variant of every development data set, read by this crate, has the genotype counts that
//! plink2 found in the same files.

mod common;

use common::{assert_counts, build, data_dir, plink, read, truth, vcf};
use locus_genomics::Assembly;
use locus_intake::RefusalReason;

#[test]
fn plink_files_give_the_counts_of_plink2_on_every_variant() {
    let Some(data) = data_dir() else { return };
    for (name, assembly, variants, complete) in [
        ("kgp3_exome", Assembly::GRCh37, 23_770, true),
        ("kgp3_chr22_dense", Assembly::GRCh37, 32_873, true),
        ("kgp1_eur379", Assembly::GRCh37, 54_051, true),
        ("sim5k_dev", Assembly::GRCh38, 20_480, false),
    ] {
        let start = std::time::Instant::now();
        let (panel, report) = build(name, assembly, plink(&data, name)).expect("a panel");
        eprintln!("{name}: build {:?}", start.elapsed());
        assert_eq!(
            (panel.variant_count(), panel.complete_calls()),
            (variants, complete),
            "{name}: {report:?}"
        );
        let start = std::time::Instant::now();
        let cohort = read(&plink(&data, name), &panel).expect("a cohort");
        eprintln!("{name}: read {:?}", start.elapsed());
        assert_eq!(cohort.report.variants_matched, u64::from(variants), "{name}");
        assert_counts(&cohort, &panel, &truth(&data, name));
    }
}

#[test]
fn a_real_vcf_gives_the_counts_of_its_split_records() {
    let Some(data) = data_dir() else { return };
    for name in ["kgp3_chr22_demo", "kgp3_chr22_dense", "sim5k_dev"] {
        let source = vcf(data.join(name).join(format!("{name}.vcf.gz")));
        let assembly = if name == "sim5k_dev" { Assembly::GRCh38 } else { Assembly::GRCh37 };
        let (panel, _) = build(name, assembly, source.clone()).expect("a panel");
        let start = std::time::Instant::now();
        let cohort = read(&source, &panel).expect("a cohort");
        eprintln!("{name}: read {:?}", start.elapsed());
        assert_counts(&cohort, &panel, &truth(&data, name));
        let symbolic = cohort.report.files[0].refused.get(&RefusalReason::SymbolicAllele);
        let expected = if name == "kgp3_chr22_demo" { 4 } else { 0 };
        assert_eq!(symbolic.map_or(0, |refusals| refusals.count), expected, "{name}");
        assert_eq!(cohort.report.files[0].refused_count(), expected, "{name}");
    }
}
