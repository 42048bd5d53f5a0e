//! What the contracts speak of, in the project's own types.

use crate::amount::Amount;
use locus_commitment::{
    Address, DatasetBodyDigest, DatasetCommitments, DatasetId, Digest32, PersonTag, ShareSetCommitment,
};
use locus_genomics::PanelDigest;
use locus_privacy::{Rho, Tier};
use std::{collections::BTreeSet, fmt};

/// Number of a registration: one batch of datasets of one registrant on one panel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistrationId(pub u64);

impl fmt::Display for RegistrationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Name of an order: its EIP-712 struct hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderId(pub Digest32);

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OrderId({})", self.0)
    }
}

/// One individual's genotypes on one panel, as registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatasetLeaf {
    /// The dataset.
    pub dataset: DatasetId,
    /// The person whose budget its uses charge.
    pub person: PersonTag,
    /// Commitments that no other dataset may repeat.
    pub commitments: DatasetCommitments,
}

/// What a registrant signs to register a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registration {
    /// Account that owns the datasets and is paid.
    pub registrant: Address,
    /// Panel of all datasets.
    pub panel: PanelDigest,
    /// Version of all datasets, from 1 to 2^32 - 1 - [`REKEYINGS_MAX`](locus_privacy::REKEYINGS_MAX).
    pub version: u32,
    /// The registrant's own number for the batch; used once.
    pub batch_nonce: u64,
    /// Who vouches for the datasets.
    pub accreditor: Option<Address>,
    /// The registration can be submitted until then.
    pub deadline_unix_s: u64,
    /// keccak256 of the ABI-encoded leaves.
    pub leaves_hash: Digest32,
}

/// What a re-keying gives a dataset: new key shares, and new ciphertexts of the same genotypes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatasetKeys {
    /// Digest of all its stored ciphertext bodies.
    pub bodies: DatasetBodyDigest,
    /// Commitment to its three key shares.
    pub shares: ShareSetCommitment,
}

/// What the keyholders sign to re-key all datasets of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rekeying {
    /// The registration.
    pub registration: RegistrationId,
    /// The generation that results, from 1 to [`REKEYINGS_MAX`](locus_privacy::REKEYINGS_MAX).
    pub generation: u8,
    /// [`keys_hash`](crate::keys_hash) of the new keys.
    pub keys_hash: Digest32,
    /// Until when the chain takes them.
    pub deadline_unix_s: u64,
}

/// Kind of question; offers price each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QueryClass {
    /// Counts over a whole cohort.
    Counts,
    /// Counts over a cohort selected by an encrypted filter.
    FilteredCounts,
    /// Case/control and trait associations.
    Association,
}

impl QueryClass {
    /// The number used by the contracts.
    pub fn code(self) -> u8 {
        match self {
            Self::Counts => 0,
            Self::FilteredCounts => 1,
            Self::Association => 2,
        }
    }

    /// The class with this number.
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Counts, Self::FilteredCounts, Self::Association].into_iter().find(|class| class.code() == code)
    }
}

/// Who may buy under an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    /// Anyone.
    Anyone,
    /// Researchers on the market's list.
    AccreditedResearchers,
    /// Only these accounts.
    Named(BTreeSet<Address>),
}

/// Price per dataset and query class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfferPrices {
    /// For [`QueryClass::Counts`].
    pub counts: Amount,
    /// For [`QueryClass::FilteredCounts`].
    pub filtered_counts: Amount,
    /// For [`QueryClass::Association`].
    pub association: Amount,
}

impl OfferPrices {
    /// The price of one dataset in a question of this class.
    pub fn of(&self, class: QueryClass) -> Amount {
        match class {
            QueryClass::Counts => self.counts,
            QueryClass::FilteredCounts => self.filtered_counts,
            QueryClass::Association => self.association,
        }
    }
}

/// Tiers that an offer permits; bit 0 open, bit 1 vetted, bit 2 exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TierSet(pub u32);

impl TierSet {
    /// The set of these tiers.
    pub fn of(tiers: &[Tier]) -> Self {
        Self(tiers.iter().fold(0, |bits, tier| bits | 1 << tier_code(*tier)))
    }

    /// Whether the tier is permitted.
    pub fn contains(self, tier: Tier) -> bool {
        self.0 >> tier_code(tier) & 1 == 1
    }
}

/// The number of a tier in the contracts.
pub fn tier_code(tier: Tier) -> u8 {
    match tier {
        Tier::Open => 0,
        Tier::Vetted => 1,
        Tier::Exact => 2,
    }
}

/// The tier with this number.
pub fn tier_from_code(code: u8) -> Option<Tier> {
    [Tier::Open, Tier::Vetted, Tier::Exact].into_iter().find(|tier| tier_code(*tier) == code)
}

/// What a question must be for the datasets of an offer to be counted; bit 0 proven, bit 1 authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Demands(pub u32);

impl Demands {
    /// No demand.
    pub const NONE: Self = Self(0);
    /// Only in cohorts of proven datasets.
    pub const PROVEN: Self = Self(1);
    /// In questions about selected people only when they are evaluated on authenticated shares.
    pub const AUTHENTICATED: Self = Self(1 << 1);
    /// Everything that can be demanded.
    pub const ALL: Self = Self(0b11);

    /// Both demands.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is demanded.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Price and terms of all datasets of a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The registration on offer.
    pub registration: RegistrationId,
    /// Prices per dataset.
    pub prices: OfferPrices,
    /// Data use conditions (bits of `locus_genomics::DataUse`).
    pub data_use: u32,
    /// Tiers permitted.
    pub tiers: TierSet,
    /// Who may buy.
    pub audience: Audience,
    /// First panel block on offer.
    pub block_start: u32,
    /// Panel block after the last on offer.
    pub block_end: u32,
    /// Ontology term that disease-specific research must name, hashed; zeros for none.
    pub condition_digest: Digest32,
    /// What questions must be.
    pub demands: Demands,
    /// Digest of the document that discloses something about the dataset; zeros for none.
    pub disclosure_digest: Digest32,
    /// The offer ends then.
    pub expiry_unix_s: u64,
    /// One more than the nonce of the registration's previous offer.
    pub nonce: u64,
}

impl Offer {
    /// Digest of what it discloses, if it does.
    pub fn disclosure(&self) -> Option<Digest32> {
        Some(self.disclosure_digest).filter(|digest| *digest != Digest32([0; 32]))
    }
}

/// A researcher's question and the most they pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// Who asks and pays.
    pub researcher: Address,
    /// The panel asked about.
    pub panel: PanelDigest,
    /// Digest of the variants asked for.
    pub selection_digest: Digest32,
    /// Digest of the predicate; zeros for none.
    pub predicate_digest: Digest32,
    /// Kind of question.
    pub query_class: QueryClass,
    /// Declared purpose (bits of `locus_genomics::Purpose`).
    pub purpose: u32,
    /// Condition studied, hashed; zeros for none.
    pub condition_digest: Digest32,
    /// Privacy tier.
    pub tier: Tier,
    /// Privacy loss asked for; zero in the exact tier.
    pub rho: Rho,
    /// Held in escrow until settlement.
    pub max_price: Amount,
    /// SHA3-256 of the key that answers are sealed to.
    pub hpke_key_digest: Digest32,
    /// From then on anyone can return the escrow.
    pub deadline_unix_s: u64,
    /// Makes the order unique.
    pub nonce: u64,
}

/// What keyholders sign to settle an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settlement {
    /// The order.
    pub order: OrderId,
    /// Digest of the names of all blocks' questions.
    pub answer_digest: Digest32,
    /// Digest of the cohort that was summed.
    pub cohort_digest: Digest32,
    /// People in it.
    pub cohort_size: u32,
    /// What the order costs; the rest of the escrow returns to the researcher.
    pub price: Amount,
    /// Number of this settlement, one more than the last.
    pub payout_sequence: u64,
    /// Merkle root of cumulative earnings after it.
    pub payout_root: Digest32,
}

/// A member of the keyholder committee.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitteeMember {
    /// Account that signs.
    pub signer: Address,
    /// Key that seeds are sealed to, 1,216 bytes.
    pub hpke_public_key: Vec<u8>,
}
