//! What a filtered answer shows, and what it would show if a step were left out.

mod support;

use locus_genomics::{Genotype, Plane};
use locus_phenotype::{AttributeSchema, PersonAttributes, Predicate, Selection};
use locus_privacy::{Rho, SigmaSquared, SlotMask};
use locus_rlwe::{
    Body, CounterRange, FilteredPart, FilteredSum, RlweError, SecretBits, SignedCounts, WeightShares, combine_filtered,
};
use locus_sharing::{KeyholderIndex, SharedVector};
use support::{
    BLOCK, Person, Prng, all_slots, as_f64,
    keyholders::{Keyholders, Shared, add_person, empty_sums, secret_bits, share_attributes},
    mean, people, slot, standard_deviation, tau,
};

const SCHEMA: &str = r#"{"name": "t", "version": "1", "attributes": [
    {"kind": "flag", "name": "case"}, {"kind": "flag", "name": "smoker"},
    {"kind": "quantity", "name": "height", "origin": "100", "step": "1", "bits": 8}]}"#;

struct Cohort {
    people: Vec<Person>,
    schema: AttributeSchema,
    rows: Vec<Shared>,
    /// Who is a case and smokes, and how tall they are.
    truth: Vec<(bool, bool, i64)>,
}

fn cohort(size: u32) -> Cohort {
    let schema = AttributeSchema::parse_json(&SCHEMA.replace("case", "affected")).expect("valid");
    let people = people(size, 4080);
    let mut prng = Prng(5);
    let mut truth = Vec::new();
    let rows = people.iter().map(|person| {
        let (affected, smoker) = (prng.below(2) == 1, prng.below(3) > 0);
        let height = 140 + i64::try_from(prng.below(70)).expect("small");
        truth.push((affected, smoker, height));
        let mut attributes = PersonAttributes::unknown(&schema);
        let index = |name: &str| schema.find_named(name).expect("it exists");
        attributes.set_flag(&schema, index("affected"), affected).expect("a flag");
        attributes.set_flag(&schema, index("smoker"), smoker).expect("a flag");
        let height = locus_phenotype::Decimal::whole(height).expect("small");
        attributes.set_number(&schema, index("height"), height).expect("a number");
        share_attributes(person, &attributes, &schema)
    });
    let rows = rows.collect();
    Cohort { people, schema, rows, truth }
}

impl Cohort {
    fn select(&self, keyholders: &mut Keyholders, text: &str) -> Shared {
        let predicate = Predicate::parse(text, &self.schema).unwrap_or_else(|error| panic!("{error}"));
        keyholders.evaluate(&predicate.plan(&self.schema), &self.rows)
    }

    fn bodies(&self, plane: Plane) -> Vec<Body> {
        self.people.iter().map(|person| person.body(BLOCK, plane)).collect()
    }

    fn parts(
        &self,
        keyholders: &mut Keyholders,
        selection: &Shared,
        plane: Plane,
        slots: &SlotMask,
        dp_share: Option<SigmaSquared>,
    ) -> [FilteredPart; 3] {
        let mut sums = empty_sums();
        for (place, (person, body)) in self.people.iter().zip(self.bodies(plane)).enumerate() {
            add_person(&mut sums, selection, place, &body, &secret_bits(person, BLOCK, plane));
        }
        keyholders.finish(sums, plane, slots, &tau(9), dp_share)
    }

    /// How many of the people that `is_in` have each genotype, slot by slot.
    fn count(&self, genotype: Genotype, is_in: impl Fn(usize) -> bool) -> Vec<i64> {
        let has = |place: usize, variant: usize| self.people[place].genotypes.get(variant) == Some(genotype);
        let members: Vec<usize> = (0..self.people.len()).filter(|place| is_in(*place)).collect();
        let count = |variant| members.iter().filter(|place| has(**place, variant)).count();
        (0..4080).map(|variant| i64::try_from(count(variant)).expect("small")).collect()
    }
}

/// Solves `bodies` f = `sums` modulo 2^64 by elimination with odd pivots, from as many equations as
/// are needed; `None` when the rest of the equations contradict the solution.
fn solve(bodies: &[Body], places: &[usize], sums: &[u64]) -> (Vec<u64>, bool) {
    let unknowns = bodies.len();
    let mut equations: Vec<Vec<u64>> = places
        .iter()
        .zip(sums)
        .map(|(place, sum)| bodies.iter().map(|body| body.coefficients()[*place]).chain([*sum]).collect())
        .collect();
    for column in 0..unknowns {
        let pivot = (column..equations.len()).find(|row| equations[*row][column] % 2 == 1).expect("an odd coefficient");
        equations.swap(column, pivot);
        let inverse = invert(equations[column][column]);
        equations[column].iter_mut().for_each(|value| *value = value.wrapping_mul(inverse));
        let pivot_row = equations[column].clone();
        for (row, equation) in equations.iter_mut().enumerate().filter(|(row, _)| *row != column) {
            let _ = row;
            let factor = equation[column];
            equation
                .iter_mut()
                .zip(&pivot_row)
                .for_each(|(value, term)| *value = value.wrapping_sub(factor.wrapping_mul(*term)));
        }
    }
    let is_consistent = equations[unknowns..].iter().all(|equation| equation[unknowns] == 0);
    (equations[..unknowns].iter().map(|equation| equation[unknowns]).collect(), is_consistent)
}

/// The inverse of an odd number modulo 2^64, by Newton's iteration.
fn invert(odd: u64) -> u64 {
    (0..6).fold(odd, |inverse, _| inverse.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(inverse))))
}

fn accuracy(guess: &[u64], truth: &[bool]) -> f64 {
    let right = guess.iter().zip(truth).filter(|(guess, truth)| (*guess & 1 == 1) == **truth).count();
    f64::from(u32::try_from(right).expect("small")) / f64::from(u32::try_from(truth.len()).expect("small"))
}

/// The sums that keyholders must not show: released share of the weight times body.
fn raw_sums(bodies: &[Body], weights: &[u64], places: &[usize]) -> Vec<u64> {
    let sum = |place: &usize| {
        let terms = bodies.iter().zip(weights).map(|(body, weight)| weight.wrapping_mul(body.coefficients()[*place]));
        terms.fold(0u64, u64::wrapping_add)
    };
    places.iter().map(sum).collect()
}

#[test]
fn attack_linear_algebra_finds_the_filter_in_raw_sums_and_nothing_in_real_messages() {
    let cohort = cohort(40);
    let mut keyholders = Keyholders::new(1);
    let selection = cohort.select(&mut keyholders, "affected and smoker");
    let matched: Vec<bool> = cohort.truth.iter().map(|(affected, smoker, _)| *affected && *smoker).collect();
    let bodies = cohort.bodies(Plane::Calls);
    let places: Vec<usize> = (0..200).collect();

    // Control: the three raw sums add up to the weighted sum, and each shows its shares.
    let raw =
        KeyholderIndex::ALL.map(|keyholder| raw_sums(&bodies, selection[keyholder.position()].released(), &places));
    let total: Vec<u64> =
        (0..places.len()).map(|place| raw.iter().fold(0u64, |sum, part| sum.wrapping_add(part[place]))).collect();
    let (weights, is_consistent) = solve(&bodies, &places, &total);
    assert!(is_consistent);
    assert_eq!(weights, matched.iter().map(|matched| u64::from(*matched)).collect::<Vec<_>>());
    let (shares, _) = solve(&bodies, &places, &raw[0]);
    assert_eq!(shares, selection[0].released());

    // The real messages: no solution, alone or together, and solving anyway says nothing.
    let slots = all_slots();
    let parts = cohort.parts(&mut keyholders, &selection, Plane::Calls, &slots, None);
    let mut guesses = Vec::new();
    for start in (0..3_800).step_by(200) {
        let places: Vec<usize> = (start..start + 200).collect();
        let view = |part: &FilteredPart| -> Vec<u64> { places.iter().map(|place| part.values()[*place]).collect() };
        let views: Vec<Vec<u64>> = parts.iter().map(view).collect();
        let together =
            (0..200).map(|place| views.iter().fold(0u64, |sum, part| sum.wrapping_add(part[place]))).collect();
        for view in views.iter().chain([&together]) {
            let (weights, is_consistent) = solve(&bodies, &places, view);
            assert!(!is_consistent, "a real message is a linear system for the weights");
            guesses.push(accuracy(&weights, &matched));
        }
    }
    let average = mean(&guesses);
    // 76 guesses of 40 bits: standard error 0.009.
    assert!((average - 0.5).abs() < 0.05, "guessed {average}");
}

#[test]
fn two_parts_are_uniform_and_three_are_the_counts() {
    let cohort = cohort(60);
    let slots = all_slots();
    let mut keyholders = Keyholders::new(1);
    let selection = cohort.select(&mut keyholders, "affected");
    let parts = cohort.parts(&mut keyholders, &selection, Plane::Calls, &slots, None);
    for (first, second) in [(0, 1), (1, 2), (0, 2)] {
        let sum = parts[first].values().iter().zip(parts[second].values()).map(|(x, y)| x.wrapping_add(*y));
        let ones: u32 = sum.map(u64::count_ones).sum();
        assert!((f64::from(ones) - 131_072.0).abs() < 5.0 * 256.0, "{ones} of 262,144 bits");
    }
    let combined = combine_filtered(Plane::Calls, &slots, parts.each_ref()).expect("one evaluation");
    let counts = combined.decode_calls(CounterRange::try_new(60, 0).expect("fits")).expect("exact");
    let het: Vec<i64> = counts.iter().map(|count| count.het).collect();
    assert_eq!(het, cohort.count(Genotype::Het, |place| cohort.truth[place].0));
    let missing = cohort.parts(&mut keyholders, &selection, Plane::Missing, &slots, None);
    let combined = combine_filtered(Plane::Missing, &slots, missing.each_ref()).expect("one evaluation");
    let missing = combined.decode_missing(CounterRange::try_new(60, 0).expect("fits")).expect("exact");
    assert_eq!(missing, cohort.count(Genotype::Missing, |place| cohort.truth[place].0));
}

#[test]
fn parts_of_two_attempts_or_with_one_missing_are_refused() {
    let cohort = cohort(20);
    let slots = SlotMask::try_new((16..80).map(slot)).expect("valid");
    let [first, second] = [1, 2].map(|attempt| {
        let mut keyholders = Keyholders::new(attempt);
        let selection = cohort.select(&mut keyholders, "affected and smoker");
        cohort.parts(&mut keyholders, &selection, Plane::Calls, &slots, None)
    });
    let [a, b, c] = first.each_ref();
    let mixed = combine_filtered(Plane::Calls, &slots, [a, b, &second[2]]);
    assert!(matches!(mixed.err(), Some(RlweError::AnswerCheckSlot { .. })));
    let missing = combine_filtered(Plane::Calls, &slots, [a, b, b]);
    assert_eq!(missing.err(), Some(RlweError::PartMissing { missing: KeyholderIndex::ALL[2] }));
    let other_plane = combine_filtered(Plane::Missing, &slots, [a, b, c]);
    assert!(matches!(other_plane.err(), Some(RlweError::PartMismatch { .. })));
    // The noise is that of the question, whatever the attempt: repeating it gains nothing.
    let values = |parts: &[FilteredPart; 3]| {
        combine_filtered(Plane::Calls, &slots, parts.each_ref()).expect("one evaluation").values().to_vec()
    };
    assert_eq!(values(&first), values(&second));
    assert!(first[0].values() != second[0].values(), "parts are masked anew");
    let bytes = c.to_bytes();
    let parsed = FilteredPart::parse(c.keyholder(), Plane::Calls, &slots, &bytes).expect("its own bytes");
    assert_eq!(parsed.commitment(&tau(9)), c.commitment(&tau(9)));
    assert!(FilteredPart::parse(c.keyholder(), Plane::Calls, &slots, &bytes[1..]).is_err());
}

/// What a keyholder adds to its own shares of one person's weight, and only it: released and other.
type Shift = [u64; 2];

impl Cohort {
    /// The parts of a selection when `cheat` takes other shares of a person's weight than it has, for its part alone.
    fn parts_of_other_weights(
        &self,
        selection: &Shared,
        slots: &SlotMask,
        (cheat, target, shift): (KeyholderIndex, usize, Shift),
        mut keyholders: Keyholders,
    ) -> [FilteredPart; 3] {
        let mut sums = empty_sums();
        for (place, (person, body)) in self.people.iter().zip(self.bodies(Plane::Calls)).enumerate() {
            let secrets = secret_bits(person, BLOCK, Plane::Calls);
            add_person(&mut sums, selection, place, &body, &secrets);
            if place == target {
                add_weight(&mut sums[cheat.position()], cheat, shift, &body, &secrets);
            }
        }
        keyholders.finish(sums, Plane::Calls, slots, &tau(9), None)
    }

    /// What such a shift adds to the part of `cheat`, from the person's body and the secrets that it holds.
    fn known_to(&self, cheat: KeyholderIndex, target: usize, shift: Shift, slots: &SlotMask) -> Vec<u64> {
        let person = &self.people[target];
        let secrets = secret_bits(person, BLOCK, Plane::Calls);
        let body = person.body(BLOCK, Plane::Calls);
        let [with, without] = [shift, [0, 0]].map(|shift| {
            let mut sums = empty_sums();
            add_weight(&mut sums[cheat.position()], cheat, shift, &body, &secrets);
            Keyholders::new(77).finish(sums, Plane::Calls, slots, &tau(1), None)
        });
        let pairs = with[cheat.position()].values().iter().zip(without[cheat.position()].values());
        pairs.map(|(with, without)| with.wrapping_sub(*without)).collect()
    }
}

fn add_weight(
    sum: &mut FilteredSum,
    keyholder: KeyholderIndex,
    [released, other]: Shift,
    body: &Body,
    secrets: &[SecretBits; 3],
) {
    let [own, common] = [keyholder.released_share(), keyholder.other_share()].map(|share| &secrets[share.position()]);
    sum.add(WeightShares { released, other }, body, own, common).expect("a small cohort");
}

fn sum_of(parts: &[FilteredPart; 3]) -> Vec<u64> {
    let [first, second, third] = parts.each_ref().map(FilteredPart::values);
    first.iter().zip(second).zip(third).map(|((x, y), z)| x.wrapping_add(*y).wrapping_add(*z)).collect()
}

#[test]
fn attack_a_part_of_other_weights_shows_only_what_its_keyholder_knew() {
    const TARGET: usize = 7;
    let cohort = cohort(40);
    let slots = all_slots();
    // Every run is the same attempt: nothing but the cheat's part differs.
    let select = || {
        let mut keyholders = Keyholders::new(1);
        let selection = cohort.select(&mut keyholders, "affected and smoker");
        (keyholders, selection)
    };
    let (mut keyholders, selection) = select();
    let honest = cohort.parts(&mut keyholders, &selection, Plane::Calls, &slots, None);
    let counts = |parts: [&FilteredPart; 3]| {
        let combined = combine_filtered(Plane::Calls, &slots, parts)?;
        combined.decode_calls(CounterRange::try_new(40, 0).expect("fits"))
    };
    for cheat in KeyholderIndex::ALL {
        for delta in [1, 1_000, 1 << 40, 1 << 62] {
            for shift in [[delta, 0], [0, delta], [delta, delta], [delta, 0u64.wrapping_sub(delta)]] {
                let (keyholders, selection) = select();
                let parts = cohort.parts_of_other_weights(&selection, &slots, (cheat, TARGET, shift), keyholders);
                for keyholder in KeyholderIndex::ALL.map(KeyholderIndex::position) {
                    let is_same = parts[keyholder].values() == honest[keyholder].values();
                    assert_eq!(is_same, keyholder != cheat.position(), "the others' parts are what they are anyway");
                }
                let refused = counts(parts.each_ref());
                assert!(matches!(refused, Err(RlweError::AnswerCheckSlot { .. })), "{cheat} {shift:?}: {refused:?}");
                // Whoever has all parts and the cheat's secrets takes it off, and has the honest answer and no more.
                let known = cohort.known_to(cheat, TARGET, shift, &slots);
                let rest = sum_of(&parts).into_iter().zip(&known).map(|(sum, known)| sum.wrapping_sub(*known));
                assert!(rest.eq(sum_of(&honest)));
            }
        }
    }

    // A number of the keyholder's own choice makes the answer wrong, by whole people, and nobody sees it.
    let truth = counts(honest.each_ref()).expect("honest");
    let mut bytes = honest[1].to_bytes();
    let (words, _) = bytes.as_chunks_mut::<8>();
    words[16] = (u64::from_le_bytes(words[16]).wrapping_add(1 << 26)).to_le_bytes();
    let altered = FilteredPart::parse(KeyholderIndex::ALL[1], Plane::Calls, &slots, &bytes).expect("its length");
    let wrong = counts([&honest[0], &altered, &honest[2]]).expect("it decodes");
    assert_eq!((wrong[0].het, wrong[0].hom_alt), (truth[0].het + 1, truth[0].hom_alt));
    assert_eq!(wrong[1..], truth[1..]);

    // Control: a weight that was falsified where the others multiply it too, as plain evaluations allow, passes the
    // check slots and shows every genotype of the person.
    let (mut keyholders, mut selection) = select();
    let of_share = |keyholder: KeyholderIndex| {
        let shares = &selection[keyholder.position()];
        let shifted = |share: locus_sharing::ShareIndex, values: &[u64]| {
            let mut values = values.to_vec();
            let is_first = share == KeyholderIndex::ALL[0].released_share();
            values[TARGET] = values[TARGET].wrapping_add(if is_first { 1_000 } else { 0 });
            values
        };
        let released = shifted(keyholder.released_share(), shares.released());
        SharedVector::of_parts(keyholder, released, shifted(keyholder.other_share(), shares.other()))
    };
    selection = KeyholderIndex::ALL.map(|keyholder| of_share(keyholder).expect("one length"));
    let parts = cohort.parts(&mut keyholders, &selection, Plane::Calls, &slots, None);
    let combined = combine_filtered(Plane::Calls, &slots, parts.each_ref()).expect("the check slots are passed");
    for (variant, value) in combined.values().iter().enumerate() {
        let counter = |shift: u32| value.wrapping_add(1 << 25) >> shift & ((1 << 19) - 1);
        let read = match (counter(26) >= 1_000, counter(45) >= 1_000) {
            (true, false) => Genotype::Het,
            (false, true) => Genotype::HomAlt,
            _ => Genotype::HomRef,
        };
        let genotype = cohort.people[TARGET].genotypes.get(variant).expect("a genotype");
        // Missing calls are counted on the other plane.
        assert!(read == genotype || (genotype == Genotype::Missing && read == Genotype::HomRef), "variant {variant}");
    }
}

#[test]
fn dp_noise_of_filtered_counts_has_the_stated_variance() {
    let cohort = cohort(30);
    let slots = all_slots();
    let rho = Rho::from_nano(50_000_000);
    let total = SigmaSquared::total(slots.count(), rho).expect("positive");
    let share = SigmaSquared::per_share(slots.count(), rho).expect("positive");
    let mut keyholders = Keyholders::new(1);
    let selection = cohort.select(&mut keyholders, "smoker");
    let parts = cohort.parts(&mut keyholders, &selection, Plane::Calls, &slots, Some(share));
    let combined = combine_filtered(Plane::Calls, &slots, parts.each_ref()).expect("one evaluation");
    let range = CounterRange::try_new(30, total.decode_offset().expect("in range")).expect("fits");
    let counts: Vec<SignedCounts> = combined.decode_calls(range).expect("within the offset");
    let sigma = (4080.0f64 / 0.05).sqrt();
    for (genotype, value) in [(Genotype::Het, 0), (Genotype::HomAlt, 1)] {
        let exact = cohort.count(genotype, |place| cohort.truth[place].1);
        let noisy = counts.iter().map(|count| if value == 0 { count.het } else { count.hom_alt });
        let errors = as_f64(&noisy.zip(exact).map(|(noisy, exact)| noisy - exact).collect::<Vec<_>>());
        assert!((standard_deviation(&errors) / sigma - 1.0).abs() < 0.04, "{}", standard_deviation(&errors));
        assert!(mean(&errors).abs() < 4.0 * sigma / 4080f64.sqrt());
    }
}

#[test]
fn cases_controls_and_a_trait_come_out_of_the_same_pass() {
    let cohort = cohort(50);
    let slots = all_slots();
    let range = CounterRange::try_new(50, 0).expect("fits");
    let mut keyholders = Keyholders::new(1);
    let smokers = Predicate::parse("smoker", &cohort.schema).expect("valid");
    let height = cohort.schema.find_named("height").expect("it exists");
    let planes = Selection::trait_planes(&smokers, height, &cohort.schema);
    assert_eq!(planes.len(), 8);
    let people = cohort.select(&mut keyholders, "smoker");
    let mut het_sums = vec![0i64; 4080];
    for (weight, selection) in (0u32..).zip(&planes) {
        let bit = selection.plane_bit(&cohort.schema).expect("a plane");
        assert_eq!(Selection::from_bytes(&selection.to_bytes(), &cohort.schema).as_ref(), Some(selection));
        let column = KeyholderIndex::ALL.map(|keyholder| {
            let rows = cohort.rows.iter().map(|row| &row[keyholder.position()]);
            locus_sharing::SharedVector::column(keyholder, rows, bit).expect("all have the bit")
        });
        let weighted = keyholders.multiply(&people, &column);
        let parts = cohort.parts(&mut keyholders, &weighted, Plane::Calls, &slots, None);
        let combined = combine_filtered(Plane::Calls, &slots, parts.each_ref()).expect("one evaluation");
        let counts = combined.decode_calls(range).expect("exact");
        het_sums.iter_mut().zip(&counts).for_each(|(sum, count)| *sum += count.het << weight);
    }
    for (variant, sum) in het_sums.iter().enumerate() {
        let members = cohort.people.iter().zip(&cohort.truth);
        let het =
            members.filter(|(person, (_, smoker, _))| *smoker && person.genotypes.get(variant) == Some(Genotype::Het));
        let expected: i64 = het.map(|(_, (_, _, height))| height - 100).sum();
        assert_eq!(*sum, expected, "variant {variant}");
    }
    for text in ["affected", "not affected"] {
        let selection = cohort.select(&mut keyholders, text);
        let parts = cohort.parts(&mut keyholders, &selection, Plane::Calls, &slots, None);
        let combined = combine_filtered(Plane::Calls, &slots, parts.each_ref()).expect("one evaluation");
        let counts = combined.decode_calls(range).expect("exact");
        let wanted = text == "affected";
        let hom_alt: Vec<i64> = counts.iter().map(|count| count.hom_alt).collect();
        assert_eq!(hom_alt, cohort.count(Genotype::HomAlt, |place| cohort.truth[place].0 == wanted));
    }
}

#[test]
fn messages_have_one_size_whoever_matches() {
    // Nothing that leaves a keyholder, and nothing that is paid, depends on who matched.
    let cohort = cohort(30);
    let slots = SlotMask::try_new((16..48).map(slot)).expect("valid");
    let sizes = ["affected and smoker", "not affected and not smoker"].map(|text| {
        let mut keyholders = Keyholders::new(1);
        let selection = cohort.select(&mut keyholders, text);
        let parts = cohort.parts(&mut keyholders, &selection, Plane::Calls, &slots, None);
        (keyholders.bytes_sent, parts.map(|part| part.to_bytes().len()))
    });
    assert_eq!(sizes[0], sizes[1]);
    assert_eq!(sizes[0], (24 * 30, [8 * 48; 3]));
}
