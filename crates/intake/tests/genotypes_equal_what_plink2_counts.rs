//! Every variant of every development data set, read by this crate, has the genotype counts that
//! plink2 found in the same files.

mod common;

use common::{assert_counts, build, data_dir, plink, read, truth, vcf};
use locus_genomics::{Assembly, GenotypeCounts, Variant};
use locus_intake::{CohortSource, PlinkFiles, RefusalReason};
use std::{collections::BTreeMap, path::Path};

#[test]
fn plink_files_give_the_counts_of_plink2_on_every_variant() {
    let Some(data) = data_dir() else { return };
    for (name, assembly, variants, complete) in [
        ("kgp3_exome", Assembly::GRCh37, 23_770, true),
        ("kgp3_chr22_dense", Assembly::GRCh37, 32_873, true),
        ("kgp1_eur379", Assembly::GRCh37, 54_051, true),
        ("sim5k_dev", Assembly::GRCh38, 20_480, false),
    ] {
        let (panel, report) = build(name, assembly, plink(&data, name)).expect("a panel");
        assert_eq!((panel.variant_count(), panel.complete_calls()), (variants, complete), "{name}: {report:?}");
        let cohort = read(&plink(&data, name), &panel).expect("a cohort");
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
        let cohort = read(&source, &panel).expect("a cohort");
        assert_counts(&cohort, &panel, &truth(&data, name));
        let symbolic = cohort.report.files[0].refused.get(&RefusalReason::SymbolicAllele);
        let expected = if name == "kgp3_chr22_demo" { 4 } else { 0 };
        assert_eq!(symbolic.map_or(0, |refusals| refusals.count), expected, "{name}");
        assert_eq!(cohort.report.files[0].refused_count(), expected, "{name}");
    }
}

/// The extract that comes with the repository: 2,504 people, 4,500 variants.
fn extract() -> CohortSource {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo names it");
    let folder = Path::new(&package).join("../../services/locus/demo");
    CohortSource::Plink(PlinkFiles::of_prefix(&folder.join("kgp3_exome_4500")))
}

/// Counts the genotypes of the extract one by one, straight from the format's definition.
fn count_one_by_one() -> BTreeMap<Variant, GenotypeCounts> {
    let CohortSource::Plink(files) = extract() else { panic!("the extract is a PLINK fileset") };
    let people = std::fs::read_to_string(&files.fam).expect("the .fam").lines().count();
    let bed = zstd::decode_all(std::fs::File::open(&files.bed).expect("the .bed")).expect("zstd");
    let rows = bed[3..].chunks(people.div_ceil(4));
    let sites = std::fs::read_to_string(&files.bim).expect("the .bim");
    let mut all = BTreeMap::new();
    for (row, site) in rows.zip(sites.lines()) {
        let mut seen = [0u64; 4];
        (0..people).for_each(|person| seen[usize::from(row[person / 4] >> (2 * (person % 4)) & 3)] += 1);
        let [hom_alt, missing, het, _] = seen;
        let site: Vec<&str> = site.split('\t').collect();
        let variant: Variant = [site[0], site[3], site[5], site[4]].join(":").parse().expect("a variant");
        all.insert(variant, GenotypeCounts::try_new(people as u64, het, hom_alt, missing).expect("consistent"));
    }
    all
}

#[test]
fn the_extract_of_the_repository_has_the_counts_of_the_whole() {
    let expected = count_one_by_one();
    assert_eq!(expected.len(), 4500);
    let (panel, _) = build("demo", Assembly::GRCh37, extract()).expect("a panel");
    assert_eq!((panel.block_count(), panel.complete_calls()), (2, true));
    let cohort = read(&extract(), &panel).expect("a cohort");
    assert_eq!(cohort.samples.len(), 2504);
    assert_counts(&cohort, &panel, &expected);
    let Some(data) = data_dir() else { return };
    let whole = truth(&data, "kgp3_exome");
    assert!(expected.iter().all(|(variant, counts)| whole.get(variant) == Some(counts)));
}
