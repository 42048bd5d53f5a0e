//! A keyholder that falsifies a product: authenticated shares abort before anything is opened, plain
//! shares give a wrong weight (positive control).

use locus_commitment::Digest32;
use locus_sharing::*;

/// Where one keyholder adds which numbers to what it sends.
#[derive(Clone, Copy)]
struct Attack {
    keyholder: usize,
    /// 0: tags of the inputs; 1 and 2: the two products.
    step: usize,
    /// Person attacked.
    person: usize,
    value_error: u128,
    tag_error: u128,
}

const PEOPLE: usize = 4;
const BITS: [[u64; PEOPLE]; 3] = [[1, 0, 1, 1], [1, 1, 0, 1], [0, 1, 1, 1]];

fn prss(attempt: u64) -> [Prss; 3] {
    KeyholderIndex::ALL.map(|keyholder| {
        let keys =
            [keyholder.released_share(), keyholder.other_share()].map(|share| NoiseKey::from_bytes([share.get(); 32]));
        Prss::new(keyholder, &keys[0], &keys[1], PrssSession { tau: Digest32([7; 32]), attempt })
    })
}

/// Shares of public values that look random: a random shared vector, corrected at share 1.
fn deal(values: &[u64], sources: &mut [Prss; 3], gate: u32) -> [SharedVector<u64>; 3] {
    let random = sources.each_mut().map(|source| source.random::<u64>(gate, values.len()).expect("fresh"));
    let sum = |place: usize| random.iter().fold(0u64, |sum, vector| sum.wrapping_add(vector.released()[place]));
    let correction: Vec<u64> = (0..values.len()).map(|place| values[place].wrapping_sub(sum(place))).collect();
    KeyholderIndex::ALL.map(|keyholder| {
        let vector = &random[keyholder.position()];
        let correct = |share: ShareIndex, words: &[u64]| -> Vec<u64> {
            let is_first = share.get() == 1;
            words
                .iter()
                .zip(&correction)
                .map(|(word, more)| if is_first { word.wrapping_add(*more) } else { *word })
                .collect()
        };
        let released = correct(keyholder.released_share(), vector.released());
        SharedVector::new(keyholder, released, correct(keyholder.other_share(), vector.other())).expect("one length")
    })
}

/// The message received by each keyholder, after the attack on the one who sends it.
fn deliver(mut sent: [Vec<u128>; 3], attack: Option<Attack>, step: usize, tags_from: usize) -> [Vec<u128>; 3] {
    if let Some(attack) = attack.filter(|attack| attack.step == step) {
        let message = &mut sent[attack.keyholder];
        if tags_from > 0 {
            message[attack.person] = message[attack.person].wrapping_add(attack.value_error);
        }
        let tag = tags_from + attack.person;
        message[tag] = message[tag].wrapping_add(attack.tag_error);
    }
    KeyholderIndex::ALL.map(|keyholder| sent[keyholder.receives_from().position()].clone())
}

fn multiply(
    left: &[AuthenticatedVector; 3],
    right: &[AuthenticatedVector; 3],
    sources: &mut [Prss; 3],
    gate: u32,
    attack: Option<Attack>,
    step: usize,
) -> [AuthenticatedVector; 3] {
    let sent = KeyholderIndex::ALL.map(|keyholder| {
        let place = keyholder.position();
        let mut part = AuthenticatedPart::new(keyholder, PEOPLE);
        part.add_product(&left[place], &right[place]).expect("one length");
        part.mask(&mut sources[place], gate).expect("fresh")
    });
    let received = deliver(sent.clone(), attack, step, PEOPLE);
    KeyholderIndex::ALL.map(|keyholder| {
        let place = keyholder.position();
        AuthenticatedVector::of_parts(keyholder, sent[place].clone(), received[place].clone()).expect("one length")
    })
}

/// Openings as each keyholder receives them: from the one before and the one after.
fn exchange(openings: &[Opening; 3]) -> [[Vec<u128>; 2]; 3] {
    KeyholderIndex::ALL.map(|keyholder| {
        let before = &openings[keyholder.sends_to().position()];
        let after = &openings[keyholder.receives_from().position()];
        [before.to_next.clone(), after.to_previous.clone()]
    })
}

/// What honest keyholders conclude after three people's attributes were multiplied: the selection,
/// or that the attempt is abandoned.
fn run(attempt: u64, attack: Option<Attack>) -> Result<Vec<u64>, SharingError> {
    let mut sources = prss(attempt);
    let keys = sources.each_mut().map(|source| MacKey::new(source, 0).expect("fresh"));
    let mut inputs = Vec::new();
    for (number, bits) in (0u32..).zip(&BITS) {
        // As keyholders have them: shares modulo 2^64, whose carries are in the higher half.
        let values = deal(bits, &mut sources, 10 + number).map(|shared| shared.widened());
        let sent = [0, 1, 2].map(|place| {
            let input = std::slice::from_ref(&values[place]);
            keys[place].tag(input, &mut sources[place], 20 + number).expect("fresh")
        });
        let attack_here = attack.filter(|_| number == 0);
        let received = deliver(sent.clone(), attack_here, 0, 0);
        inputs.push(KeyholderIndex::ALL.map(|keyholder| {
            let place = keyholder.position();
            let input = vec![values[place].clone()];
            let mut tagged = AuthenticatedVector::of_tags(input, &sent[place], &received[place]).expect("one length");
            tagged.remove(0)
        }));
    }
    let first = multiply(&inputs[0], &inputs[1], &mut sources, 30, attack, 1);
    let selection = multiply(&first, &inputs[2], &mut sources, 40, attack, 2);

    let mut begun = Vec::new();
    for place in 0..3 {
        let vectors = [&inputs[0][place], &inputs[1][place], &inputs[2][place], &first[place], &selection[place]];
        begun.push(MacCheck::begin(&keys[place], &vectors, &mut sources[place], 50)?);
    }
    let mut combined = Vec::new();
    for keyholder in KeyholderIndex::ALL {
        let received = begun[keyholder.receives_from().position()].1.clone();
        combined.push(begun[keyholder.position()].0.combined(received)?);
    }
    let openings = [0, 1, 2].map(|place| combined[place].1.clone());
    let mut differences = Vec::new();
    for (place, [before, after]) in exchange(&openings).iter().enumerate() {
        differences.push(begun[place].0.difference(&combined[place].0, [before, after])?);
    }
    let openings = [0, 1, 2].map(|place| Opening::of(&differences[place]));
    for (place, [before, after]) in exchange(&openings).iter().enumerate() {
        MacCheck::verify(&differences[place], [before, after])?;
    }
    let words = selection.each_ref().map(|vector| vector.to_words());
    let sum = |place: usize| words.iter().fold(0u64, |sum, vector| sum.wrapping_add(vector.released()[place]));
    Ok((0..PEOPLE).map(sum).collect())
}

#[test]
fn honest_keyholders_get_the_selection() {
    for attempt in 0..20 {
        assert_eq!(run(attempt, None), Ok(vec![0, 0, 0, 1]));
    }
}

#[test]
fn attack_a_thousand_falsified_products_abort_a_thousand_times() {
    let mut runs = 0;
    let mut state = 1u128;
    while runs < 1_000 {
        state = state.wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645).wrapping_add(1);
        let random = state >> 17;
        // Small errors, errors that only the highest bit that counts shows, and arbitrary ones.
        let value_error = [1, 1_000, 1 << 63, random][runs % 4];
        let tag_error = [0, random, 1, value_error][runs / 4 % 4];
        let attack =
            Attack { keyholder: runs % 3, step: 1 + runs / 3 % 2, person: runs / 6 % PEOPLE, value_error, tag_error };
        let outcome = run(u64::try_from(runs).expect("small"), Some(attack));
        assert_eq!(outcome, Err(SharingError::MacMismatch), "run {runs}");
        runs += 1;
    }
}

#[test]
fn attack_falsified_tags_of_inputs_abort() {
    for keyholder in 0..3 {
        let attack = Attack { keyholder, step: 0, person: 2, value_error: 0, tag_error: 1 << 100 };
        assert_eq!(run(7, Some(attack)), Err(SharingError::MacMismatch));
    }
}

#[test]
fn attack_plain_products_take_any_weight() {
    // Control: without tags the falsified product passes, and a person counts a thousand times.
    let mut sources = prss(1);
    let people: [SharedVector<u64>; 3] = KeyholderIndex::ALL.map(|keyholder| SharedVector::zeros(keyholder, 1));
    let sent = KeyholderIndex::ALL.map(|keyholder| {
        let place = keyholder.position();
        let mut part = ProductPart::new(keyholder, 1);
        part.add_product(&people[place], &people[place]).expect("one length");
        part.mask(&mut sources[place], 0).expect("fresh")
    });
    let mut falsified = sent.clone();
    falsified[0][0] = falsified[0][0].wrapping_add(1_000);
    // Keyholder 1 goes on with what it sent.
    let shares = KeyholderIndex::ALL.map(|keyholder| {
        let own = if keyholder.get() == 1 { falsified[0].clone() } else { sent[keyholder.position()].clone() };
        SharedVector::of_parts(keyholder, own, falsified[keyholder.receives_from().position()].clone())
            .expect("one length")
    });
    let sum = shares.iter().fold(0u64, |sum, vector| sum.wrapping_add(vector.released()[0]));
    assert_eq!(sum, 1_000);
}
