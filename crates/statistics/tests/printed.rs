//! Comparison with numbers as another program printed them.

/// Whether `value` is within one unit of the last digit printed: for p-values of plink2, which come
/// from an approximation that can be half a unit off.
pub(crate) fn agrees_to_one_unit(printed: &str, digits: i32, value: Option<f64>) -> bool {
    match value {
        Some(value) => printed != "NA" && differs_by_at_most(1.0, printed, digits, value),
        None => printed == "NA",
    }
}

/// Whether `value` rounds to what was printed with this many significant digits. A hair more than
/// half a unit is allowed, for values that lie on the border.
pub(crate) fn agrees(printed: &str, digits: i32, value: f64) -> bool {
    differs_by_at_most(0.5001, printed, digits, value)
}

fn differs_by_at_most(units: f64, printed: &str, digits: i32, value: f64) -> bool {
    let expected: f64 = printed.parse().unwrap_or_else(|_| panic!("{printed} is no number"));
    if expected == 0.0 {
        return value.abs() < 1e-300;
    }
    let unit = 10f64.powi(exponent(expected) - digits + 1);
    (value - expected).abs() <= units * unit
}

#[expect(clippy::cast_possible_truncation, reason = "decimal exponents of floats are small")]
fn exponent(value: f64) -> i32 {
    value.abs().log10().floor() as i32
}

/// As [`agrees`], where the other program prints `NA` for an undefined value.
pub(crate) fn agrees_or_absent(printed: &str, digits: i32, value: Option<f64>) -> bool {
    match value {
        Some(value) => printed != "NA" && agrees(printed, digits, value),
        None => printed == "NA",
    }
}

#[test]
fn agreement_is_to_the_last_printed_digit_and_no_further() {
    assert!(agrees("0.03246", 4, 0.032_464_9));
    assert!(!agrees("0.03246", 4, 0.032_466));
    assert!(agrees("1.811e-30", 4, 1.8113e-30));
    assert!(!agrees("1.811e-30", 4, 1.812e-30));
    assert!(agrees("0.72", 4, 0.720_04) && !agrees("0.72", 4, 0.7201));
    assert!(!agrees_or_absent("NA", 4, Some(1.0)) && !agrees_or_absent("1", 4, None));
}
