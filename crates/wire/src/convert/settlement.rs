//! Settlements, who signed them and who they pay.

use super::field::{self, FieldError, FieldErrorKind};
use crate::pb::exchange as pb;
use bytes::Bytes;
use locus_commitment::{Address, field::FieldBytes};
use locus_ledger::{Amount, Cohort, CohortChoice, CohortEvidence, OrderId, Settlement};
use std::collections::BTreeMap;

/// Most accounts that one settlement pays: one for each dataset of the largest cohort.
pub const PAYEES_MAX: usize = 1 << 18;
/// Most accounts on a page of the table of earnings.
pub const EARNINGS_PAGE_MAX: usize = 4_096;
/// Keyholders.
const KEYHOLDERS: usize = 3;

impl From<&Settlement> for pb::Settlement {
    fn from(settlement: &Settlement) -> Self {
        Self {
            order_id: settlement.order.0.0.to_vec().into(),
            answer_digest: settlement.answer_digest.0.to_vec().into(),
            cohort_digest: settlement.cohort_digest.0.to_vec().into(),
            cohort_size: settlement.cohort_size,
            price: field::amount_text(settlement.price),
            payout_sequence: settlement.payout_sequence,
            payout_root: settlement.payout_root.0.to_vec().into(),
        }
    }
}

impl TryFrom<&pb::Settlement> for Settlement {
    type Error = FieldError;

    fn try_from(message: &pb::Settlement) -> Result<Self, FieldError> {
        Ok(Self {
            order: OrderId(field::digest("settlement.order_id", &message.order_id)?),
            answer_digest: field::digest("settlement.answer_digest", &message.answer_digest)?,
            cohort_digest: field::digest("settlement.cohort_digest", &message.cohort_digest)?,
            cohort_size: field::in_range("settlement.cohort_size", message.cohort_size, 1, u64::from(u32::MAX))?,
            price: field::amount("settlement.price", &message.price)?,
            payout_sequence: field::in_range("settlement.payout_sequence", message.payout_sequence, 1, u64::MAX)?,
            payout_root: field::digest("settlement.payout_root", &message.payout_root)?,
        })
    }
}

impl From<&CohortEvidence> for pb::CohortEvidence {
    fn from(evidence: &CohortEvidence) -> Self {
        let (choice, cohort) = (&evidence.choice, &evidence.cohort);
        Self {
            root_sequence: choice.sequence,
            day: u32::from(choice.day),
            accredited_only: choice.accredited_only,
            proven_only: choice.proven_only,
            price_max_units: choice.price_max_units,
            researcher_accredited: evidence.researcher_accredited,
            shard: cohort.shard,
            size: cohort.size,
            total_price_units: field::amount_text(Amount(cohort.total_price_units)),
            ciphertext_commitment: [cohort.commitment[0].0, cohort.commitment[1].0].concat().into(),
            payouts: cohort.payouts.0.to_vec().into(),
        }
    }
}

impl TryFrom<&pb::CohortEvidence> for CohortEvidence {
    type Error = FieldError;

    fn try_from(message: &pb::CohortEvidence) -> Result<Self, FieldError> {
        let point: [u8; 64] = field::array("cohort.ciphertext_commitment", &message.ciphertext_commitment)?;
        let (coordinates, _) = point.as_chunks::<32>();
        let (max, got) = (u64::from(u16::MAX), u64::from(message.day));
        let out_of_range = FieldErrorKind::OutOfRange { min: 0, max, got };
        Ok(Self {
            choice: CohortChoice {
                sequence: message.root_sequence,
                day: u16::try_from(message.day).map_err(|_| FieldError::new("cohort.day", out_of_range))?,
                accredited_only: message.accredited_only,
                proven_only: message.proven_only,
                price_max_units: message.price_max_units,
            },
            researcher_accredited: message.researcher_accredited,
            cohort: Cohort {
                shard: message.shard,
                size: message.size,
                total_price_units: field::amount("cohort.total_price_units", &message.total_price_units)?.0,
                commitment: [FieldBytes(coordinates[0]), FieldBytes(coordinates[1])],
                payouts: FieldBytes(field::array("cohort.payouts", &message.payouts)?),
            },
        })
    }
}

/// A keyholder's signature on a settlement, not yet verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettlementSignature {
    /// The keyholder that is said to have signed, 1 to 3.
    pub keyholder: u8,
    /// The signature.
    pub signature: Vec<u8>,
}

impl From<&SettlementSignature> for pb::settle_order_request::Signature {
    fn from(signed: &SettlementSignature) -> Self {
        Self { keyholder: u32::from(signed.keyholder), signature: signed.signature.clone().into() }
    }
}

/// Signatures of different keyholders, ascending.
///
/// # Errors
/// [`FieldError`] for a keyholder that does not exist, two signatures of one keyholder or a wrong
/// order, and for signatures without bytes.
pub fn parse_settlement_signatures(
    messages: &[pb::settle_order_request::Signature],
) -> Result<Vec<SettlementSignature>, FieldError> {
    let (max, got) = (KEYHOLDERS, messages.len());
    if got > max {
        return Err(FieldError::new("signatures", FieldErrorKind::TooLong { max, got }));
    }
    let parse = |message: &pb::settle_order_request::Signature| {
        Ok(SettlementSignature {
            keyholder: field::keyholder("signatures.keyholder", message.keyholder)?,
            signature: field::signature("signatures.signature", &message.signature)?,
        })
    };
    let signatures = messages.iter().map(parse).collect::<Result<Vec<_>, FieldError>>()?;
    if signatures.is_sorted_by(|left, right| left.keyholder < right.keyholder) {
        Ok(signatures)
    } else {
        Err(FieldError::new("signatures.keyholder", FieldErrorKind::NotAscending))
    }
}

/// What one account earns by an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payee {
    /// The account.
    pub account: Address,
    /// What it earns.
    pub amount: Amount,
}

impl From<Payee> for pb::settle_order_request::Payee {
    fn from(payee: Payee) -> Self {
        Self { account: Bytes::copy_from_slice(&payee.account.0), amount: field::amount_text(payee.amount) }
    }
}

/// The payees of a settlement, ascending by account.
///
/// # Errors
/// [`FieldError`] for a malformed account or amount, an account twice or out of order, more than
/// [`PAYEES_MAX`], and amounts that do not add up to `price`.
pub fn parse_payees(
    messages: &[pb::settle_order_request::Payee],
    price: Amount,
) -> Result<BTreeMap<Address, Amount>, FieldError> {
    let (max, got) = (PAYEES_MAX, messages.len());
    if got > max {
        return Err(FieldError::new("payees", FieldErrorKind::TooLong { max, got }));
    }
    let mut payees = BTreeMap::new();
    let mut sum = Amount::ZERO;
    for message in messages {
        let account = field::address("payees.account", &message.account)?;
        let amount = field::amount("payees.amount", &message.amount)?;
        if payees.last_key_value().is_some_and(|(last, _)| *last >= account) {
            return Err(FieldError::new("payees.account", FieldErrorKind::NotAscending));
        }
        sum = sum.checked_add(amount).ok_or(FieldError::new("payees.amount", FieldErrorKind::NotAnAmount))?;
        payees.insert(account, amount);
    }
    if sum != price {
        let reason = format!("the amounts add up to {} base units, the price is {}", sum.0, price.0);
        return Err(FieldError::refused("payees.amount", reason));
    }
    Ok(payees)
}

/// What one account has earned in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Earning {
    /// The account.
    pub account: Address,
    /// Everything it has earned, claimed or not.
    pub cumulative: Amount,
}

impl From<Earning> for pb::Earning {
    fn from(earning: Earning) -> Self {
        Self { account: Bytes::copy_from_slice(&earning.account.0), cumulative: field::amount_text(earning.cumulative) }
    }
}

/// A page of the table of earnings, ascending by account and all after `last`, the last account of
/// the page before.
///
/// # Errors
/// [`FieldError`] for a malformed account or amount, an amount of zero, an account twice or out of
/// order, and more than [`EARNINGS_PAGE_MAX`].
pub fn parse_earnings(messages: &[pb::Earning], last: Option<Address>) -> Result<Vec<Earning>, FieldError> {
    let (max, got) = (EARNINGS_PAGE_MAX, messages.len());
    if got > max {
        return Err(FieldError::new("earnings", FieldErrorKind::TooLong { max, got }));
    }
    let mut before = last;
    let mut earnings = Vec::with_capacity(messages.len());
    for message in messages {
        let account = field::address("earnings.account", &message.account)?;
        let cumulative = field::amount("earnings.cumulative", &message.cumulative)?;
        if before.replace(account).is_some_and(|before| before >= account) {
            return Err(FieldError::new("earnings.account", FieldErrorKind::NotAscending));
        }
        if cumulative == Amount::ZERO {
            return Err(FieldError::refused("earnings.cumulative", "an account that earned nothing is not listed"));
        }
        earnings.push(Earning { account, cumulative });
    }
    Ok(earnings)
}

#[cfg(test)]
mod tests;
