//! Counts as people and programs read them.

use super::OpenedAnswer;
use locus_genomics::{Panel, VariantIndex};
use locus_privacy::{SigmaSquared, report};
use serde::Serialize;
use std::io::{self, Write};

/// Columns of every table.
const COLUMNS: &str = "id\tchrom\tpos\tref\talt\thom_ref\thet\thom_alt\tmissing\tac\tan\taf";
/// Columns of tables with dp noise.
const NOISE_COLUMNS: &str = "\tse\trho";
/// What stands for a frequency when nothing was called.
const NOT_AVAILABLE: &str = "NA";

/// Counts of one variant as they were released: where noise was added they may be negative or
/// exceed the cohort, and are shown as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VariantCounts {
    /// The variant.
    pub index: VariantIndex,
    /// People in the cohort.
    pub individuals: u32,
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
        i64::from(self.individuals) - self.het - self.hom_alt - self.missing
    }

    /// AC: alternate alleles, het + 2 hom_alt.
    pub fn allele_count(&self) -> i64 {
        self.het + 2 * self.hom_alt
    }

    /// AN: alleles called, 2 (individuals - missing).
    pub fn allele_number(&self) -> i64 {
        2 * (i64::from(self.individuals) - self.missing)
    }

    /// AF = AC / AN, not confined to 0..=1, or `None` when no allele was called.
    pub fn allele_frequency(&self) -> Option<f64> {
        let allele_number = self.allele_number();
        (allele_number > 0).then(|| self.allele_count() as f64 / allele_number as f64)
    }

    /// Standard error of AF from noise of variance `total` in every counter.
    ///
    /// AC carries variance (1 + 4) sigma^2. On a panel with a missing plane AN carries 4 sigma^2, and
    /// to first order the ratio has variance (5 + 4 AF^2) sigma^2 / AN^2.
    pub fn allele_frequency_se(&self, total: SigmaSquared, has_missing_plane: bool) -> Option<f64> {
        let frequency = self.allele_frequency()?;
        let denominator_part = if has_missing_plane { 4.0 * frequency * frequency } else { 0.0 };
        Some(report::sigma(total) * (5.0 + denominator_part).sqrt() / self.allele_number() as f64)
    }
}

/// Writes the table: a line of column names, then a line a variant in panel order, tab-separated.
/// With dp noise two columns follow: `se`, the standard error that the noise adds to `af`, and
/// `rho`, the privacy loss of the whole answer.
///
/// # Errors
/// Whatever `out` refuses.
pub fn write_tsv(answer: &OpenedAnswer, panel: &Panel, out: &mut impl Write) -> io::Result<()> {
    let noise_columns = if answer.dp_total().is_some() { NOISE_COLUMNS } else { "" };
    writeln!(out, "{COLUMNS}{noise_columns}")?;
    for counts in answer.rows() {
        // An opened answer holds variants of its panel only.
        let Some(variant) = panel.variant(counts.index) else { continue };
        let (chrom, position) = (variant.chrom(), variant.position());
        let (ref_allele, alt_allele) = (variant.ref_allele(), variant.alt_allele());
        write!(out, "{variant}\t{chrom}\t{position}\t{ref_allele}\t{alt_allele}\t{}\t", counts.hom_ref())?;
        write!(out, "{}\t{}\t{}\t", counts.het, counts.hom_alt, counts.missing)?;
        write!(out, "{}\t{}\t{}", counts.allele_count(), counts.allele_number(), fixed(counts.allele_frequency()))?;
        if let Some(total) = answer.dp_total() {
            let error = counts.allele_frequency_se(total, !panel.complete_calls());
            write!(out, "\t{}\t{}", fixed(error), answer.rho())?;
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
    for counts in answer.rows() {
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
            se: total.and_then(|total| counts.allele_frequency_se(total, !panel.complete_calls())),
            rho: total.map(|_| answer.rho().to_string()),
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
}

fn fixed(value: Option<f64>) -> String {
    value.map_or_else(|| NOT_AVAILABLE.to_owned(), |value| format!("{value:.6}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use locus_privacy::{Rho, Tier};

    fn row(index: u32, individuals: u32, het: i64, hom_alt: i64, missing: i64) -> VariantCounts {
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
        let shown = row(0, 2504, 900, 50, 0).allele_frequency_se(total, false).expect("called");
        let quoted = report::allele_frequency_standard_error(total, 2504);
        assert!((shown - quoted).abs() < 1e-12, "{shown} {quoted}");
        let with_missing = row(0, 2504, 900, 50, 0).allele_frequency_se(total, true).expect("called");
        assert!(with_missing > shown);
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
