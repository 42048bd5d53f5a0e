//! Clauses 10 and 11: what an order is settled on in a market whose settlements need a proven cohort.

use locus_commitment::{
    Digest32,
    field::{FieldBytes, encode_field},
};
use locus_genomics::Purpose;
use locus_ledger::{Audience, CohortEvidence, CohortStatement, Contracts, Offer, Order, Settlement, cohort_id};
use locus_privacy::Tier;
use locus_proofs::{
    cohort::{CohortPolicy, Provenance, QueryTier},
    registry::{PRICE_BITS, PRICE_UNIT, condition_word},
};

/// Seconds of a day.
const DAY_S: u64 = 86_400;

/// The day on which an order opened, since 1970-01-01; offers must hold to its end.
pub fn order_day(opened_at_unix_s: u64) -> u16 {
    u16::try_from(opened_at_unix_s / DAY_S).unwrap_or(u16::MAX)
}

/// Whether an offer holds to the end of the day of this moment.
pub(crate) fn holds_all_day(offer: &Offer, time_unix_s: u64) -> bool {
    offer.expiry_unix_s.saturating_add(1) / DAY_S > time_unix_s / DAY_S
}

/// Whether a proof can cover an offer: the registry tree has no place for buyers by name, nor for prices
/// that are no multiples of the unit or too high.
pub(crate) fn is_provable(offer: &Offer) -> bool {
    let prices = [offer.prices.counts, offer.prices.filtered_counts, offer.prices.association];
    let fits =
        |price: locus_ledger::Amount| price.0.is_multiple_of(PRICE_UNIT) && price.0 / PRICE_UNIT < 1 << PRICE_BITS;
    !matches!(offer.audience, Audience::Named(_)) && prices.into_iter().all(fits)
}

/// What the cohort of an order must be proven to be. `None` for a purpose that does not exist.
pub fn cohort_statement(order: &Order, evidence: &CohortEvidence) -> Option<CohortStatement> {
    let choice = &evidence.choice;
    let tier = match order.tier {
        Tier::Open => QueryTier::Open,
        Tier::Vetted => QueryTier::Vetted,
        Tier::Exact => QueryTier::Exact,
    };
    let provenance = Provenance { accredited: choice.accredited_only, proven: choice.proven_only };
    let purpose = Purpose::from_bits(order.purpose)?;
    let class = order.query_class.code();
    let policy = CohortPolicy::new(&purpose, tier, class, evidence.researcher_accredited, provenance, choice.day);
    let condition = if policy.names_condition() {
        FieldBytes(encode_field(&condition_word(&order.condition_digest.0)))
    } else {
        FieldBytes([0; 32])
    };
    Some(CohortStatement {
        panel: order.panel,
        sequence: choice.sequence,
        policy: policy.bits(),
        condition,
        price_max_units: choice.price_max_units,
    })
}

/// What keyholders sign to settle an order: the settlement, and in a market that settles on proven
/// cohorts the cohort with it. `None` for a purpose that does not exist.
pub fn settlement_signing_hash(
    contracts: &Contracts,
    settlement: &Settlement,
    order: &Order,
    evidence: Option<&CohortEvidence>,
) -> Option<Digest32> {
    let Some(evidence) = evidence else { return Some(contracts.settlement_signing_hash(settlement)) };
    let cohort = cohort_id(&cohort_statement(order, evidence)?, &evidence.cohort);
    Some(contracts.proven_settlement_signing_hash(settlement, &cohort))
}
