//! Tables in the form of PLINK 2.

use crate::{
    association::{AssociationTable, EffectKind},
    error::ReportError,
};
use std::io::Write;

/// Writes a tab-separated table with PLINK 2's column names; what cannot be computed is `NA`.
///
/// # Errors
/// [`ReportError::Write`].
pub fn write_plink_tsv(table: &AssociationTable, out: &mut impl Write) -> Result<(), ReportError> {
    let effect_columns = match table.effect_kind {
        EffectKind::OddsRatio => "A1_CASE_FREQ\tA1_CTRL_FREQ\tOR\tLOG(OR)_SE\tL95\tU95\tCHISQ",
        EffectKind::Beta => "A1_FREQ\tBETA\tSE\tL95\tU95\tT_STAT",
    };
    writeln!(out, "#CHROM\tPOS\tID\tREF\tALT\tA1\tTEST\tOBS_CT\t{effect_columns}\tP")?;
    for row in &table.rows {
        let (reference, alternate) = (&row.ref_allele, &row.alt_allele);
        write!(out, "{}\t{}\t{}\t{reference}\t{alternate}\t{alternate}\t", row.chrom, row.position, row.id())?;
        write!(out, "{}\t{}\t", table.method.code(), row.called)?;
        match table.effect_kind {
            EffectKind::OddsRatio => {
                let (cases, controls) = row.group_frequencies.unzip();
                write!(out, "{}\t{}\t", number(cases), number(controls))?;
            }
            EffectKind::Beta => write!(out, "{}\t", number(row.frequency))?,
        }
        let effect = row.effect;
        let fields = [
            effect.map(|effect| effect.estimate),
            effect.map(|effect| effect.standard_error),
            effect.map(|effect| effect.interval.0),
            effect.map(|effect| effect.interval.1),
            row.statistic,
        ];
        for field in fields {
            write!(out, "{}\t", number(field))?;
        }
        writeln!(out, "{}", number(row.p_value))?;
    }
    Ok(())
}

/// Six significant digits, as PLINK 2 prints them.
pub(crate) fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "NA".to_owned(), six_digits)
}

/// The shortest text of the value rounded to six significant digits; scientific below 10^-4 and
/// from 10^6 on.
pub(crate) fn six_digits(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return if value == 0.0 { "0".to_owned() } else { "NA".to_owned() };
    }
    let scientific = format!("{value:.5e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trim = |digits: &str| {
        if digits.contains('.') {
            digits.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            digits.to_owned()
        }
    };
    if (-4..6).contains(&exponent) {
        let decimals = usize::try_from(5 - exponent).unwrap_or(0);
        trim(&format!("{value:.decimals$}"))
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{}e{sign}{:02}", trim(mantissa), exponent.unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use super::six_digits;

    #[test]
    fn numbers_print_like_those_of_plink() {
        for (value, text) in [
            (0.031_210_23, "0.0312102"),
            (-0.000_939_923_4, "-0.000939923"),
            (3.475_82e-17, "3.47582e-17"),
            (1.0, "1"),
            (0.5, "0.5"),
            (999_999.5, "1e+06"),
            (123_456.0, "123456"),
            (0.0, "0"),
            (8.459_86, "8.45986"),
            (0.000_196_333, "0.000196333"),
            (f64::NAN, "NA"),
        ] {
            assert_eq!(six_digits(value), text);
        }
    }
}
