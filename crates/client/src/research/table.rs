//! Counts as people and programs read them.

use super::{OpenedAnswer, SelectionCounts};
use locus_genomics::{Panel, VariantIndex};
use locus_privacy::{SigmaSquared, report};
use serde::Serialize;
use std::io::{self, Write};

/// Columns of every table.
const COLUMNS: &str = "id\tchrom\tpos\tref\talt\thom_ref\thet\thom_alt\tmissing\tac\tan\taf";
/// Columns of tables with dp noise.
const NOISE_COLUMNS: &str = "\tse\trho";
/// Column of tables of several selections.
const SELECTION_COLUMN: &str = "\tselection";
/// What stands for a frequency when nothing was called.
const NOT_AVAILABLE: &str = "NA";

/// Counts of one variant as they were released: where noise was added they may be negative or
/// exceed the cohort, and are shown as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VariantCounts {
    /// The variant.
    pub index: VariantIndex,
    /// People counted: the cohort, or those whom a filter selects, with noise.
    pub individuals: i64,
    /// Heterozygous people.
    pub het: i64,
    /// Homozygous alternate people.
    pub hom_alt: i64,
    /// People without a call; 0 on panels with complete calls.
    pub missing: i64,
}

impl VariantCounts {
    /// People without an alternate allele: the rest of the cohort.
    pub fn hom_ref(&self) -> i64 {
        self.individuals - self.het - self.hom_alt - self.missing
    }

    /// AC: alternate alleles, het + 2 hom_alt.
    pub fn allele_count(&self) -> i64 {
        self.het + 2 * self.hom_alt
    }

    /// AN: alleles called, 2 (individuals - missing).
    pub fn allele_number(&self) -> i64 {
        2 * (self.individuals - self.missing)
    }

    /// AF = AC / AN, not confined to 0..=1, or `None` when no allele was called.
    pub fn allele_frequency(&self) -> Option<f64> {
        let allele_number = self.allele_number();
        (allele_number > 0).then(|| self.allele_count() as f64 / allele_number as f64)
    }

    /// Standard error of AF from noise of variance `total` in every counter.
    ///
    /// AC carries variance (1 + 4) sigma^2. AN carries 4 sigma^2 for each of its numbers that is noisy:
    /// people missing on a panel with a missing plane, and people selected by a filter. To first order the
    /// ratio has variance (5 + 4 k AF^2) sigma^2 / AN^2, with k these numbers.
    pub fn allele_frequency_se(&self, total: SigmaSquared, called: NoisyCalled) -> Option<f64> {
        let frequency = self.allele_frequency()?;
        let noises = f64::from(u8::from(called.missing) + u8::from(called.individuals));
        let denominator_part = 4.0 * noises * frequency * frequency;
        Some(report::sigma(total) * (5.0 + denominator_part).sqrt() / self.allele_number() as f64)
    }
}

/// Which of the numbers that AN is made of carry noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoisyCalled {
    /// People without a call: on panels with a missing plane.
    pub missing: bool,
    /// People counted: in filtered answers.
    pub individuals: bool,
}

impl NoisyCalled {
    fn of(answer: &OpenedAnswer, panel: &Panel) -> Self {
        Self { missing: !panel.complete_calls(), individuals: !answer.selections().is_empty() }
    }
}

/// The tables of an answer: one of the whole cohort, or one for each selection of a filter, which is named
/// when there are several.
fn tables(answer: &OpenedAnswer) -> Vec<(Option<&str>, &[VariantCounts])> {
    match answer.selections() {
        [] => vec![(None, answer.rows())],
        [single] => vec![(None, &single.rows)],
        several => several.iter().map(|SelectionCounts { text, rows, .. }| (Some(text.as_str()), &rows[..])).collect(),
    }
}

/// Writes the table: a line of column names, then a line a variant in panel order, tab-separated.
/// With dp noise two columns follow: `se`, the standard error that the noise adds to `af`, and
/// `rho`, the privacy loss of the whole answer. With several selections one table follows the other, and
/// the last column, `selection`, is the predicate.
///
/// # Errors
/// Whatever `out` refuses.
pub fn write_tsv(answer: &OpenedAnswer, panel: &Panel, out: &mut impl Write) -> io::Result<()> {
    let noise_columns = if answer.dp_total().is_some() { NOISE_COLUMNS } else { "" };
    let called = NoisyCalled::of(answer, panel);
    let tables = tables(answer);
    let selection_column = if tables.iter().any(|(text, _)| text.is_some()) { SELECTION_COLUMN } else { "" };
    writeln!(out, "{COLUMNS}{noise_columns}{selection_column}")?;
    for (text, counts) in tables.iter().flat_map(|(text, rows)| rows.iter().map(move |counts| (text, counts))) {
        // An opened answer holds variants of its panel only.
        let Some(variant) = panel.variant(counts.index) else { continue };
        let (chrom, position) = (variant.chrom(), variant.position());
        let (ref_allele, alt_allele) = (variant.ref_allele(), variant.alt_allele());
        write!(out, "{variant}\t{chrom}\t{position}\t{ref_allele}\t{alt_allele}\t{}\t", counts.hom_ref())?;
        write!(out, "{}\t{}\t{}\t", counts.het, counts.hom_alt, counts.missing)?;
        write!(out, "{}\t{}\t{}", counts.allele_count(), counts.allele_number(), fixed(counts.allele_frequency()))?;
        if let Some(total) = answer.dp_total() {
            let error = counts.allele_frequency_se(total, called);
            write!(out, "\t{}\t{}", fixed(error), answer.rho())?;
        }
        if let Some(text) = text {
            write!(out, "\t{text}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// Writes the same values as JSON, an object a line.
///
/// # Errors
/// Whatever `out` refuses.
pub fn write_json_lines(answer: &OpenedAnswer, panel: &Panel, out: &mut impl Write) -> io::Result<()> {
    let called = NoisyCalled::of(answer, panel);
    let tables = tables(answer);
    for (text, counts) in tables.iter().flat_map(|(text, rows)| rows.iter().map(move |counts| (text, counts))) {
        let Some(variant) = panel.variant(counts.index) else { continue };
        let total = answer.dp_total();
        let row = JsonRow {
            id: variant.to_string(),
            chrom: variant.chrom().to_string(),
            pos: variant.position(),
            reference: variant.ref_allele(),
            alt: variant.alt_allele(),
            hom_ref: counts.hom_ref(),
            het: counts.het,
            hom_alt: counts.hom_alt,
            missing: counts.missing,
            ac: counts.allele_count(),
            an: counts.allele_number(),
            af: counts.allele_frequency(),
            se: total.and_then(|total| counts.allele_frequency_se(total, called)),
            rho: total.map(|_| answer.rho().to_string()),
            selection: *text,
        };
        serde_json::to_writer(&mut *out, &row)?;
        writeln!(out)?;
    }
    Ok(())
}

#[derive(Serialize)]
struct JsonRow<'a> {
    id: String,
    chrom: String,
    pos: u32,
    #[serde(rename = "ref")]
    reference: &'a str,
    alt: &'a str,
    hom_ref: i64,
    het: i64,
    hom_alt: i64,
    missing: i64,
    ac: i64,
    an: i64,
    af: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    se: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rho: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    selection: Option<&'a str>,
}

fn fixed(value: Option<f64>) -> String {
    value.map_or_else(|| NOT_AVAILABLE.to_owned(), |value| format!("{value:.6}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use locus_phenotype::{Predicate, Selection};
    use locus_privacy::{Rho, Tier};

    const CLEAR: NoisyCalled = NoisyCalled { missing: false, individuals: false };

    fn row(index: u32, individuals: i64, het: i64, hom_alt: i64, missing: i64) -> VariantCounts {
        VariantCounts { index: VariantIndex(index), individuals, het, hom_alt, missing }
    }

    fn table(answer: &OpenedAnswer, panel: &Panel) -> String {
        let mut text = Vec::new();
        write_tsv(answer, panel, &mut text).expect("written to memory");
        String::from_utf8(text).expect("text")
    }

    #[test]
    fn exact_counts_print_as_in_the_golden_table() {
        let panel = testing::panel(3, false);
        let rows = vec![row(0, 2504, 100, 7, 4), row(1, 2504, 0, 0, 0), row(2, 2504, 0, 0, 2504)];
        let answer = OpenedAnswer::for_tests(Tier::Exact, Rho::ZERO, 2504, rows);
        let expected = "\
id\tchrom\tpos\tref\talt\thom_ref\thet\thom_alt\tmissing\tac\tan\taf
1:1:A:C\t1\t1\tA\tC\t2393\t100\t7\t4\t114\t5000\t0.022800
1:2:A:C\t1\t2\tA\tC\t2504\t0\t0\t0\t0\t5008\t0.000000
1:3:A:C\t1\t3\tA\tC\t0\t0\t0\t2504\t0\t0\tNA
";
        assert_eq!(table(&answer, &panel), expected);
    }

    #[test]
    fn noisy_counts_print_unclamped_with_error_and_privacy_loss() {
        let panel = testing::panel(2, true);
        // Two variants at rho 0.00008: sigma^2 = 2 / 0.00008 = 25,000.
        let rows = vec![row(0, 2504, -30, 12, 0), row(1, 2504, 2600, -5, 0)];
        let answer = OpenedAnswer::for_tests(Tier::Open, Rho::from_nano(80_000), 2504, rows);
        let expected = "\
id\tchrom\tpos\tref\talt\thom_ref\thet\thom_alt\tmissing\tac\tan\taf\tse\trho
1:1:A:C\t1\t1\tA\tC\t2522\t-30\t12\t0\t-6\t5008\t-0.001198\t0.070598\t0.00008
1:2:A:C\t1\t2\tA\tC\t-91\t2600\t-5\t0\t2590\t5008\t0.517173\t0.070598\t0.00008
";
        assert_eq!(table(&answer, &panel), expected);
    }

    #[test]
    fn the_error_of_a_table_without_missing_calls_is_the_one_quoted() {
        let total = SigmaSquared::try_new(10_000, 1).expect("positive");
        let shown = row(0, 2504, 900, 50, 0).allele_frequency_se(total, CLEAR).expect("called");
        let quoted = report::allele_frequency_standard_error(total, 2504);
        assert!((shown - quoted).abs() < 1e-12, "{shown} {quoted}");
        let noisy = |missing, individuals| {
            row(0, 2504, 900, 50, 0).allele_frequency_se(total, NoisyCalled { missing, individuals }).expect("called")
        };
        assert!(noisy(true, false) > shown && noisy(true, true) > noisy(false, true));
        // AF 1000 / 5008, and the number of people too is known to one standard deviation only.
        let frequency: f64 = 1000.0 / 5008.0;
        let expected = 100.0 * (5.0 + 4.0 * frequency * frequency).sqrt() / 5008.0;
        assert!((noisy(false, true) - expected).abs() < 1e-12);
    }

    #[test]
    fn several_selections_are_told_apart_by_the_last_column() {
        let panel = testing::panel(1, true);
        let schema = testing::attribute_schema();
        let counts = |text: &str, matched: i64| SelectionCounts {
            selection: Selection::People(Predicate::parse(text, &schema).expect("a predicate")),
            text: text.to_owned(),
            matched,
            square_sum: None,
            rows: vec![row(0, matched, 3, 1, 0)],
        };
        let mut answer = OpenedAnswer::for_tests(Tier::Exact, Rho::ZERO, 100, Vec::new());
        answer.selections = vec![counts("smoker", 10)];
        let single = table(&answer, &panel);
        assert_eq!(single.lines().nth(1), Some("1:1:A:C\t1\t1\tA\tC\t6\t3\t1\t0\t5\t20\t0.250000"));
        answer.selections.push(counts("NOT smoker", 20));
        let both = table(&answer, &panel);
        assert!(both.starts_with(&format!("{COLUMNS}\tselection\n")), "{both}");
        assert!(both.lines().nth(2).is_some_and(|line| line.ends_with("\t0.125000\tNOT smoker")), "{both}");
        let mut text = Vec::new();
        write_json_lines(&answer, &panel, &mut text).expect("written to memory");
        assert!(String::from_utf8(text).expect("text").contains("\"selection\":\"NOT smoker\""));
    }

    #[test]
    fn json_lines_carry_the_same_numbers() {
        let panel = testing::panel(1, false);
        let answer = OpenedAnswer::for_tests(Tier::Exact, Rho::ZERO, 10, vec![row(0, 10, 3, 2, 1)]);
        let mut text = Vec::new();
        write_json_lines(&answer, &panel, &mut text).expect("written to memory");
        let value: serde_json::Value = serde_json::from_slice(&text).expect("json");
        assert_eq!(value["id"], "1:1:A:C");
        assert_eq!([&value["hom_ref"], &value["ac"], &value["an"]], [4, 7, 18]);
        assert_eq!(value.get("se"), None);
    }
}
