//! Privacy loss in zero-concentrated differential privacy.

use crate::{error::PrivacyError, gaussian::FLOODING_SIGMA_LOG2, sigma::SigmaSquared};
use locus_genomics::PANEL_BLOCK_SLOTS;
use std::{fmt, str::FromStr};

/// Nano-rho in one rho.
pub(crate) const NANO: u64 = 1_000_000_000;
/// Digits after the decimal point.
const DECIMALS: usize = 9;
/// Longest piece of a refused string that an error repeats.
const ECHO_CHARS: usize = 40;

/// An amount of privacy loss: the parameter rho of zero-concentrated differential privacy
/// ([[BS16], Definition 1.1], replace-one adjacency), as an integer number of 10^-9.
///
/// Amounts add up over releases ([[BS16], Lemma 1.7]), so a sum of these is a valid account.
///
/// [BS16]: https://arxiv.org/abs/1605.02065
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Rho(u64);

impl Rho {
    /// No loss.
    pub const ZERO: Self = Self(0);

    /// The amount of `nano` * 10^-9.
    pub const fn from_nano(nano: u64) -> Self {
        Self(nano)
    }

    /// The amount in units of 10^-9.
    pub const fn as_nano(self) -> u64 {
        self.0
    }

    /// Whether this is no loss at all.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum.
    ///
    /// # Errors
    /// [`PrivacyError::RhoRange`] when it does not fit.
    pub fn checked_add(self, other: Self) -> Result<Self, PrivacyError> {
        self.0.checked_add(other.0).map(Self).ok_or(PrivacyError::RhoRange)
    }

    /// The amount `factor` times.
    ///
    /// # Errors
    /// [`PrivacyError::RhoRange`] when it does not fit.
    pub fn checked_mul(self, factor: u64) -> Result<Self, PrivacyError> {
        self.0.checked_mul(factor).map(Self).ok_or(PrivacyError::RhoRange)
    }

    /// What is left of this amount after `spent`; zero when more than all is spent.
    pub const fn left_after(self, spent: Self) -> Self {
        Self(self.0.saturating_sub(spent.0))
    }
}

impl fmt::Display for Rho {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0 / NANO, self.0 % NANO);
        if fraction == 0 {
            return write!(f, "{whole}");
        }
        let digits = format!("{fraction:0DECIMALS$}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

impl FromStr for Rho {
    type Err = PrivacyError;

    /// Parses digits with at most one decimal point and nine decimals, exactly: no rounding, no
    /// sign, no exponent, no spaces.
    fn from_str(text: &str) -> Result<Self, PrivacyError> {
        parse_decimal(text)
            .map(Self)
            .ok_or_else(|| PrivacyError::RhoSyntax { text: text.chars().take(ECHO_CHARS).collect() })
    }
}

fn parse_decimal(text: &str) -> Option<u64> {
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return None,
        None => (text, ""),
    };
    let all_digits = whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || fraction.len() > DECIMALS || !all_digits {
        return None;
    }
    let fraction_nano: u64 = format!("{fraction:0<DECIMALS$}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(NANO)?.checked_add(fraction_nano)
}

/// What one question costs each person in its cohort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RhoCost {
    /// Loss towards the researcher through the counts; zero for exact counts, which have no
    /// differential privacy.
    pub dp: Rho,
    /// Loss through the low bits, which the flooding noise covers.
    pub flooding: Rho,
}

/// How often the bodies of a dataset may get other keys: each time adds noise to its ciphertexts.
pub const REKEYINGS_MAX: u8 = 8;
/// A number for every number of re-keyings there can be.
type ByRekeyings<T> = [T; REKEYINGS_MAX as usize + 1];

/// How far replacing a person moves the noise of a body, as the root mean square over its slots, for a person whose bodies got
/// other keys so often. The noise of bodies as they were encrypted lies in [-8, 7], so none of its slots moves by 16.
/// What re-keyings add is derived where their noise is (clauses 31 and 32 of the ciphertexts' specification).
pub const NOISE_DISTANCES: ByRekeyings<u64> = [16, 29, 34, 39, 42, 45, 48, 50, 52];

/// Flooding cost of one body (one panel block of one plane) in one answer: rho = d^2 N / (2 sigma^2), rounded up, of distance d
/// over N slots. It is 2^-23 = 1.19209e-7 for a body that never got other keys.
const FLOODING_RHO_PER_BODY: ByRekeyings<Rho> = {
    let mut costs = [Rho::ZERO; REKEYINGS_MAX as usize + 1];
    let mut rekeyings = 0;
    while rekeyings < costs.len() {
        let squares = NOISE_DISTANCES[rekeyings] * NOISE_DISTANCES[rekeyings] * PANEL_BLOCK_SLOTS as u64;
        costs[rekeyings] = Rho((NANO * squares).div_ceil(2 << (2 * FLOODING_SIGMA_LOG2)));
        rekeyings += 1;
    }
    costs
};

const _: () = assert!(FLOODING_RHO_PER_BODY[0].0 == NANO.div_ceil(1 << 23));

/// Keyholders who could each add up what a colluding researcher sees with one share known.
const LOSS_FACTOR_WITH_KEYHOLDER: u64 = 3;

impl RhoCost {
    /// The cost of releasing `variants` variants with `dp_share` noise in each of the three shares
    /// (`None`: exact counts) from `bodies` bodies, of people whose bodies got other keys up to `rekeyings` times.
    ///
    /// Replacing one person changes at most two counters of a variant by one each, so the squared
    /// L2 sensitivity is 2 * `variants` and rho = 2 * `variants` / (2 * 3 * `dp_share`), rounded up
    /// to whole nano-rho. It is exact when `dp_share` came from
    /// [`SigmaSquared::per_share`] with the same number of variants.
    ///
    /// # Errors
    /// [`PrivacyError::RhoRange`] when the cost does not fit, [`PrivacyError::RekeyedTooOften`] above [`REKEYINGS_MAX`].
    pub fn of_release(
        variants: u32,
        dp_share: Option<SigmaSquared>,
        bodies: u32,
        rekeyings: u8,
    ) -> Result<Self, PrivacyError> {
        let dp = dp_share.map_or(Ok(Rho::ZERO), |share| dp_rho(variants, share))?;
        let of_body = FLOODING_RHO_PER_BODY.get(usize::from(rekeyings));
        let of_body = of_body.ok_or(PrivacyError::RekeyedTooOften(rekeyings))?;
        Ok(Self { dp, flooding: of_body.checked_mul(u64::from(bodies))? })
    }

    /// What a person's account is charged.
    ///
    /// # Errors
    /// [`PrivacyError::RhoRange`] when the sum does not fit.
    pub fn total(self) -> Result<Rho, PrivacyError> {
        self.dp.checked_add(self.flooding)
    }

    /// The loss towards a researcher who colludes with one keyholder: that keyholder knows two of
    /// the three noise shares, so the variance that is left is a third.
    ///
    /// # Errors
    /// [`PrivacyError::RhoRange`] when it does not fit.
    pub fn dp_with_one_keyholder(self) -> Result<Rho, PrivacyError> {
        self.dp.checked_mul(LOSS_FACTOR_WITH_KEYHOLDER)
    }
}

fn dp_rho(variants: u32, share: SigmaSquared) -> Result<Rho, PrivacyError> {
    let scaled = u128::from(variants)
        .checked_mul(u128::from(NANO))
        .and_then(|nano_variants| nano_variants.checked_mul(share.denominator()))
        .ok_or(PrivacyError::RhoRange)?;
    let divisor = share.numerator().checked_mul(3).ok_or(PrivacyError::RhoRange)?;
    u64::try_from(scaled.div_ceil(divisor)).map(Rho).map_err(|_| PrivacyError::RhoRange)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decimal_strings_parse_exactly_and_print_shortest() {
        for (text, nano, shown) in [
            ("0", 0, "0"),
            ("0.01", 10_000_000, "0.01"),
            ("00.100000000", 100_000_000, "0.1"),
            ("0.000000001", 1, "0.000000001"),
            ("2.5", 2_500_000_000, "2.5"),
            ("18446744073.709551615", u64::MAX, "18446744073.709551615"),
        ] {
            let rho: Rho = text.parse().expect(text);
            assert_eq!((rho.as_nano(), rho.to_string().as_str()), (nano, shown));
        }
    }

    #[test]
    fn strings_that_are_not_exact_amounts_are_refused() {
        for text in [
            "",
            ".",
            ".5",
            "1.",
            "-1",
            "+1",
            "1e-3",
            " 1",
            "1 ",
            "0,1",
            "0.0000000001",
            "1.2.3",
            "١",
            "18446744073.709551616",
            "99999999999999999999",
        ] {
            assert!(matches!(text.parse::<Rho>(), Err(PrivacyError::RhoSyntax { .. })), "{text:?}");
        }
    }

    #[test]
    fn arithmetic_refuses_to_wrap() {
        let most = Rho::from_nano(u64::MAX);
        assert_eq!(most.checked_add(Rho::from_nano(1)), Err(PrivacyError::RhoRange));
        assert_eq!(most.checked_mul(2), Err(PrivacyError::RhoRange));
        assert_eq!(Rho::ZERO.left_after(most), Rho::ZERO);
    }

    #[test]
    fn exact_counts_cost_only_the_flooding() {
        let cost = RhoCost::of_release(23_770, None, 12, 0).expect("in range");
        assert_eq!((cost.dp, cost.flooding), (Rho::ZERO, Rho::from_nano(1_440)));
    }

    #[test]
    fn every_rekeying_costs_more_and_one_too_many_is_refused() {
        let flooding = |rekeyings| RhoCost::of_release(1, None, 1, rekeyings).map(|cost| cost.flooding.as_nano());
        // 10^9 d^2 / 2^31, rounded up, of the distances 16, 29, 34, 39, 42, 45, 48, 50, 52.
        let costs = [120, 392, 539, 709, 822, 943, 1_073, 1_165, 1_260];
        for (rekeyings, cost) in (0u8..).zip(costs) {
            assert_eq!(flooding(rekeyings), Ok(cost), "{rekeyings} re-keyings");
        }
        assert_eq!(flooding(REKEYINGS_MAX + 1), Err(PrivacyError::RekeyedTooOften(9)));
    }

    proptest! {
        #[test]
        fn printing_and_parsing_are_inverse(nano in any::<u64>()) {
            let rho = Rho::from_nano(nano);
            prop_assert_eq!(rho.to_string().parse::<Rho>(), Ok(rho));
        }

        #[test]
        fn the_noise_made_for_a_rho_costs_exactly_that_rho(variants in 1u32..2_000_000, nano in 1u64..5_000_000_000) {
            let rho = Rho::from_nano(nano);
            let share = SigmaSquared::per_share(variants, rho).expect("in range");
            let cost = RhoCost::of_release(variants, Some(share), 1, 0).expect("in range");
            prop_assert_eq!(cost.dp, rho);
            prop_assert_eq!(cost.dp_with_one_keyholder(), rho.checked_mul(3));
        }
    }
}
