//! The registry tree: what statements C and U say about datasets, as 16 words a leaf.
//!
//! A leaf is a *group*: up to five datasets of one registration under one offer, in ordinal order. A
//! person's registration has one group; a biobank's has one for every five datasets, so that changing
//! an offer changes a fifth as many leaves, and a cohort proof hashes a leaf once for five people.
//! Every panel has a tree of its own; 256 groups, a subtree of two levels, are a *shard*.
//!
//! The contract guarantees the words it queues: points on the curve, prices below 2^48 units, terms
//! within their bits. Prices are in units of 10^10 base units of the token.

use crate::domain::DST_GROUP;
use ark_bn254::Fr;
use ark_ff::PrimeField;
use locus_commitment::{
    Digest32,
    field::{domain_tag, field_of_digest},
    pedersen::CiphertextCommitment,
    poseidon::hash_list,
};
use std::sync::OnceLock;

/// Datasets in a group.
pub const GROUP_SIZE: usize = 5;
/// Words of a leaf.
pub const GROUP_WORDS: usize = 16;
/// Levels of the tree: 2^20 groups on a panel.
pub const REGISTRY_DEPTH: usize = 5;
/// Levels of a shard: 256 groups.
pub const SHARD_LEVELS: usize = 2;
/// Base units of the token in one price unit.
pub const PRICE_UNIT: u128 = 10_000_000_000;
/// Bits of a price in units.
pub const PRICE_BITS: usize = 48;
/// Prices of an offer: one for each class of query.
pub const PRICE_CLASSES: usize = 3;

/// Bits of the data use terms.
pub(crate) const DATA_USE_BITS: usize = 22;
pub(crate) const TIER_BITS: usize = 3;
pub(crate) const DAY_BITS: usize = 16;
/// Places in the word of terms.
pub(crate) const TIERS_SHIFT: usize = DATA_USE_BITS;
pub(crate) const ACCREDITED_ONLY_SHIFT: usize = TIERS_SHIFT + TIER_BITS;
pub(crate) const NAMED_ONLY_SHIFT: usize = ACCREDITED_ONLY_SHIFT + 1;
pub(crate) const ACCREDITED_SHIFT: usize = NAMED_ONLY_SHIFT + 1;
pub(crate) const PROVEN_SHIFT: usize = ACCREDITED_SHIFT + 1;
pub(crate) const LIVE_SHIFT: usize = PROVEN_SHIFT + 1;
pub(crate) const EXPIRY_SHIFT: usize = LIVE_SHIFT + GROUP_SIZE;
pub(crate) const TERMS_BITS: usize = EXPIRY_SHIFT + DAY_BITS;

const _: () = assert!(TERMS_BITS == 50);
const _: () = assert!(2 * GROUP_SIZE + PRICE_CLASSES + 3 == GROUP_WORDS);

/// What an offer says about all datasets of a group. The default is on offer to nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupOffer {
    /// Prices in units for counts, filtered counts and association.
    pub prices: [u64; PRICE_CLASSES],
    /// Hash of the disease that a disease-specific consent names, cut to 248 bits; or zero.
    pub condition: Fr,
    /// Data use terms, one bit a term.
    pub data_use: u32,
    /// Bit 0 open, bit 1 vetted, bit 2 exact.
    pub tiers: u8,
    /// Only for accredited researchers.
    pub accredited_only: bool,
    /// Only for buyers named in the offer; such datasets are in no proven cohort.
    pub named_only: bool,
    /// Last day of the offer, days since 1970-01-01.
    pub expiry_day: u16,
}

/// A leaf of the registry tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// Commitments to the ciphertexts; neutral where there is no dataset.
    pub commitments: [CiphertextCommitment; GROUP_SIZE],
    /// Which datasets are registered and not revoked.
    pub live: [bool; GROUP_SIZE],
    /// An accreditor vouches for the datasets.
    pub accredited: bool,
    /// Keyholders have checked a proof of encryption of every body.
    pub proven: bool,
    /// Registration that the group belongs to.
    pub registration: u64,
    /// Ordinal of the group's first dataset.
    pub first_ordinal: u32,
    /// Price and terms.
    pub offer: GroupOffer,
}

/// Domain tag of leaves.
pub(crate) fn group_tag() -> Fr {
    static TAG: OnceLock<Fr> = OnceLock::new();
    *TAG.get_or_init(|| domain_tag(DST_GROUP))
}

/// The word of a condition digest.
pub fn condition_word(digest: &[u8; 32]) -> Fr {
    field_of_digest(&Digest32(*digest))
}

/// A place among the 16 words of a group.
pub(crate) mod word {
    pub(crate) const PRICES: usize = 2 * super::GROUP_SIZE;
    pub(crate) const CONDITION: usize = PRICES + super::PRICE_CLASSES;
    pub(crate) const TERMS: usize = CONDITION + 1;
    pub(crate) const ORIGIN: usize = TERMS + 1;
}

impl GroupOffer {
    /// The offer's bits of the word of terms.
    pub(crate) fn terms_word(&self) -> u64 {
        u64::from(self.data_use)
            | u64::from(self.tiers) << TIERS_SHIFT
            | u64::from(self.accredited_only) << ACCREDITED_ONLY_SHIFT
            | u64::from(self.named_only) << NAMED_ONLY_SHIFT
            | u64::from(self.expiry_day) << EXPIRY_SHIFT
    }

    /// The offer in the words of a group, whatever the other words are; `None` where a number has too
    /// many bits.
    pub(crate) fn of_words(words: &[Fr; GROUP_WORDS]) -> Option<Self> {
        let terms = small_number(&words[word::TERMS])?;
        let mut prices = [0; PRICE_CLASSES];
        for (price, value) in prices.iter_mut().zip(&words[word::PRICES..]) {
            *price = small_number(value).filter(|price| price >> PRICE_BITS == 0)?;
        }
        Some(Self {
            prices,
            condition: words[word::CONDITION],
            data_use: u32::try_from(terms & ((1 << DATA_USE_BITS) - 1)).ok()?,
            tiers: u8::try_from(terms >> TIERS_SHIFT & ((1 << TIER_BITS) - 1)).ok()?,
            accredited_only: terms >> ACCREDITED_ONLY_SHIFT & 1 == 1,
            named_only: terms >> NAMED_ONLY_SHIFT & 1 == 1,
            expiry_day: u16::try_from(terms >> EXPIRY_SHIFT).ok()?,
        })
    }
}

/// A field element below 2^64.
pub(crate) fn small_number(element: &Fr) -> Option<u64> {
    let [low, rest @ ..] = element.into_bigint().0;
    (rest == [0; 3]).then_some(low)
}

impl Group {
    /// A group with these commitments, all live, not yet on offer.
    pub fn registered(commitments: &[CiphertextCommitment], registration: u64, first_ordinal: u32) -> Self {
        let mut group = Self {
            commitments: [CiphertextCommitment::empty(); GROUP_SIZE],
            live: [false; GROUP_SIZE],
            accredited: false,
            proven: false,
            registration,
            first_ordinal,
            offer: GroupOffer::default(),
        };
        for (place, commitment) in commitments.iter().take(GROUP_SIZE).enumerate() {
            group.commitments[place] = *commitment;
            group.live[place] = true;
        }
        group
    }

    /// The bits of the word of terms.
    pub(crate) fn terms_word(&self) -> u64 {
        let live = (0u64..).zip(self.live).fold(0, |bits, (place, live)| bits | u64::from(live) << place);
        self.offer.terms_word()
            | u64::from(self.accredited) << ACCREDITED_SHIFT
            | u64::from(self.proven) << PROVEN_SHIFT
            | live << LIVE_SHIFT
    }

    /// The 16 words: coordinates x, y of five commitments, three prices, condition, terms, and
    /// registration * 2^32 + first ordinal.
    pub fn words(&self) -> [Fr; GROUP_WORDS] {
        let mut words = [Fr::from(0u64); GROUP_WORDS];
        for (place, commitment) in self.commitments.iter().enumerate() {
            (words[2 * place], words[2 * place + 1]) = commitment.coordinates();
        }
        for (word, price) in words[word::PRICES..].iter_mut().zip(self.offer.prices) {
            *word = Fr::from(price);
        }
        words[word::CONDITION] = self.offer.condition;
        words[word::TERMS] = Fr::from(self.terms_word());
        words[word::ORIGIN] = Fr::from(u128::from(self.registration) << 32 | u128::from(self.first_ordinal));
        words
    }

    /// The group of these words; `None` for words of no group.
    pub(crate) fn of_words(words: &[Fr; GROUP_WORDS]) -> Option<Self> {
        let (offer, terms) = (GroupOffer::of_words(words)?, small_number(&words[word::TERMS])?);
        let origin = words[word::ORIGIN].into_bigint().0;
        let mut group =
            Self::registered(&[], origin[0] >> 32 | origin[1] << 32, u32::try_from(origin[0] & 0xffff_ffff).ok()?);
        for (place, commitment) in group.commitments.iter_mut().enumerate() {
            *commitment = CiphertextCommitment::from_coordinates(words[2 * place], words[2 * place + 1]).ok()?;
            group.live[place] = terms >> (LIVE_SHIFT + place) & 1 == 1;
        }
        (group.accredited, group.proven) = (terms >> ACCREDITED_SHIFT & 1 == 1, terms >> PROVEN_SHIFT & 1 == 1);
        group.offer = offer;
        // Bits that no field has would get lost.
        (group.words() == *words).then_some(group)
    }

    /// The leaf: Poseidon of the words.
    pub fn leaf(&self) -> Fr {
        hash_list(group_tag(), &self.words())
    }
}

/// The leaf of words that may belong to no [`Group`].
pub(crate) fn leaf_of_words(words: &[Fr; GROUP_WORDS]) -> Fr {
    hash_list(group_tag(), words)
}
