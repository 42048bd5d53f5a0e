//! Registry roots and proven cohorts: what provers read from the chain and send to it.
//!
//! The words are those of the proofs' specification; nothing here proves or checks a proof.

use alloy_primitives::{B256, U256, keccak256};
use alloy_sol_types::SolValue as _;
use locus_commitment::{Digest32, field::FieldBytes};
use locus_genomics::PanelDigest;
use std::ops::Range;

/// Bytes of a proof.
pub const PROOF_BYTES: usize = 256;
/// Words of an event: its head and those of a group.
pub const EVENT_WORDS: usize = 1 + GROUP_WORDS;
/// Words of a group.
const GROUP_WORDS: usize = 16;

/// What proofs about cohorts need of a batch, beside its leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ciphertexts {
    /// Coordinates of each dataset's commitment to its ciphertext.
    pub commitments: Vec<[FieldBytes; 2]>,
    /// Whether the keyholders verified a proof of encryption of every body.
    pub proven: bool,
}

impl Ciphertexts {
    /// From the encoded commitments: x, then y, 32 bytes each, big endian.
    pub fn of_points(points: &[[u8; 64]], proven: bool) -> Self {
        let coordinates = |point: &[u8; 64]| {
            let (mut x, mut y) = ([0; 32], [0; 32]);
            x.copy_from_slice(&point[..32]);
            y.copy_from_slice(&point[32..]);
            [FieldBytes(x), FieldBytes(y)]
        };
        Self { commitments: points.iter().map(coordinates).collect(), proven }
    }
}

/// A queue of operations: events are taken from it in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OperationQueue {
    /// Registrations and revocations, in the registry.
    Registry,
    /// Offers and withdrawals, in the offer book.
    Offers,
}

/// What one transaction changes in a panel's registry tree: one event for each group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedOperation {
    /// Where it waits.
    pub queue: OperationQueue,
    /// Its number in the panel's queue, from 0.
    pub index: u64,
    /// Block that queued it.
    pub block: u64,
    /// One for each event.
    pub heads: Vec<FieldBytes>,
    /// Sixteen for each event, or sixteen that all events share, or none.
    pub words: Vec<FieldBytes>,
}

impl QueuedOperation {
    /// The words of one event; `None` when there are not so many.
    pub fn event_words(&self, event: usize) -> Option<[FieldBytes; EVENT_WORDS]> {
        event_words(&self.heads, &self.words, event)
    }

    /// Whether the words are as many as the heads ask for.
    pub(crate) fn is_well_formed(&self) -> bool {
        let lengths = [0, GROUP_WORDS, GROUP_WORDS * self.heads.len()];
        !self.heads.is_empty() && lengths.contains(&self.words.len())
    }

    /// Heads of the hash chain over the events from each one on, the last event's first.
    fn rests(&self) -> impl Iterator<Item = (usize, Digest32)> {
        let events = self.heads.iter().enumerate().rev();
        events.scan([0; 32], |rest, (place, head)| {
            let words: Vec<u8> = group_words(&self.words, place).iter().flat_map(|word| word.0).collect();
            *rest = keccak256([head.0, keccak256(words).0, *rest].concat()).0;
            Some((place, Digest32(*rest)))
        })
    }

    /// Head of the hash chain over the events from `event` on; zero when there are none.
    fn rest_from(&self, event: usize) -> Digest32 {
        let reached = self.rests().find(|(place, _)| *place == event);
        reached.map_or(Digest32([0; 32]), |(_, rest)| rest)
    }

    /// How many events were taken when this is the head of the rest; none for zero.
    pub fn events_taken(&self, rest: &Digest32) -> Option<usize> {
        if rest.0 == [0; 32] {
            return Some(0);
        }
        self.rests().find(|(event, found)| *event > 0 && found == rest).map(|(event, _)| event)
    }

    /// Some of the events as a batch takes them; `None` when the range is empty or too long.
    pub fn slice(&self, events: Range<usize>) -> Option<RootSlice> {
        let heads = self.heads.get(events.clone()).filter(|heads| !heads.is_empty())?.to_vec();
        let words = match self.words.len() {
            0 | GROUP_WORDS => self.words.clone(),
            _ => self.words.get(GROUP_WORDS * events.start..GROUP_WORDS * events.end)?.to_vec(),
        };
        Some(RootSlice { heads, words, rest: self.rest_from(events.end) })
    }
}

/// The words of a group of several as they are hashed: none or sixteen.
fn group_words(words: &[FieldBytes], event: usize) -> &[FieldBytes] {
    match words.len() {
        0 | GROUP_WORDS => words,
        _ => words.get(GROUP_WORDS * event..GROUP_WORDS * (event + 1)).unwrap_or_default(),
    }
}

fn event_words(heads: &[FieldBytes], words: &[FieldBytes], event: usize) -> Option<[FieldBytes; EVENT_WORDS]> {
    let mut all = [FieldBytes([0; 32]); EVENT_WORDS];
    all[0] = *heads.get(event)?;
    all[1..].iter_mut().zip(group_words(words, event)).for_each(|(word, value)| *word = *value);
    Some(all)
}

/// The next events of a queue, at most `events_max`, from what its operations are from `place` on.
/// `None` when the operations are not those at that place.
pub fn next_slices<'a>(
    operations: impl IntoIterator<Item = &'a QueuedOperation>,
    place: &QueuePlace,
    events_max: usize,
) -> Option<Vec<RootSlice>> {
    let mut slices = Vec::new();
    let (mut rest, mut room) = (place.rest, events_max);
    for (index, operation) in (place.operations..).zip(operations) {
        if operation.index != index {
            return None;
        }
        let start = operation.events_taken(&rest)?;
        if room == 0 {
            break;
        }
        let end = operation.heads.len().min(start.saturating_add(room));
        slices.push(operation.slice(start..end)?);
        room -= end - start;
        rest = Digest32([0; 32]);
    }
    Some(slices)
}

/// Events of one operation that a batch takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootSlice {
    /// As in [`QueuedOperation`].
    pub heads: Vec<FieldBytes>,
    /// As in [`QueuedOperation`].
    pub words: Vec<FieldBytes>,
    /// Head of the hash chain over the operation's events behind these; zero when there are none.
    pub rest: Digest32,
}

impl RootSlice {
    /// The words of one of its events; `None` when there are not so many.
    pub fn event_words(&self, event: usize) -> Option<[FieldBytes; EVENT_WORDS]> {
        event_words(&self.heads, &self.words, event)
    }
}

/// A root that was moved: what the chain shows of a batch. With the queued operations it tells which events
/// the batch took, those of the registry first, so anybody can make every root's tree again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootMove {
    /// Number of the new root.
    pub sequence: u64,
    /// The new root.
    pub root: FieldBytes,
    /// Events taken from the registry's queue.
    pub registry_events: u64,
    /// Events taken from the offer book's queue, after those.
    pub offer_events: u64,
    /// Block of the move.
    pub block: u64,
}

/// A batch of events and where it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootBatch {
    /// From the registry's queue.
    pub registry: Vec<RootSlice>,
    /// From the offer book's queue; they come after those of the registry.
    pub offers: Vec<RootSlice>,
    /// Root after the batch.
    pub root: FieldBytes,
    /// The circuit's hash of the events.
    pub digest: FieldBytes,
}

/// How far a root has come in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueuePlace {
    /// Operations wholly taken.
    pub operations: u64,
    /// Head of the rest of the next one; zero when none of it was taken.
    pub rest: Digest32,
}

/// How far the present root of a panel has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TakenOperations {
    /// Number of the root, 0 for the empty tree.
    pub sequence: u64,
    /// In the registry's queue.
    pub registry: QueuePlace,
    /// In the offer book's queue.
    pub offers: QueuePlace,
}

/// What is asked of every dataset of a cohort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CohortStatement {
    /// Panel.
    pub panel: PanelDigest,
    /// Number of the registry root.
    pub sequence: u64,
    /// Bits of the policy word.
    pub policy: u128,
    /// Word of the condition, zero where the policy asks for none.
    pub condition: FieldBytes,
    /// Most that a dataset may cost, in units of 10^10 base units.
    pub price_max_units: u64,
}

/// What the datasets of all shards so far add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cohort {
    /// The last shard.
    pub shard: u32,
    /// Datasets.
    pub size: u64,
    /// Their prices, in units of 10^10 base units.
    pub total_price_units: u128,
    /// Coordinates of the sum of their ciphertext commitments.
    pub commitment: [FieldBytes; 2],
    /// Blinded hash of who is in it.
    pub payouts: FieldBytes,
}

impl Cohort {
    /// Before the first shard.
    pub fn empty() -> Self {
        let mut one = [0; 32];
        one[31] = 1;
        let zero = FieldBytes([0; 32]);
        Self { shard: 0, size: 0, total_price_units: 0, commitment: [zero, FieldBytes(one)], payouts: zero }
    }
}

/// A proof for one shard, and what it leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CohortStep {
    /// After the shard.
    pub cohort: Cohort,
    /// The circuit's hash of the words.
    pub digest: FieldBytes,
    /// The proof.
    pub proof: [u8; PROOF_BYTES],
}

/// Name of a proven cohort: whoever signs it signs statement and sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CohortId(pub Digest32);

/// What the order does not say about the cohort that it settles on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CohortChoice {
    /// Number of the registry root.
    pub sequence: u64,
    /// Day on which all offers still held, since 1970-01-01; not before that of the order.
    pub day: u16,
    /// Only accredited datasets.
    pub accredited_only: bool,
    /// Only datasets with proven encryption.
    pub proven_only: bool,
    /// Most that a dataset costs, in units of 10^10 base units.
    pub price_max_units: u64,
}

/// The cohort that an order settles on, with what only the parties say about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CohortEvidence {
    /// What the order does not say.
    pub choice: CohortChoice,
    /// Whether the researcher was accredited when the order opened.
    pub researcher_accredited: bool,
    /// The cohort that was proven.
    pub cohort: Cohort,
}

pub(crate) fn field_word(value: &FieldBytes) -> U256 {
    U256::from_be_bytes(value.0)
}

pub(crate) fn proof_words(proof: &[u8; PROOF_BYTES]) -> [U256; 8] {
    let mut words = [U256::ZERO; 8];
    for (word, bytes) in words.iter_mut().zip(proof.as_chunks::<32>().0) {
        *word = U256::from_be_bytes(*bytes);
    }
    words
}

/// The members of the contracts' struct.
pub(crate) fn cohort_words(cohort: &Cohort) -> [U256; 6] {
    let [x, y] = &cohort.commitment;
    [
        U256::from(cohort.shard),
        U256::from(cohort.size),
        U256::from(cohort.total_price_units),
        field_word(x),
        field_word(y),
        field_word(&cohort.payouts),
    ]
}

/// The cohort of the contracts' struct; `None` for numbers that no cohort has.
pub(crate) fn cohort_of_words([shard, size, total_price, x, y, payouts]: &[U256; 6]) -> Option<Cohort> {
    let word = |value: &U256| FieldBytes(value.to_be_bytes());
    Some(Cohort {
        shard: u32::try_from(*shard).ok()?,
        size: u64::try_from(*size).ok()?,
        total_price_units: u128::try_from(*total_price).ok()?,
        commitment: [word(x), word(y)],
        payouts: word(payouts),
    })
}

/// The name of a cohort, as the contract computes it.
pub fn cohort_id(statement: &CohortStatement, cohort: &Cohort) -> CohortId {
    let statement = (
        B256::from(statement.panel.0),
        U256::from(statement.sequence),
        U256::from(statement.policy),
        field_word(&statement.condition),
        U256::from(statement.price_max_units),
    );
    CohortId(Digest32(keccak256((statement, cohort_words(cohort)).abi_encode_params()).0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(value: u8) -> FieldBytes {
        let mut bytes = [0; 32];
        bytes[31] = value;
        FieldBytes(bytes)
    }

    /// An operation of `events` events that share their words, or have their own.
    fn operation(index: u64, events: u8, shared: bool) -> QueuedOperation {
        let groups = if shared { 1 } else { events };
        QueuedOperation {
            queue: OperationQueue::Registry,
            index,
            block: 7,
            heads: (0..events).map(word).collect(),
            words: (0..groups).flat_map(|group| (0..16).map(move |place| word(16 * group + place))).collect(),
        }
    }

    fn place(operations: u64, rest: Digest32) -> QueuePlace {
        QueuePlace { operations, rest }
    }

    const NOTHING: Digest32 = Digest32([0; 32]);

    #[test]
    fn an_event_has_its_own_words_or_those_that_all_share() {
        let own = operation(0, 3, false).event_words(2).unwrap();
        assert_eq!((own[0], own[1], own[16]), (word(2), word(32), word(47)));
        let slice = operation(0, 3, false).slice(1..3).unwrap();
        assert_eq!(slice.event_words(1), Some(own));
        assert_eq!(slice.event_words(2), None);
        let shared = operation(0, 3, true).event_words(2).unwrap();
        assert_eq!((shared[0], shared[1], shared[16]), (word(2), word(0), word(15)));
        let revocation = QueuedOperation { words: Vec::new(), ..operation(0, 3, true) };
        assert_eq!(revocation.event_words(1).unwrap()[1..], [word(0); 16]);
        assert_eq!(revocation.event_words(3), None);
    }

    #[test]
    fn the_rest_of_an_operation_tells_how_much_of_it_was_taken() {
        for shared in [false, true] {
            let operation = operation(0, 5, shared);
            for taken in 1..5 {
                let slice = operation.slice(0..taken).unwrap();
                assert_eq!(operation.events_taken(&slice.rest), Some(taken));
            }
            assert_eq!(operation.slice(0..5).unwrap().rest, NOTHING);
            assert_eq!(operation.events_taken(&NOTHING), Some(0));
            assert_eq!(operation.events_taken(&Digest32([1; 32])), None);
            assert_eq!(operation.slice(2..2), None);
            assert_eq!(operation.slice(4..6), None);
        }
    }

    #[test]
    fn a_batch_goes_on_where_the_last_one_ended() {
        let operations = [operation(4, 2, false), operation(5, 5, true), operation(6, 1, false)];
        let first = next_slices(&operations, &place(4, NOTHING), 4).unwrap();
        assert_eq!(first, [operations[0].slice(0..2).unwrap(), operations[1].slice(0..2).unwrap()]);
        let second = next_slices(&operations[1..], &place(5, first[1].rest), 64).unwrap();
        assert_eq!(second, [operations[1].slice(2..5).unwrap(), operations[2].slice(0..1).unwrap()]);
        assert_eq!(next_slices(&operations, &place(4, NOTHING), 0), Some(Vec::new()));
        assert_eq!(next_slices(&[], &place(7, NOTHING), 64), Some(Vec::new()));
    }

    #[test]
    fn operations_of_another_place_are_refused() {
        let operations = [operation(4, 2, false), operation(6, 1, false)];
        assert_eq!(next_slices(&operations, &place(5, NOTHING), 64), None);
        assert_eq!(next_slices(&operations, &place(4, NOTHING), 64), None, "a gap");
        assert_eq!(next_slices(&operations[..1], &place(4, Digest32([9; 32])), 64), None, "another rest");
    }

    #[test]
    fn operations_with_other_numbers_of_words_are_not_well_formed() {
        assert!(operation(0, 3, false).is_well_formed() && operation(0, 3, true).is_well_formed());
        let short = QueuedOperation { words: vec![word(1); 17], ..operation(0, 3, false) };
        let empty = QueuedOperation { heads: Vec::new(), ..operation(0, 3, true) };
        assert!(!short.is_well_formed() && !empty.is_well_formed());
    }
}
