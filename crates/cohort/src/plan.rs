//! Clauses 6 and 7: how a cohort is asked.

use crate::members::Cohort;
use locus_commitment::{Digest32, NetworkId, Sha3Writer, sha3_256};
use locus_genomics::{PanelBlockIndex, PanelDigest, Plane, Slot, VariantSelection};
use locus_ledger::OrderId;
use locus_privacy::{
    AnswerDigest, CohortDigest, PredicateBytes, PrivacyError, Question, Rho, RhoCost, SigmaSquared, SlotMask, Tau, Tier,
};
use locus_rlwe::{COHORT_SIZE_MAX, COUNTER_BITS};
use locus_sharing::{KeyholderIndex, ShareIndex, shares_of};

/// Epoch of the noise keys; a new epoch gives new noise to old questions.
pub const NOISE_EPOCH: u32 = 1;

/// What a plan needs to know of a panel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PanelShape {
    /// The panel.
    pub digest: PanelDigest,
    /// Whether it has no missing plane.
    pub complete_calls: bool,
}

/// Why a question cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanRefusal {
    /// No sum holds so many people.
    #[error(
        "{people} people are more than the {COHORT_SIZE_MAX} that one answer can count: ask about a panel with fewer people"
    )]
    CohortTooLarge {
        /// Cohort size.
        people: u32,
    },
    /// The counters cannot hold cohort and noise.
    #[error(
        "{people} people and noise of up to {offset} either way do not fit a counter: raise rho or ask for fewer variants"
    )]
    CounterOverflow {
        /// Cohort size.
        people: u32,
        /// Offset T.
        offset: u64,
    },
    /// A noisy tier without a privacy loss, or the exact tier with one.
    #[error("the {0} tier and the order's rho do not fit: noisy tiers need rho above zero, the exact tier has none")]
    RhoAndTier(Tier),
    /// Nothing is asked for.
    #[error("no variant is asked for")]
    NothingAsked,
    /// People without a call, of whom there are none.
    #[error("everybody has every call on this panel: leave out the selections that count people without one")]
    NoneMissing,
    /// More counts than can be numbered.
    #[error("variants and selections together are too many: ask for fewer at a time")]
    TooMuchAsked,
    /// The privacy rules cannot express it.
    #[error(transparent)]
    Privacy(#[from] PrivacyError),
}

/// What a cohort is known by from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedCohort {
    /// Its digest.
    pub digest: CohortDigest,
    /// People in it.
    pub size: u32,
}

/// What a plan needs to know of a filter: clause 13.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterShape {
    /// The selections, in the filter's order.
    pub selections: Vec<SelectionShape>,
    /// The [`attributes_digest`] of the cohort.
    pub attributes: Digest32,
}

/// What a plan needs to know of a selection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SelectionShape {
    /// Its digest.
    pub digest: Digest32,
    /// Numbers released beside its counts: the matched number, and for some a sum more.
    pub total_count: u32,
    /// Whether only people without a call are counted.
    pub missing_only: bool,
}

impl FilterShape {
    fn predicate(&self, selection: &Digest32) -> Result<PredicateBytes, PrivacyError> {
        PredicateBytes::try_new([selection.0, self.attributes.0].concat())
    }
}

/// Clause 14: names whose attributes are asked, and which. `commitments` are those of the members, in the
/// cohort's order.
pub fn attributes_digest(cohort: &Cohort, commitments: impl IntoIterator<Item = Digest32>) -> Digest32 {
    let mut writer = Sha3Writer::new(DST_ATTRIBUTES);
    for (member, commitment) in cohort.members().iter().zip(commitments) {
        writer.part(&member.slot.to_le_bytes()).part(&commitment.0);
    }
    writer.finish()
}

/// One panel block of an answer, for one selection of the filter if there is one.
#[derive(Debug, Clone)]
pub struct BlockPlan {
    /// Place of the selection in the filter; 0 without one.
    pub selection: u32,
    /// Numbers released with every block of the selection; 0 without a filter.
    pub total_count: u32,
    /// The block.
    pub block: PanelBlockIndex,
    /// Slots asked for.
    pub slots: SlotMask,
    /// What is counted, calls first: all planes of the panel, or the missing calls alone.
    pub planes: &'static [Plane],
    /// The name of its question.
    pub tau: Tau,
}

impl BlockPlan {
    /// Check slots, then requested slots, ascending.
    pub fn released_slots(&self) -> impl Iterator<Item = Slot> + '_ {
        (0..locus_genomics::CHECK_SLOTS).filter_map(Slot::try_new).chain(self.slots.slots())
    }
}

/// How an answer is asked, computed and charged.
#[derive(Debug, Clone)]
pub struct AnswerPlan {
    tier: Tier,
    planes: &'static [Plane],
    blocks: Vec<BlockPlan>,
    variant_count: u32,
    released_count: u32,
    is_filtered: bool,
    dp_share: Option<SigmaSquared>,
    dp_total: Option<SigmaSquared>,
    offset: u32,
    bodies: u32,
    digest: AnswerDigest,
}

impl AnswerPlan {
    /// Plans the answer of `cohort` to `selection` with privacy loss `rho` (zero in the exact tier).
    pub fn try_new(
        network: NetworkId,
        panel: PanelShape,
        selection: &VariantSelection,
        tier: Tier,
        rho: Rho,
        cohort: &Cohort,
        filter: Option<&FilterShape>,
    ) -> Result<Self, PlanRefusal> {
        let named = NamedCohort { digest: cohort.digest(), size: cohort.size() };
        Self::of_named(network, panel, selection, tier, rho, named, filter)
    }

    /// The same for a cohort of which only digest and size are known, as a researcher knows it.
    pub fn of_named(
        network: NetworkId,
        panel: PanelShape,
        selection: &VariantSelection,
        tier: Tier,
        rho: Rho,
        cohort: NamedCohort,
        filter: Option<&FilterShape>,
    ) -> Result<Self, PlanRefusal> {
        if (tier == Tier::Exact) != rho.is_zero() {
            return Err(PlanRefusal::RhoAndTier(tier));
        }
        let variant_count = selection.count();
        if variant_count == 0 {
            return Err(PlanRefusal::NothingAsked);
        }
        let released = released_count(variant_count, filter)?;
        let (dp_share, dp_total) = match tier {
            Tier::Exact => (None, None),
            Tier::Open | Tier::Vetted => {
                (Some(SigmaSquared::per_share(released, rho)?), Some(SigmaSquared::total(released, rho)?))
            }
        };
        let offset = offset_of(dp_total, cohort.size)?;
        let question_of = |block, place, asked: &AskedSelection| -> Result<BlockPlan, PrivacyError> {
            let slots = SlotMask::from_words(selection.slot_mask(block))?;
            let question = Question {
                network,
                panel: panel.digest,
                block,
                slots,
                cohort: cohort.digest,
                predicate: asked.predicate.clone(),
                dp_share,
                noise_epoch: NOISE_EPOCH,
            };
            let AskedSelection { total_count, planes, .. } = *asked;
            Ok(BlockPlan { selection: place, total_count, block, slots, planes, tau: question.tau() })
        };
        let planes = Plane::of_panel(panel.complete_calls);
        let mut blocks = Vec::new();
        for (place, asked) in (0u32..).zip(selections_of(filter, planes)?) {
            for block in selection.blocks() {
                blocks.push(question_of(block, place, &asked)?);
            }
        }
        let bodies = blocks.iter().map(|block: &BlockPlan| block.planes.len()).sum::<usize>();
        let bodies = u32::try_from(bodies).unwrap_or(u32::MAX);
        let taus: Vec<Tau> = blocks.iter().map(|block| block.tau).collect();
        Ok(Self {
            tier,
            planes,
            variant_count,
            dp_share,
            dp_total,
            offset,
            bodies,
            released_count: released,
            is_filtered: filter.is_some(),
            digest: AnswerDigest::of_taus(&taus)?,
            blocks,
        })
    }

    /// The tier.
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// Planes of the panel, calls first.
    pub fn planes(&self) -> &'static [Plane] {
        self.planes
    }

    /// By selection, the blocks, ascending.
    pub fn blocks(&self) -> &[BlockPlan] {
        &self.blocks
    }

    /// Variants asked for.
    pub fn variant_count(&self) -> u32 {
        self.variant_count
    }

    /// What is released of every person, in variants: those asked for, for every selection, and the totals. Noise and privacy loss follow from it.
    pub fn released_count(&self) -> u32 {
        self.released_count
    }

    /// Whether the counts are of people selected by a filter.
    pub fn is_filtered(&self) -> bool {
        self.is_filtered
    }

    /// Variance of the noise that each key share adds to a counter; `None` in the exact tier.
    pub fn dp_share(&self) -> Option<SigmaSquared> {
        self.dp_share
    }

    /// Variance of the noise on a counter; `None` in the exact tier.
    pub fn dp_total(&self) -> Option<SigmaSquared> {
        self.dp_total
    }

    /// T: what is added to every counter before decoding.
    pub fn offset(&self) -> u32 {
        self.offset
    }

    /// Privacy loss of every member of `cohort`, which the plan was made for: the same for all, as for the one whose bodies
    /// got other keys most often.
    ///
    /// # Errors
    /// [`PrivacyError::RhoRange`] when it does not fit.
    pub fn cost(&self, cohort: &Cohort) -> Result<RhoCost, PrivacyError> {
        RhoCost::of_release(self.released_count, self.dp_share, self.bodies, cohort.rekeyings())
    }

    /// Name of the whole answer.
    pub fn digest(&self) -> AnswerDigest {
        self.digest
    }
}

/// What is released of a person, in variants: for every selection all of them, and its totals. A person changes
/// each of these by no more than a variant's two counters, in units of its noise.
fn released_count(variant_count: u32, filter: Option<&FilterShape>) -> Result<u32, PlanRefusal> {
    let Some(filter) = filter else { return Ok(variant_count) };
    let of_selection = |selection: &SelectionShape| variant_count.checked_add(selection.total_count);
    let released = filter.selections.iter().try_fold(0u32, |sum, selection| sum.checked_add(of_selection(selection)?));
    released.ok_or(PlanRefusal::TooMuchAsked)
}

/// A selection as a block's question names it.
struct AskedSelection {
    predicate: PredicateBytes,
    total_count: u32,
    planes: &'static [Plane],
}

fn selections_of(filter: Option<&FilterShape>, planes: &'static [Plane]) -> Result<Vec<AskedSelection>, PlanRefusal> {
    let Some(filter) = filter else {
        return Ok(vec![AskedSelection { predicate: PredicateBytes::unfiltered(), total_count: 0, planes }]);
    };
    let asked = |selection: &SelectionShape| {
        let planes = match selection.missing_only {
            false => planes,
            true if planes.contains(&Plane::Missing) => &[Plane::Missing],
            true => return Err(PlanRefusal::NoneMissing),
        };
        let predicate = filter.predicate(&selection.digest)?;
        Ok(AskedSelection { predicate, total_count: selection.total_count, planes })
    };
    filter.selections.iter().map(asked).collect()
}

/// T for this noise, or a refusal when no sum holds the people, or no counter people and noise.
fn offset_of(dp_total: Option<SigmaSquared>, people: u32) -> Result<u32, PlanRefusal> {
    if people > COHORT_SIZE_MAX {
        return Err(PlanRefusal::CohortTooLarge { people });
    }
    let offset = dp_total.map_or(Ok(0), SigmaSquared::decode_offset)?;
    let refusal = PlanRefusal::CounterOverflow { people, offset };
    let needed = offset.checked_mul(2).and_then(|twice| twice.checked_add(u64::from(people)));
    if needed.is_none_or(|needed| needed >= 1 << COUNTER_BITS) {
        return Err(refusal);
    }
    u32::try_from(offset).map_err(|_| refusal)
}

/// Domain of sealed partial decryptions (the HPKE `info`).
pub const DST_SEALED_SHARE: &[u8] = b"locus/cohort/sealed-share/v1";

/// Bytes of the digest that ends the payload of a sealed share.
pub const SHARE_DIGEST_BYTES: usize = 32;
/// Bytes of each of the totals that end the payload of a part of a filtered answer.
pub const TOTAL_BYTES: usize = 8;
const DST_ATTRIBUTES: &str = "locus/cohort/attributes/v1";
const DST_SHARE_DIGEST: &str = "locus/cohort/share-digest/v1";

/// Clause 9: the digest with which a keyholder tells the researcher, under seal, what it computed for
/// the share that another keyholder releases. `partials` are the partial decryptions of the block's
/// planes as they are sealed.
pub fn share_digest(tau: &Tau, share: ShareIndex, partials: &[u8]) -> Digest32 {
    sha3_256(DST_SHARE_DIGEST, &[&tau.0.0, &[share.get()], partials])
}

/// The share that a holder of `share` also holds, and so vouches for when it releases `share`; `None`
/// for a keyholder that does not hold `share`.
pub fn vouched_share(releaser: KeyholderIndex, share: ShareIndex) -> Option<ShareIndex> {
    let [first, second] = shares_of(releaser);
    match share {
        share if share == first => Some(second),
        share if share == second => Some(first),
        _ => None,
    }
}

/// Associated data of a partial decryption sealed to the researcher: order id, the block's tau, the
/// share's number. The payload is the partial decryptions of the block's planes, calls first, and the
/// [`share_digest`] of the releaser's other share.
pub fn sealed_share_associated_data(order: &OrderId, tau: &Tau, share: u8) -> [u8; 65] {
    let mut data = [share; 65];
    data[..32].copy_from_slice(&order.0.0);
    data[32..64].copy_from_slice(&tau.0.0);
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_sum_or_counter_holds_is_refused_before_anybody_pays() {
        assert_eq!(offset_of(None, COHORT_SIZE_MAX).ok(), Some(0));
        let people = COHORT_SIZE_MAX + 1;
        assert_eq!(offset_of(None, people).err(), Some(PlanRefusal::CohortTooLarge { people }));
        // ceil(7 sigma) is a quarter of a counter's range, so that with these people it is one too many.
        let noise = SigmaSquared::try_new((1 << 34) / 49, 1).expect("a variance");
        let offset = noise.decode_offset().expect("an offset");
        let people = u32::try_from((1 << COUNTER_BITS) - 2 * offset).expect("people");
        assert!(offset_of(Some(noise), people - 1).is_ok());
        assert_eq!(offset_of(Some(noise), people).err(), Some(PlanRefusal::CounterOverflow { people, offset }));
    }
}
