//! Statement U in plain Rust, and the registry tree itself.

use crate::{
    domain::DST_UPDATE_WORDS,
    error::ProofsError,
    registry::{GROUP_SIZE, GROUP_WORDS, Group, GroupOffer, REGISTRY_DEPTH, small_number, word},
    words::WordInputs,
};
use ark_bn254::Fr;
use ark_ff::AdditiveGroup;
use imbl::OrdMap;
use locus_commitment::{
    field::{FieldBytes, decode_field, domain_tag},
    merkle::{LEVEL_BITS, MerklePath, MerkleTree},
    poseidon::hash_list,
};
use rayon::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, OnceLock},
};
use thiserror::Error;

/// Words of an event.
pub const EVENT_WORDS: usize = 1 + GROUP_WORDS;
/// Bits of the kind in the head.
pub(crate) const KIND_BITS: usize = 2;
/// Place of the mask in the head: behind kind and 24 bits of place.
pub(crate) const MASK_SHIFT: usize = 26;

/// Size of the circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpdateShape {
    events: usize,
    depth: usize,
}

impl UpdateShape {
    /// The size in use: 64 events on a tree of 2^20 groups.
    pub const FULL: Self = Self { events: 64, depth: REGISTRY_DEPTH };

    /// A size for tests: `events` on a tree of 16^depth groups.
    ///
    /// # Errors
    /// [`ProofsError::WrongSize`].
    pub fn try_new(events: usize, depth: usize) -> Result<Self, ProofsError> {
        if (1..=64).contains(&events) && (1..=REGISTRY_DEPTH).contains(&depth) {
            Ok(Self { events, depth })
        } else {
            Err(ProofsError::WrongSize("the batch"))
        }
    }

    /// Events of a batch.
    pub fn events(self) -> usize {
        self.events
    }

    /// Levels of the tree.
    pub fn depth(self) -> usize {
        self.depth
    }
}

const _: () = assert!(LEVEL_BITS * REGISTRY_DEPTH <= MASK_SHIFT - KIND_BITS);

/// A change of one leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "a batch has 64 events, mostly registrations")]
pub enum RegistryEvent {
    /// Fills up a batch.
    Empty,
    /// A new group.
    Register {
        /// Place in the tree.
        place: u32,
        /// The group.
        group: Group,
    },
    /// A new offer, or its end.
    SetOffer {
        /// Place in the tree.
        place: u32,
        /// The offer.
        offer: GroupOffer,
    },
    /// Revoked datasets.
    Revoke {
        /// Place in the tree.
        place: u32,
        /// The datasets.
        mask: [bool; GROUP_SIZE],
    },
}

/// The clause a statement violates. U1 and U2 hold by construction of the native types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum UpdateViolation {
    /// U3.
    #[error("U3: a registration at place {0} finds another group")]
    Occupied(u32),
    /// U4 or U5.
    #[error("U4: an event at place {0} finds no group")]
    Vacant(u32),
    /// U7.
    #[error("U7: place {0} is outside the tree")]
    Outside(u32),
    /// U7.
    #[error("U7: the roots are not those before and after the events")]
    Root,
    /// U1.
    #[error("U1: the batch has another number of events than the circuit")]
    Size,
}

/// The registry tree of a panel with all groups. A clone shares what neither changes afterwards: it costs
/// nothing by itself, and about 10 kB for each group that one of them changes.
#[derive(Clone)]
pub struct RegistryTree {
    groups: OrdMap<u32, Arc<Group>>,
    tree: MerkleTree,
}

impl RegistryTree {
    /// The empty tree of the size in use.
    pub fn new() -> Self {
        Self::of_depth(REGISTRY_DEPTH)
    }

    /// An empty tree for tests.
    pub fn of_depth(depth: usize) -> Self {
        Self { groups: OrdMap::new(), tree: MerkleTree::new(depth) }
    }

    /// The root.
    pub fn root(&self) -> Fr {
        self.tree.root()
    }

    /// The group at a place.
    pub fn group(&self, place: u32) -> Option<&Group> {
        self.groups.get(&place).map(Arc::as_ref)
    }

    /// The path of a node, see [`MerkleTree::path`].
    pub fn path(&self, level: usize, place: u32) -> MerklePath {
        self.tree.path(level, place)
    }

    /// The groups of a shard of 16^levels places.
    pub fn shard(&self, levels: usize, shard: u32) -> Vec<Option<Group>> {
        let width = 1u32 << (LEVEL_BITS * levels);
        (0..width).map(|place| self.group(shard * width + place).copied()).collect()
    }

    /// Applies an event.
    ///
    /// # Errors
    /// The clause that the event violates; the tree is then unchanged.
    pub fn apply(&mut self, event: &RegistryEvent) -> Result<(), UpdateViolation> {
        self.apply_all(std::slice::from_ref(event))
    }

    /// Applies events in their order, with every node hashed once.
    ///
    /// # Errors
    /// The clause that the first wrong event violates; the tree is then unchanged.
    pub fn apply_all(&mut self, events: &[RegistryEvent]) -> Result<(), UpdateViolation> {
        let mut groups = self.groups.clone();
        let mut changed = BTreeSet::new();
        for event in events {
            let Some(group) = changed_group(&groups, event)? else { continue };
            let place = event.place();
            if u64::from(place) >> (LEVEL_BITS * self.tree.depth()) != 0 {
                return Err(UpdateViolation::Outside(place));
            }
            groups.insert(place, Arc::new(group));
            changed.insert(place);
        }
        let changed: Vec<(u32, &Arc<Group>)> =
            changed.iter().filter_map(|place| Some((*place, groups.get(place)?))).collect();
        let leaves: BTreeMap<u32, Fr> = changed.par_iter().map(|(place, group)| (*place, group.leaf())).collect();
        // Every place was found in the tree.
        self.tree.set_all(&leaves);
        self.groups = groups;
        Ok(())
    }
}

/// The group that an event leaves at its place; `None` for an empty event.
fn changed_group(groups: &OrdMap<u32, Arc<Group>>, event: &RegistryEvent) -> Result<Option<Group>, UpdateViolation> {
    let found = |place: &u32| groups.get(place).ok_or(UpdateViolation::Vacant(*place));
    Ok(Some(match event {
        RegistryEvent::Empty => return Ok(None),
        RegistryEvent::Register { place, .. } if groups.contains_key(place) => {
            return Err(UpdateViolation::Occupied(*place));
        }
        RegistryEvent::Register { group, .. } => *group,
        RegistryEvent::SetOffer { place, offer } => Group { offer: *offer, ..**found(place)? },
        RegistryEvent::Revoke { place, mask } => {
            let mut group = **found(place)?;
            for (live, revoked) in group.live.iter_mut().zip(mask) {
                *live &= !revoked;
            }
            group
        }
    }))
}

impl Default for RegistryTree {
    fn default() -> Self {
        Self::new()
    }
}

impl RegistryEvent {
    /// The 17 words that the contract queues.
    pub fn words(&self) -> [Fr; EVENT_WORDS] {
        let mut words = [Fr::ZERO; EVENT_WORDS];
        words[0] = Fr::from(self.head());
        match self {
            Self::Empty | Self::Revoke { .. } => {}
            Self::Register { group, .. } => words[1..].copy_from_slice(&group.words()),
            Self::SetOffer { offer, .. } => {
                for (word, price) in words[1 + word::PRICES..].iter_mut().zip(offer.prices) {
                    *word = Fr::from(price);
                }
                words[1 + word::CONDITION] = offer.condition;
                words[1 + word::TERMS] = Fr::from(offer.terms_word());
            }
        }
        words
    }

    /// Parses the words of an event as a chain shows them: exactly those that [`words`](Self::words)
    /// gives.
    ///
    /// # Errors
    /// [`ProofsError::NotCanonical`] for words of no event.
    pub fn parse(words: &[FieldBytes; EVENT_WORDS]) -> Result<Self, ProofsError> {
        let mut elements = [Fr::ZERO; EVENT_WORDS];
        for (element, bytes) in elements.iter_mut().zip(words) {
            *element = decode_field(&bytes.0).map_err(|_| ProofsError::NotCanonical)?;
        }
        let event = Self::of_words(&elements).ok_or(ProofsError::NotCanonical)?;
        if event.words() == elements { Ok(event) } else { Err(ProofsError::NotCanonical) }
    }

    fn of_words(words: &[Fr; EVENT_WORDS]) -> Option<Self> {
        let head = small_number(&words[0])?;
        let place = u32::try_from(head >> KIND_BITS & ((1 << (MASK_SHIFT - KIND_BITS)) - 1)).ok()?;
        let mut group_words = [Fr::ZERO; GROUP_WORDS];
        group_words.copy_from_slice(&words[1..]);
        Some(match head & ((1 << KIND_BITS) - 1) {
            0 => Self::Empty,
            1 => Self::Register { place, group: Group::of_words(&group_words)? },
            2 => Self::SetOffer { place, offer: GroupOffer::of_words(&group_words)? },
            _ => Self::Revoke { place, mask: std::array::from_fn(|bit| head >> (MASK_SHIFT + bit) & 1 == 1) },
        })
    }

    /// Kind (0 empty, 1 register, 2 offer, 3 revoke) + 4 * place + 2^26 * mask.
    pub(crate) fn head(&self) -> u64 {
        let (kind, mask) = match self {
            Self::Empty => (0, [false; GROUP_SIZE]),
            Self::Register { .. } => (1, [false; GROUP_SIZE]),
            Self::SetOffer { .. } => (2, [false; GROUP_SIZE]),
            Self::Revoke { mask, .. } => (3, *mask),
        };
        let mask = (0u64..).zip(mask).fold(0, |bits, (place, set)| bits | u64::from(set) << place);
        kind | u64::from(self.place()) << KIND_BITS | mask << MASK_SHIFT
    }

    /// The place of the leaf; zero for an empty event.
    pub fn place(&self) -> u32 {
        match self {
            Self::Empty => 0,
            Self::Register { place, .. } | Self::SetOffer { place, .. } | Self::Revoke { place, .. } => *place,
        }
    }
}

/// The public part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdatePublic {
    /// Root before the first event.
    pub before: Fr,
    /// Root after the last.
    pub after: Fr,
    /// The events in order.
    pub events: Vec<RegistryEvent>,
    /// Hash of heads, new leaves and event terms: from the prover.
    pub digest: Fr,
}

/// What the circuit needs to know of the tree at one event.
#[derive(Debug, Clone)]
pub(crate) struct UpdateStep {
    /// The group before.
    pub(crate) old: Option<Group>,
    /// The group after.
    pub(crate) new: Option<Group>,
    /// Its path before.
    pub(crate) path: MerklePath,
}

/// The private part: the tree at each event.
#[derive(Debug, Clone)]
pub struct UpdateWitness {
    pub(crate) steps: Vec<UpdateStep>,
}

pub(crate) fn words_tag() -> Fr {
    static TAG: OnceLock<Fr> = OnceLock::new();
    *TAG.get_or_init(|| domain_tag(DST_UPDATE_WORDS))
}

impl UpdatePublic {
    /// Applies a batch to a tree; missing events are empty. Gives statement and witness.
    ///
    /// # Errors
    /// The clause violated; the tree is then as after the last good event.
    pub fn advance(
        shape: UpdateShape,
        tree: &mut RegistryTree,
        events: &[RegistryEvent],
    ) -> Result<(Self, UpdateWitness), UpdateViolation> {
        if events.len() > shape.events() || tree.tree.depth() != shape.depth() {
            return Err(UpdateViolation::Size);
        }
        let mut all = events.to_vec();
        all.resize(shape.events(), RegistryEvent::Empty);
        let before = tree.root();
        let mut steps = Vec::with_capacity(all.len());
        for event in &all {
            let place = event.place();
            if u64::from(place) >> (LEVEL_BITS * shape.depth()) != 0 {
                return Err(UpdateViolation::Outside(place));
            }
            let (old, path) = (tree.group(place).copied(), tree.path(0, place));
            tree.apply(event)?;
            steps.push(UpdateStep { old, new: tree.group(place).copied(), path });
        }
        let witness = UpdateWitness { steps };
        let digest = witness.digest(&all);
        Ok((Self { before, after: tree.root(), events: all, digest }, witness))
    }

    /// The public words.
    pub fn words(&self) -> Vec<Fr> {
        let mut words = vec![self.before, self.after];
        words.extend(self.events.iter().flat_map(RegistryEvent::words));
        words
    }

    /// The public inputs that stand for the words.
    pub fn inputs(&self) -> WordInputs {
        WordInputs::new(DST_UPDATE_WORDS, self.digest, &self.words())
    }

    /// Checks every clause in plain Rust, given the tree before.
    ///
    /// # Errors
    /// The first clause violated.
    pub fn check(&self, shape: UpdateShape, tree: &RegistryTree) -> Result<(), UpdateViolation> {
        if tree.root() != self.before {
            return Err(UpdateViolation::Root);
        }
        let mut after = tree.clone();
        let (expected, _) = Self::advance(shape, &mut after, &self.events)?;
        if self.events.len() != shape.events() {
            return Err(UpdateViolation::Size);
        }
        if expected == *self { Ok(()) } else { Err(UpdateViolation::Root) }
    }
}

impl UpdateWitness {
    /// Hash of head, leaf after and terms of every event; it determines all event words, given the
    /// root before.
    fn digest(&self, events: &[RegistryEvent]) -> Fr {
        let elements: Vec<Fr> = events
            .iter()
            .zip(&self.steps)
            .flat_map(|(event, step)| {
                let words = step.new_words(event);
                [Fr::from(event.head()), crate::registry::leaf_of_words(&words), event.words()[1 + word::TERMS]]
            })
            .collect();
        hash_list(words_tag(), &elements)
    }
}

impl UpdateStep {
    /// The words of the group before, as the circuit has them: those of an empty group where there is
    /// none or the event is empty.
    pub(crate) fn old_words(&self, event: &RegistryEvent) -> [Fr; GROUP_WORDS] {
        match event {
            RegistryEvent::Empty | RegistryEvent::Register { .. } => vacant_words(),
            _ => self.old.map_or_else(vacant_words, |group| group.words()),
        }
    }

    /// The words of the group after.
    pub(crate) fn new_words(&self, event: &RegistryEvent) -> [Fr; GROUP_WORDS] {
        match event {
            RegistryEvent::Empty => vacant_words(),
            _ => self.new.map_or_else(vacant_words, |group| group.words()),
        }
    }
}

fn vacant_words() -> [Fr; GROUP_WORDS] {
    Group::registered(&[], 0, 0).words()
}
