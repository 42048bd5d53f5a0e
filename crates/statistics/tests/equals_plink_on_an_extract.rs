//! Stratified, exact and interval statistics equal plink1.9 on an extract that travels with the code.

use crate::printed::agrees_or_absent;
use locus_statistics::*;

const EXTRACT: &str = include_str!("vectors/plink_extract.tsv");

/// Cases and controls of each super population, as the extract's header states.
fn sizes() -> Vec<[u64; 2]> {
    let line = EXTRACT.lines().find_map(|line| line.strip_prefix("# sizes (cases controls): ")).expect("stated");
    let fields: Vec<&str> = line.split(' ').collect();
    fields.chunks(3).map(|chunk| [1, 2].map(|place| chunk[place].parse().expect("a number"))).collect()
}

struct Row {
    id: String,
    strata: Vec<CaseControl>,
    printed: Vec<String>,
}

fn rows() -> Vec<Row> {
    let sizes = sizes();
    let lines = EXTRACT.lines().filter(|line| !line.starts_with('#'));
    let row = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let (cells, printed) = fields[1..].split_at(4 * sizes.len());
        let cells: Vec<u64> = cells.iter().map(|cell| cell.parse().expect("a count")).collect();
        let group = |size, cells: &[u64]| ClassCounts::exact(size, cells[0], cells[1], 0).expect("they add up");
        let strata = sizes.iter().zip(cells.chunks(4));
        Row {
            id: fields[0].to_owned(),
            strata: strata
                .map(|(size, cells)| CaseControl {
                    cases: group(size[0], &cells[..2]),
                    controls: group(size[1], &cells[2..]),
                })
                .collect(),
            printed: printed.iter().map(|field| (*field).to_owned()).collect(),
        }
    };
    lines.map(row).collect()
}

fn together(strata: &[CaseControl]) -> CaseControl {
    let sum = |pick: fn(&CaseControl) -> ClassCounts| {
        let classes = strata.iter().map(|stratum| pick(stratum).exact_classes().expect("exact"));
        let [hom_ref, het, hom_alt] = classes.fold([0; 3], |sum, class| [0, 1, 2].map(|kind| sum[kind] + class[kind]));
        ClassCounts::exact(hom_ref + het + hom_alt, het, hom_alt, 0).expect("they add up")
    };
    CaseControl { cases: sum(|stratum| stratum.cases), controls: sum(|stratum| stratum.controls) }
}

fn check(row: &Row, columns: std::ops::Range<usize>, values: &[Option<f64>]) {
    let printed = &row.printed[columns];
    assert_eq!(printed.len(), values.len());
    for (printed, value) in printed.iter().zip(values) {
        assert!(agrees_or_absent(printed, 4, *value), "{}: {printed} is not {value:?}", row.id);
    }
}

#[test]
fn cochran_mantel_haenszel_equals_plink() {
    assert!(rows().len() >= 100);
    for row in rows() {
        let outcome = mantel_haenszel(&row.strata);
        let odds = outcome.and_then(|outcome| outcome.odds_ratio);
        let interval = odds.and_then(|odds| odds.interval(ConfidenceLevel::USUAL));
        let values = [
            outcome.map(|outcome| outcome.test.statistic),
            outcome.map(|outcome| outcome.test.p_value),
            odds.map(|odds| odds.ratio),
            odds.and_then(|odds| odds.log_standard_error),
            interval.map(|interval| interval.0),
            interval.map(|interval| interval.1),
        ];
        check(&row, 0..6, &values);
    }
}

#[test]
fn fisher_exact_equals_plink() {
    for row in rows() {
        let table = AlleleTable::of_groups(&together(&row.strata)).expect("exact counts");
        check(&row, 6..7, &[Some(fisher_exact(&table))]);
    }
}

#[test]
fn hardy_weinberg_exact_equals_plink() {
    for row in rows() {
        let groups = together(&row.strata);
        let p_value = hardy_weinberg_exact(&groups.pooled()).expect("exact counts");
        check(&row, 7..8, &[Some(p_value)]);
    }
}

#[test]
fn odds_ratio_intervals_equal_plink() {
    for row in rows() {
        let odds = allelic_odds_ratio(&together(&row.strata));
        let interval = odds.and_then(|odds| odds.interval(ConfidenceLevel::USUAL));
        let values = [
            odds.map(|odds| odds.ratio),
            odds.and_then(|odds| odds.log_standard_error),
            interval.map(|interval| interval.0),
            interval.map(|interval| interval.1),
        ];
        check(&row, 8..12, &values);
    }
}
