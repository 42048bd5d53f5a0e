//! The stored form of an account.

use super::{CHARGES_MERGED_MAX, Charge, ChargeName, PersonBudget, checked_sum};
use crate::{error::PrivacyError, parameters::Tier, rho::Rho};

/// Version of the encoding, its first byte.
const VERSION: u8 = 1;
/// Version, latest time, number of charges.
const HEADER_BYTES: usize = 1 + 8 + 4;
/// Name, time, rho, tier.
const CHARGE_BYTES: usize = 32 + 8 + 8 + 1;

impl PersonBudget {
    /// The canonical encoding: version 1 (1 byte), latest time in seconds since 1970 (8), number of
    /// charges (4), then each charge in strictly ascending order of name: name (32), time (8),
    /// nano-rho (8), tier code (1). Integers are little endian. Two accounts are equal exactly when
    /// their encodings are.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + CHARGE_BYTES * self.charges.len());
        let count = u32::try_from(self.charges.len()).expect("an account holds at most 49,152 charges");
        bytes.push(VERSION);
        bytes.extend(self.time_max_unix_s.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        for (name, charge) in &self.charges {
            bytes.extend(name.0);
            bytes.extend(charge.at_unix_s.to_le_bytes());
            bytes.extend(charge.rho.as_nano().to_le_bytes());
            bytes.push(charge.tier.code());
        }
        bytes
    }

    /// Parses [`to_bytes`](Self::to_bytes), and nothing else.
    ///
    /// # Errors
    /// [`PrivacyError::Encoding`] when the bytes are not canonical, and [`PrivacyError::TierUnknown`] or
    /// [`PrivacyError::RhoRange`] when a charge cannot be.
    pub fn parse(bytes: &[u8]) -> Result<Self, PrivacyError> {
        let (version, rest) = take::<1>(bytes)?;
        if version != [VERSION] {
            return Err(broken("the version is not 1"));
        }
        let (time, rest) = take::<8>(rest)?;
        let (count, rest) = take::<4>(rest)?;
        let time_max_unix_s = u64::from_le_bytes(time);
        let count = usize::try_from(u32::from_le_bytes(count)).map_err(|_| broken("it has too many charges"))?;
        if count > CHARGES_MERGED_MAX {
            return Err(broken("it has too many charges"));
        }
        if rest.len() != count * CHARGE_BYTES {
            return Err(broken("its length does not match its number of charges"));
        }
        let charges = parse_charges(rest, time_max_unix_s)?;
        checked_sum(charges.iter().map(|(_, charge)| charge))?;
        Ok(Self { time_max_unix_s, charges })
    }
}

/// `bytes` holds whole charges.
fn parse_charges(bytes: &[u8], time_max_unix_s: u64) -> Result<Vec<(ChargeName, Charge)>, PrivacyError> {
    let mut charges: Vec<(ChargeName, Charge)> = Vec::with_capacity(bytes.len() / CHARGE_BYTES);
    let mut rest = bytes;
    while !rest.is_empty() {
        let (name, after_name) = take::<32>(rest)?;
        let (time, after_time) = take::<8>(after_name)?;
        let (nano, after_rho) = take::<8>(after_time)?;
        let ([tier], after_tier) = take::<1>(after_rho)?;
        let charge = Charge {
            at_unix_s: u64::from_le_bytes(time),
            rho: Rho::from_nano(u64::from_le_bytes(nano)),
            tier: Tier::from_code(tier)?,
        };
        if charge.at_unix_s > time_max_unix_s {
            return Err(broken("a charge is later than the latest time"));
        }
        if charges.last().is_some_and(|(last, _)| *last >= ChargeName(name)) {
            return Err(broken("the names are not in strictly ascending order"));
        }
        charges.push((ChargeName(name), charge));
        rest = after_tier;
    }
    Ok(charges)
}

fn take<const LEN: usize>(bytes: &[u8]) -> Result<([u8; LEN], &[u8]), PrivacyError> {
    let (head, rest) = bytes.split_first_chunk::<LEN>().ok_or_else(|| broken("it is cut short"))?;
    Ok((*head, rest))
}

fn broken(reason: &'static str) -> PrivacyError {
    PrivacyError::Encoding { object: "budget account", reason }
}
