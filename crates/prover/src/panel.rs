//! The registry tree of a panel at every root, from what the chain shows.
//!
//! The contracts keep queues of operations and numbered roots. What a batch took is told by its two numbers of
//! events, so queues and moves alone give the tree of every root, to anybody.

use imbl::{OrdMap, Vector};
use locus_cohort::RegisteredGroups;
use locus_commitment::{
    Digest32,
    field::{FieldBytes, encode_field},
};
use locus_ledger::{
    OperationQueue, QueuePlace, QueuedOperation, RegistrationId, RootMove, RootSlice, TakenOperations, next_slices,
};
use locus_proofs::update::{RegistryEvent, RegistryTree, UpdateViolation};
use std::sync::Arc;

/// Roots whose trees are kept, the present one among them. Each costs about 10 kB for each group that the batch after it
/// changed: at most 40 MB in all.
pub const ROOTS_KEPT: usize = 64;

/// Why queues and roots do not follow from each other: the chain node left something out or made something up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PanelError {
    /// An operation is missing or is there twice.
    #[error("operation {found} of the {queue:?} queue follows, {expected} is next: connect to another chain node")]
    Operation {
        /// The queue.
        queue: OperationQueue,
        /// The next number.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// A move of the root is missing or is there twice.
    #[error("root {found} follows, {expected} is next: connect to another chain node")]
    Sequence {
        /// The next number.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// A batch took more events than are queued.
    #[error("root {sequence} took events that are in no queue: connect to another chain node")]
    MissingEvents {
        /// Number of the root.
        sequence: u64,
    },
    /// Words of no event.
    #[error("the {0:?} queue holds words that are no event: connect to another chain node")]
    BadEvent(OperationQueue),
    /// An event that cannot be applied.
    #[error("an event before root {sequence} cannot be applied: {violation}")]
    Event {
        /// Number of the root.
        sequence: u64,
        /// Why.
        violation: UpdateViolation,
    },
    /// The events lead to another root.
    #[error("the events before root {sequence} lead to another root: connect to another chain node")]
    Root {
        /// Number of the root.
        sequence: u64,
    },
}

/// What is waiting in a queue.
#[derive(Debug, Clone)]
struct Queue {
    kind: OperationQueue,
    place: QueuePlace,
    /// Events taken of the first operation that waits.
    first_taken: usize,
    waiting: Vector<Arc<QueuedOperation>>,
}

impl Queue {
    fn new(kind: OperationQueue) -> Self {
        let place = QueuePlace { operations: 0, rest: Digest32([0; 32]) };
        Self { kind, place, first_taken: 0, waiting: Vector::new() }
    }

    fn push(&mut self, operation: QueuedOperation) -> Result<(), PanelError> {
        let expected = self.place.operations + self.waiting.len() as u64;
        if operation.index != expected {
            return Err(PanelError::Operation { queue: self.kind, expected, found: operation.index });
        }
        self.waiting.push_back(Arc::new(operation));
        Ok(())
    }

    /// The next events, at most so many.
    fn next(&self, events_max: usize) -> Result<Vec<RootSlice>, PanelError> {
        let operations = self.waiting.iter().map(Arc::as_ref);
        next_slices(operations, &self.place, events_max).ok_or(PanelError::BadEvent(self.kind))
    }

    /// Takes what [`next`](Self::next) gave off the front.
    fn take(&mut self, slices: &[RootSlice]) {
        for slice in slices {
            self.place.rest = slice.rest;
            self.first_taken += slice.heads.len();
            if slice.rest == Digest32([0; 32]) {
                self.waiting.pop_front();
                self.place.operations += 1;
                self.first_taken = 0;
            }
        }
    }

    /// Events not taken of operations that this block or an earlier one queued.
    fn events_until(&self, block: u64) -> u64 {
        let queued = self.waiting.iter().take_while(|operation| operation.block <= block);
        let events: usize = queued.map(|operation| operation.heads.len()).sum();
        events.saturating_sub(self.first_taken) as u64
    }
}

/// The next events of both queues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextBatch {
    /// From the registry's queue.
    pub registry: Vec<RootSlice>,
    /// From the offer book's queue.
    pub offers: Vec<RootSlice>,
    /// All of them, those of the registry first.
    pub events: Vec<RegistryEvent>,
}

/// The registry tree of one panel, the last roots' trees, and the operations that are in no root yet.
///
/// A group takes about 1 kB (five commitments as projective points, offer, and its part of the nodes), so a panel
/// of 10,000 people in bulk takes 2 MB and a full one of 2^20 groups 1 GB. A waiting event takes 32 bytes, and 512 more
/// where it brings words of its own. A clone shares everything that neither changes.
#[derive(Clone)]
pub struct PanelTree {
    present: RegistryTree,
    sequence: u64,
    /// By number, the present one among them.
    roots: OrdMap<u64, RegistryTree>,
    registry: Queue,
    offers: Queue,
    registrations: OrdMap<RegistrationId, RegisteredGroups>,
}

impl PanelTree {
    /// Root 0, with nothing queued, of a tree of 16^depth groups.
    pub fn new(depth: usize) -> Self {
        let present = RegistryTree::of_depth(depth);
        Self {
            roots: OrdMap::unit(0, present.clone()),
            present,
            sequence: 0,
            registry: Queue::new(OperationQueue::Registry),
            offers: Queue::new(OperationQueue::Offers),
            registrations: OrdMap::new(),
        }
    }

    /// Number of the present root.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The present root.
    pub fn root(&self) -> FieldBytes {
        root_of(&self.present)
    }

    /// The present tree.
    pub fn tree(&self) -> &RegistryTree {
        &self.present
    }

    /// The tree of the present root or of one of the last; `None` for others.
    pub fn tree_at(&self, sequence: u64) -> Option<&RegistryTree> {
        self.roots.get(&sequence)
    }

    /// The root of [`tree_at`](Self::tree_at).
    pub fn root_at(&self, sequence: u64) -> Option<FieldBytes> {
        self.tree_at(sequence).map(root_of)
    }

    /// Where the present root ends in the queues: what the contract answers.
    pub fn taken(&self) -> TakenOperations {
        TakenOperations { sequence: self.sequence, registry: self.registry.place, offers: self.offers.place }
    }

    /// Where a registration's datasets are; `None` when the present root does not have all of it.
    pub fn registration(&self, registration: RegistrationId) -> Option<RegisteredGroups> {
        self.registrations.get(&registration).copied()
    }

    /// Adds an operation to the end of its queue.
    ///
    /// # Errors
    /// [`PanelError::Operation`] for any but the next one; nothing changes then.
    pub fn queue(&mut self, operation: QueuedOperation) -> Result<(), PanelError> {
        match operation.queue {
            OperationQueue::Registry => self.registry.push(operation),
            OperationQueue::Offers => self.offers.push(operation),
        }
    }

    /// The next events that a batch takes, at most so many: those of the registry, then those of offers.
    ///
    /// # Errors
    /// [`PanelError::BadEvent`].
    pub fn next_batch(&self, events_max: usize) -> Result<NextBatch, PanelError> {
        let registry = self.registry.next(events_max)?;
        let used: usize = registry.iter().map(|slice| slice.heads.len()).sum();
        let offers = self.offers.next(events_max - used)?;
        let mut events = events_of(OperationQueue::Registry, &registry)?;
        events.extend(events_of(OperationQueue::Offers, &offers)?);
        Ok(NextBatch { registry, offers, events })
    }

    /// Follows a move of the root over the events that it took.
    ///
    /// # Errors
    /// [`PanelError`] unless it is the next move and its events lead to its root; nothing changes then.
    pub fn follow(&mut self, step: &RootMove) -> Result<(), PanelError> {
        let sequence = step.sequence;
        if sequence != self.sequence + 1 {
            return Err(PanelError::Sequence { expected: self.sequence + 1, found: sequence });
        }
        let mut next = self.clone();
        let mut events = Vec::new();
        for (queue, count) in [(&mut next.registry, step.registry_events), (&mut next.offers, step.offer_events)] {
            let slices = queue.next(usize::try_from(count).unwrap_or(usize::MAX))?;
            let found: usize = slices.iter().map(|slice| slice.heads.len()).sum();
            if found as u64 != count {
                return Err(PanelError::MissingEvents { sequence });
            }
            queue.take(&slices);
            events.extend(events_of(queue.kind, &slices)?);
        }
        next.present.apply_all(&events).map_err(|violation| PanelError::Event { sequence, violation })?;
        events.iter().for_each(|event| next.note(event));
        if next.root() != step.root {
            return Err(PanelError::Root { sequence });
        }
        next.sequence = sequence;
        next.roots.insert(sequence, next.present.clone());
        if next.roots.len() > ROOTS_KEPT {
            next.roots = next.roots.without(&(sequence - ROOTS_KEPT as u64));
        }
        *self = next;
        Ok(())
    }

    /// Remembers where a registration is.
    fn note(&mut self, event: &RegistryEvent) {
        let RegistryEvent::Register { place, group } = event else { return };
        let datasets = group.live.iter().map(|live| u32::from(*live)).sum::<u32>();
        let registration = RegistrationId(group.registration);
        let known = self.registration(registration);
        let groups = match known {
            Some(known) => RegisteredGroups { dataset_count: known.dataset_count + datasets, ..known },
            None => RegisteredGroups { first_group: *place, dataset_count: datasets },
        };
        self.registrations.insert(registration, groups);
    }

    /// Events to be taken until no operation that was queued up to `block` is missing: offers come after all
    /// of the registry. Zero when none is missing.
    pub fn events_to_take(&self, block: u64) -> u64 {
        match self.offers.events_until(block) {
            0 => self.registry.events_until(block),
            offers => self.registry.events_until(u64::MAX) + offers,
        }
    }

    /// Operations that are in no root, or not wholly: of the registry, then of offers.
    pub fn waiting_operations(&self) -> [usize; 2] {
        [self.registry.waiting.len(), self.offers.waiting.len()]
    }
}

fn root_of(tree: &RegistryTree) -> FieldBytes {
    FieldBytes(encode_field(&tree.root()))
}

fn events_of(queue: OperationQueue, slices: &[RootSlice]) -> Result<Vec<RegistryEvent>, PanelError> {
    let mut events = Vec::new();
    for slice in slices {
        for event in 0..slice.heads.len() {
            let words = slice.event_words(event).ok_or(PanelError::BadEvent(queue))?;
            events.push(RegistryEvent::parse(&words).map_err(|_| PanelError::BadEvent(queue))?);
        }
    }
    Ok(events)
}

#[cfg(test)]
mod tests;
