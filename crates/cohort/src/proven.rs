//! Clauses 9 to 12: what an order is settled on in a market whose settlements need a proven cohort.

use crate::members::Member;
use locus_commitment::{
    Digest32,
    field::{FieldBytes, Fr, decode_field, encode_field},
};
use locus_genomics::{PanelDigest, Purpose};
use locus_ledger::{
    Audience, ChainView, CohortEvidence, CohortStatement, Contracts, Offer, Order, Settlement, cohort_id,
};
use locus_privacy::Tier;
use locus_proofs::{
    cohort::{CohortPolicy, Provenance, QueryTier, payouts_after},
    registry::{GROUP_SIZE, PRICE_BITS, PRICE_UNIT, condition_word},
};
use std::collections::BTreeMap;

/// Seconds of a day.
const DAY_S: u64 = 86_400;
/// Most groups of a shard that any circuit has.
const SHARD_GROUPS_MAX: u32 = 256;

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

/// Who is in a cohort, as places of the panel's registry tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection(BTreeMap<u32, [bool; GROUP_SIZE]>);

impl Selection {
    /// The places of these registry slots of a panel; `None` when one of them has no dataset.
    pub fn of_slots(view: &ChainView, panel: &PanelDigest, slots: impl IntoIterator<Item = u64>) -> Option<Self> {
        // Registrations take slots and groups in the same order.
        let mut first_group = 0u32;
        let mut registrations = BTreeMap::new();
        for registration in view.registrations_on(panel, u64::MAX) {
            let datasets = registration.leaves.len();
            registrations.insert(registration.first_slot, (first_group, datasets));
            first_group = first_group.checked_add(u32::try_from(datasets.div_ceil(GROUP_SIZE)).ok()?)?;
        }
        let mut selected: BTreeMap<u32, [bool; GROUP_SIZE]> = BTreeMap::new();
        for slot in slots {
            let (first_slot, (first_group, datasets)) = registrations.range(..=slot).next_back()?;
            let ordinal = usize::try_from(slot - first_slot).ok().filter(|ordinal| ordinal < datasets)?;
            let place = first_group.checked_add(u32::try_from(ordinal / GROUP_SIZE).ok()?)?;
            selected.entry(place).or_default()[ordinal % GROUP_SIZE] = true;
        }
        Some(Self(selected))
    }

    /// The places of a cohort's members.
    pub fn of_members(view: &ChainView, panel: &PanelDigest, members: &[Member]) -> Option<Self> {
        Self::of_slots(view, panel, members.iter().map(|member| member.slot))
    }

    /// The payouts' hash of the cohort that has exactly these members, with the blinding of each shard of
    /// `shard_groups` groups. `None` when these are not the shards that have members.
    pub fn payouts(&self, shard_groups: u32, blindings: &[(u32, FieldBytes)]) -> Option<FieldBytes> {
        if shard_groups == 0 || shard_groups > SHARD_GROUPS_MAX {
            return None;
        }
        let width = usize::try_from(shard_groups).ok()?;
        let mut shards: BTreeMap<u32, Vec<[bool; GROUP_SIZE]>> = BTreeMap::new();
        for (place, selected) in &self.0 {
            let shard = shards.entry(place / shard_groups).or_insert_with(|| vec![[false; GROUP_SIZE]; width]);
            shard[usize::try_from(place % shard_groups).ok()?] = *selected;
        }
        if !shards.keys().eq(blindings.iter().map(|(shard, _)| shard)) {
            return None;
        }
        let mut payouts = Fr::default();
        for ((shard, selected), (_, blinding)) in shards.iter().zip(blindings) {
            payouts = payouts_after(payouts, *shard, decode_field(&blinding.0).ok()?, selected);
        }
        Some(FieldBytes(encode_field(&payouts)))
    }
}
