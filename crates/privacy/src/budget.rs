//! One person's privacy account.

mod encoding;

use crate::{
    error::PrivacyError,
    parameters::{NetworkParameters, Tier},
    question::{AnswerDigest, Tau},
    rho::{Rho, RhoCost},
};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
};

/// Seconds that a charge counts against the yearly cap: 365 days.
pub const BUDGET_YEAR_S: u64 = 365 * 86_400;
/// Most charges of an account. At the open caps, and 10^-6 rho for the smallest sensible answer,
/// a lifetime holds fewer than 500,000 of them; 16,384 keep an account below 1 MB.
pub const CHARGES_MAX: usize = 16_384;
/// Most charges after merging the accounts that three keyholders kept of one person.
pub(crate) const CHARGES_MERGED_MAX: usize = 3 * CHARGES_MAX;

/// Name of a charge: what was answered. The same name is charged once, ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChargeName(pub [u8; 32]);

impl fmt::Display for ChargeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl From<Tau> for ChargeName {
    fn from(tau: Tau) -> Self {
        Self(tau.0.0)
    }
}

impl From<AnswerDigest> for ChargeName {
    fn from(answer: AnswerDigest) -> Self {
        Self(answer.0.0)
    }
}

/// A charge to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChargeRequest {
    /// What is answered.
    pub name: ChargeName,
    /// Tier of the order.
    pub tier: Tier,
    /// What it costs each person in the cohort.
    pub cost: RhoCost,
    /// The keyholder's clock, in seconds since 1970.
    pub at_unix_s: u64,
}

/// A charge that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charge {
    /// When, in seconds since 1970: the latest time the account had seen.
    pub at_unix_s: u64,
    /// How much, dp and flooding together.
    pub rho: Rho,
    /// Tier of the order.
    pub tier: Tier,
}

/// What a charge does to an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChargeOutcome {
    /// The amount is new and is spent.
    Charged,
    /// The same name was charged before; nothing changes.
    AlreadyCharged,
}

/// What is left of the caps of one tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetLeft {
    /// Rho left of the last 365 days.
    pub year: Rho,
    /// Rho left of the lifetime.
    pub lifetime: Rho,
}

/// One person's privacy account, over all datasets, versions, panels and buyers: every charge ever
/// made, by name.
///
/// - What was spent never decreases: there is no refund, a clock that goes back frees nothing (the
///   account's own latest time stands), and [`merge`](Self::merge) keeps the larger of two records.
/// - A charge counts for the year that starts with it, exactly, charge by charge.
/// - A refused charge leaves the account as it was.
///
/// The owner stores [`to_bytes`](Self::to_bytes) durably before it releases what was charged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PersonBudget {
    time_max_unix_s: u64,
    /// Strictly ascending by name, as in the encoding: accounts are read far more often than charged.
    charges: Vec<(ChargeName, Charge)>,
}

impl PersonBudget {
    /// An account without charges.
    pub fn new() -> Self {
        Self::default()
    }

    /// Checks whether [`charge`](Self::charge) would be accepted, without charging.
    ///
    /// # Errors
    /// - [`PrivacyError::ChargeGrown`] when the name was charged before for less than this;
    /// - [`PrivacyError::TierRho`] when an exact answer has dp rho, or a noisy one has none;
    /// - [`PrivacyError::QueryCap`], [`PrivacyError::YearCap`], [`PrivacyError::LifetimeCap`] when a cap
    ///   of the tier would be exceeded; the year and lifetime caps count what was spent in all tiers;
    /// - [`PrivacyError::AccountFull`] when the account holds [`CHARGES_MAX`] charges;
    /// - [`PrivacyError::RhoRange`] when the cost does not fit.
    pub fn check(
        &self,
        request: &ChargeRequest,
        parameters: &NetworkParameters,
    ) -> Result<ChargeOutcome, PrivacyError> {
        let asked = request.cost.total()?;
        if let Ok(place) = self.place(&request.name) {
            let made = self.charges[place].1;
            return match asked <= made.rho {
                true => Ok(ChargeOutcome::AlreadyCharged),
                false => Err(PrivacyError::ChargeGrown { name: request.name, charged: made.rho, asked }),
            };
        }
        self.check_caps(request, asked, parameters)?;
        if self.charges.len() >= CHARGES_MAX {
            return Err(PrivacyError::AccountFull(self.charges.len()));
        }
        Ok(ChargeOutcome::Charged)
    }

    /// Where the charge of this name is, or belongs.
    fn place(&self, name: &ChargeName) -> Result<usize, usize> {
        self.charges.binary_search_by_key(name, |(name, _)| *name)
    }

    fn check_caps(
        &self,
        request: &ChargeRequest,
        asked: Rho,
        parameters: &NetworkParameters,
    ) -> Result<(), PrivacyError> {
        let (tier, dp) = (request.tier, request.cost.dp);
        if (tier == Tier::Exact) != dp.is_zero() {
            return Err(PrivacyError::TierRho { tier, rho: dp });
        }
        let caps = parameters.caps(tier);
        if dp > caps.rho_query_max {
            return Err(PrivacyError::QueryCap { tier, asked: dp, allowed: caps.rho_query_max });
        }
        let left = self.left(request.at_unix_s, tier, parameters);
        if asked > left.lifetime {
            return Err(PrivacyError::LifetimeCap { tier, asked, left: left.lifetime });
        }
        if asked > left.year {
            return Err(PrivacyError::YearCap { tier, asked, left: left.year });
        }
        Ok(())
    }

    /// Makes a charge, or recognises one that was made before under the same name.
    ///
    /// # Errors
    /// Those of [`check`](Self::check); the account is then unchanged.
    pub fn charge(
        &mut self,
        request: &ChargeRequest,
        parameters: &NetworkParameters,
    ) -> Result<ChargeOutcome, PrivacyError> {
        let outcome = self.check(request, parameters)?;
        if let Err(place) = self.place(&request.name) {
            self.time_max_unix_s = self.time_max_unix_s.max(request.at_unix_s);
            let made = Charge { at_unix_s: self.time_max_unix_s, rho: request.cost.total()?, tier: request.tier };
            self.charges.insert(place, (request.name, made));
        }
        Ok(outcome)
    }

    /// Takes over every charge of another record of the same person, such as a peer's after a
    /// loss. For a name that both have, the larger amount and the later time stand.
    ///
    /// # Errors
    /// - [`PrivacyError::AccountFull`] when the union exceeds three times [`CHARGES_MAX`];
    /// - [`PrivacyError::RhoRange`] when its sum does not fit.
    ///
    /// The account is then unchanged.
    pub fn merge(&mut self, other: &Self) -> Result<(), PrivacyError> {
        let mut union: BTreeMap<ChargeName, Charge> = self.charges().collect();
        for (name, theirs) in other.charges() {
            match union.entry(name) {
                Entry::Vacant(place) => {
                    place.insert(theirs);
                }
                Entry::Occupied(mut place) => {
                    let ours = place.get_mut();
                    ours.rho = ours.rho.max(theirs.rho);
                    ours.at_unix_s = ours.at_unix_s.max(theirs.at_unix_s);
                    ours.tier = ours.tier.max(theirs.tier);
                }
            }
        }
        if union.len() > CHARGES_MERGED_MAX {
            return Err(PrivacyError::AccountFull(union.len()));
        }
        checked_sum(union.values())?;
        self.charges = union.into_iter().collect();
        self.time_max_unix_s = self.time_max_unix_s.max(other.time_max_unix_s);
        Ok(())
    }

    /// All rho ever charged.
    pub fn spent_in_lifetime(&self) -> Rho {
        sum_of_account(self.made())
    }

    /// Rho charged in the 365 days before `at_unix_s`, or before the latest time the account has
    /// seen if that is later.
    pub fn spent_in_year(&self, at_unix_s: u64) -> Rho {
        let now = self.time_max_unix_s.max(at_unix_s);
        sum_of_account(self.made().filter(|charge| now.saturating_sub(charge.at_unix_s) < BUDGET_YEAR_S))
    }

    /// What the caps of a tier leave at `at_unix_s`, counting what was spent in all tiers.
    pub fn left(&self, at_unix_s: u64, tier: Tier, parameters: &NetworkParameters) -> BudgetLeft {
        let caps = parameters.caps(tier);
        BudgetLeft {
            year: caps.rho_year_max.left_after(self.spent_in_year(at_unix_s)),
            lifetime: caps.rho_lifetime_max.left_after(self.spent_in_lifetime()),
        }
    }

    /// How many exact answers used this person's data.
    pub fn exact_uses(&self) -> usize {
        self.made().filter(|charge| charge.tier == Tier::Exact).count()
    }

    /// All charges, in ascending order of name.
    pub fn charges(&self) -> impl Iterator<Item = (ChargeName, Charge)> {
        self.charges.iter().copied()
    }

    fn made(&self) -> impl Iterator<Item = &Charge> {
        self.charges.iter().map(|(_, charge)| charge)
    }

    /// The latest time the account has seen, in seconds since 1970; 0 before the first charge.
    pub const fn time_max_unix_s(&self) -> u64 {
        self.time_max_unix_s
    }
}

fn checked_sum<'a>(charges: impl Iterator<Item = &'a Charge>) -> Result<Rho, PrivacyError> {
    charges.into_iter().try_fold(Rho::ZERO, |sum, charge| sum.checked_add(charge.rho))
}

/// The sum of charges of one account. It fits: a charge is only made within a lifetime cap, and
/// merging and decoding check the sum. Should it not, the largest amount blocks further charges.
fn sum_of_account<'a>(charges: impl Iterator<Item = &'a Charge>) -> Rho {
    checked_sum(charges).unwrap_or(Rho::from_nano(u64::MAX))
}
