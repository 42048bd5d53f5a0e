//! One keyholder alters the partial decryption it would release. The other holder of the share has
//! computed it too, and both compare commitments first.

mod support;

use locus_genomics::Plane;
use locus_privacy::SlotMask;
use locus_rlwe::{CounterRange, HET_SHIFT, PartialDecryption, combine, select_released};
use locus_sharing::ShareIndex;
use std::collections::BTreeSet;
use support::{BLOCK, answer, body_sum, dp_share, noise_key, people, refs, slot, tau};

#[test]
fn two_honest_holders_agree_and_one_unit_in_one_slot_is_noticed() {
    let population = people(10, 4080);
    let cohort = refs(&population);
    let slots = SlotMask::try_new((16..316).map(slot)).expect("valid");
    let mut reversed = cohort.clone();
    reversed.reverse();
    let first_holder = answer(&cohort, BLOCK, Plane::Calls, &slots, &tau(1), Some(dp_share(10)));
    let second_holder = answer(&reversed, BLOCK, Plane::Calls, &slots, &tau(1), Some(dp_share(10)));
    for (ours, theirs) in first_holder.iter().zip(&second_holder) {
        let key = noise_key(ours.share());
        let expected = ours.commitment(&key, &tau(1));
        assert_eq!(theirs.commitment(&key, &tau(1)), expected, "control: honest holders agree");
        for place in [0, 15, 16, 200, 315] {
            for delta in [1u64, u64::MAX, 1 << 63] {
                let mut bytes = theirs.to_bytes();
                let value = theirs.values()[place].wrapping_add(delta);
                bytes[8 * place..8 * place + 8].copy_from_slice(&value.to_le_bytes());
                let altered = PartialDecryption::parse(theirs.share(), Plane::Calls, &slots, &bytes);
                let commitment = altered.expect("same length").commitment(&key, &tau(1));
                assert_ne!(commitment, expected, "value {place} plus {delta}");
            }
        }
    }
}

#[test]
fn an_altered_share_that_nobody_compares_is_one_person_more() {
    // Control: no check slot changes, and the answer decodes.
    let population = people(10, 4080);
    let cohort = refs(&population);
    let slots = SlotMask::try_new((16..316).map(slot)).expect("valid");
    let sum = select_released(&slots, &body_sum(&cohort, BLOCK, Plane::Calls));
    let [first, second, third] = answer(&cohort, BLOCK, Plane::Calls, &slots, &tau(1), None);
    let range = CounterRange::try_new(10, 0).expect("fits");
    let counts = |first: &PartialDecryption| {
        let combined = combine(Plane::Calls, &slots, &sum, [first, &second, &third]).expect("check slots are zero");
        combined.decode_calls(range).expect("decodes")
    };
    let honest = counts(&first);
    let place = honest.iter().position(|count| count.het + count.hom_alt < 10).expect("not everybody carries all");
    let mut bytes = first.to_bytes();
    // Check slots come first.
    let value = first.values()[16 + place].wrapping_sub(1 << HET_SHIFT);
    bytes[8 * (16 + place)..8 * (17 + place)].copy_from_slice(&value.to_le_bytes());
    let altered = PartialDecryption::parse(first.share(), Plane::Calls, &slots, &bytes).expect("same length");
    let mut expected = honest;
    expected[place].het += 1;
    assert_eq!(counts(&altered), expected);
}

#[test]
fn commitments_are_bound_to_everything_an_answer_depends_on() {
    let population = people(4, 4080);
    let cohort = refs(&population);
    let narrow = SlotMask::try_new([slot(16), slot(17)]).expect("valid");
    let other = SlotMask::try_new([slot(16), slot(18)]).expect("valid");
    let [partial, ..] = answer(&cohort, BLOCK, Plane::Calls, &narrow, &tau(1), None);
    let bytes = partial.to_bytes();
    let [first, second] = [ShareIndex::ALL[0], ShareIndex::ALL[1]];
    let mut seen = BTreeSet::new();
    for (share, plane, slots, key_of, label) in [
        (first, Plane::Calls, narrow, first, 1),
        (second, Plane::Calls, narrow, first, 1),
        (first, Plane::Missing, narrow, first, 1),
        (first, Plane::Calls, other, first, 1),
        (first, Plane::Calls, narrow, second, 1),
        (first, Plane::Calls, narrow, first, 2),
    ] {
        let parsed = PartialDecryption::parse(share, plane, &slots, &bytes).expect("same length");
        seen.insert(parsed.commitment(&noise_key(key_of), &tau(label)));
    }
    assert_eq!(seen.len(), 6, "the same values under six descriptions");
}
