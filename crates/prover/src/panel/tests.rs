use super::*;
use locus_proofs::registry::{GROUP_SIZE, Group, GroupOffer};

const DEPTH: usize = 2;
const FIRST_BLOCK: u64 = 100;

fn words_of(event: &RegistryEvent) -> Vec<FieldBytes> {
    event.words().iter().map(|word| FieldBytes(encode_field(word))).collect()
}

/// An operation that brings these events; offers share their words, revocations have none.
fn operation(queue: OperationQueue, index: u64, events: &[RegistryEvent]) -> QueuedOperation {
    let words: Vec<Vec<FieldBytes>> = events.iter().map(words_of).collect();
    let heads = words.iter().map(|words| words[0]).collect();
    let groups = words.iter().map(|words| &words[1..]);
    let words = match events[0] {
        RegistryEvent::Register { .. } => groups.flatten().copied().collect(),
        RegistryEvent::SetOffer { .. } => groups.take(1).flatten().copied().collect(),
        _ => Vec::new(),
    };
    QueuedOperation { queue, index, block: FIRST_BLOCK + 10 * index, heads, words }
}

fn register(registration: u64, first: u32, datasets: &[usize]) -> Vec<RegistryEvent> {
    let group = |(number, size): (u32, &usize)| {
        let mut group = Group::registered(&[], registration, 5 * number);
        group.live = std::array::from_fn(|member| member < *size);
        RegistryEvent::Register { place: first + number, group }
    };
    (0..).zip(datasets).map(group).collect()
}

fn offers(places: std::ops::Range<u32>, price: u64) -> Vec<RegistryEvent> {
    let offer = GroupOffer { prices: [price; 3], data_use: 2, tiers: 1, expiry_day: 9, ..GroupOffer::default() };
    places.map(|place| RegistryEvent::SetOffer { place, offer }).collect()
}

fn revoke(place: u32, member: usize) -> Vec<RegistryEvent> {
    let mut mask = [false; GROUP_SIZE];
    mask[member] = true;
    vec![RegistryEvent::Revoke { place, mask }]
}

/// Registrations of 1 and 13 datasets, an offer for the second, a revocation in it, and a newer offer.
fn queued() -> Vec<QueuedOperation> {
    use OperationQueue::{Offers, Registry};
    vec![
        operation(Registry, 0, &register(1, 0, &[1])),
        operation(Registry, 1, &register(5, 1, &[5, 5, 3])),
        operation(Offers, 0, &offers(1..4, 7)),
        operation(Registry, 2, &revoke(2, 1)),
        operation(Offers, 1, &offers(1..4, 8)),
    ]
}

fn with_queues() -> PanelTree {
    let mut panel = PanelTree::new(DEPTH);
    queued().into_iter().for_each(|operation| panel.queue(operation).unwrap());
    panel
}

/// The move over the next events, so many of each queue.
fn next_move(panel: &PanelTree, counts: [u64; 2]) -> RootMove {
    let mut tree = panel.tree().clone();
    let [registry, offers] = [(&panel.registry, counts[0]), (&panel.offers, counts[1])]
        .map(|(queue, count)| events_of(queue.kind, &queue.next(usize::try_from(count).unwrap()).unwrap()).unwrap());
    registry.iter().chain(&offers).for_each(|event| tree.apply(event).unwrap());
    RootMove {
        sequence: panel.sequence() + 1,
        root: FieldBytes(encode_field(&tree.root())),
        registry_events: counts[0],
        offer_events: counts[1],
        block: 500,
    }
}

#[test]
fn moves_that_cut_operations_anywhere_lead_to_the_same_tree() {
    let splits: [&[[u64; 2]]; 3] =
        [&[[5, 6]], &[[1, 0], [1, 0], [2, 0], [1, 1], [0, 2], [0, 3]], &[[3, 0], [2, 4], [0, 2]]];
    let mut roots = Vec::new();
    for split in splits {
        let mut panel = with_queues();
        for counts in split {
            let step = next_move(&panel, *counts);
            panel.follow(&step).unwrap();
            assert_eq!((panel.sequence(), panel.root()), (step.sequence, step.root));
        }
        assert_eq!(panel.waiting_operations(), [0, 0]);
        assert_eq!(panel.events_to_take(u64::MAX), 0);
        assert!(panel.next_batch(8).unwrap().events.is_empty());
        let taken = panel.taken();
        assert_eq!((taken.registry.operations, taken.offers.operations), (3, 2));
        let group = panel.tree().group(2).unwrap();
        assert_eq!((group.live, group.offer.prices[0]), ([true, false, true, true, true], 8));
        roots.push(panel.root());
    }
    assert!(roots.iter().all(|root| *root == roots[0]));
}

#[test]
fn a_batch_takes_the_registrys_events_first_and_goes_on_inside_an_operation() {
    let mut panel = with_queues();
    assert_eq!(panel.next_batch(8).unwrap().events.len(), 8);
    let batch = panel.next_batch(3).unwrap();
    assert_eq!((batch.registry.len(), batch.offers.len(), batch.events.len()), (2, 0, 3));
    panel.follow(&next_move(&panel, [3, 0])).unwrap();
    assert_eq!(panel.taken().registry.operations, 1);
    assert_eq!(panel.taken().registry.rest, batch.registry[1].rest);
    let batch = panel.next_batch(4).unwrap();
    let places: Vec<u32> = batch.events.iter().map(RegistryEvent::place).collect();
    assert_eq!(places, [3, 2, 1, 2], "a registration, a revocation, two of an offer");
    assert_eq!(batch.offers.len(), 1);
}

#[test]
fn what_is_missing_up_to_a_block_counts_with_what_comes_before_it() {
    let mut panel = with_queues();
    assert_eq!(panel.events_to_take(FIRST_BLOCK - 1), 0);
    assert_eq!(panel.events_to_take(FIRST_BLOCK), 5 + 3, "an offer comes after the whole registry's queue");
    assert_eq!(panel.events_to_take(u64::MAX), 11);
    panel.follow(&next_move(&panel, [3, 0])).unwrap();
    assert_eq!(panel.events_to_take(FIRST_BLOCK), 2 + 3);
    panel.follow(&next_move(&panel, [1, 3])).unwrap();
    assert_eq!(panel.events_to_take(FIRST_BLOCK), 0);
    assert_eq!(panel.events_to_take(FIRST_BLOCK + 10), 1 + 3);
}

#[test]
fn registrations_are_found_when_the_root_has_them() {
    let mut panel = with_queues();
    panel.follow(&next_move(&panel, [2, 0])).unwrap();
    let groups = |first_group, dataset_count| Some(RegisteredGroups { first_group, dataset_count });
    assert_eq!(panel.registration(RegistrationId(1)), groups(0, 1));
    assert_eq!(panel.registration(RegistrationId(5)), groups(1, 5), "one group of three so far");
    panel.follow(&next_move(&panel, [3, 0])).unwrap();
    assert_eq!(panel.registration(RegistrationId(5)), groups(1, 13), "the revoked one is still registered");
    assert_eq!(panel.registration(RegistrationId(2)), None);
}

#[test]
fn what_does_not_follow_is_refused_and_changes_nothing() {
    let mut panel = with_queues();
    let step = next_move(&panel, [4, 1]);
    let refused: [(RootMove, PanelError); 4] = [
        (RootMove { sequence: 2, ..step }, PanelError::Sequence { expected: 1, found: 2 }),
        (RootMove { registry_events: 6, ..step }, PanelError::MissingEvents { sequence: 1 }),
        (RootMove { offer_events: 2, ..step }, PanelError::Root { sequence: 1 }),
        (RootMove { root: FieldBytes([0; 32]), ..step }, PanelError::Root { sequence: 1 }),
    ];
    let before = (panel.root(), panel.taken());
    for (wrong, error) in refused {
        assert_eq!(panel.follow(&wrong), Err(error));
        assert_eq!((panel.root(), panel.taken()), before);
    }
    let early = RootMove { registry_events: 0, offer_events: 1, ..step };
    let vacant = PanelError::Event { sequence: 1, violation: UpdateViolation::Vacant(1) };
    assert_eq!(panel.follow(&early), Err(vacant), "an offer before its registration");
    let again = operation(OperationQueue::Offers, 1, &offers(1..4, 9));
    let twice = PanelError::Operation { queue: OperationQueue::Offers, expected: 2, found: 1 };
    assert_eq!(panel.queue(again), Err(twice));
    panel.follow(&step).unwrap();
    assert_eq!(panel.follow(&step), Err(PanelError::Sequence { expected: 2, found: 1 }));
}

#[test]
fn the_trees_of_the_last_roots_are_kept() {
    let mut panel = PanelTree::new(DEPTH);
    panel.queue(operation(OperationQueue::Registry, 0, &register(1, 0, &[1]))).unwrap();
    panel.follow(&next_move(&panel, [1, 0])).unwrap();
    let first = panel.root();
    let last = ROOTS_KEPT as u64 + 5;
    for number in 0..last - 1 {
        panel.queue(operation(OperationQueue::Offers, number, &offers(0..1, number + 1))).unwrap();
        panel.follow(&next_move(&panel, [0, 1])).unwrap();
        if number == 3 {
            assert_eq!(panel.root_at(1), Some(first));
        }
    }
    assert_eq!(panel.sequence(), last);
    let oldest = last + 1 - ROOTS_KEPT as u64;
    assert_eq!((panel.root_at(oldest - 1), panel.root_at(last + 1)), (None, None));
    assert_eq!(panel.tree_at(oldest).unwrap().group(0).unwrap().offer.prices[0], oldest - 1);
    assert_eq!(panel.root_at(last), Some(panel.root()));
}
