//! Clauses 1 to 3, 15 and 17: who may answer an order.

use crate::{
    disclosure::OfferedDisclosure,
    members::Member,
    proven::{holds_all_day, is_provable},
    requirements::Requirements,
};
use locus_commitment::Digest32;
use locus_genomics::{ConditionMatch, DataUse, PanelBlockIndex, Purpose, VariantSelection};
use locus_ledger::{Amount, Audience, ChainView, Demands, Offer, Order, QueryClass, RegistrationRecord};
use locus_privacy::{NetworkParameters, Tier};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// Why datasets do not take part in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExclusionReason {
    /// Nothing is on offer.
    NoOffer,
    /// The offer ended.
    OfferExpired,
    /// The offer does not permit the tier.
    TierNotOffered,
    /// The offer has no price for this kind of question.
    ClassNotOffered,
    /// The data use conditions do not permit the declared purpose.
    PurposeNotPermitted,
    /// The buyer is not among those admitted.
    BuyerNotAdmitted,
    /// Some panel block asked about is not on offer.
    BlocksNotOffered,
    /// The batch is too small for exact answers.
    BatchTooSmallForExact,
    /// No proof can cover the offer, in a market that settles on proven cohorts.
    NotProvable,
    /// The order requires proven datasets, and this one is registered on somebody's word.
    NotProven,
    /// The offer demands cohorts of proven datasets, and the order does not require them.
    ProvenDemanded,
    /// The offer demands that filters are evaluated on authenticated shares.
    AuthenticationDemanded,
    /// The offer does not disclose what the order requires.
    NotDisclosed,
    /// The document of the offer's disclosure is not there or cannot be checked.
    DisclosureUnread,
    /// The document of the offer's disclosure does not hold, or not as long as the offer.
    DisclosureRefused,
}

impl fmt::Display for ExclusionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoOffer => "nothing on offer",
            Self::OfferExpired => "offer expired",
            Self::TierNotOffered => "privacy tier not offered",
            Self::ClassNotOffered => "questions about selected people not offered",
            Self::PurposeNotPermitted => "purpose not permitted",
            Self::BuyerNotAdmitted => "buyer not admitted",
            Self::BlocksNotOffered => "panel blocks not offered",
            Self::BatchTooSmallForExact => "batch too small for exact answers",
            Self::NotProvable => "offer that no cohort proof can cover",
            Self::NotProven => "not registered with proofs",
            Self::ProvenDemanded => "offered to cohorts of proven datasets only",
            Self::AuthenticationDemanded => "offered to filters on authenticated shares only",
            Self::NotDisclosed => "required variants not disclosed",
            Self::DisclosureUnread => "disclosure that cannot be read",
            Self::DisclosureRefused => "disclosure that does not hold",
        })
    }
}

/// A market as one party sees it.
#[derive(Debug, Clone, Copy)]
pub struct Market<'a> {
    /// Its chain.
    pub view: &'a ChainView,
    /// Its privacy rules.
    pub parameters: &'a NetworkParameters,
    /// Whether orders settle on proven cohorts.
    pub settles_on_cohorts: bool,
}

/// Datasets that may answer an order, ascending by registry slot.
#[derive(Debug, Clone, Default)]
pub struct Eligible {
    /// Whether orders settle on proven cohorts.
    pub settles_on_cohorts: bool,
    /// Those that may.
    pub members: Vec<Member>,
    /// How many may not, by reason.
    pub excluded: BTreeMap<ExclusionReason, u32>,
    /// Of an order that requires disclosed variants, the documents of all members. Who has disclosed too little in
    /// the eyes of some keyholder is left out by its list.
    pub disclosures: Vec<OfferedDisclosure>,
}

/// A question, and the moment as of which its cohort is resolved.
#[derive(Debug, Clone, Copy)]
pub struct CohortQuestion<'a> {
    /// Who asks what on which terms.
    pub order: &'a Order,
    /// The variants asked for.
    pub selection: &'a VariantSelection,
    /// What everybody counted must be.
    pub requirements: &'a Requirements,
    /// Whether its filter is evaluated on authenticated shares.
    pub authenticated: bool,
    /// The block that opened the order.
    pub pinned_block: u64,
    /// Time of that block.
    pub time_unix_s: u64,
}

impl Eligible {
    /// Slots that are revoked, withdrawn or re-keyed as far as this view of the chain has seen.
    pub fn revoked_slots(&self, view: &ChainView, pinned_block: u64) -> BTreeSet<u64> {
        let is_out = |member: &&Member| self.is_out(view, member, pinned_block);
        self.members.iter().filter(is_out).map(|member| member.slot).collect()
    }

    /// How many are left out, by reason, when those of `left_out` are too.
    pub fn excluded_with(&self, left_out: &BTreeMap<u64, ExclusionReason>) -> BTreeMap<ExclusionReason, u32> {
        let mut excluded = self.excluded.clone();
        for reason in left_out.values() {
            let total = excluded.entry(*reason).or_insert(0);
            *total = total.saturating_add(1);
        }
        excluded
    }

    /// Whether a dataset is revoked, or since `pinned_block` its offer withdrawn or its keys replaced, as far as this view of
    /// the chain has seen: the keys of that block are destroyed. On proven cohorts a newer offer counts like a withdrawal:
    /// the registry tree has forgotten the older one.
    pub fn is_out(&self, view: &ChainView, member: &Member, pinned_block: u64) -> bool {
        let registration = view.registration(member.registration);
        let changed = || registration.is_some_and(|registration| registration.is_offer_changed_since(pinned_block));
        let rekeyed = registration.and_then(RegistrationRecord::rekeyed_in).is_some_and(|block| block > pinned_block);
        view.is_revoked(member.registration, member.ordinal)
            || view.is_withdrawn_since(member.registration, pinned_block)
            || rekeyed
            || self.settles_on_cohorts && changed()
    }
}

/// Resolves who may answer a question.
pub fn eligible(market: &Market<'_>, question: &CohortQuestion<'_>) -> Eligible {
    let CohortQuestion { order, selection, requirements, authenticated, pinned_block, time_unix_s } = *question;
    let blocks = &selection.blocks();
    resolve(&Asked { market: *market, order, blocks, requirements, authenticated, pinned_block, time_unix_s })
}

/// The same where nobody says what the order asks about and requires: everybody who would answer a question without
/// requirements about panel blocks that they offer. The chain has digests of a selection and of requirements only.
pub fn eligible_for_any_blocks(market: &Market<'_>, order: &Order, pinned_block: u64, time_unix_s: u64) -> Eligible {
    let requirements = &Requirements::default();
    resolve(&Asked {
        market: *market,
        order,
        blocks: &[],
        requirements,
        authenticated: false,
        pinned_block,
        time_unix_s,
    })
}

fn resolve(question: &Asked<'_>) -> Eligible {
    let (market, order) = (&question.market, question.order);
    let discloses = !question.requirements.disclosed().is_empty();
    let mut resolved = Eligible { settles_on_cohorts: market.settles_on_cohorts, ..Eligible::default() };
    for registration in market.view.registrations_on(&order.panel, question.pinned_block) {
        match question.admit(registration) {
            Ok(offer) => {
                let price = offer.prices.of(order.query_class);
                resolved.members.extend(Member::of_registration(registration, price, question.pinned_block));
                let offered = offer.disclosure().map(|digest| OfferedDisclosure {
                    registration: registration.id,
                    slot: registration.first_slot,
                    digest,
                    offer_expiry_unix_s: offer.expiry_unix_s,
                });
                resolved.disclosures.extend(offered.filter(|_| discloses));
            }
            Err(reason) => {
                let count = u32::try_from(registration.leaves.len()).unwrap_or(u32::MAX);
                let total = resolved.excluded.entry(reason).or_insert(0);
                *total = total.saturating_add(count);
            }
        }
    }
    resolved.members.sort_by_key(|member| member.slot);
    resolved
}

struct Asked<'a> {
    market: Market<'a>,
    order: &'a Order,
    blocks: &'a [PanelBlockIndex],
    requirements: &'a Requirements,
    authenticated: bool,
    pinned_block: u64,
    time_unix_s: u64,
}

impl Asked<'_> {
    fn admit<'r>(&self, registration: &'r RegistrationRecord) -> Result<&'r Offer, ExclusionReason> {
        let Self { order, pinned_block, time_unix_s, .. } = *self;
        let offer = registration.offer_as_of(pinned_block).ok_or(ExclusionReason::NoOffer)?;
        if offer.expiry_unix_s <= time_unix_s {
            return Err(ExclusionReason::OfferExpired);
        }
        if self.market.settles_on_cohorts {
            if !holds_all_day(offer, time_unix_s) {
                return Err(ExclusionReason::OfferExpired);
            }
            if !is_provable(offer) {
                return Err(ExclusionReason::NotProvable);
            }
        }
        if !offer.tiers.contains(order.tier) {
            return Err(ExclusionReason::TierNotOffered);
        }
        // Clause 15.
        let class = order.query_class;
        if class != QueryClass::Counts && offer.prices.of(class) == Amount::ZERO {
            return Err(ExclusionReason::ClassNotOffered);
        }
        self.check_purpose(offer)?;
        self.check_buyer(offer)?;
        let blocks_offered = self.blocks.iter().all(|block| (offer.block_start..offer.block_end).contains(&block.0));
        if !blocks_offered {
            return Err(ExclusionReason::BlocksNotOffered);
        }
        let exact_batch_min = u64::from(self.market.parameters.values().exact_batch_min);
        if order.tier == Tier::Exact && (registration.leaves.len() as u64) < exact_batch_min {
            return Err(ExclusionReason::BatchTooSmallForExact);
        }
        self.check_requirements(registration, offer)?;
        Ok(offer)
    }

    /// Clause 17: what the order requires of datasets, and offers demand of orders.
    fn check_requirements(&self, registration: &RegistrationRecord, offer: &Offer) -> Result<(), ExclusionReason> {
        let Self { order, requirements, authenticated, .. } = *self;
        if offer.demands.contains(Demands::PROVEN) && !requirements.proven_only() {
            return Err(ExclusionReason::ProvenDemanded);
        }
        let is_filtered = order.query_class != QueryClass::Counts;
        if offer.demands.contains(Demands::AUTHENTICATED) && is_filtered && !authenticated {
            return Err(ExclusionReason::AuthenticationDemanded);
        }
        if requirements.proven_only() && !registration.is_proven() {
            return Err(ExclusionReason::NotProven);
        }
        let may_disclose = registration.leaves.len() == 1 && offer.disclosure().is_some();
        if requirements.disclosed().is_empty() || may_disclose { Ok(()) } else { Err(ExclusionReason::NotDisclosed) }
    }

    fn check_purpose(&self, offer: &Offer) -> Result<(), ExclusionReason> {
        let refused = ExclusionReason::PurposeNotPermitted;
        let data_use = DataUse::try_from_bits(offer.data_use).map_err(|_| refused)?;
        let purpose = Purpose::from_bits(self.order.purpose).ok_or(refused)?;
        let condition = condition_match(&offer.condition_digest, &self.order.condition_digest);
        data_use.permits(&purpose, condition).map_err(|_| refused)
    }

    fn check_buyer(&self, offer: &Offer) -> Result<(), ExclusionReason> {
        let Self { order, pinned_block, .. } = *self;
        let buyer = &order.researcher;
        let accredited = || self.market.view.is_accredited_researcher(buyer, pinned_block);
        let admitted = match &offer.audience {
            Audience::Anyone => true,
            Audience::AccreditedResearchers => accredited(),
            Audience::Named(buyers) => buyers.contains(buyer),
        };
        // The vetted tier's larger budget is for researchers that the market has vetted.
        let vetted = order.tier != Tier::Vetted || accredited();
        if admitted && vetted { Ok(()) } else { Err(ExclusionReason::BuyerNotAdmitted) }
    }
}

fn condition_match(terms: &Digest32, purpose: &Digest32) -> ConditionMatch {
    ConditionMatch::of_digests(&terms.0, &purpose.0)
}
