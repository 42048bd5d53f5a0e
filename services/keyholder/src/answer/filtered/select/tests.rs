//! A keyholder that falsifies what it multiplies: in plain evaluations it passes, in authenticated ones all
//! keyholders give up before anything is opened.

use super::{authenticated::KEY_GATE, *};
use crate::answer::rounds::testing::{SESSION, run};
use locus_phenotype::{AttributeSchema, Filter, PersonAttributes, Predicate};
use locus_service::ServiceError as _;
use locus_sharing::{AuthenticatedVector, RingWord, ShareIndex, SharingError};
use locus_wire::pb::keyholder::RoundPiece;
use std::cell::Cell;

const SCHEMA: &str = r#"{
    "name": "test", "version": "1",
    "attributes": [
        {"kind": "category", "name": "sex", "values": ["M", "F"]},
        {"kind": "flag", "name": "smoker"},
        {"kind": "flag", "name": "diabetic"},
        {"kind": "quantity", "name": "bmi", "origin": "10", "step": "1", "bits": 3}
    ]
}"#;
/// Three products in a row for the first of two predicates, then three planes and one square.
const PREDICATE: &str = "sex = 'F' and smoker and diabetic and bmi is not null";
/// The first four are selected by [`PREDICATE`].
const PEOPLE: usize = 6;
const SELECTED: usize = 4;
/// Sealing of a piece.
const TAG_BYTES: usize = 16;

/// Which numbers a keyholder adds to which places of the message of a gate.
#[derive(Debug, Clone, Copy)]
struct Attack {
    keyholder: KeyholderIndex,
    gate: u32,
    errors: [(usize, u128); 2],
}

impl Attack {
    /// An error in one place.
    fn at(keyholder: KeyholderIndex, gate: u32, place: usize, error: u128) -> Self {
        Self { keyholder, gate, errors: [(place, error), (place, 0)] }
    }

    fn falsify<W: RingWord>(&self, gate: u32, message: &mut [W]) {
        for (place, error) in self.errors.iter().filter(|_| gate == self.gate) {
            message[*place] = message[*place].plus(W::read(&error.to_le_bytes()));
        }
    }
}

thread_local! {
    /// What the keyholder on this thread does.
    static ATTACK: Cell<Option<Attack>> = const { Cell::new(None) };
}

fn falsify<W: RingWord>(gate: u32, message: &mut [W]) {
    if let Some(attack) = ATTACK.get() {
        attack.falsify(gate, message);
    }
}

/// Values whose products a keyholder falsifies: what it sends, and goes on with itself.
#[derive(Clone)]
struct Falsified<V>(V);

struct FalsifiedPart<V: SharedValues>(V::Part);

impl<V: SharedValues> SharedValues for Falsified<V> {
    type Word = V::Word;
    type Part = FalsifiedPart<V>;
    const PRODUCT_BYTES: usize = V::PRODUCT_BYTES;

    fn zeros(keyholder: KeyholderIndex, length: usize) -> Self {
        Self(V::zeros(keyholder, length))
    }

    fn add(&mut self, values: &Self) -> Result<(), SharingError> {
        self.0.add(&values.0)
    }

    fn scale(&mut self, factor: u64) {
        self.0.scale(factor);
    }

    fn of_parts(keyholder: KeyholderIndex, own: Vec<V::Word>, received: Vec<V::Word>) -> Result<Self, SharingError> {
        V::of_parts(keyholder, own, received).map(Self)
    }
}

impl<V: SharedValues> locus_sharing::ValuesPart for FalsifiedPart<V> {
    type Values = Falsified<V>;
    type Word = V::Word;

    fn new(keyholder: KeyholderIndex, length: usize) -> Self {
        Self(V::Part::new(keyholder, length))
    }

    fn add(&mut self, values: &Falsified<V>) -> Result<(), SharingError> {
        self.0.add(&values.0)
    }

    fn add_product(&mut self, left: &Falsified<V>, right: &Falsified<V>) -> Result<(), SharingError> {
        self.0.add_product(&left.0, &right.0)
    }

    fn mask(self, prss: &mut Prss, gate: u32) -> Result<Vec<V::Word>, SharingError> {
        let mut message = self.0.mask(prss, gate)?;
        falsify(gate, &mut message);
        Ok(message)
    }
}

impl Selecting {
    /// As [`run`](Self::run), but for the falsified message.
    fn run_falsely(mut self, attack: Attack) -> Result<Selected, KeyholderError> {
        ATTACK.set(Some(attack));
        let rows: Vec<&SharedVector<u64>> = self.rows.iter().collect();
        let AskedFilter { filter, schema } = &self.filter;
        let table = AttributeTable::of_rows(self.keyholder, &rows, filter.inputs(schema))?;
        let (weights, squares) = if filter.is_authenticated() {
            let (key, inputs, mut own) = self.begin_tags(&table)?;
            falsify(KEY_GATE, &mut own);
            let table = self.end_tags(&table, inputs, &own)?;
            let falsified = table.with_sums(table.sums().cloned().map(Falsified).collect());
            let Computed { gates, weights, squares } = self.compute(&falsified)?;
            let honest =
                |values: Vec<Falsified<AuthenticatedVector>>| values.into_iter().map(|value| value.0).collect();
            let squares = squares.into_iter().map(|square| square.map(|value| value.0)).collect();
            let computed = Computed { gates: honest(gates), weights: honest(weights), squares };
            let Computed { weights, squares, .. } = self.checked(&key, &table, &computed)?;
            (weights, squares)
        } else {
            let falsified = table.with_sums(table.sums().cloned().map(Falsified).collect());
            let Computed { weights, squares, .. } = self.compute(&falsified)?;
            let squares = squares.into_iter().map(|square| square.map(|value| value.0)).collect();
            (weights.into_iter().map(|weight| weight.0).collect(), squares)
        };
        let totals = self.count(&weights, &squares)?;
        Ok(Selected { weights, totals })
    }
}

struct Scene {
    filter: AskedFilter,
    /// For each keyholder its shares of everybody's bits.
    rows: [Vec<SharedVector<u64>>; 3],
}

impl Scene {
    fn new(is_authenticated: bool) -> Self {
        Self::of(SCHEMA, is_authenticated)
    }

    /// With the bits of squares where the schema keeps them.
    fn of(schema: &str, is_authenticated: bool) -> Self {
        let schema = AttributeSchema::parse_json(schema).expect("a schema");
        let predicate = |text: &str| Predicate::parse(text, &schema).expect("a predicate");
        let bmi = schema.find_named("bmi").expect("an attribute");
        let mut selections = vec![Selection::People(predicate(PREDICATE))];
        selections.extend(Selection::trait_planes(&predicate(PREDICATE), bmi, &schema));
        selections.push(Selection::People(predicate("smoker and not (sex = 'M')")));
        selections.extend(Selection::square_planes(&predicate(PREDICATE), bmi, &schema));
        let filter = Filter::try_new(selections, &schema).expect("a filter").authenticated(is_authenticated);
        let mut rows = [Vec::new(), Vec::new(), Vec::new()];
        let mut state = 1u64;
        for person in 0..PEOPLE {
            let bits = person_of(person, &schema).to_bits(&schema);
            let mut random = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                state.rotate_left(29)
            };
            let mut shares: [Vec<u64>; 3] = [(); 3].map(|()| bits.iter().map(|_| random()).collect());
            for (place, bit) in bits.iter().enumerate() {
                shares[2][place] = bit.wrapping_sub(shares[0][place]).wrapping_sub(shares[1][place]);
            }
            let share = |share: ShareIndex| shares[usize::from(share.get()) - 1].clone();
            for keyholder in KeyholderIndex::ALL {
                let (released, other) = (share(keyholder.released_share()), share(keyholder.other_share()));
                let row = SharedVector::new(keyholder, released, other).expect("one length");
                rows[keyholder.position()].push(row);
            }
        }
        Self { filter: AskedFilter { filter, schema }, rows }
    }

    fn selecting(&self, rounds: Rounds) -> Selecting {
        let keyholder = rounds.keyholder();
        let key = |share: ShareIndex| NoiseKey::from_bytes([share.get(); 32]);
        Selecting {
            keyholder,
            filter: self.filter.clone(),
            rows: self.rows[keyholder.position()].clone(),
            prss: Prss::new(keyholder, &key(keyholder.released_share()), &key(keyholder.other_share()), SESSION),
            rounds,
            taus: vec![Tau(Digest32([9; 32])); self.filter.filter.selections().len()],
            noise_key: NoiseKey::from_bytes([keyholder.get() + 10; 32]),
            dp_share: None,
            dp_total: None,
            floor: MatchFloor { people: 1, sigmas: 0 },
        }
    }

    /// What each keyholder ends with, the last round that anybody sent a message of, and the bytes of all.
    fn run(&self, attack: Option<Attack>) -> (Vec<Result<Selected, KeyholderError>>, u32, usize) {
        let (mut last_round, mut bytes) = (0, 0);
        let carry = |piece: RoundPiece| {
            last_round = last_round.max(piece.round);
            bytes += piece.sealed.len() - TAG_BYTES;
            vec![piece]
        };
        let ended = run([SESSION; 3], carry, |rounds| {
            let selecting = self.selecting(rounds);
            match attack.filter(|attack| attack.keyholder == selecting.keyholder) {
                Some(attack) => selecting.run_falsely(attack),
                None => selecting.run().map(|(selected, _)| selected),
            }
        });
        (ended, last_round, bytes)
    }

    /// Rounds before anything is opened.
    fn hidden_rounds(&self) -> u32 {
        self.filter.filter.cost(&self.filter.schema).rounds
    }

    /// The numbers of all gates with products.
    fn product_gates(&self) -> Vec<u32> {
        let AskedFilter { filter, schema } = &self.filter;
        let (mut gates, mut first_gate) = (Vec::new(), 0);
        for plan in filter.plans(schema) {
            let products = plan.gates().iter().zip(first_gate..).filter(|(gate, _)| !gate.products.is_empty());
            gates.extend(products.map(|(_, number)| number));
            first_gate += gate_count(&plan);
        }
        for (selection, place) in filter.selections().iter().zip(0..) {
            if selection.plane_bit(schema).is_some() {
                gates.push(first_gate + place);
            }
            if selection.release().total_count > 1 {
                gates.push(SQUARES_GATE + place);
            }
        }
        gates
    }
}

/// The first four are women who smoke, are diabetic, and have a known BMI.
fn person_of(number: usize, schema: &AttributeSchema) -> PersonAttributes {
    let mut person = PersonAttributes::unknown(schema);
    let find = |name: &str| schema.find_named(name).expect("an attribute");
    let sex = if number == SELECTED { "M" } else { "F" };
    person.set_category(schema, find("sex"), sex).expect("a value");
    person.set_flag(schema, find("smoker"), true).expect("a value");
    person.set_flag(schema, find("diabetic"), number < SELECTED).expect("a value");
    let bmi = format!("{}", 13 + number % 4).parse().expect("a number");
    person.set_number(schema, find("bmi"), bmi).expect("a value");
    person
}

fn weights_of(ended: &[Result<Selected, KeyholderError>]) -> Vec<Vec<u64>> {
    let all: Vec<&Selected> = ended.iter().map(|end| end.as_ref().expect("it ends well")).collect();
    let value = |selection: usize, person: usize| {
        all.iter().fold(0u64, |sum, own| sum.wrapping_add(own.weights[selection].released()[person]))
    };
    (0..all[0].weights.len()).map(|selection| (0..PEOPLE).map(|person| value(selection, person)).collect()).collect()
}

/// Weights and totals of a run that ends well.
fn result_of(scene: &Scene, attack: Option<Attack>) -> (Vec<Vec<u64>>, Vec<Vec<i64>>) {
    let (ended, last_round, _) = scene.run(attack);
    assert_eq!(last_round, scene.hidden_rounds() + 1, "the totals are opened in the last round");
    let totals: Vec<_> = ended.iter().map(|end| end.as_ref().expect("it ends well").totals.clone()).collect();
    assert!(totals.iter().all(|own| *own == totals[0]));
    (weights_of(&ended), totals[0].clone())
}

#[test]
fn authenticated_evaluation_selects_the_same_people_with_the_same_totals() {
    let (plain, authenticated) = (Scene::new(false), Scene::new(true));
    let (weights, totals) = result_of(&plain, None);
    assert_eq!(result_of(&authenticated, None), (weights.clone(), totals.clone()));
    // u is BMI less 10: 3, 4, 5, 6.
    assert_eq!(weights[0], [1, 1, 1, 1, 0, 0]);
    assert_eq!(weights[1], [1, 0, 1, 0, 0, 0]);
    assert_eq!(weights[4], [1, 1, 1, 1, 0, 1]);
    assert_eq!(totals, [vec![4], vec![2, 9 + 16 + 25 + 36], vec![2], vec![3], vec![5]]);
    // What the quote states, but for the few numbers that do not grow with the people.
    for scene in [&plain, &authenticated] {
        let cost = scene.filter.filter.cost(&scene.filter.schema);
        let (_, _, bytes) = scene.run(None);
        let of_people = 3 * PEOPLE * cost.person_bytes;
        // Combinations, key, difference; shares of six totals.
        let constant = 3 * (2 * 6 * 8) + if scene.filter.filter.is_authenticated() { 3 * 96 } else { 0 };
        assert_eq!(bytes, of_people + constant);
    }
}

#[test]
fn bits_of_squares_are_weights_as_those_of_the_quantity_are() {
    let schema = SCHEMA.replace("\"bits\": 3", "\"bits\": 3, \"squares\": true");
    for is_authenticated in [false, true] {
        let (weights, totals) = result_of(&Scene::of(&schema, is_authenticated), None);
        let squares = weights[5..].iter().rev().fold([0; PEOPLE], |numbers, plane| {
            let mut next = numbers.map(|number| 2 * number);
            next.iter_mut().zip(plane).for_each(|(number, bit)| *number += bit);
            next
        });
        assert_eq!((weights.len(), squares), (5 + 6, [9, 16, 25, 36, 0, 0]));
        // Only the lowest bit of the quantity has a sum besides, which those of the square add up to.
        let matched = totals[5..].iter().rev().fold(0, |sum, totals| 2 * sum + totals[0]);
        assert_eq!((totals[1].len(), matched), (2, totals[1][1]));
        assert!(totals[5..].iter().all(|totals| totals.len() == 1));
    }
}

#[test]
fn a_filter_that_needs_too_long_messages_is_refused_before_it_is_evaluated() {
    // Three products of a round take 24 bytes a person, or 96; tags of seven inputs 112.
    for (is_authenticated, person_bytes) in [(false, 24), (true, 112)] {
        assert_eq!(round_bytes(&Scene::new(is_authenticated).filter, 1_000), 1_000 * person_bytes);
    }
    let scene = Scene::new(true);
    let check = |rounds: Rounds| {
        let rows = vec![SharedVector::zeros(rounds.keyholder(), 0); ROUND_BYTES_MAX / 112 + 1];
        Selecting { rows, ..scene.selecting(rounds) }.check_rounds()
    };
    let ended = run([SESSION; 3], |piece| vec![piece], check);
    assert!(ended.iter().any(|end| matches!(end, Err(KeyholderError::RoundTooLong { .. }))));
}

#[test]
fn attack_a_keyholder_that_falsifies_any_product_is_found_before_anything_is_opened() {
    let (plain, authenticated) = (Scene::new(false), Scene::new(true));
    let (honest, _) = result_of(&plain, None);
    let gates = authenticated.product_gates();
    let rounds = authenticated.hidden_rounds();
    let is_found = |attack: Attack| {
        let (ended, last_round, _) = authenticated.run(Some(attack));
        for (keyholder, end) in KeyholderIndex::ALL.into_iter().zip(&ended) {
            // Whoever hears first that another gives up is cut off.
            let gave_up = matches!(end, Err(KeyholderError::Falsified | KeyholderError::CutOff(_)));
            assert!(gave_up, "{keyholder}: {attack:?}");
        }
        assert!(ended.iter().any(|end| matches!(end, Err(KeyholderError::Falsified))), "{attack:?}");
        assert_eq!(last_round, rounds, "no number was opened, nor a part of one: {attack:?}");
    };
    let (mut runs, mut random) = (0, 1u128);
    for keyholder in KeyholderIndex::ALL {
        for gate in &gates {
            for person in 0..PEOPLE {
                random = random.wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645).wrapping_add(1);
                // Values, also where only the highest bit that counts shows it; tags; both.
                for error in [1, 1_000, 1 << 62, 1 << 63, random >> 17] {
                    is_found(Attack::at(keyholder, *gate, person, error));
                    runs += 1;
                }
                is_found(Attack::at(keyholder, *gate, PEOPLE + person, 1 << 100));
                let errors = [(person, 1), (PEOPLE + person, random)];
                is_found(Attack { keyholder, gate: *gate, errors });
                runs += 2;
                // Control: in a plain evaluation the same person counts a thousandfold, and nobody notices.
                if person < SELECTED {
                    let (ended, ..) = plain.run(Some(Attack::at(keyholder, *gate, person, 1_000)));
                    let totals =
                        |end: &Result<Selected, KeyholderError>| end.as_ref().expect("it passes").totals.clone();
                    let changed = weights_of(&ended) != honest || totals(&ended[0])[1][1] != 9 + 16 + 25 + 36;
                    assert!(changed, "gate {gate}");
                }
            }
        }
        let inputs = authenticated.filter.filter.inputs(&authenticated.filter.schema).len();
        for place in 0..inputs * PEOPLE {
            is_found(Attack::at(keyholder, KEY_GATE, place, 1 + (random >> 3)));
            runs += 1;
        }
    }
    assert!(runs >= 1_000, "only {runs} falsifications");
}

/// The totals that each keyholder ends with when `cheat` takes a larger share of everything that is counted.
fn run_lifted(
    scene: &Scene,
    cheat: Option<KeyholderIndex>,
    dp_share: Option<SigmaSquared>,
    floor: MatchFloor,
) -> Vec<Result<Vec<Vec<i64>>, KeyholderError>> {
    let work = |rounds: Rounds| {
        let selecting = scene.selecting(rounds);
        let mut selecting = Selecting { dp_share, dp_total: dp_share, floor, ..selecting };
        if cheat != Some(selecting.keyholder) {
            return selecting.run().map(|(selected, _)| selected.totals);
        }
        let rows: Vec<&SharedVector<u64>> = selecting.rows.iter().collect();
        let AskedFilter { filter, schema } = &selecting.filter;
        let table = AttributeTable::of_rows(selecting.keyholder, &rows, filter.inputs(schema))?;
        let Computed { mut weights, squares, .. } = selecting.compute_authenticated(&table)?;
        for weight in &mut weights {
            let mut released = weight.released().to_vec();
            released[0] = released[0].wrapping_add(LIFT.unsigned_abs());
            *weight = SharedVector::new(selecting.keyholder, released, weight.other().to_vec())?;
        }
        selecting.count(&weights, &squares)
    };
    run([SESSION; 3], |piece| vec![piece], work)
}

/// People that a keyholder adds to a matched number.
const LIFT: i64 = 1_000;

#[test]
fn attack_a_matched_number_lifted_over_the_floor_is_found_where_it_is_exact() {
    let scene = Scene::new(true);
    let high = MatchFloor { people: 100, sigmas: 5 };
    let refused = run_lifted(&scene, None, None, high);
    assert!(refused.iter().any(|end| matches!(end, Err(KeyholderError::TooFewMatch(0)))), "{refused:?}");
    assert!(refused.iter().all(Result::is_err), "four people are below the floor: {refused:?}");
    let (_, truth) = result_of(&scene, None);
    for cheat in KeyholderIndex::ALL {
        // One of the others is shown two different shares; the third one is shown the truth.
        let ended = run_lifted(&scene, Some(cheat), None, MatchFloor { people: 1, sigmas: 0 });
        let found = cheat.receives_from();
        assert!(matches!(ended[found.position()], Err(KeyholderError::Falsified)), "{ended:?}");
        match &ended[found.receives_from().position()] {
            Ok(totals) => assert_eq!(*totals, truth),
            Err(error) => assert_eq!(error.reason(), "CUT_OFF", "{cheat}"),
        }
        // Control: where keyholders add noise of their own, one can add as much as it likes, and the floor is passed.
        let noise = SigmaSquared::try_new(1, 4).expect("small noise");
        for end in run_lifted(&scene, Some(cheat), Some(noise), high) {
            let totals = end.expect("nobody notices");
            assert!((totals[0][0] - truth[0][0] - LIFT).abs() < 20, "{totals:?}");
        }
    }
}
