use super::*;
use crate::{
    groth16::{Circuit as _, Shape},
    registry::{GROUP_SIZE, Group, GroupOffer, word},
    testing::{Solved, depends_on_every_input, key_of, matches_golden_rows, system_rng, violated},
};
use ark_bn254::Fr;
use ark_ff::Field;
use locus_commitment::{
    field::{FieldBytes, encode_field},
    pedersen::{CiphertextCommitment, Generators},
};
use std::sync::OnceLock;

fn small() -> UpdateShape {
    UpdateShape::try_new(4, 2).unwrap()
}

fn group(label: u64) -> Group {
    static GENERATORS: OnceLock<Generators> = OnceLock::new();
    let generators = GENERATORS.get_or_init(|| Generators::expand(0, 0));
    let commitments =
        [CiphertextCommitment::of_body(generators, &[label]), CiphertextCommitment::of_body(generators, &[label, 1])];
    Group { accredited: true, ..Group::registered(&commitments, label, 5) }
}

fn offer(price: u64) -> GroupOffer {
    GroupOffer { prices: [price, 2, 3], data_use: 2, tiers: 7, expiry_day: 9, ..GroupOffer::default() }
}

fn register(place: u32) -> RegistryEvent {
    RegistryEvent::Register { place, group: group(u64::from(place) + 1) }
}

const FIRST: [bool; GROUP_SIZE] = [true, false, false, false, false];

/// A tree with groups at 0 and 17, and a batch of every kind, two of them on one leaf.
fn valid() -> (RegistryTree, Vec<RegistryEvent>) {
    let mut tree = RegistryTree::of_depth(2);
    tree.apply(&register(0)).unwrap();
    tree.apply(&register(17)).unwrap();
    let events = vec![
        register(200),
        RegistryEvent::SetOffer { place: 17, offer: offer(10) },
        RegistryEvent::Revoke { place: 17, mask: FIRST },
    ];
    (tree, events)
}

fn statement() -> (RegistryTree, UpdatePublic, UpdateWitness) {
    let (tree, events) = valid();
    let (public, witness) = UpdatePublic::advance(small(), &mut tree.clone(), &events).unwrap();
    (tree, public, witness)
}

fn verdict(tree: &RegistryTree, public: &UpdatePublic, witness: &UpdateWitness) -> Result<(), UpdateViolation> {
    let native = public.check(small(), tree);
    let circuit = violated(&UpdateCircuit { shape: small(), public, witness });
    assert_eq!(native.is_err(), circuit.is_some(), "check says {native:?}, the circuit {circuit:?}");
    native
}

#[test]
fn a_batch_of_every_kind_moves_the_root_to_the_updated_tree() {
    let (mut tree, public, witness) = statement();
    assert_eq!(verdict(&tree, &public, &witness), Ok(()));
    valid().1.iter().for_each(|event| tree.apply(event).unwrap());
    assert_eq!(public.after, tree.root());
    let changed = tree.group(17).unwrap();
    assert_eq!((changed.live, changed.offer), ([false, true, false, false, false], offer(10)));
    assert!(changed.accredited, "an offer keeps the provenance");
    let (public, witness) = UpdatePublic::advance(small(), &mut tree.clone(), &[]).unwrap();
    assert_eq!(verdict(&tree, &public, &witness), Ok(()));
    assert_eq!(public.before, public.after, "empty events change nothing");
}

/// The words of an event as a chain shows them.
fn bytes_of(event: &RegistryEvent) -> [FieldBytes; EVENT_WORDS] {
    event.words().map(|word| FieldBytes(encode_field(&word)))
}

/// One event of every kind, with every field set.
fn one_of_each() -> [RegistryEvent; 4] {
    let full = GroupOffer {
        prices: [1, (1 << 48) - 1, 0],
        condition: Fr::from(77u64),
        data_use: (1 << 22) - 1,
        tiers: 5,
        accredited_only: true,
        named_only: true,
        expiry_day: u16::MAX,
    };
    let group = Group { proven: true, registration: u64::MAX, first_ordinal: u32::MAX, offer: full, ..group(3) };
    let mask = [true, false, true, false, true];
    [
        RegistryEvent::Empty,
        RegistryEvent::Register { place: (1 << 20) - 1, group },
        RegistryEvent::SetOffer { place: 300, offer: full },
        RegistryEvent::Revoke { place: 1, mask },
    ]
}

#[test]
fn events_are_read_back_from_the_words_that_the_chain_shows() {
    for event in one_of_each() {
        assert_eq!(RegistryEvent::parse(&bytes_of(&event)).unwrap(), event);
    }
}

#[test]
fn words_of_no_event_are_refused() {
    let [empty, register, set_offer, revoke] = one_of_each().map(|event| bytes_of(&event));
    let refuses = |mut words: [FieldBytes; EVENT_WORDS], place: usize, byte: usize, bit: u8| {
        words[place].0[byte] ^= bit;
        assert!(RegistryEvent::parse(&words).is_err(), "word {place}, byte {byte}");
    };
    refuses(empty, 0, 31, 4);
    refuses(empty, 1, 31, 1);
    // A mask of a registration or an offer; a head beyond the mask.
    [register, set_offer].into_iter().for_each(|words| refuses(words, 0, 28, 4));
    refuses(revoke, 0, 27, 1);
    // A point off the curve, a price of 49 bits, terms of 51 bits, an origin of 97 bits.
    refuses(register, 1, 31, 1);
    refuses(register, 1 + word::PRICES, 25, 1);
    refuses(register, 1 + word::TERMS, 25, 4);
    refuses(register, 1 + word::ORIGIN, 19, 1);
    // Words that a kind does not use, live bits of an offer, a word not below the order.
    refuses(set_offer, 1, 31, 1);
    refuses(set_offer, 1 + word::TERMS, 28, 0x20);
    refuses(revoke, 1 + word::TERMS, 31, 1);
    let mut large = set_offer;
    large[1 + word::CONDITION] = FieldBytes([0xff; 32]);
    assert!(RegistryEvent::parse(&large).is_err());
}

/// The statement with one event replaced after the fact; the witness stays.
fn replaced(place: usize, event: RegistryEvent) -> Result<(), UpdateViolation> {
    let (tree, mut public, witness) = statement();
    public.events[place] = event;
    verdict(&tree, &public, &witness)
}

#[test]
fn events_that_were_not_queued_do_not_fit_the_proof() {
    assert!(replaced(0, RegistryEvent::Register { place: 200, group: group(999) }).is_err(), "other words");
    assert!(replaced(0, register(201)).is_err(), "another place");
    assert!(replaced(1, RegistryEvent::SetOffer { place: 17, offer: offer(11) }).is_err(), "another price");
    let other = [false, true, false, false, false];
    assert!(replaced(2, RegistryEvent::Revoke { place: 17, mask: other }).is_err(), "another dataset");
    assert!(replaced(2, RegistryEvent::Empty).is_err(), "a revocation left out");
    assert!(replaced(3, RegistryEvent::Revoke { place: 0, mask: FIRST }).is_err(), "a revocation made up");
    let (tree, mut public, witness) = statement();
    public.events.swap(0, 1);
    assert!(verdict(&tree, &public, &witness).is_err(), "another order");
}

#[test]
fn u1_an_event_overwritten_in_the_same_batch_counts_with_its_own_words() {
    // The second offer hides the first from the last root; the words still bind it.
    let (tree, _) = valid();
    let events =
        [RegistryEvent::SetOffer { place: 0, offer: offer(1) }, RegistryEvent::SetOffer { place: 0, offer: offer(2) }];
    let (mut public, witness) = UpdatePublic::advance(small(), &mut tree.clone(), &events).unwrap();
    assert_eq!(verdict(&tree, &public, &witness), Ok(()));
    public.events[0] = RegistryEvent::SetOffer { place: 0, offer: offer(3) };
    let circuit = UpdateCircuit { shape: small(), public: &public, witness: &witness };
    assert!(violated(&circuit).is_some());
}

#[test]
fn u3_registering_over_a_group_and_points_off_the_curve_are_refused() {
    let (mut tree, _) = valid();
    assert_eq!(tree.apply(&register(17)), Err(UpdateViolation::Occupied(17)));
    assert_eq!(tree.apply(&RegistryEvent::SetOffer { place: 5, offer: offer(1) }), Err(UpdateViolation::Vacant(5)));
    assert_eq!(tree.apply(&RegistryEvent::Revoke { place: 5, mask: FIRST }), Err(UpdateViolation::Vacant(5)));
    assert_eq!(tree.apply(&register(256)), Err(UpdateViolation::Outside(256)));

    // The circuit, with a witness that pretends place 17 were empty.
    let (tree, mut public, mut witness) = statement();
    public.events[0] = register(17);
    witness.steps[0].path = tree.path(0, 17);
    assert_eq!(violated(&UpdateCircuit { shape: small(), public: &public, witness: &witness }), Some("U6 leaves"));
}

#[test]
fn u4_an_offer_cannot_change_provenance_or_revive_a_dataset() {
    let (tree, public, witness) = statement();
    for forge in [
        (|group: &mut Group| group.proven = true) as fn(&mut Group),
        |group| group.live[3] = true,
        |group| group.commitments[0] = group.commitments[1],
        |group| group.registration += 1,
    ] {
        let mut forged = witness.clone();
        forge(forged.steps[1].new.as_mut().unwrap());
        assert!(violated(&UpdateCircuit { shape: small(), public: &public, witness: &forged }).is_some());
    }
    assert_eq!(verdict(&tree, &public, &witness), Ok(()));
}

#[test]
fn u5_a_revocation_changes_only_its_datasets() {
    let (_, public, witness) = statement();
    for forge in [
        (|group: &mut Group| group.live[0] = true) as fn(&mut Group),
        |group| group.live[1] = false,
        |group| group.offer.prices[0] = 1,
        |group| group.offer.data_use = 1,
    ] {
        let mut forged = witness.clone();
        forge(forged.steps[2].new.as_mut().unwrap());
        assert!(violated(&UpdateCircuit { shape: small(), public: &public, witness: &forged }).is_some());
    }
}

#[test]
fn u7_wrong_roots_are_refused() {
    let (tree, public, witness) = statement();
    let wrong_after = UpdatePublic { after: public.after + Fr::ONE, ..public.clone() };
    assert_eq!(verdict(&tree, &wrong_after, &witness), Err(UpdateViolation::Root));
    let wrong_before = UpdatePublic { before: public.before + Fr::ONE, ..public };
    assert_eq!(verdict(&tree, &wrong_before, &witness), Err(UpdateViolation::Root));
    let (_, public, _) = statement();
    let five = vec![RegistryEvent::Empty; 5];
    assert_eq!(UpdatePublic::advance(small(), &mut tree.clone(), &five).map(|_| ()), Err(UpdateViolation::Size));
    assert_eq!(public.events.len(), 4);
}

#[test]
fn ten_thousand_mutated_witnesses_are_refused() {
    let (_, public, witness) = statement();
    let mut solved = Solved::new(&UpdateCircuit { shape: small(), public: &public, witness: &witness });
    solved.refuses_mutations(10_000, "update");
}

#[test]
fn proofs_verify_for_their_batch_only() {
    let (_, public, witness) = statement();
    let circuit = UpdateCircuit { shape: small(), public: &public, witness: &witness };
    let key = key_of(&Shape::of(&circuit));
    let proof = key.prove(&circuit, &mut system_rng()).unwrap();
    depends_on_every_input(&key, &circuit.public_inputs(), &proof);
    let proof = UpdateProof::prove(&key, small(), &public, &witness, &mut system_rng()).unwrap();
    let verifier = UpdateVerifier::new(key.verifying_key.clone());
    assert_eq!(UpdateProof::parse(&proof.to_bytes()).unwrap(), proof);
    assert!(verifier.verify(&public, &proof).is_ok());
    let mut others = vec![
        UpdatePublic { before: public.before + Fr::ONE, ..public.clone() },
        UpdatePublic { after: public.after + Fr::ONE, ..public.clone() },
        UpdatePublic { digest: public.digest + Fr::ONE, ..public.clone() },
    ];
    for place in 0..4 {
        let mut other = public.clone();
        other.events[place] = RegistryEvent::Revoke { place: 0, mask: FIRST };
        others.push(other);
    }
    for other in others {
        assert!(verifier.verify(&other, &proof).is_err());
    }
}

#[test]
fn the_rows_match_their_golden_files() {
    matches_golden_rows(&update_shape(small()).unwrap());
    matches_golden_rows(&update_shape(UpdateShape::FULL).unwrap());
}

#[test]
fn events_applied_at_once_lead_to_the_same_tree_and_a_wrong_one_changes_nothing() {
    let (mut one_by_one, events) = valid();
    let mut at_once = one_by_one.clone();
    events.iter().for_each(|event| one_by_one.apply(event).unwrap());
    at_once.apply_all(&events).unwrap();
    assert_eq!((at_once.root(), at_once.group(17)), (one_by_one.root(), one_by_one.group(17)));
    let wrong = [RegistryEvent::SetOffer { place: 0, offer: offer(5) }, register(256)];
    assert_eq!(at_once.apply_all(&wrong), Err(UpdateViolation::Outside(256)));
    assert_eq!((at_once.root(), at_once.group(0)), (one_by_one.root(), one_by_one.group(0)));
}
