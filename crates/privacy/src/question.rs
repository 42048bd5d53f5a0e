//! What is asked of one panel block, and its name tau.

use crate::{
    cohort::CohortDigest,
    domain::{DST_ANSWER, DST_TAU},
    error::PrivacyError,
    gaussian::FLOODING_SIGMA_LOG2,
    sigma::SigmaSquared,
};
use locus_commitment::{Digest32, NetworkId, Sha3Writer, sha3_256};
use locus_genomics::{PANEL_BLOCK_SLOTS, PanelBlockIndex, PanelDigest, Slot};
use std::{collections::BTreeSet, fmt};

/// Version of the counter layout (shifts and widths of the packed counters) that answers use.
pub const LAYOUT_VERSION: u32 = 1;
/// Longest canonical predicate.
pub const PREDICATE_BYTES_MAX: usize = 65_536;

/// Slots in one mask word.
const SLOTS_PER_WORD: usize = 64;
/// Words of a mask.
const MASK_WORDS: usize = 64;
const _: () = assert!(SLOTS_PER_WORD * MASK_WORDS == PANEL_BLOCK_SLOTS as usize);

/// The slots of a panel block whose counters are released: one or more, none of them a check slot
/// (check slots are part of every answer).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SlotMask([u64; MASK_WORDS]);

impl SlotMask {
    /// The mask of these slots, in any order; repeated slots count once.
    ///
    /// # Errors
    /// [`PrivacyError::SlotIsCheck`] for a check slot, [`PrivacyError::SlotsEmpty`] for no slot.
    pub fn try_new(slots: impl IntoIterator<Item = Slot>) -> Result<Self, PrivacyError> {
        let mut words = [0u64; MASK_WORDS];
        for slot in slots {
            if slot.is_check() {
                return Err(PrivacyError::SlotIsCheck(slot.get()));
            }
            words[slot.index() / SLOTS_PER_WORD] |= 1 << (slot.index() % SLOTS_PER_WORD);
        }
        if words == [0; MASK_WORDS] {
            return Err(PrivacyError::SlotsEmpty);
        }
        Ok(Self(words))
    }

    /// The mask with these words: slot s is bit s % 64 of word s / 64.
    ///
    /// # Errors
    /// [`PrivacyError::SlotIsCheck`] when a check slot is set, [`PrivacyError::SlotsEmpty`] when none is.
    pub fn from_words(words: [u64; MASK_WORDS]) -> Result<Self, PrivacyError> {
        Self::try_new(slots_of(&words))
    }

    /// The words: slot s is bit s % 64 of word s / 64.
    pub const fn words(&self) -> &[u64; MASK_WORDS] {
        &self.0
    }

    /// Whether a slot is released.
    pub fn contains(&self, slot: Slot) -> bool {
        self.0[slot.index() / SLOTS_PER_WORD] >> (slot.index() % SLOTS_PER_WORD) & 1 == 1
    }

    /// Number of slots: the variants that this block releases.
    pub fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// The slots, ascending.
    pub fn slots(&self) -> impl Iterator<Item = Slot> {
        slots_of(&self.0)
    }
}

fn slots_of(words: &[u64; MASK_WORDS]) -> impl Iterator<Item = Slot> {
    (0..PANEL_BLOCK_SLOTS)
        .filter_map(Slot::try_new)
        .filter(|slot| words[slot.index() / SLOTS_PER_WORD] >> (slot.index() % SLOTS_PER_WORD) & 1 == 1)
}

/// The canonical bytes of a cohort predicate; empty for an unfiltered question.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct PredicateBytes(Vec<u8>);

impl PredicateBytes {
    /// The predicate with these canonical bytes.
    ///
    /// # Errors
    /// [`PrivacyError::PredicateLength`] above [`PREDICATE_BYTES_MAX`].
    pub fn try_new(bytes: Vec<u8>) -> Result<Self, PrivacyError> {
        if bytes.len() > PREDICATE_BYTES_MAX {
            return Err(PrivacyError::PredicateLength { len: bytes.len(), len_max: PREDICATE_BYTES_MAX });
        }
        Ok(Self(bytes))
    }

    /// No predicate: the question is unfiltered.
    pub const fn unfiltered() -> Self {
        Self(Vec::new())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Everything that decides the answer about one panel block, in all its planes, and nothing else:
/// no buyer, order, price, time or nonce. Whoever asks the same question gets the same noise.
///
/// The counter layout ([`LAYOUT_VERSION`]) and the flooding noise ([`FLOODING_SIGMA_LOG2`]) are fixed by
/// the software and are part of the encoding.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Question {
    /// The market.
    pub network: NetworkId,
    /// The panel.
    pub panel: PanelDigest,
    /// The block of the panel.
    pub block: PanelBlockIndex,
    /// The slots to release.
    pub slots: SlotMask,
    /// The ciphertexts to sum.
    pub cohort: CohortDigest,
    /// Who of the cohort is counted.
    pub predicate: PredicateBytes,
    /// Variance of the dp noise in each share; `None` asks for exact counts.
    pub dp_share: Option<SigmaSquared>,
    /// Epoch of the keys that the noise is derived from.
    pub noise_epoch: u32,
}

impl Question {
    /// The canonical encoding, integers little endian: chain id (8 bytes), registry (20), layout
    /// version (4), panel digest (32), block (4), slot mask (64 words of 8), cohort digest (32),
    /// numerator and denominator of the dp share variance in lowest terms (16 and 16; 0 and 1 for
    /// exact), flooding sigma log2 (1), noise epoch (4), predicate length (4), predicate.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (numerator, denominator) = self.dp_share.map_or((0, 1), |share| (share.numerator(), share.denominator()));
        let predicate = self.predicate.as_bytes();
        let predicate_len = u32::try_from(predicate.len()).expect("a predicate has at most 65,536 bytes");
        let mut bytes = Vec::new();
        bytes.extend(self.network.chain_id.to_le_bytes());
        bytes.extend(self.network.registry.0);
        bytes.extend(LAYOUT_VERSION.to_le_bytes());
        bytes.extend(self.panel.0);
        bytes.extend(self.block.0.to_le_bytes());
        bytes.extend(self.slots.words().iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend(self.cohort.0.0);
        bytes.extend(numerator.to_le_bytes());
        bytes.extend(denominator.to_le_bytes());
        bytes.push(FLOODING_SIGMA_LOG2);
        bytes.extend(self.noise_epoch.to_le_bytes());
        bytes.extend(predicate_len.to_le_bytes());
        bytes.extend(predicate);
        bytes
    }

    /// The question's name.
    pub fn tau(&self) -> Tau {
        Tau(sha3_256(DST_TAU, &[&self.to_bytes()]))
    }
}

/// Name of a question about one panel block: SHA3-256 of its canonical encoding. Noise, answer
/// cache and keyholder signatures are all bound to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tau(pub Digest32);

impl fmt::Display for Tau {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Name of a whole answer: SHA3-256 over the taus of its blocks in the order they are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AnswerDigest(pub Digest32);

impl fmt::Display for AnswerDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl AnswerDigest {
    /// The digest of an answer with these blocks, in ascending order of panel block.
    ///
    /// # Errors
    /// [`PrivacyError::AnswerBlocks`] when there is none, or one occurs twice.
    pub fn of_taus(taus: &[Tau]) -> Result<Self, PrivacyError> {
        let distinct: BTreeSet<&Tau> = taus.iter().collect();
        if taus.is_empty() || distinct.len() != taus.len() {
            return Err(PrivacyError::AnswerBlocks);
        }
        let mut hash = Sha3Writer::new(DST_ANSWER);
        for tau in taus {
            hash.part(&tau.0.0);
        }
        Ok(Self(hash.finish()))
    }
}
