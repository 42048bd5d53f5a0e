//! Exact decimal numbers.

use crate::error::PhenotypeError;
use std::{fmt, str::FromStr};

/// Units in one.
const SCALE: i64 = 1_000_000_000;
/// Digits after the point.
const DECIMALS: usize = 9;
/// Numbers lie strictly between minus and plus this.
const WHOLE_MAX: i64 = 1_000_000_000;

/// A decimal number with nine digits after the point, below 10^9 in absolute value. Measurements
/// are compared with the edges of bands as they were written, not as a float renders them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal(i64);

impl Decimal {
    /// A whole number.
    ///
    /// # Errors
    /// [`PhenotypeError::Number`] from 10^9 on.
    pub fn whole(value: i64) -> Result<Self, PhenotypeError> {
        if value.abs() < WHOLE_MAX { Ok(Self(value * SCALE)) } else { Err(PhenotypeError::Number(value.to_string())) }
    }

    /// The number in units of 10^-9.
    pub fn nanos(self) -> i64 {
        self.0
    }

    /// Whether it is whole.
    pub fn is_whole(self) -> bool {
        self.0 % SCALE == 0
    }

    /// The largest whole number not above.
    pub fn floor(self) -> Self {
        Self(self.0.div_euclid(SCALE) * SCALE)
    }

    /// The number plus one.
    pub(crate) fn next_whole(self) -> Self {
        Self(self.0.saturating_add(SCALE))
    }

    /// The product, rounded to the nearest ninth digit, halves away from zero.
    ///
    /// # Errors
    /// [`PhenotypeError::Number`] when it is too large.
    pub fn times(self, factor: Self) -> Result<Self, PhenotypeError> {
        let product = i128::from(self.0) * i128::from(factor.0);
        let half = i128::from(SCALE / 2) * product.signum();
        let too_large = || PhenotypeError::Number(format!("{self} times {factor}"));
        let rounded = i64::try_from((product + half) / i128::from(SCALE)).map_err(|_| too_large())?;
        if rounded.unsigned_abs() < (WHOLE_MAX * SCALE).unsigned_abs() { Ok(Self(rounded)) } else { Err(too_large()) }
    }

    /// How many steps of `step` above `origin` the number lies, to the nearest step.
    pub(crate) fn steps_from(self, origin: Self, step: Self) -> i64 {
        let distance = i128::from(self.0) - i128::from(origin.0);
        let steps = (2 * distance + i128::from(step.0)).div_euclid(2 * i128::from(step.0));
        i64::try_from(steps).unwrap_or(if steps < 0 { i64::MIN } else { i64::MAX })
    }

    /// The distance between two numbers.
    pub(crate) fn distance(self, other: Self) -> u64 {
        self.0.abs_diff(other.0)
    }
}

const _: () = assert!(WHOLE_MAX as i128 * (SCALE as i128) < i64::MAX as i128);

impl FromStr for Decimal {
    type Err = PhenotypeError;

    /// Digits with an optional sign, point and exponent, such as `-1.5` or `2.5e-3`.
    fn from_str(text: &str) -> Result<Self, PhenotypeError> {
        parse(text).map(Self).ok_or_else(|| PhenotypeError::Number(text.chars().take(40).collect()))
    }
}

fn parse(text: &str) -> Option<i64> {
    if text.len() > 40 {
        return None;
    }
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let unsigned = mantissa.strip_prefix(['-', '+']).unwrap_or(mantissa);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let digits: String = [whole, fraction].concat();
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let shift = i32::try_from(DECIMALS).ok()? + exponent - i32::try_from(fraction.len()).ok()?;
    let mut value = digits.parse::<i128>().ok()?;
    // More digits than nine after the point must be zeros.
    for _ in shift..0 {
        if value % 10 != 0 {
            return None;
        }
        value /= 10;
    }
    for _ in 0..shift {
        value = value.checked_mul(10).filter(|value| *value < i128::from(i64::MAX))?;
    }
    let value = i64::try_from(value).ok().filter(|value| *value < WHOLE_MAX * SCALE)?;
    Some(if mantissa.starts_with('-') { -value } else { value })
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, fraction) =
            (self.0.unsigned_abs() / SCALE.unsigned_abs(), self.0.unsigned_abs() % SCALE.unsigned_abs());
        if fraction == 0 {
            return write!(f, "{sign}{whole}");
        }
        let digits = format!("{fraction:0DECIMALS$}");
        write!(f, "{sign}{whole}.{}", digits.trim_end_matches('0'))
    }
}

impl fmt::Debug for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn numbers_are_read_exactly() {
        for (text, nanos) in [
            ("0", 0),
            ("-0.0", 0),
            ("26.63838307", 26_638_383_070),
            (".5", 500_000_000),
            ("5.", 5_000_000_000),
            ("-1.5", -1_500_000_000),
            ("2.5e-3", 2_500_000),
            ("1E3", 1_000_000_000_000),
            ("4.0000000000000", 4_000_000_000),
            ("999999999.999999999", 999_999_999_999_999_999),
        ] {
            assert_eq!(decimal(text).nanos(), nanos, "{text}");
        }
        for text in
            ["", ".", "-", "1e", "1.2.3", "0x1", "1000000000", "1e30", "0.0000000001", "NaN", "1 ", "1e-400000000000"]
        {
            assert!(text.parse::<Decimal>().is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_print_in_one_way() {
        for (text, printed) in [("4.0", "4"), ("-0.50", "-0.5"), ("+7", "7"), ("0.000000001", "0.000000001")] {
            assert_eq!(decimal(text).to_string(), printed);
        }
    }

    #[test]
    fn products_round_and_stay_in_range() {
        assert_eq!(decimal("100").times(decimal("0.02586")), Ok(decimal("2.586")));
        assert_eq!(decimal("-0.000000001").times(decimal("0.5")), Ok(decimal("-0.000000001")));
        assert!(decimal("999999999").times(decimal("2")).is_err());
    }

    #[test]
    fn steps_go_to_the_nearest() {
        let steps = |value: &str| decimal(value).steps_from(decimal("100"), decimal("0.5"));
        assert_eq!([steps("100"), steps("100.24"), steps("100.25"), steps("99.7"), steps("101")], [0, 0, 1, -1, 2]);
    }
}
