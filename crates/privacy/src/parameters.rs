//! Tiers, and the privacy rules that a network fixes when it is deployed.

use crate::{error::PrivacyError, gaussian::FLOODING_SIGMA_LOG2, rho::Rho};
use std::fmt;

/// What a contributor's terms let a researcher learn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Differentially private counts for anyone, under the default caps.
    Open,
    /// Differentially private counts for accredited researchers, under wider caps.
    Vetted,
    /// Exact counts of large sealed batches. Not differentially private.
    Exact,
}

impl Tier {
    /// All tiers, in ascending order of code.
    pub const ALL: [Self; 3] = [Self::Open, Self::Vetted, Self::Exact];

    /// The byte that names the tier on disk and in hashes; zero names none.
    pub const fn code(self) -> u8 {
        match self {
            Self::Open => 1,
            Self::Vetted => 2,
            Self::Exact => 3,
        }
    }

    /// The tier with this [`code`](Self::code).
    ///
    /// # Errors
    /// [`PrivacyError::TierUnknown`] when there is none.
    pub const fn from_code(code: u8) -> Result<Self, PrivacyError> {
        match code {
            1 => Ok(Self::Open),
            2 => Ok(Self::Vetted),
            3 => Ok(Self::Exact),
            _ => Err(PrivacyError::TierUnknown(code)),
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Vetted => "vetted",
            Self::Exact => "exact",
        })
    }
}

/// The caps on one person's privacy loss in one tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TierCaps {
    /// Most dp rho of one answer; zero in the exact tier, whose answers carry no dp noise.
    pub rho_query_max: Rho,
    /// Most rho (dp and flooding, all tiers together) in any 365 days.
    pub rho_year_max: Rho,
    /// Most rho (dp and flooding, all tiers together) ever.
    pub rho_lifetime_max: Rho,
}

/// The values of [`NetworkParameters`], not yet validated. The default is the standard network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NetworkParameterValues {
    /// Fewest people in a cohort.
    pub cohort_size_min: u32,
    /// Fewest members of a sealed batch in an exact answer.
    pub exact_batch_min: u32,
    /// Fewest people that exact answers may set apart from the others.
    pub exact_change_min: u32,
    /// Open tier: most dp rho of one answer.
    pub rho_query_max: Rho,
    /// Open tier: most rho in 365 days.
    pub rho_year_max: Rho,
    /// Open tier: most rho ever.
    pub rho_lifetime_max: Rho,
    /// How many times the open caps the vetted tier allows.
    pub vetted_factor: u32,
    /// log2 of the flooding noise's sigma in each share.
    pub flooding_sigma_log2: u8,
    /// Longest time from an order to its deadline.
    pub order_lifetime_max_s: u64,
    /// Whether this is a test network, which may be less strict and says so.
    pub test_network: bool,
}

/// The standard network: at rho 0.01 a researcher's membership test has an area under the curve
/// of at most 0.540, at 0.1 (a year) 0.624, at 0.5 (a lifetime) 0.760; see
/// [`membership_auc_bound`](crate::report::membership_auc_bound).
const STANDARD: NetworkParameterValues = NetworkParameterValues {
    cohort_size_min: 100,
    exact_batch_min: 1000,
    exact_change_min: 100,
    rho_query_max: Rho::from_nano(10_000_000),
    rho_year_max: Rho::from_nano(100_000_000),
    rho_lifetime_max: Rho::from_nano(500_000_000),
    vetted_factor: 5,
    flooding_sigma_log2: FLOODING_SIGMA_LOG2,
    order_lifetime_max_s: 86_400,
    test_network: false,
};

/// Most datasets of one registration, hence of one sealed batch.
pub const BATCH_SIZE_MAX: u32 = 4096;
/// Shortest order lifetime that a network may set.
const ORDER_LIFETIME_MIN_S: u64 = 60;
/// Longest order lifetime that a network may set: a week of locked escrow.
const ORDER_LIFETIME_LIMIT_S: u64 = 604_800;

impl Default for NetworkParameterValues {
    fn default() -> Self {
        STANDARD
    }
}

/// The privacy rules of a network; checked once, then taken as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NetworkParameters {
    values: NetworkParameterValues,
    vetted: TierCaps,
}

impl NetworkParameters {
    /// Checks that the values fit together, and, unless they are for a test network, that they
    /// are at least as strict as the standard ones.
    ///
    /// # Errors
    /// [`PrivacyError::Parameter`] for the first value that is not allowed.
    pub fn try_new(values: NetworkParameterValues) -> Result<Self, PrivacyError> {
        check_consistency(&values)?;
        if !values.test_network {
            check_strictness(&values)?;
        }
        let widened = |rho: Rho| {
            rho.checked_mul(u64::from(values.vetted_factor)).map_err(|_| PrivacyError::Parameter {
                name: "vetted_factor",
                value: u64::from(values.vetted_factor),
                rule: "small enough for the vetted caps to fit 64 bits of nano-rho",
            })
        };
        let vetted = TierCaps {
            rho_query_max: widened(values.rho_query_max)?,
            rho_year_max: widened(values.rho_year_max)?,
            rho_lifetime_max: widened(values.rho_lifetime_max)?,
        };
        Ok(Self { values, vetted })
    }

    /// The standard network.
    pub fn standard() -> Self {
        Self::try_new(STANDARD).expect("a test checks that the standard values are allowed")
    }

    /// All values.
    pub const fn values(&self) -> &NetworkParameterValues {
        &self.values
    }

    /// The caps of a tier. An exact answer has no dp rho of its own; its flooding rho counts
    /// against the vetted year and lifetime caps.
    pub const fn caps(&self, tier: Tier) -> TierCaps {
        match tier {
            Tier::Open => TierCaps {
                rho_query_max: self.values.rho_query_max,
                rho_year_max: self.values.rho_year_max,
                rho_lifetime_max: self.values.rho_lifetime_max,
            },
            Tier::Vetted => self.vetted,
            Tier::Exact => TierCaps {
                rho_query_max: Rho::ZERO,
                rho_year_max: self.vetted.rho_year_max,
                rho_lifetime_max: self.vetted.rho_lifetime_max,
            },
        }
    }
}

/// A named value, whether it is allowed, and what would be.
type Rule = (&'static str, u64, bool, &'static str);

fn first_broken(rules: &[Rule]) -> Result<(), PrivacyError> {
    match rules.iter().find(|(_, _, is_allowed, _)| !is_allowed) {
        Some(&(name, value, _, rule)) => Err(PrivacyError::Parameter { name, value, rule }),
        None => Ok(()),
    }
}

fn check_consistency(values: &NetworkParameterValues) -> Result<(), PrivacyError> {
    let (query, year, lifetime) = (values.rho_query_max, values.rho_year_max, values.rho_lifetime_max);
    let order_lifetime = values.order_lifetime_max_s;
    let batch_range = values.cohort_size_min.max(values.exact_change_min)..=BATCH_SIZE_MAX;
    first_broken(&[
        ("cohort_size_min", values.cohort_size_min.into(), values.cohort_size_min > 0, "at least 1"),
        ("exact_change_min", values.exact_change_min.into(), values.exact_change_min > 0, "at least 1"),
        (
            "exact_batch_min",
            values.exact_batch_min.into(),
            batch_range.contains(&values.exact_batch_min),
            "at least cohort_size_min and exact_change_min, at most 4096",
        ),
        ("rho_query_max", query.as_nano(), !query.is_zero() && query <= year, "above zero, at most rho_year_max"),
        ("rho_year_max", year.as_nano(), year <= lifetime, "at most rho_lifetime_max"),
        ("vetted_factor", values.vetted_factor.into(), values.vetted_factor > 0, "at least 1"),
        (
            "flooding_sigma_log2",
            values.flooding_sigma_log2.into(),
            values.flooding_sigma_log2 == FLOODING_SIGMA_LOG2,
            "21: less does not hide the keys, more does not decode",
        ),
        (
            "order_lifetime_max_s",
            order_lifetime,
            (ORDER_LIFETIME_MIN_S..=ORDER_LIFETIME_LIMIT_S).contains(&order_lifetime),
            "60 to 604800",
        ),
    ])
}

fn check_strictness(values: &NetworkParameterValues) -> Result<(), PrivacyError> {
    let at_least = |name, value: u32, floor: u32, rule| (name, u64::from(value), value >= floor, rule);
    let at_most = |name, value: Rho, cap: Rho, rule| (name, value.as_nano(), value <= cap, rule);
    first_broken(&[
        at_least(
            "cohort_size_min",
            values.cohort_size_min,
            STANDARD.cohort_size_min,
            "at least 100 outside test networks",
        ),
        at_least(
            "exact_batch_min",
            values.exact_batch_min,
            STANDARD.exact_batch_min,
            "at least 1000 outside test networks",
        ),
        at_least(
            "exact_change_min",
            values.exact_change_min,
            STANDARD.exact_change_min,
            "at least 100 outside test networks",
        ),
        at_most(
            "rho_query_max",
            values.rho_query_max,
            STANDARD.rho_query_max,
            "at most 0.01 rho outside test networks",
        ),
        at_most("rho_year_max", values.rho_year_max, STANDARD.rho_year_max, "at most 0.1 rho outside test networks"),
        at_most(
            "rho_lifetime_max",
            values.rho_lifetime_max,
            STANDARD.rho_lifetime_max,
            "at most 0.5 rho outside test networks",
        ),
        (
            "vetted_factor",
            values.vetted_factor.into(),
            values.vetted_factor <= STANDARD.vetted_factor,
            "at most 5 outside test networks",
        ),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = fn(&mut NetworkParameterValues);

    fn refused_name(change: Change, test_network: bool) -> Option<&'static str> {
        let mut values = NetworkParameterValues { test_network, ..NetworkParameterValues::default() };
        change(&mut values);
        match NetworkParameters::try_new(values) {
            Ok(_) => None,
            Err(PrivacyError::Parameter { name, .. }) => Some(name),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn the_standard_caps_are_those_of_the_protocol() {
        let parameters = NetworkParameters::standard();
        let shown = |tier| {
            let caps = parameters.caps(tier);
            [caps.rho_query_max, caps.rho_year_max, caps.rho_lifetime_max].map(|rho| rho.to_string())
        };
        assert_eq!(shown(Tier::Open), ["0.01", "0.1", "0.5"]);
        assert_eq!(shown(Tier::Vetted), ["0.05", "0.5", "2.5"]);
        assert_eq!(shown(Tier::Exact), ["0", "0.5", "2.5"]);
    }

    #[test]
    fn weaker_rules_are_refused_unless_the_network_is_a_test_network() {
        let weaker: [(&str, Change); 7] = [
            ("cohort_size_min", |values| values.cohort_size_min = 99),
            ("exact_batch_min", |values| values.exact_batch_min = 999),
            ("exact_change_min", |values| values.exact_change_min = 99),
            ("rho_query_max", |values| values.rho_query_max = Rho::from_nano(10_000_001)),
            ("rho_year_max", |values| values.rho_year_max = Rho::from_nano(100_000_001)),
            ("rho_lifetime_max", |values| values.rho_lifetime_max = Rho::from_nano(500_000_001)),
            ("vetted_factor", |values| values.vetted_factor = 6),
        ];
        for (name, change) in weaker {
            assert_eq!(refused_name(change, false), Some(name));
            assert_eq!(refused_name(change, true), None, "{name}");
        }
    }

    #[test]
    fn rules_that_do_not_fit_together_are_refused_on_every_network() {
        let broken: [(&str, Change); 11] = [
            ("cohort_size_min", |values| values.cohort_size_min = 0),
            ("exact_change_min", |values| values.exact_change_min = 0),
            ("exact_batch_min", |values| values.exact_batch_min = 50),
            ("exact_batch_min", |values| values.exact_batch_min = BATCH_SIZE_MAX + 1),
            ("rho_query_max", |values| values.rho_query_max = Rho::ZERO),
            ("rho_query_max", |values| values.rho_year_max = Rho::from_nano(1)),
            ("rho_year_max", |values| values.rho_lifetime_max = Rho::from_nano(10_000_000)),
            ("vetted_factor", |values| values.vetted_factor = 0),
            ("vetted_factor", |values| values.rho_lifetime_max = Rho::from_nano(u64::MAX)),
            ("flooding_sigma_log2", |values| values.flooding_sigma_log2 = 20),
            ("order_lifetime_max_s", |values| values.order_lifetime_max_s = 59),
        ];
        for (name, change) in broken {
            assert_eq!(refused_name(change, true), Some(name));
        }
    }

    #[test]
    fn stricter_rules_are_allowed_everywhere() {
        let stricter: Change = |values| {
            values.cohort_size_min = 1000;
            values.exact_batch_min = 2000;
            values.rho_query_max = Rho::from_nano(1);
        };
        assert_eq!(refused_name(stricter, false), None);
    }

    #[test]
    fn tier_codes_are_inverse_and_zero_is_no_tier() {
        for tier in Tier::ALL {
            assert_eq!(Tier::from_code(tier.code()), Ok(tier));
        }
        assert_eq!(Tier::from_code(0), Err(PrivacyError::TierUnknown(0)));
        assert_eq!(Tier::from_code(4), Err(PrivacyError::TierUnknown(4)));
    }
}
