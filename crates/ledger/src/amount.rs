//! Amounts of the payment token.

use std::{fmt, iter::Sum, str::FromStr};

/// Decimals of the payment token: one token is 10^18 base units.
const DECIMALS: usize = 18;
/// Base units of one token.
const UNIT: u128 = 10u128.pow(18);

/// An amount of the payment token in base units (10^-18 token). Shown and parsed in whole tokens,
/// such as `12.5`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(pub u128);

/// A text that is not an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Not digits with at most one decimal point.
    #[error("`{0}` is not an amount: write a number of tokens such as 12 or 0.25")]
    NotANumber(String),
    /// More decimals than a token has.
    #[error("`{0}` has more than 18 decimals: round it")]
    TooPrecise(String),
    /// More base units than 128 bits hold.
    #[error("`{0}` is more than any amount can be")]
    TooLarge(String),
}

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// This many whole tokens, or `None` past the largest amount.
    pub fn from_tokens(tokens: u64) -> Option<Self> {
        u128::from(tokens).checked_mul(UNIT).map(Self)
    }

    /// The sum, or `None` past the largest amount.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The difference, or `None` below zero.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// The product, or `None` past the largest amount.
    pub fn checked_mul(self, factor: u64) -> Option<Self> {
        self.0.checked_mul(u128::from(factor)).map(Self)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / UNIT, self.0 % UNIT);
        if part == 0 {
            return write!(f, "{whole}");
        }
        let decimals = format!("{part:018}");
        write!(f, "{whole}.{}", decimals.trim_end_matches('0'))
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Amount({self})")
    }
}

impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(part) {
            return Err(AmountError::NotANumber(text.to_owned()));
        }
        let decimals = part.trim_end_matches('0');
        if decimals.len() > DECIMALS {
            return Err(AmountError::TooPrecise(text.to_owned()));
        }
        let too_large = || AmountError::TooLarge(text.to_owned());
        let tokens: u128 = whole.parse().map_err(|_| too_large())?;
        let base_units: u128 = format!("{decimals:0<18}").parse().map_err(|_| too_large())?;
        let amount = tokens.checked_mul(UNIT).and_then(|units| units.checked_add(base_units));
        amount.map(Self).ok_or_else(too_large)
    }
}

impl Sum for Amount {
    /// # Panics
    /// Past the largest amount, which no sum of real balances reaches: the token's supply is below it.
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        Self(amounts.map(|amount| amount.0).sum())
    }
}

impl serde::Serialize for Amount {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Amount {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn amounts_read_as_people_write_them() {
        let cases = [
            ("0", 0),
            ("1", UNIT),
            ("12.5", 12 * UNIT + UNIT / 2),
            ("0.000000000000000001", 1),
            ("007.10", 7 * UNIT + UNIT / 10),
            ("0.1000000000000000000000", UNIT / 10),
        ];
        for (text, base_units) in cases {
            assert_eq!(text.parse(), Ok(Amount(base_units)), "{text}");
        }
        assert_eq!(Amount(12 * UNIT + UNIT / 2).to_string(), "12.5");
        assert_eq!(Amount(1).to_string(), "0.000000000000000001");
    }

    #[test]
    fn texts_that_are_no_amounts_are_refused() {
        for text in ["", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", " 1", "1.2.3", "0x1", "１"] {
            assert!(matches!(text.parse::<Amount>(), Err(AmountError::NotANumber(_))), "{text}");
        }
        assert!(matches!("0.0000000000000000001".parse::<Amount>(), Err(AmountError::TooPrecise(_))));
        assert!(matches!("340282366920938463464".parse::<Amount>(), Err(AmountError::TooLarge(_))));
        assert!(matches!("9".repeat(60).parse::<Amount>(), Err(AmountError::TooLarge(_))));
    }

    proptest! {
        #[test]
        fn a_shown_amount_parses_to_itself(base_units: u128) {
            prop_assert_eq!(Amount(base_units).to_string().parse(), Ok(Amount(base_units)));
        }
    }
}
