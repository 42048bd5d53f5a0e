//! Tests of association on real and simulated genomes equal plink1.9 and plink2 to printed precision,
//! on every variant. Compares nothing where the shared data are absent.

use crate::{
    plink_files::{Fileset, column, counts, data_set, table},
    printed::{agrees, agrees_or_absent, agrees_to_one_unit},
};
use locus_statistics::*;
use std::{collections::BTreeMap, path::PathBuf};

fn members(fileset: &Fileset, values: &BTreeMap<String, String>, wanted: &str) -> Vec<usize> {
    let is_wanted = |person: &&usize| values.get(&fileset.people[**person]).is_some_and(|value| value == wanted);
    (0..fileset.people.len()).collect::<Vec<_>>().iter().filter(is_wanted).copied().collect()
}

/// plink1.9 prints four significant digits.
fn check_assoc(name: &str, fileset: &Fileset, groups: [&[usize]; 2], reference: &PathBuf) {
    let rows = table(reference);
    assert_eq!(rows.len(), fileset.ids.len());
    for (variant, row) in rows.iter().enumerate() {
        assert_eq!(row[1], fileset.ids[variant]);
        let calls = fileset.calls(variant);
        let tested = CaseControl { cases: counts(&calls, groups[0]), controls: counts(&calls, groups[1]) };
        let counts_agree =
            agrees(&row[4], 17, tested.cases.alt_alleles()) && agrees(&row[5], 17, tested.controls.alt_alleles());
        let outcome = allelic_test(&tested);
        let odds = allelic_odds_ratio(&tested);
        let agree = agrees_or_absent(&row[7], 4, outcome.map(|outcome| outcome.statistic))
            && agrees_or_absent(&row[8], 4, outcome.map(|outcome| outcome.p_value))
            && agrees_or_absent(&row[9], 4, odds.map(|odds| odds.ratio));
        assert!(counts_agree && agree, "{name} {row:?}: {outcome:?} {odds:?}");
    }
}

/// plink1.9 `--model --cell 1` leaves out GENO, DOM and REC where a cell of the genotype table is 0.
fn check_model(name: &str, fileset: &Fileset, groups: [&[usize]; 2], reference: &PathBuf) {
    let rows = table(reference);
    assert_eq!(rows.len(), 5 * fileset.ids.len());
    for (variant, tests) in rows.chunks(5).enumerate() {
        let calls = fileset.calls(variant);
        let tested = CaseControl { cases: counts(&calls, groups[0]), controls: counts(&calls, groups[1]) };
        let cells = [tested.cases, tested.controls].map(|group| [group.hom_ref(), group.het(), group.hom_alt()]);
        let has_empty_cell = cells.as_flattened().contains(&0.0);
        for row in tests {
            let outcome = match row[4].as_str() {
                "GENO" => genotypic_test(&tested).filter(|_| !has_empty_cell),
                "TREND" => trend_test(&tested),
                "ALLELIC" => allelic_test(&tested),
                "DOM" => dominant_test(&tested).filter(|_| !has_empty_cell),
                "REC" => recessive_test(&tested).filter(|_| !has_empty_cell),
                other => panic!("plink knows no test {other}"),
            };
            let agree = agrees_or_absent(&row[7], 4, outcome.map(|outcome| outcome.statistic))
                && agrees_or_absent(&row[9], 4, outcome.map(|outcome| outcome.p_value));
            assert!(agree, "{name} {row:?}: {outcome:?}");
        }
    }
}

/// plink2 prints six significant digits.
fn check_linear(name: &str, fileset: &Fileset, values: &BTreeMap<String, f64>, reference: &PathBuf) {
    let rows = table(reference);
    assert_eq!(rows.len(), fileset.ids.len());
    let values: Vec<Option<f64>> = fileset.people.iter().map(|person| values.get(person).copied()).collect();
    for (variant, row) in rows.iter().enumerate() {
        let calls = fileset.calls(variant);
        let both = |person: &usize| calls[*person].is_some() && values[*person].is_some();
        let people: Vec<usize> = (0..calls.len()).filter(both).collect();
        let value = |person: &usize| values[*person].expect("filtered");
        let class_sum = |copies: u8| people.iter().filter(|person| calls[**person] == Some(copies)).map(value).sum();
        let sums = TraitSums {
            classes: counts(&calls, &people),
            sum: people.iter().map(value).sum(),
            het_sum: class_sum(1),
            hom_alt_sum: class_sum(2),
            square_sum: people.iter().map(|person| value(person) * value(person)).sum(),
            noise: TraitNoise::NONE,
        };
        let fit = linear_regression(&sums);
        let agree = row[7].parse() == Ok(people.len())
            && agrees_or_absent(&row[8], 6, fit.map(|fit| fit.beta))
            && agrees_or_absent(&row[9], 6, fit.map(|fit| fit.standard_error))
            && agrees_or_absent(&row[10], 6, fit.map(|fit| fit.t))
            && agrees_to_one_unit(&row[11], 6, fit.map(|fit| fit.p_value));
        assert!(agree, "{name} {row:?}: {fit:?}");
    }
}

fn check_data_set(name: &str) {
    let Some(folder) = data_set(name) else { return };
    let fileset = Fileset::read(&folder, name);
    let phenotypes = folder.join(format!("{name}.pheno.tsv"));
    let status = column(&phenotypes, "CASE");
    let (cases, controls) = (members(&fileset, &status, "2"), members(&fileset, &status, "1"));
    let truth = |suffix: &str| folder.join(format!("gt/{name}.{suffix}.zst"));
    check_assoc(name, &fileset, [&cases, &controls], &truth("case_counts.assoc"));
    check_model(name, &fileset, [&cases, &controls], &truth("case.model"));
    let values = column(&phenotypes, "QT").into_iter();
    let values = values.filter_map(|(person, value)| Some((person, value.parse().ok()?))).collect();
    check_linear(name, &fileset, &values, &truth("QT.glm.linear"));
}

#[test]
fn planted_traits_of_the_exomes_equal_plink() {
    check_data_set("kgp3_exome");
}

#[test]
fn planted_traits_of_a_small_cohort_equal_plink() {
    check_data_set("kgp1_eur379");
}

#[test]
fn planted_traits_with_missing_calls_equal_plink() {
    check_data_set("sim5k_dev");
}

#[test]
fn filtered_case_control_questions_equal_plink() {
    let Some(folder) = data_set("kgp3_exome") else { return };
    let fileset = Fileset::read(&folder, "kgp3_exome");
    let attributes = folder.join("kgp3_attributes.tsv");
    let truth = |file: &str| folder.join("gt_queries").join(file);

    let diabetes = column(&attributes, "SYN_DIABETES");
    let (cases, controls) = (members(&fileset, &diabetes, "2"), members(&fileset, &diabetes, "1"));
    check_assoc("a1", &fileset, [&cases, &controls], &truth("a1_diabetes_all.assoc.zst"));

    let european = members(&fileset, &column(&attributes, "SUPERPOP"), "EUR");
    let status = column(&folder.join("kgp3_exome.pheno.tsv"), "CASE");
    let within = |wanted| -> Vec<usize> {
        members(&fileset, &status, wanted).into_iter().filter(|person| european.contains(person)).collect()
    };
    let (cases, controls) = (within("2"), within("1"));
    check_assoc("a2", &fileset, [&cases, &controls], &truth("a2_planted_case_eur.assoc.zst"));
    check_model("a2", &fileset, [&cases, &controls], &truth("a2_planted_case_eur.model.zst"));
}
