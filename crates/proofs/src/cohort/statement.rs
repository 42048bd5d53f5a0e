//! Statement C in plain Rust.

use crate::{
    domain::{DST_COHORT_WORDS, DST_PAYOUTS},
    error::ProofsError,
    registry::{
        DATA_USE_BITS, DAY_BITS, GROUP_SIZE, Group, PRICE_BITS, PRICE_CLASSES, REGISTRY_DEPTH, SHARD_LEVELS, TIER_BITS,
    },
    words::WordInputs,
};
use ark_bn254::Fr;
use ark_ff::AdditiveGroup;
use locus_commitment::{
    field::domain_tag,
    merkle::{ARITY, LEVEL_BITS, MerklePath, node},
    pedersen::CiphertextCommitment,
    poseidon::{hash_list, pack},
};
use locus_genomics::{DuoTerm, Purpose, PurposeCode};
use std::sync::OnceLock;
use thiserror::Error;

/// Size of the circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CohortShape {
    shard_levels: usize,
    depth: usize,
}

impl CohortShape {
    /// The size in use: shards of 256 groups in a tree of 2^20.
    pub const FULL: Self = Self { shard_levels: SHARD_LEVELS, depth: REGISTRY_DEPTH };

    /// A size for tests: shards of 16^shard_levels groups in a tree of 16^depth.
    ///
    /// # Errors
    /// [`ProofsError::WrongSize`].
    pub fn try_new(shard_levels: usize, depth: usize) -> Result<Self, ProofsError> {
        if (1..=SHARD_LEVELS).contains(&shard_levels) && (shard_levels..=REGISTRY_DEPTH).contains(&depth) {
            Ok(Self { shard_levels, depth })
        } else {
            Err(ProofsError::WrongSize("the registry tree"))
        }
    }

    /// Groups in a shard.
    pub fn groups(self) -> usize {
        ARITY.pow(u32::try_from(self.shard_levels).unwrap_or(0))
    }

    /// Levels of a shard.
    pub fn shard_levels(self) -> usize {
        self.shard_levels
    }

    /// Levels from a shard to the root.
    pub fn levels_above(self) -> usize {
        self.depth - self.shard_levels
    }

    /// Levels of the tree.
    pub fn depth(self) -> usize {
        self.depth
    }
}

/// Tier of an order, as in offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryTier {
    /// Open.
    Open,
    /// Vetted.
    Vetted,
    /// Exact.
    Exact,
}

/// What an order asks about the origin of datasets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Provenance {
    /// An accreditor must vouch for the datasets.
    pub accredited: bool,
    /// Encryption must be proven.
    pub proven: bool,
}

/// What every selected dataset must allow, as the bits of one word.
///
/// | bits | meaning |
/// |---|---|
/// | 0 to 21 | data use terms that forbid the purpose |
/// | 22 to 43 | data use terms of which one must be present |
/// | 44 to 46 | tier: open, vetted or exact, one of them set |
/// | 47 to 49 | price class: counts, filtered counts or association, one of them set |
/// | 50 | the researcher is accredited |
/// | 51 | datasets must be accredited |
/// | 52 | encryption must be proven |
/// | 53 | disease-specific consents must name the condition |
/// | 54 to 69 | day on which offers must not have expired |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CohortPolicy(pub(crate) u128);

pub(crate) const PERMITTING_SHIFT: usize = DATA_USE_BITS;
pub(crate) const TIER_SHIFT: usize = 2 * DATA_USE_BITS;
pub(crate) const CLASS_SHIFT: usize = TIER_SHIFT + TIER_BITS;
pub(crate) const RESEARCHER_SHIFT: usize = CLASS_SHIFT + PRICE_CLASSES;
pub(crate) const NEED_ACCREDITED_SHIFT: usize = RESEARCHER_SHIFT + 1;
pub(crate) const NEED_PROVEN_SHIFT: usize = NEED_ACCREDITED_SHIFT + 1;
pub(crate) const CONDITION_SHIFT: usize = NEED_PROVEN_SHIFT + 1;
pub(crate) const DAY_SHIFT: usize = CONDITION_SHIFT + 1;
pub(crate) const POLICY_BITS: usize = DAY_SHIFT + DAY_BITS;

const _: () = assert!(POLICY_BITS == 70);

impl CohortPolicy {
    /// The policy of a purpose. It permits exactly the data use terms that
    /// [`DataUse::permits`] does.
    pub fn new(
        purpose: &Purpose,
        tier: QueryTier,
        price_class: u8,
        researcher_accredited: bool,
        provenance: Provenance,
        day: u16,
    ) -> Self {
        let bit = |term: DuoTerm| u128::from(term.bit());
        let undeclared = |term: &DuoTerm| {
            let missing = term.required_declarations().without(purpose.declarations);
            missing.bits() != 0
        };
        let mut forbidding: u128 = DuoTerm::all().filter(undeclared).map(bit).sum();
        match purpose.code {
            PurposeCode::MethodsDevelopment => forbidding |= bit(DuoTerm::NoMethodsDevelopment),
            PurposeCode::PopulationOrigins => forbidding |= bit(DuoTerm::NoPopulationOrigins),
            _ => {}
        }
        let condition = matches!(purpose.code, PurposeCode::Disease | PurposeCode::MethodsDevelopment);
        let flags = [
            (researcher_accredited, RESEARCHER_SHIFT),
            (provenance.accredited, NEED_ACCREDITED_SHIFT),
            (provenance.proven, NEED_PROVEN_SHIFT),
            (condition, CONDITION_SHIFT),
        ];
        let flags = flags.iter().fold(0, |bits, (set, shift)| bits | u128::from(*set) << shift);
        Self(
            forbidding
                | permitting_terms(purpose.code) << PERMITTING_SHIFT
                | 1 << (TIER_SHIFT + tier as usize)
                | 1 << (CLASS_SHIFT + usize::from(price_class.min(2)))
                | flags
                | u128::from(day) << DAY_SHIFT,
        )
    }

    /// The bits of the word.
    pub fn bits(self) -> u128 {
        self.0
    }

    /// The policy of a statement; `None` for bits that no policy has.
    pub fn from_bits(bits: u128) -> Option<Self> {
        (bits >> POLICY_BITS == 0).then_some(Self(bits))
    }

    /// Whether disease-specific consents must name the condition under study; the condition is otherwise zero.
    pub fn names_condition(self) -> bool {
        self.has(CONDITION_SHIFT)
    }

    /// Whether a bit is set.
    pub(crate) fn has(self, place: usize) -> bool {
        self.0 >> place & 1 == 1
    }

    pub(crate) fn day(self) -> u16 {
        u16::try_from(self.0 >> DAY_SHIFT & 0xffff).unwrap_or(u16::MAX)
    }

    /// Whether a group may be open under this policy, the condition under study and the highest price: clauses C5
    /// to C7.
    ///
    /// # Errors
    /// The first violation.
    pub fn check_group(self, group: &Group, condition: &Fr, price_max: u64) -> Result<(), CohortViolation> {
        let require = |holds: bool, violation: CohortViolation| if holds { Ok(()) } else { Err(violation) };
        let offer = &group.offer;
        require(self.permits(offer.data_use), CohortViolation::DataUse)?;
        let other_condition = self.has(CONDITION_SHIFT)
            && offer.data_use & DuoTerm::DiseaseSpecific.bit() != 0
            && offer.condition != *condition;
        require(!other_condition, CohortViolation::Condition)?;
        let tier = u128::from(offer.tiers) & (self.0 >> TIER_SHIFT) & 7 != 0;
        let audience = !offer.named_only && (!offer.accredited_only || self.has(RESEARCHER_SHIFT));
        let provenance =
            (group.accredited || !self.has(NEED_ACCREDITED_SHIFT)) && (group.proven || !self.has(NEED_PROVEN_SHIFT));
        require(tier, CohortViolation::Tier)?;
        require(audience, CohortViolation::Audience)?;
        require(provenance, CohortViolation::Provenance)?;
        require(offer.expiry_day >= self.day(), CohortViolation::Expired)?;
        require(self.price_of(group) <= price_max, CohortViolation::Price)
    }

    /// Whether terms pass clause C5 but for the condition.
    pub(crate) fn permits(self, data_use: u32) -> bool {
        let all = (1u128 << DATA_USE_BITS) - 1;
        let (forbidding, permitting) = (self.0 & all, self.0 >> PERMITTING_SHIFT & all);
        let data_use = u128::from(data_use);
        data_use & forbidding == 0 && data_use & permitting != 0
    }

    /// The price that the class selects.
    pub(crate) fn price_of(self, group: &Group) -> u64 {
        let class = (0..PRICE_CLASSES).find(|class| self.has(CLASS_SHIFT + class));
        class.map_or(0, |class| group.offer.prices[class])
    }
}

/// Terms of which one must be present: the permissions that cover a purpose, or consent to care.
fn permitting_terms(code: PurposeCode) -> u128 {
    use DuoTerm as T;
    let terms: &[DuoTerm] = match code {
        PurposeCode::Unrestricted => &[T::NoRestriction],
        PurposeCode::GeneralResearch => &[T::NoRestriction, T::GeneralResearch],
        PurposeCode::Biomedical => &[T::NoRestriction, T::GeneralResearch, T::Biomedical],
        PurposeCode::Disease | PurposeCode::MethodsDevelopment => {
            &[T::NoRestriction, T::GeneralResearch, T::Biomedical, T::DiseaseSpecific]
        }
        PurposeCode::PopulationOrigins => &[T::NoRestriction, T::GeneralResearch, T::PopulationOrigins],
        PurposeCode::ClinicalCare => &[T::NoRestriction, T::ClinicalCare],
    };
    terms.iter().map(|term| u128::from(term.bit())).sum()
}

/// What a chain of cohort proofs has added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CohortState {
    /// Datasets selected.
    pub size: u64,
    /// Their prices in units.
    pub total_price: u128,
    /// Sum of their ciphertext commitments.
    pub commitment: CiphertextCommitment,
    /// Hash of who is paid.
    pub payouts: Fr,
}

impl CohortState {
    /// Before the first shard.
    pub fn empty() -> Self {
        Self { size: 0, total_price: 0, commitment: CiphertextCommitment::empty(), payouts: Fr::ZERO }
    }

    /// Size, total price, commitment x and y, payouts.
    pub fn words(&self) -> [Fr; 5] {
        let (x, y) = self.commitment.coordinates();
        [Fr::from(self.size), Fr::from(self.total_price), x, y, self.payouts]
    }
}

/// The public part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CohortPublic {
    /// Root of the panel's registry tree.
    pub root: Fr,
    /// Number of the shard.
    pub shard: u32,
    /// What is asked of every dataset.
    pub policy: CohortPolicy,
    /// Word of the disease under study, or zero.
    pub condition: Fr,
    /// Highest price in units.
    pub price_max: u64,
    /// State before.
    pub before: CohortState,
    /// State after.
    pub after: CohortState,
}

/// The private part.
#[derive(Debug, Clone)]
pub struct CohortWitness {
    /// All leaves of the shard; `None` where no group is registered.
    pub groups: Vec<Option<Group>>,
    /// The datasets selected, by group.
    pub selected: Vec<[bool; GROUP_SIZE]>,
    /// Hides the selection in the payouts' hash; at least 128 random bits.
    pub blinding: Fr,
    /// From the shard to the root.
    pub path: MerklePath,
}

/// The clause a statement violates. C1 and C2 hold by construction of the native types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CohortViolation {
    /// C4.
    #[error("C4: a selected dataset is not live")]
    NotLive,
    /// C5.
    #[error("C5: the data use terms do not permit the purpose")]
    DataUse,
    /// C5.
    #[error("C5: the disease-specific consent names another condition")]
    Condition,
    /// C6.
    #[error("C6: the tier is not on offer")]
    Tier,
    /// C6.
    #[error("C6: the offer is for other buyers")]
    Audience,
    /// C6.
    #[error("C6: the dataset is not accredited or not proven as asked")]
    Provenance,
    /// C7.
    #[error("C7: the offer ends before the day asked for")]
    Expired,
    /// C7.
    #[error("C7: the price is above the highest")]
    Price,
    /// C8.
    #[error("C8: cohort size or total price is wrong")]
    Totals,
    /// C9.
    #[error("C9: the commitment is not the sum over the cohort")]
    Commitment,
    /// C3 and C10.
    #[error("C10: the groups are not those of the shard under the root")]
    Shard,
    /// C11.
    #[error("C11: the payouts' hash is wrong")]
    Payouts,
}

pub(crate) fn payouts_tag() -> Fr {
    static TAG: OnceLock<Fr> = OnceLock::new();
    *TAG.get_or_init(|| domain_tag(DST_PAYOUTS))
}

pub(crate) fn words_tag() -> Fr {
    static TAG: OnceLock<Fr> = OnceLock::new();
    *TAG.get_or_init(|| domain_tag(DST_COHORT_WORDS))
}

/// The payouts' hash after a shard, from the hash before, the shard's number, its blinding and the datasets
/// selected in each of its groups: clause C11. Knowing these is all it takes to see who a proven cohort pays.
pub fn payouts_after(before: Fr, shard: u32, blinding: Fr, selected: &[[bool; GROUP_SIZE]]) -> Fr {
    let bits: Vec<u64> = selected.iter().flatten().map(|selected| u64::from(*selected)).collect();
    let mut elements = vec![before, Fr::from(shard), blinding];
    elements.extend(pack(&bits, 1));
    hash_list(payouts_tag(), &elements)
}

impl CohortWitness {
    /// The state after this shard: what a correct statement says.
    pub fn advance(&self, before: &CohortState, shard: u32, policy: CohortPolicy) -> CohortState {
        let mut after = *before;
        for (group, selected) in self.groups.iter().zip(&self.selected) {
            let Some(group) = group else { continue };
            for (commitment, _) in group.commitments.iter().zip(selected).filter(|(_, selected)| **selected) {
                after.size += 1;
                after.total_price += u128::from(policy.price_of(group));
                after.commitment = after.commitment.plus(commitment);
            }
        }
        after.payouts = payouts_after(before.payouts, shard, self.blinding, &self.selected);
        after
    }

    pub(crate) fn shard_root(&self) -> Fr {
        let mut nodes: Vec<Fr> = self.groups.iter().map(|group| group.map_or(Fr::ZERO, |group| group.leaf())).collect();
        while nodes.len() > 1 {
            nodes = nodes.as_chunks::<ARITY>().0.iter().map(node).collect();
        }
        nodes.first().copied().unwrap_or(Fr::ZERO)
    }
}

impl CohortPublic {
    /// The public words.
    pub fn words(&self) -> Vec<Fr> {
        let mut words = vec![
            self.root,
            Fr::from(self.shard),
            Fr::from(self.policy.bits()),
            self.condition,
            Fr::from(self.price_max),
        ];
        words.extend(self.before.words());
        words.extend(self.after.words());
        words
    }

    /// The public inputs that stand for the words.
    pub fn inputs(&self) -> WordInputs {
        let words = self.words();
        WordInputs::new(DST_COHORT_WORDS, hash_list(words_tag(), &words), &words)
    }

    /// Checks every clause in plain Rust.
    ///
    /// # Errors
    /// The first clause violated.
    pub fn check(&self, shape: CohortShape, witness: &CohortWitness) -> Result<(), CohortViolation> {
        let require = |holds: bool, violation: CohortViolation| if holds { Ok(()) } else { Err(violation) };
        let sized = witness.groups.len() == shape.groups() && witness.selected.len() == shape.groups();
        require(sized && self.price_max >> PRICE_BITS == 0, CohortViolation::Shard)?;
        for (group, selected) in witness.groups.iter().zip(&witness.selected) {
            if selected.contains(&true) {
                let group = group.as_ref().ok_or(CohortViolation::NotLive)?;
                let live = group.live.iter().zip(selected).all(|(live, selected)| *live || !selected);
                require(live, CohortViolation::NotLive)?;
                self.policy.check_group(group, &self.condition, self.price_max)?;
            }
        }
        let after = witness.advance(&self.before, self.shard, self.policy);
        let totals = (after.size, after.total_price) == (self.after.size, self.after.total_price);
        require(totals, CohortViolation::Totals)?;
        require(after.commitment == self.after.commitment, CohortViolation::Commitment)?;
        let in_tree = u64::from(self.shard) >> (LEVEL_BITS * shape.levels_above()) == 0
            && witness.path.levels.len() == shape.levels_above()
            && witness.path.root(self.shard, witness.shard_root()) == Some(self.root);
        require(in_tree, CohortViolation::Shard)?;
        require(after.payouts == self.after.payouts, CohortViolation::Payouts)
    }
}
